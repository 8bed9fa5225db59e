// SPDX-License-Identifier: BSD-3-Clause
// One pixel of NU-Conv: its filter is put together a vector of taps at a time and used at once.
// Included by kernels.cpp alone, once per instruction set.
#pragma once

#include "common/number.h"
#include "common/simd.h"
#include "nu_conv/plan.h"

namespace blurops {
namespace {

// Filters that are mixed in one pass, and channels that share a pass.
constexpr int kPickedGroup = 4;
constexpr int kChannelGroup = 3;

// The filters a pixel takes, of one channel of the bank, and their weights.
template <typename A>
struct Picked {
  const A* filters[kPickedGroup];
  A weights[kPickedGroup];
};

template <typename A>
inline A sum_lanes(typename Simd<A>::Vec vector, int64_t live) {
  A sum = 0;
  for (int64_t i = 0; i < live; ++i) sum += vector[i];
  return sum;
}

// One vector of the taps of a pixel's own filter.
template <int kPicked, typename A>
inline __attribute__((always_inline)) typename Simd<A>::Vec mix(const Picked<A>& picked,
                                                                int64_t at) {
  auto taps = picked.weights[0] * Simd<A>::read(picked.filters[0] + at);
#pragma GCC unroll 4
  for (int j = 1; j < kPicked; ++j) {
    taps += picked.weights[j] * Simd<A>::read(picked.filters[j] + at);
  }
  return taps;
}

// sums[c] += taps times the window of channel c whose corner is at `image`.
template <int kPicked, int kCount, typename A>
inline __attribute__((always_inline)) void gather(const NuConvPlan& plan, const Picked<A>& picked,
                                                  const A* image, typename Simd<A>::Vec* sums) {
  using V = Simd<A>;
  const int64_t vectors = plan.row.vectors(), last = plan.row.first(vectors - 1),
                stride = plan.row.stride();
  for (int64_t dy = 0; dy < plan.problem.kernel_height; ++dy, image += plan.pitch) {
    for (int64_t v = 0; v < vectors; ++v) {
      const A* source = image + (v + 1 < vectors ? v * V::kLanes : last);
      const auto taps = mix<kPicked>(picked, dy * stride + v * V::kLanes);
#pragma GCC unroll 4
      for (int c = 0; c < kCount; ++c) sums[c] += taps * V::read(source + c * plan.plane);
    }
  }
}

// sums[j] += filter j times the window of sum_c values[c] channel[c].
template <int kPicked, int kCount, typename A>
inline __attribute__((always_inline)) void correlate(const NuConvPlan& plan,
                                                     const Picked<A>& picked, const A* image,
                                                     const A* values, typename Simd<A>::Vec* sums) {
  using V = Simd<A>;
  const int64_t vectors = plan.row.vectors(), last = plan.row.first(vectors - 1),
                stride = plan.row.stride();
  for (int64_t dy = 0; dy < plan.problem.kernel_height; ++dy, image += plan.pitch) {
    for (int64_t v = 0; v < vectors; ++v) {
      const A* source = image + (v + 1 < vectors ? v * V::kLanes : last);
      auto product = values[0] * V::read(source);
#pragma GCC unroll 4
      for (int c = 1; c < kCount; ++c) product += values[c] * V::read(source + c * plan.plane);
#pragma GCC unroll 4
      for (int j = 0; j < kPicked; ++j) {
        sums[j] += product * V::read(picked.filters[j] + dy * stride + v * V::kLanes);
      }
    }
  }
}

// A row that a pixel spreads to, and the row of its taps that does.
struct Target {
  int64_t row, dy;
};

// Adds values[c] times the taps to rows of channel c, `channel` apart; `to` is where tap 0 lands in
// row 0. With kMasked, a row's last vector has lanes without a tap: what they would write to stays
// as it is, even beside a NaN.
template <int kPicked, int kCount, bool kMasked, typename A>
inline __attribute__((always_inline)) void spread(const NuConvPlan& plan, const Picked<A>& picked,
                                                  const A* values, const Target* targets,
                                                  int64_t count, A* to, int64_t channel) {
  using V = Simd<A>;
  const int64_t vectors = plan.row.vectors(), stride = plan.row.stride();
  typename V::Vec lane = {};
  for (int i = 0; i < V::kLanes; ++i) lane[i] = static_cast<A>(i);
  const auto live = lane < static_cast<A>(plan.row.end(vectors - 1));
  const int64_t whole = kMasked ? vectors - 1 : vectors;
  for (int64_t t = 0; t < count; ++t) {
    A* row = to + targets[t].row * plan.spread_pitch;
    const int64_t at = targets[t].dy * stride;
    for (int64_t v = 0; v < whole; ++v) {
      A* target = row + v * V::kLanes;
      const auto taps = mix<kPicked>(picked, at + v * V::kLanes);
#pragma GCC unroll 4
      for (int c = 0; c < kCount; ++c) {
        V::write(target + c * channel, V::read(target + c * channel) + taps * values[c]);
      }
    }
    if (!kMasked) continue;
    A* target = row + whole * V::kLanes;
    const auto taps = mix<kPicked>(picked, at + whole * V::kLanes);
#pragma GCC unroll 4
    for (int c = 0; c < kCount; ++c) {
      const auto product = live ? taps * values[c] : typename V::Vec{};
      V::write(target + c * channel, V::read(target + c * channel) + product);
    }
  }
}

}  // namespace
}  // namespace blurops
