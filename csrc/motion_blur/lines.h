// SPDX-License-Identifier: BSD-3-Clause
// The motions of a row of pixels: sines and cosines, where weights can lie, and the weights.
// Included by kernels.cpp alone, once per instruction set.
#pragma once

#include <cmath>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/simd.h"
#include "motion_blur/plan.h"

namespace blurops {
namespace {

template <typename A>
A smaller(A a, A b) {
  return a < b ? a : b;
}
template <typename A>
A larger(A a, A b) {
  return a > b ? a : b;
}

// Cosine and sine of an angle, or both with the other sign, which is the same line: to 1e-15 by the
// series, once the angle is brought into [-pi/4, pi/4]. Inlined into a loop that becomes vectors.
inline __attribute__((always_inline)) void direction(double angle, double* cosine, double* sine) {
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

template <typename A>
typename Simd<A>::Vec magnitude(typename Simd<A>::Vec x) {
  return x < A(0) ? -x : x;
}

inline __attribute__((always_inline)) typename Simd<float>::Vec root(Simd<float>::Vec x) {
#if defined(__AVX512F__)
  return (Simd<float>::Vec)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);
#elif defined(__AVX2__)
  return (Simd<float>::Vec)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
  return (Simd<float>::Vec)_mm_sqrt_ps((__m128)x);
#else
  for (int i = 0; i < Simd<float>::kLanes; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

inline __attribute__((always_inline)) typename Simd<double>::Vec root(Simd<double>::Vec x) {
#if defined(__AVX512F__)
  return (Simd<double>::Vec)_mm512_maskz_sqrt_pd(0xff, (__m512d)x);
#elif defined(__AVX2__)
  return (Simd<double>::Vec)_mm256_sqrt_pd((__m256d)x);
#elif defined(__x86_64__)
  return (Simd<double>::Vec)_mm_sqrt_pd((__m128d)x);
#else
  for (int i = 0; i < Simd<double>::kLanes; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

// Planes of row y of a map.
template <typename A>
A* line_row(const MotionPlan& plan, int64_t map, int64_t y) {
  return static_cast<A*>(plan.lines) +
         (map * plan.problem.out_height + y) * kLinePlanes * plan.line_pitch;
}

template <typename A>
A* bounds_row(void* bounds, const MotionPlan& plan, int64_t map, int64_t y) {
  return static_cast<A*>(bounds) + (map * plan.problem.out_height + y) * plan.blocks * kBounds;
}

// The columns of offsets that may have weight in row q.
struct Columns {
  int64_t first, last;
};

template <typename A>
Columns columns_at(const A* bound, int64_t q) {
  const A one = -static_cast<A>(q) * bound[kCotLow], other = -static_cast<A>(q) * bound[kCotHigh];
  // Rounding must not lose a column.
  const A low = smaller(one, other) - bound[kSpread] - A(0.01);
  const A high = larger(one, other) + bound[kSpread] + A(0.01);
  return {static_cast<int64_t>(std::ceil(larger(low, -bound[kReachX]))),
          static_cast<int64_t>(std::floor(smaller(high, bound[kReachX])))};
}

// Columns -inner .. inner of row q lie inside every line: no cap begins before p^2 + q^2 = limit.
template <typename A>
int64_t inner_columns(const A* bound, int64_t q) {
  const A rest = bound[kLimitLow] - static_cast<A>(q * q);
  if (rest <= 0) return -1;
  int64_t p = static_cast<int64_t>(std::sqrt(rest));
  while (p >= 0 && static_cast<A>(p * p) >= rest) --p;
  return p;
}

// The lines of a vector of pixels.
template <typename A>
struct Line {
  using Vec = typename Simd<A>::Vec;
  Vec cos, cos_lo, sin, sin_lo, half, limit;

  // Planes `pitch` apart.
  Line(const A* planes, int64_t pitch)
      : cos(Simd<A>::read(planes + kCos * pitch)),
        sin(Simd<A>::read(planes + kSin * pitch)),
        half(Simd<A>::read(planes + kHalf * pitch)),
        limit(Simd<A>::read(planes + kLimit * pitch)) {
    if (sizeof(A) == 4) {
      cos_lo = Simd<A>::read(planes + kCosLo * pitch);
      sin_lo = Simd<A>::read(planes + kSinLo * pitch);
    } else {
      cos_lo = sin_lo = Vec{};
    }
  }

  // Across the line. In float, the sum of the first two products is exact: they nearly cancel.
  Vec across(A q, A p) const {
    const Vec large = q * cos + p * sin;
    return sizeof(A) == 4 ? large + (q * cos_lo + p * sin_lo) : large;
  }
  Vec along(A q, A p) const { return p * (cos + cos_lo) - q * (sin + sin_lo); }
};

// Whether pixels are beyond a line's end, how far, and their distance from the line.
template <typename A>
struct Place {
  typename Simd<A>::Vec across, along, beyond, distance;
  decltype(typename Simd<A>::Vec{} < typename Simd<A>::Vec{}) cap;
};

template <bool kSegment, typename A>
inline __attribute__((always_inline)) Place<A> place(const Line<A>& line, A q, A p) {
  using Vec = typename Simd<A>::Vec;
  Place<A> at;
  at.across = line.across(q, p);
  at.along = line.along(q, p);
  at.beyond = magnitude<A>(at.along) - line.half;
  at.cap = kSegment ? at.beyond > A(0) : line.limit <= q * q + p * p;
  const Vec corner = root(at.across * at.across + at.beyond * at.beyond);
  at.distance = at.cap ? corner : magnitude<A>(at.across);
  return at;
}

template <typename A>
inline __attribute__((always_inline)) typename Simd<A>::Vec weight_of(
    typename Simd<A>::Vec distance) {
  const auto weight = A(1) - distance;
  return weight > A(0) ? weight : typename Simd<A>::Vec{};
}

}  // namespace
}  // namespace blurops
