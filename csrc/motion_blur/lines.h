// SPDX-License-Identifier: BSD-3-Clause
// The motions of a row of pixels, as planes and vectors: where weights can lie. The formulas are in
// formula.h.
// Included by kernels.cpp alone, once per instruction set.
#pragma once

#include <cmath>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/simd.h"
#include "motion_blur/formula.h"
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

// Of formula.h: a vector of neighbouring pixels.
template <typename A>
struct Vectors {
  using Scalar = A;
  using Vec = typename Simd<A>::Vec;
  static Vec root(Vec x) { return blurops::root(x); }
};

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
  const ColumnsOf<A> columns(bound[kCotLow], bound[kCotHigh], bound[kSpread], bound[kReachX],
                             static_cast<A>(q));
  return {static_cast<int64_t>(columns.first), static_cast<int64_t>(columns.last)};
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

// The lines of a vector of pixels, from planes `pitch` apart.
template <typename A>
struct Line : LineOf<Vectors<A>> {
  Line(const A* planes, int64_t pitch) {
    this->cos = Simd<A>::read(planes + kCos * pitch);
    this->sin = Simd<A>::read(planes + kSin * pitch);
    this->half = Simd<A>::read(planes + kHalf * pitch);
    this->limit = Simd<A>::read(planes + kLimit * pitch);
    this->cos_lo = this->sin_lo = typename Simd<A>::Vec{};
    if (sizeof(A) == 4) {
      this->cos_lo = Simd<A>::read(planes + kCosLo * pitch);
      this->sin_lo = Simd<A>::read(planes + kSinLo * pitch);
    }
  }
};

}  // namespace
}  // namespace blurops
