// SPDX-License-Identifier: BSD-3-Clause
// The line that a motion draws: the same lines serve vectors of the CPU and threads of a GPU.
// blurops/ops/motion_blur/line.py has the rule. Internal linkage, as simd.h.
//
// A class Math says what is computed on: a Vec of lanes, or one number, its Scalar, and root().
#pragma once

#include <cmath>

#include "common/dtype.h"

#define BLUROPS_INLINE inline __attribute__((always_inline))

namespace blurops {
namespace {

// Beyond so many radians an angle is left to the mathematical library.
constexpr double kFarTurn = 1e5;

// Cosine and sine of an angle, or both with the other sign, which is the same line: to 1e-15 by the
// series, once the angle is brought into [-pi/4, pi/4]. Inlined into a loop that becomes vectors.
BLUROPS_HD BLUROPS_INLINE void direction(double angle, double* cosine, double* sine) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const double shifted = angle * 0.63661977236758134308 + kRound;
  const double turns = shifted - kRound;
  const double r = (angle - turns * 1.5707963267341256142) - turns * 6.0771005065061922e-11;
  const double x = r * r;
  const double s =
      r +
      r * x *
          (-1.0 / 6 +
           x * (1.0 / 120 +
                x * (-1.0 / 5040 + x * (1.0 / 362880 + x * (-1.0 / 39916800 +
                                                            x * (1.0 / 6227020800.0 +
                                                                 x * (-1.0 / 1307674368000.0)))))));
  const double c =
      1.0 +
      x * (-0.5 + x * (1.0 / 24 +
                       x * (-1.0 / 720 +
                            x * (1.0 / 40320 + x * (-1.0 / 3628800 +
                                                    x * (1.0 / 479001600.0 +
                                                         x * (-1.0 / 87178291200.0 +
                                                              x * (1.0 / 20922789888000.0))))))));
  // Whether the number of quarter turns is odd.
  const double pairs = turns * 0.5 + kRound;
  const bool odd = (pairs - kRound) * 2 != turns;
  *cosine = odd ? -s : c;
  *sine = odd ? c : s;
}

// One motion.
template <typename A>
struct Motion {
  A cos, cos_lo;  // cos: rounded to 12 bits behind the point in float, so that multiples are exact
  A sin, sin_lo;
  A half;   // (length - 1) / 2
  A limit;  // half squared, rounded up: fspecial's caps begin at p^2 + q^2 >= limit
};

template <typename A>
BLUROPS_HD BLUROPS_INLINE Motion<A> motion_of(double length, double angle, bool derivative) {
  const double half = (length - 1) * 0.5;
  double cosine, sine;
  direction(angle, &cosine, &sine);
  if (angle > kFarTurn || angle < -kFarTurn) {
    cosine = std::cos(angle);
    sine = std::sin(angle);
  }
  // A motion of length 1 has its neighbours at a distance of exactly 1, and changes nothing.
  const bool still = half <= 0 && !derivative;
  cosine = still ? 1.0 : cosine;
  sine = still ? 0.0 : sine;
  A high_cos = static_cast<A>(cosine), high_sin = static_cast<A>(sine);
  if (sizeof(A) == 4) {
    constexpr float kRound = 3 * 1024.0f;  // 1.5 * 2^23 / 2^12
    high_cos = (high_cos + kRound) - kRound;
    high_sin = (high_sin + kRound) - kRound;
  }
  return {high_cos,
          static_cast<A>(cosine - static_cast<double>(high_cos)),
          high_sin,
          static_cast<A>(sine - static_cast<double>(high_sin)),
          static_cast<A>(half),
          static_cast<A>(std::ceil(half * half))};
}

// Where a line can have weight: at row q of offsets, around -q cot and at most `spread` beside it,
// and nowhere beyond `right` columns and `down` rows.
template <typename A>
struct Extent {
  A cot, spread, right, down;
};

template <typename A>
BLUROPS_HD BLUROPS_INLINE Extent<A> extent_of(A cos, A sin, A half, bool derivative, A reach) {
  constexpr A kFlat = A(1e-6);
  const A across = half * (cos < 0 ? -cos : cos), down = half * (sin < 0 ? -sin : sin);
  const A far_x = derivative ? std::floor(across) + 1 : std::ceil(across);
  const A far_y = derivative ? std::floor(down) + 1 : std::ceil(down);
  // A line that is level within a window has weight in all columns of its rows.
  if (sin < kFlat && sin > -kFlat) sin = sin < 0 ? -kFlat : kFlat;
  // What is no number reaches nothing.
  const A right = far_x < reach ? far_x : far_x >= reach ? reach : A(0);
  const A below = far_y < reach ? far_y : far_y >= reach ? reach : A(0);
  return {cos / sin, sin < 0 ? -1 / sin : 1 / sin, right, below};
}

// The columns of offsets that may have weight in row q; cotangents lie between two values.
template <typename A>
struct ColumnsOf {
  A first, last;

