// SPDX-License-Identifier: BSD-3-Clause
// Square blocks of vectors, transposed in registers.
#pragma once

#include <utility>

#include "common/simd.h"

namespace blurops {
namespace {

// The integers that index lanes of A.
template <typename A>
struct Index {
  typedef unsigned Vec __attribute__((vector_size(kVectorBytes)));
};
template <>
struct Index<double> {
  typedef unsigned long long Vec __attribute__((vector_size(kVectorBytes)));
};

// One step of the recursive transposition: lanes that differ in bit kHalf move between rows.
template <typename A, int kHalf>
struct Exchange {
  using Vec = typename Simd<A>::Vec;
  static constexpr int kLanes = Simd<A>::kLanes;
  using Mask = typename Index<A>::Vec;

  // Lane i of the first result is lane (i without bit kHalf) of a or b; of the second, with it.
  template <size_t... i>
  static inline __attribute__((always_inline)) void run(Vec& a, Vec& b,
                                                        std::index_sequence<i...>) {
#if defined(__clang__)
    const Vec low = __builtin_shufflevector(
        a, b, (i & kHalf ? static_cast<int>(i) - kHalf + kLanes : static_cast<int>(i))...);
    const Vec high = __builtin_shufflevector(
        a, b, (i & kHalf ? static_cast<int>(i) + kLanes : static_cast<int>(i) + kHalf)...);
#else
    const Mask take_low = {(i & kHalf ? static_cast<int>(i) - kHalf + kLanes
                                      : static_cast<int>(i))...};
    const Mask take_high = {(i & kHalf ? static_cast<int>(i) + kLanes
                                       : static_cast<int>(i) + kHalf)...};
    const Vec low = __builtin_shuffle(a, b, take_low), high = __builtin_shuffle(a, b, take_high);
#endif
    a = low;
    b = high;
  }

  static inline __attribute__((always_inline)) void all(Vec* rows) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (!(i & kHalf)) run(rows[i], rows[i + kHalf], std::make_index_sequence<kLanes>());
    }
    if constexpr (kHalf > 1) Exchange<A, kHalf / 2>::all(rows);
  }
};

// to[j * to_stride][i] = from[i * from_stride][j] for lanes i, j.
template <typename A>
inline __attribute__((always_inline)) void transpose(const A* from, int64_t from_stride, A* to,
                                                     int64_t to_stride) {
  constexpr int kLanes = Simd<A>::kLanes;
  typename Simd<A>::Vec rows[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = Simd<A>::read(from + i * from_stride);
  Exchange<A, kLanes / 2>::all(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) Simd<A>::write(to + i * to_stride, rows[i]);
}

}  // namespace
}  // namespace blurops
