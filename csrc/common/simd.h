// SPDX-License-Identifier: BSD-3-Clause
// Vectors of one width per instruction set, by the vector extensions of GCC and Clang.
//
// A file that includes this is compiled once per instruction set with its own compiler flags.
// Everything has internal linkage, so that no copy made for a newer processor can be called on an
// older one.
#pragma once

#include "common/convert.h"

namespace blurops {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRows =
    8;  // rows of a register block: kRows x 2 accumulators leave room in 32 registers
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kRows = 4;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16;
constexpr int kRows = 8;
#else
constexpr int kVectorBytes = 16;
constexpr int kRows = 4;
#endif

template <typename A>
struct Simd {
  typedef A Vec __attribute__((vector_size(kVectorBytes)));
  typedef A Unaligned __attribute__((vector_size(kVectorBytes), aligned(alignof(A)), may_alias));
  static constexpr int kLanes = kVectorBytes / sizeof(A);

  static Vec read(const A* from) { return *reinterpret_cast<const Unaligned*>(from); }
  static void write(A* to, Vec value) { *reinterpret_cast<Unaligned*>(to) = value; }
};

// The integers as wide as A, as a vector.
template <typename A>
struct Index {
  typedef unsigned Vec __attribute__((vector_size(kVectorBytes)));
};
template <>
struct Index<double> {
  typedef unsigned long long Vec __attribute__((vector_size(kVectorBytes)));
};

// Makes the compiler hold a vector in a register from here on.
template <typename V>
inline __attribute__((always_inline)) void in_register(V& value) {
#if defined(__x86_64__)
  asm("" : "+v"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#else
  (void)value;
#endif
}

}  // namespace
}  // namespace blurops
