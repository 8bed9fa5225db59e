// SPDX-License-Identifier: BSD-3-Clause
// Run-time counts become compile-time ones. Internal linkage, as simd.h.
#pragma once

#include <cstdint>

namespace blurops {
namespace {

template <int n>
struct Number {
  static constexpr int value = n;
};

// Calls visit(Number<min(n, kMost)>()), for n of at least 1 and kMost of at most 4.
template <int kMost, typename Visit>
inline __attribute__((always_inline)) void with_number(int64_t n, const Visit& visit) {
  if (n == 1) return visit(Number<1>());
  if constexpr (kMost > 2) {
    if (n == 2) return visit(Number<2>());
  }
  if constexpr (kMost > 3) {
    if (n == 3) return visit(Number<3>());
  }
  visit(Number<kMost>());
}

}  // namespace
}  // namespace blurops
