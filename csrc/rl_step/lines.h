// SPDX-License-Identifier: BSD-3-Clause
// Rows of images as vectors, and the slopes that the TV term is made of. Included by pointwise.cpp
// alone, once per instruction set.
#pragma once

#include <cfloat>
#include <cstring>

#include "common/simd.h"
#include "rl_step/pointwise.h"

namespace blurops {
namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// The first `count` lanes, the others zero: one loop body serves a row and its end.
template <typename A>
typename Simd<A>::Vec read(const A* from, int64_t count) {
  using V = Simd<A>;
  if (count >= V::kLanes) return V::read(from);
  typename V::Vec value = {};
  std::memcpy(&value, from, count * sizeof(A));
  return value;
}

template <typename A>
void write(A* to, typename Simd<A>::Vec value, int64_t count) {
  using V = Simd<A>;
  if (count >= V::kLanes) return V::write(to, value);
  std::memcpy(to, &value, count * sizeof(A));
}

// max(value, 0) that keeps NaN.
template <typename Vec>
Vec non_negative(Vec value) {
  return value < 0 ? Vec{} : value;
}

// Builtins, because the library's inline functions would not have internal linkage.
inline float root_of(float value) { return __builtin_sqrtf(value); }
inline double root_of(double value) { return __builtin_sqrt(value); }

template <typename A>
typename Simd<A>::Vec square_root(typename Simd<A>::Vec value) {
  typename Simd<A>::Vec root;
  for (int i = 0; i < Simd<A>::kLanes; ++i) root[i] = root_of(value[i]);
  return root;
}

template <typename A>
constexpr A kSmallestNormal = sizeof(A) == sizeof(float) ? A(FLT_MIN) : A(DBL_MIN);

// A thread's lines, each with room for one more vector on both sides of a row.
template <typename A>
struct Lines {
  static constexpr int kCount = 6;
  static int64_t stride(int64_t width) {
    constexpr int64_t kLanes = Simd<A>::kLanes;
    return (width + kLanes - 1) / kLanes * kLanes + 2 * kLanes;
  }

  A* line[kCount];  // each points to the place of column 0

  Lines(void* memory, int64_t width) {
    for (int i = 0; i < kCount; ++i) {
      line[i] = static_cast<A*>(memory) + i * stride(width) + Simd<A>::kLanes;
      line[i][-1] = A(0);
    }
  }
};

// The row with its last pixel repeated once, so that its last forward difference is zero.
template <typename A>
void extend(const A* row, int64_t width, A* to) {
  std::memcpy(to, row, width * sizeof(A));
  to[width] = row[width - 1];
}

// Forward differences of a pixel by their length. Below the smallest normal number their square has
// no digits left to normalise with: the pixel is flat, and `length` is 0.
template <typename A>
struct Slope {
  typename Simd<A>::Vec across, down, length;
};

template <typename A>
Slope<A> slope_at(const A* extended, const A* below, int64_t x, int64_t count) {
  using Vec = typename Simd<A>::Vec;
  const Vec here = read(extended + x, count);
  const Vec across = read(extended + x + 1, count) - here;
  const Vec down = read(below + x, count) - here;
  const Vec square = across * across + down * down;
  const auto sloped = square > kSmallestNormal<A>;
  const Vec length = square_root<A>(sloped ? square : Vec{} + A(1));
  // A square that is NaN is not sloped either, but then the pixel is NaN anyway.
  return {sloped ? across / length : Vec{}, sloped ? down / length : Vec{},
          sloped ? length : Vec{}};
}

// The slopes of row y of a plane, into two lines. Below the last row, the image goes on as it is.
template <typename A>
void slopes_of_row(const A* plane, int64_t y, int64_t height, int64_t width, A* extended, A* across,
                   A* down) {
  const A* row = plane + y * width;
  const A* below = y + 1 < height ? row + width : row;
  extend(row, width, extended);
  for (int64_t x = 0; x < width; x += Simd<A>::kLanes) {
    const int64_t count = smaller(Simd<A>::kLanes, width - x);
    const Slope<A> slope = slope_at(extended, below, x, count);
    write(across + x, slope.across, count);
    write(down + x, slope.down, count);
  }
}

template <typename A>
void clear(A* line, int64_t width) {
  for (int64_t x = 0; x < width; ++x) line[x] = A(0);
}

// The TV term 1 - tv div(grad U / |grad U|) of the rows of a plane, one after the other.
template <typename A>
class Divisor {
 public:
  // Uses four of the lines.
  Divisor(const RlStep& step, const A* plane, int64_t first_row, Lines<A>& lines)
      : step_(step),
        plane_(plane),
        extended_(lines.line[0]),
        across_(lines.line[1]),
        down_(lines.line[2]),
        before_(lines.line[3]) {
    if (step.tv == 0) return;
    if (first_row == 0) {
      clear(down_, step.width);
    } else {
      slopes_of_row(plane, first_row - 1, step.height, step.width, extended_, across_, down_);
    }
  }

  void next_row(int64_t y) {
    if (step_.tv == 0) return;
    A* const free = before_;
    before_ = down_;
    down_ = free;
    slopes_of_row(plane_, y, step_.height, step_.width, extended_, across_, down_);
  }

  typename Simd<A>::Vec at(int64_t x, int64_t count) const {
    using Vec = typename Simd<A>::Vec;
    if (step_.tv == 0) return Vec{} + A(1);
    const Vec divergence = read(across_ + x, count) - read(across_ + x - 1, count) +
                           read(down_ + x, count) - read(before_ + x, count);
    return A(1) - A(step_.tv) * divergence;
  }

 private:
  const RlStep& step_;
  const A* plane_;
  A *extended_, *across_, *down_, *before_;
};

}  // namespace
}  // namespace blurops
