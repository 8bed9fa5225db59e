// SPDX-License-Identifier: BSD-3-Clause
// A strip of pixels: its working memory, how it is filled, and the small products it is made of.
// Included by direct.cpp alone, once per instruction set.
#pragma once

#include "basis_blur/direct.h"
#include "common/simd.h"

namespace blurops {
namespace {

// Pixels of a strip; with B = 25 and K = 33 mixing and synthesised taps of one strip fit the
// first-level cache.
template <typename A>
constexpr int kStrip = 256 / sizeof(A);

// Zeros on both sides of a strip's rows, so that the adjoint may read past its ends.
template <typename A>
constexpr int kPad = 2 * Simd<A>::kLanes;

template <typename A>
constexpr int kPaddedStrip = kStrip<A> + 2 * kPad<A>;

// Strips whose products are summed in float before they move to double.
constexpr int64_t kStripsPerFlush = 256;

// Channels that one pass over the synthesised taps serves.
constexpr int kChannelGroup = 4;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The working memory of one thread, carved from one block.
template <typename A>
struct Scratch {
  A* mixing;    // (B, kStrip)
  A* taps;      // (Kw rounded up, kPaddedStrip): W, or S in its middle
  A* segments;  // (max(C, group), kStrip + Kw rounded up): pieces of image rows
  A* pixels;    // (max(C, group), kPaddedStrip): pieces of gradients or of blurred rows
  A* sums;      // (C, kStrip + Kw rounded up), or (B rounded up, kStrip)
  A* totals;    // (C, out_width + Kw - 1 and room for a strip)
  A* folded;    // (width)
  A* products;  // (B rounded up, Kw rounded up, lanes)

  int64_t segment_stride, total_stride, taps_rounded, basis_rounded;

  // Without memory, only bytes() is meaningful.
  Scratch(const Problem& p, void* memory) : memory_(static_cast<char*>(memory)) {
    taps_rounded = round_up(p.kernel_width, kRows);
    basis_rounded = round_up(p.basis, kRows);
    segment_stride = kStrip<A> + round_up(p.kernel_width, 4 * Simd<A>::kLanes);
    total_stride = round_up(p.out_width, kStrip<A>) + segment_stride;
    const int64_t channels = round_up(p.channels, kChannelGroup);
    mixing = take(p.basis * kStrip<A>);
    taps = take(taps_rounded * kPaddedStrip<A>);
    segments = take(channels * segment_stride);
    pixels = take(channels * kPaddedStrip<A>);
    sums = take(larger(channels * segment_stride, basis_rounded * kStrip<A>));
    totals = take(channels * total_stride);
    folded = take(p.width);
    products = take(basis_rounded * taps_rounded * Simd<A>::kLanes);
  }

  size_t bytes() const { return size_; }

 private:
  char* memory_;
  size_t size_ = 0;