  BLUROPS_HD ColumnsOf(A cot_low, A cot_high, A spread, A right, A q) {
    const A one = -q * cot_low, other = -q * cot_high;
    // Rounding must not lose a column.
    const A low = (one < other ? one : other) - spread - A(0.01);
    const A high = (one > other ? one : other) + spread + A(0.01);
    first = std::ceil(low > -right ? low : -right);
    last = std::floor(high < right ? high : right);
  }
};

template <typename V, typename A>
BLUROPS_HD BLUROPS_INLINE V magnitude_of(V x, A zero) {
  return x < zero ? -x : x;
}

// Motions side by side.
template <typename Math>
struct LineOf {
  using Vec = typename Math::Vec;
  using A = typename Math::Scalar;
  Vec cos, cos_lo, sin, sin_lo, half, limit;

  // Across the line. In float, the sum of the first two products is exact: they nearly cancel.
  BLUROPS_HD BLUROPS_INLINE Vec across(A q, A p) const {
    const Vec large = q * cos + p * sin;
    return sizeof(A) == 4 ? large + (q * cos_lo + p * sin_lo) : large;
  }
  BLUROPS_HD BLUROPS_INLINE Vec along(A q, A p) const {
    return p * (cos + cos_lo) - q * (sin + sin_lo);
  }
};

// Whether offsets are beyond a line's end, how far, and their distance from the line.
template <typename Math>
struct PlaceOf {
  typename Math::Vec across, along, beyond, distance;
  decltype(typename Math::Vec{} < typename Math::Vec{}) cap;
};

template <bool kSegment, typename Math>
BLUROPS_HD BLUROPS_INLINE PlaceOf<Math> place(const LineOf<Math>& line, typename Math::Scalar q,
                                              typename Math::Scalar p) {
  using A = typename Math::Scalar;
  PlaceOf<Math> at;
  at.across = line.across(q, p);
  at.along = line.along(q, p);
  at.beyond = magnitude_of(at.along, A(0)) - line.half;
  at.cap = kSegment ? at.beyond > A(0) : line.limit <= q * q + p * p;
  const typename Math::Vec corner = Math::root(at.across * at.across + at.beyond * at.beyond);
  at.distance = at.cap ? corner : magnitude_of(at.across, A(0));
  return at;
}

template <typename Math>
BLUROPS_HD BLUROPS_INLINE typename Math::Vec weight_of(typename Math::Vec distance) {
  using A = typename Math::Scalar;
  const typename Math::Vec weight = A(1) - distance;
  return weight > A(0) ? weight : typename Math::Vec{};
}

// The derivative of the weight by length or angle where the line ends or beside it.
template <bool kAngle, bool kInner, typename Math>
BLUROPS_HD BLUROPS_INLINE typename Math::Vec slope_of(const PlaceOf<Math>& at,
                                                      const LineOf<Math>& line) {
  using Vec = typename Math::Vec;
  using A = typename Math::Scalar;
  // From the right, a pixel at a distance of exactly 1 counts already.
  constexpr A kEdge =
      A(1) + (sizeof(A) == 4 ? A(16 * 1.1920929e-7) : A(16 * 2.220446049250313e-16));
  const Vec zero = {};
  if (kAngle) {
    // Zero on the ridge of the line.
    const Vec side = at.across > A(0) ? -at.along : (at.across < A(0) ? at.along : zero);
    if (kInner) return at.distance < A(1) ? side : zero;
    const Vec signed_half = at.along > A(0) ? line.half : (at.along < A(0) ? -line.half : zero);
    const Vec end = at.distance > A(0) ? -at.across * signed_half / at.distance : zero;
    return at.distance < A(1) ? (at.cap ? end : side) : zero;
  }
  if (kInner) return zero;
  const Vec end = at.distance > A(0) ? A(0.5) * at.beyond / at.distance : zero;
  return at.cap ? (at.distance <= kEdge ? end : zero) : zero;
}

}  // namespace
}  // namespace blurops
