// SPDX-License-Identifier: BSD-3-Clause
// What a position outside the image means; the same lines serve host and device.
#pragma once

#include "common/dtype.h"

namespace blurops {

// The codes of blurops/_native.py.
enum class Boundary : int { kReflect = 0, kReplicate = 1, kCircular = 2, kZeros = 3, kValid = 4 };

// Where position i lies on an axis of n pixels, or -1 where there is nothing.
BLUROPS_HD inline int64_t map_index(int64_t i, int64_t n, Boundary boundary) {
  if (i >= 0 && i < n) return i;
  switch (boundary) {
    case Boundary::kReflect:  // radii are below n: one reflection is enough
      return i < 0 ? -i : 2 * (n - 1) - i;
    case Boundary::kReplicate:
      return i < 0 ? 0 : n - 1;
    case Boundary::kCircular:
      return (i % n + n) % n;
    default:
      return -1;
  }
}

}  // namespace blurops