  A* take(int64_t elements) {
    const size_t begin = size_;
    size_ += round_up(elements * sizeof(A), 64);
    return memory_ ? reinterpret_cast<A*>(memory_ + begin) : nullptr;
  }
};

template <typename A>
void clear(A* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = A(0);
}

// rows x kStrip values starting at column x0 of planes `plane` apart; columns from `width` on are
// zero.
template <typename T, typename A>
void load_strip(const T* from, int64_t rows, int64_t plane, int64_t x0, int64_t width, A* to,
                int64_t stride) {
  const int64_t inside = smaller(kStrip<A>, width - x0);
  for (int64_t r = 0; r < rows; ++r) {
    const T* source = from + r * plane + x0;
    A* target = to + r * stride;
    for (int64_t i = 0; i < inside; ++i) target[i] = load(source[i]);
    for (int64_t i = inside; i < kStrip<A>; ++i) target[i] = A(0);
  }
}

// The extended columns x0 .. x0 + kStrip + Kw - 2 of one image row per channel.
template <typename T, typename A>
void load_segments(const DirectPlan& plan, const T* image, int64_t row, int64_t x0,
                   Scratch<A>& scratch) {
  const Problem& p = plan.problem;
  const int64_t extended = p.out_width + p.kernel_width - 1;
  const int64_t length = kStrip<A> + p.kernel_width - 1;
  const int64_t inside = smaller(length, extended - x0);
  const bool plain = x0 >= plan.first_column && x0 + inside <= plan.first_column + p.width;
  for (int64_t c = 0; c < p.channels; ++c) {
    const T* source = image + (c * p.height + row) * p.width;
    A* target = scratch.segments + c * scratch.segment_stride;
    if (plain) {
      const T* start = source + (x0 - plan.first_column);
      for (int64_t i = 0; i < inside; ++i) target[i] = load(start[i]);
    } else {
      for (int64_t i = 0; i < inside; ++i) {
        const int64_t column = plan.column_map[x0 + i];
        target[i] = column < 0 ? A(0) : A(load(source[column]));
      }
    }
    for (int64_t i = inside; i < scratch.segment_stride; ++i) target[i] = A(0);
  }
}

// out[i][p] (+)= sum_j a[j][i] b[j][p] over one strip; `a` is packed (i / kRows, j, kRows), zero
// beyond `rows`.
template <bool kAdd, typename A>
void multiply(const A* a, int64_t rows, int64_t depth, const A* b, int64_t b_stride, A* out,
              int64_t out_stride) {
  using V = Simd<A>;
  for (int64_t group = 0; group < rows; group += kRows, a += depth * kRows) {
    const int64_t live = smaller(kRows, rows - group);
    for (int x = 0; x < kStrip<A>; x += 2 * V::kLanes) {
      typename V::Vec left[kRows] = {}, right[kRows] = {};
      for (int64_t j = 0; j < depth; ++j) {
        const auto b0 = V::read(b + j * b_stride + x);
        const auto b1 = V::read(b + j * b_stride + x + V::kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          left[i] += a[j * kRows + i] * b0;
          right[i] += a[j * kRows + i] * b1;
        }
      }
      for (int64_t i = 0; i < live; ++i) {
        A* to = out + (group + i) * out_stride + x;
        V::write(to, kAdd ? V::read(to) + left[i] : left[i]);
        V::write(to + V::kLanes, kAdd ? V::read(to + V::kLanes) + right[i] : right[i]);
      }
    }
  }
}

// sums[c][p] += sum_dx W[dx][p] segment[c][p + dx] for kCount channels.
template <int kCount, typename A>
void gather(const A* taps, int64_t width, const A* segments, int64_t stride, A* sums) {
  using V = Simd<A>;
  for (int x = 0; x < kStrip<A>; x += 2 * V::kLanes) {
    typename V::Vec left[kCount] = {}, right[kCount] = {};
    for (int64_t dx = 0; dx < width; ++dx) {
      const auto w0 = V::read(taps + dx * kPaddedStrip<A> + x);
      const auto w1 = V::read(taps + dx * kPaddedStrip<A> + x + V::kLanes);
#pragma GCC unroll 4
      for (int c = 0; c < kCount; ++c) {
        left[c] += w0 * V::read(segments + c * stride + x + dx);
        right[c] += w1 * V::read(segments + c * stride + x + dx + V::kLanes);
      }
    }
    for (int c = 0; c < kCount; ++c) {
      A* to = sums + c * kStrip<A> + x;
      V::write(to, V::read(to) + left[c]);
      V::write(to + V::kLanes, V::read(to + V::kLanes) + right[c]);
    }
  }
}

// sums[c][u] += sum_dx W[dx][u - dx] pixels[c][u - dx] for kCount channels: the transpose of
// gather(), written as a gather too, because a scatter would stall on loads of what it has just
// stored.
template <int kCount, typename A>
void gather_transposed(const A* taps, int64_t width, const A* pixels, int64_t stride, A* sums) {
  using V = Simd<A>;
  constexpr int kBlock = 2 * V::kLanes;
  for (int64_t u = 0; u < kStrip<A> + width - 1; u += kBlock) {
    typename V::Vec left[kCount] = {}, right[kCount] = {};
    const int64_t begin = larger(0, u - kStrip<A> + 1), end = smaller(width, u + kBlock);
    for (int64_t dx = begin; dx < end; ++dx) {
      const auto w0 = V::read(taps + dx * kPaddedStrip<A> + (u - dx));
      const auto w1 = V::read(taps + dx * kPaddedStrip<A> + (u - dx) + V::kLanes);
#pragma GCC unroll 4
      for (int c = 0; c < kCount; ++c) {
        left[c] += w0 * V::read(pixels + c * kPaddedStrip<A> + (u - dx));
        right[c] += w1 * V::read(pixels + c * kPaddedStrip<A> + (u - dx) + V::kLanes);
      }
    }
    for (int c = 0; c < kCount; ++c) {
      A* to = sums + c * stride + u;
      V::write(to, V::read(to) + left[c]);
      V::write(to + V::kLanes, V::read(to + V::kLanes) + right[c]);
    }
  }
}

// products[b][dx] += sum over the strip, lane by lane, of mixing[b][p] S[dx][p].
template <typename A>
void correlate(const A* mixing, int64_t basis, const A* taps, int64_t width, int64_t taps_rounded,
               A* products) {
  using V = Simd<A>;
  for (int64_t b = 0; b < basis; b += 2) {
    const int64_t next =
        b + 1 < basis ? 1 : 0;  // an odd last row is paired with itself and dropped
    for (int64_t dx = 0; dx < width; dx += 4) {
      typename V::Vec sum[2][4] = {};
      for (int x = 0; x < kStrip<A>; x += V::kLanes) {
        const auto m0 = V::read(mixing + b * kStrip<A> + x);
        const auto m1 = V::read(mixing + (b + next) * kStrip<A> + x);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const auto s = V::read(taps + (dx + i) * kPaddedStrip<A> + x);
          sum[0][i] += m0 * s;
          sum[1][i] += m1 * s;
        }
      }
      for (int64_t row = 0; row <= next; ++row) {
        for (int64_t i = 0; i < 4; ++i) {
          A* to = products + ((b + row) * taps_rounded + dx + i) * V::kLanes;
          V::write(to, V::read(to) + sum[row][i]);
        }
      }
    }
  }
}

// S[dx][p] = sum_c g_c[p] x_c[p + dx], zero beyond `inside` pixels and from tap `width` on.
template <typename A>
void pair_products(const Problem& p, Scratch<A>& scratch, A* taps, int64_t inside) {
  using V = Simd<A>;
  for (int64_t dx = 0; dx < p.kernel_width; ++dx) {
    A* row = taps + dx * kPaddedStrip<A>;
    for (int x = 0; x < kStrip<A>; x += V::kLanes) {
      typename V::Vec sum = {};
      for (int64_t c = 0; c < p.channels; ++c) {
        sum += V::read(scratch.pixels + c * kPaddedStrip<A> + kPad<A> + x) *
               V::read(scratch.segments + c * scratch.segment_stride + x + dx);
      }
      V::write(row + x, sum);
    }
    // Not 0 * x: a NaN that only pixels beyond the strip would read must not reach the sums.
    for (int64_t x = inside; x < kStrip<A>; ++x) row[x] = A(0);
  }
}

template <typename A>
const A* packed_row(const DirectPlan& plan, int64_t n, int64_t dy) {
  const Problem& p = plan.problem;
  const int64_t sample = p.kernels_batched ? n : 0;
  return static_cast<const A*>(plan.packed_kernels) +
         (sample * p.kernel_height + dy) * plan.packed_stride;
}

template <typename T>
const T* mixing_row(const DirectPlan& plan, int64_t n, int64_t y) {
  const Problem& p = plan.problem;
  const int64_t sample = p.mixing_batched ? n : 0;
  return static_cast<const T*>(plan.mixing) + (sample * p.basis * p.out_height + y) * p.out_width;
}

template <typename T>
const T* sample_of(const void* image, int64_t n, int64_t channels, int64_t height, int64_t width) {
  return static_cast<const T*>(image) + n * channels * height * width;
}

}  // namespace
}  // namespace blurops
