// SPDX-License-Identifier: BSD-3-Clause
// What a position outside the image means; the same lines serve host and device.
#pragma once

#include "common/dtype.h"

namespace blurops {

// The codes of blurops/_native.py.
enum class Boundary : int { kReflect = 0, kReplicate = 1, kCircular = 2, kZeros = 3, kValid = 4 };

// Where position i lies on an axis of n pixels, or -1 where there is nothing.
template <typename Int>
BLUROPS_HD inline Int map_index(Int i, Int n, Boundary boundary) {
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

// The transpose of map_index: the extended positions u, of `extended` in all, that read position i
// of an axis of n pixels, map_index(u - anchor) == i, in ascending order.
class Sources {
 public:
  BLUROPS_HD Sources(int64_t i, int64_t n, int64_t extended, int64_t anchor, Boundary boundary)
      : i_(i), n_(n), extended_(extended), anchor_(anchor), boundary_(boundary) {
    first_ = anchor + i;
    if (boundary == Boundary::kReflect) {
      count_ = 3;
    } else if (boundary == Boundary::kReplicate) {
      if (i == 0) first_ = 0;
      count_ = (i == n - 1 ? extended : anchor + i + 1) - first_;
    } else if (boundary == Boundary::kCircular) {
      first_ = (first_ % n + n) % n;
      count_ = first_ < extended ? (extended - 1 - first_) / n + 1 : 0;
    }
  }

  BLUROPS_HD int64_t count() const { return count_; }

  // The k-th of them, or -1 where it is none after all.
  BLUROPS_HD int64_t at(int64_t k) const {
    int64_t u = first_ + k;
    if (boundary_ == Boundary::kCircular) u = first_ + k * n_;
    if (boundary_ == Boundary::kReflect) {
      // Mirrored at the low end, itself, mirrored at the high end; ends are their own mirrors.
      u = k == 0 ? anchor_ - i_ : k == 1 ? anchor_ + i_ : anchor_ + 2 * (n_ - 1) - i_;
      if ((k == 0 && i_ == 0) || (k == 2 && i_ == n_ - 1)) u = -1;
    }
    return u >= 0 && u < extended_ ? u : -1;
  }

 private:
  int64_t i_, n_, extended_, anchor_, first_, count_ = 1;
  Boundary boundary_;
};

}  // namespace blurops
