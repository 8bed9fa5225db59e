// SPDX-License-Identifier: BSD-3-Clause
// Row kernels of the direct method, compiled once per instruction set (BLUROPS_ISA names it).
//
// Each pixel's own kernel is synthesised and used at once, a strip of pixels at a time:
//   blur, adjoint:  W[dx, p] = sum_b k_b[dy, dx] m_b[p]    then y_c[p] += W x_c[p + d], or z_c[p + d] += W y_c[p]
//   gradients:      S[dx, p] = sum_c g_c[p] x_c[p + d]     then gm_b[p] += k_b[dx] S, or gk_b[dx] += m_b[p] S
// so a tap costs B + C multiply-adds per pixel instead of B C, and nothing larger than a strip is ever stored.
#include "basis_blur/direct.h"

#include "common/simd.h"

namespace blurops {
namespace {

// Pixels of a strip; with B = 25 and K = 33 mixing and synthesised taps of one strip fit the first-level cache.
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

// rows x kStrip values starting at column x0 of planes `plane` apart; columns from `width` on are zero.
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

// out[i][p] (+)= sum_j a[j][i] b[j][p] over one strip; `a` is packed (i / kRows, j, kRows), zero beyond `rows`.
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

// sums[c][u] += sum_dx W[dx][u - dx] pixels[c][u - dx] for kCount channels: the transpose of gather(), written as a
// gather too, because a scatter would stall on loads of what it has just stored.
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
    const int64_t next = b + 1 < basis ? 1 : 0;  // an odd last row is paired with itself and dropped
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
  return static_cast<const T*>(plan.mixing) +
         (sample * p.basis * p.out_height + y) * p.out_width;
}

template <typename T>
const T* sample_of(const void* image, int64_t n, int64_t channels, int64_t height, int64_t width) {
  return static_cast<const T*>(image) + n * channels * height * width;
}

// Unit (n, y): one row of the blurred image.
template <typename T>
void blur_row(const DirectPlan& plan, int64_t unit, void* memory) {
  using A = typename Compute<T>::type;
  const Problem& p = plan.problem;
  Scratch<A> scratch(p, memory);
  const int64_t n = unit / p.out_height, y = unit % p.out_height;
  const T* image = sample_of<T>(plan.first, n, p.channels, p.height, p.width);
  T* out = static_cast<T*>(plan.out) + (n * p.channels * p.out_height + y) * p.out_width;
  A* taps = scratch.taps + kPad<A>;
  for (int64_t x0 = 0; x0 < p.out_width; x0 += kStrip<A>) {
    load_strip(mixing_row<T>(plan, n, y), p.basis, p.out_height * p.out_width, x0, p.out_width,
               scratch.mixing, kStrip<A>);
    clear(scratch.sums, p.channels * kStrip<A>);
    for (int64_t dy = 0; dy < p.kernel_height; ++dy) {
      const int64_t row = plan.row_map[y + dy];
      if (row < 0) continue;
      multiply<false>(packed_row<A>(plan, n, dy), p.kernel_width, p.basis, scratch.mixing,
                      kStrip<A>, taps, kPaddedStrip<A>);
      load_segments(plan, image, row, x0, scratch);
      for (int64_t c = 0; c < p.channels; c += kChannelGroup) {
        const A* segments = scratch.segments + c * scratch.segment_stride;
        A* sums = scratch.sums + c * kStrip<A>;
        const int64_t stride = scratch.segment_stride;
        switch (smaller(kChannelGroup, p.channels - c)) {
          case 1: gather<1>(taps, p.kernel_width, segments, stride, sums); break;
          case 2: gather<2>(taps, p.kernel_width, segments, stride, sums); break;
          case 3: gather<3>(taps, p.kernel_width, segments, stride, sums); break;
          default: gather<4>(taps, p.kernel_width, segments, stride, sums);
        }
      }
    }
    const int64_t inside = smaller(kStrip<A>, p.out_width - x0);
    for (int64_t c = 0; c < p.channels; ++c) {
      T* to = out + c * p.out_height * p.out_width + x0;
      for (int64_t i = 0; i < inside; ++i) store(scratch.sums[c * kStrip<A> + i], to + i);
    }
  }
}

// The strip at x0 of blurred row y, sent through kernel row dy: adds to scratch.sums.
template <typename T, typename A>
void spread_strip(const DirectPlan& plan, int64_t n, int64_t y, int64_t dy, int64_t x0,
                  Scratch<A>& scratch) {
  const Problem& p = plan.problem;
  A* taps = scratch.taps + kPad<A>;
  load_strip(mixing_row<T>(plan, n, y), p.basis, p.out_height * p.out_width, x0, p.out_width,
             scratch.mixing, kStrip<A>);
  load_strip(sample_of<T>(plan.first, n, p.channels, p.out_height, p.out_width) + y * p.out_width,
             p.channels, p.out_height * p.out_width, x0, p.out_width, scratch.pixels + kPad<A>,
             kPaddedStrip<A>);
  multiply<false>(packed_row<A>(plan, n, dy), p.kernel_width, p.basis, scratch.mixing, kStrip<A>,
                  taps, kPaddedStrip<A>);
  for (int64_t c = 0; c < p.channels; c += kChannelGroup) {
    const A* pixels = scratch.pixels + c * kPaddedStrip<A> + kPad<A>;
    A* sums = scratch.sums + c * scratch.segment_stride;
    const int64_t stride = scratch.segment_stride;
    switch (smaller(kChannelGroup, p.channels - c)) {
      case 1: gather_transposed<1>(taps, p.kernel_width, pixels, stride, sums); break;
      case 2: gather_transposed<2>(taps, p.kernel_width, pixels, stride, sums); break;
      case 3: gather_transposed<3>(taps, p.kernel_width, pixels, stride, sums); break;
      default: gather_transposed<4>(taps, p.kernel_width, pixels, stride, sums);
    }
  }
}

// Unit (n, q): one row of the sharp image, gathered from every extended row that reads it and folded along x.
template <typename T>
void adjoint_row(const DirectPlan& plan, int64_t unit, void* memory) {
  using A = typename Compute<T>::type;
  const Problem& p = plan.problem;
  Scratch<A> scratch(p, memory);
  const int64_t n = unit / p.height, q = unit % p.height;
  // gather_transposed() reads zeros around the strips.
  clear(scratch.taps, scratch.taps_rounded * kPaddedStrip<A>);
  clear(scratch.pixels, p.channels * kPaddedStrip<A>);
  clear(scratch.totals, p.channels * scratch.total_stride);
  for (int64_t x0 = 0; x0 < p.out_width; x0 += kStrip<A>) {
    clear(scratch.sums, p.channels * scratch.segment_stride);
    for (int64_t i = plan.source_begin[q]; i < plan.source_begin[q + 1]; ++i) {
      for (int64_t dy = 0; dy < p.kernel_height; ++dy) {
        const int64_t y = plan.sources[i] - dy;
        if (y >= 0 && y < p.out_height) spread_strip<T>(plan, n, y, dy, x0, scratch);
      }
    }
    for (int64_t c = 0; c < p.channels; ++c) {
      A* to = scratch.totals + c * scratch.total_stride + x0;
      const A* from = scratch.sums + c * scratch.segment_stride;
      for (int64_t i = 0; i < kStrip<A> + p.kernel_width - 1; ++i) to[i] += from[i];
    }
  }
  T* out = static_cast<T*>(plan.out) + (n * p.channels * p.height + q) * p.width;
  for (int64_t c = 0; c < p.channels; ++c) {
    // Fold in place: the image's own columns first, then what lies outside it.
    A* total = scratch.totals + c * scratch.total_stride;
    for (int64_t u = 0; u < p.out_width + p.kernel_width - 1; ++u) {
      const int64_t column = plan.column_map[u];
      const bool own = u >= plan.first_column && u < plan.first_column + p.width;
      if (column >= 0 && !own) total[plan.first_column + column] += total[u];
    }
    T* to = out + c * p.height * p.width;
    for (int64_t x = 0; x < p.width; ++x) store(total[plan.first_column + x], to + x);
  }
}

// Unit (n or 0, y): one row of the gradient to the mixing, summed over the batch when it is shared.
template <typename T>
void grad_mixing_row(const DirectPlan& plan, int64_t unit, void* memory) {
  using A = typename Compute<T>::type;
  const Problem& p = plan.problem;
  Scratch<A> scratch(p, memory);
  const int64_t sample = unit / p.out_height, y = unit % p.out_height;
  const int64_t begin = p.mixing_batched ? sample : 0, end = p.mixing_batched ? sample + 1 : p.count;
  T* out = static_cast<T*>(plan.out) + (sample * p.basis * p.out_height + y) * p.out_width;
  A* taps = scratch.taps + kPad<A>;
  for (int64_t x0 = 0; x0 < p.out_width; x0 += kStrip<A>) {
    const int64_t inside = smaller(kStrip<A>, p.out_width - x0);
    clear(scratch.sums, p.basis * kStrip<A>);
    for (int64_t n = begin; n < end; ++n) {
      const T* image = sample_of<T>(plan.image, n, p.channels, p.height, p.width);
      load_strip(sample_of<T>(plan.first, n, p.channels, p.out_height, p.out_width) + y * p.out_width,
                 p.channels, p.out_height * p.out_width, x0, p.out_width,
                 scratch.pixels + kPad<A>, kPaddedStrip<A>);
      for (int64_t dy = 0; dy < p.kernel_height; ++dy) {
        const int64_t row = plan.row_map[y + dy];
        if (row < 0) continue;
        load_segments(plan, image, row, x0, scratch);
        pair_products(p, scratch, taps, inside);
        multiply<true>(packed_row<A>(plan, n, dy), p.basis, p.kernel_width, taps, kPaddedStrip<A>,
                       scratch.sums, kStrip<A>);
      }
    }
    for (int64_t b = 0; b < p.basis; ++b) {
      T* to = out + b * p.out_height * p.out_width + x0;
      for (int64_t i = 0; i < inside; ++i) store(scratch.sums[b * kStrip<A> + i], to + i);
    }
  }
}

// Move the lane sums to the partial sums of kernel row dy and start over.
template <typename A>
void flush_products(const Problem& p, Scratch<A>& scratch, double* partial, int64_t dy) {
  for (int64_t b = 0; b < p.basis; ++b) {
    double* to = partial + (b * p.kernel_height + dy) * p.kernel_width;
    for (int64_t dx = 0; dx < p.kernel_width; ++dx) {
      const A* from = scratch.products + (b * scratch.taps_rounded + dx) * Simd<A>::kLanes;
      for (int i = 0; i < Simd<A>::kLanes; ++i) to[dx] += from[i];
    }
  }
  clear(scratch.products, scratch.basis_rounded * scratch.taps_rounded * Simd<A>::kLanes);
}

// Unit (n or 0, dy, chunk): one row of every kernel's gradient, over one chunk of blurred rows.
template <typename T>
void grad_kernels_row(const DirectPlan& plan, int64_t unit, void* memory) {
  using A = typename Compute<T>::type;
  const Problem& p = plan.problem;
  Scratch<A> scratch(p, memory);
  const int64_t samples = p.kernels_batched ? p.count : 1;
  const int64_t chunk = unit % plan.chunks, dy = unit / plan.chunks % p.kernel_height;
  const int64_t sample = unit / plan.chunks / p.kernel_height;
  const int64_t begin = p.kernels_batched ? sample : 0, end = p.kernels_batched ? sample + 1 : p.count;
  double* partial = plan.partial + (chunk * samples + sample) * p.basis * p.kernel_height * p.kernel_width;
  A* taps = scratch.taps + kPad<A>;
  clear(scratch.taps, scratch.taps_rounded * kPaddedStrip<A>);
  clear(scratch.products, scratch.basis_rounded * scratch.taps_rounded * Simd<A>::kLanes);
  int64_t strips = 0;
  for (int64_t n = begin; n < end; ++n) {
    const T* image = sample_of<T>(plan.image, n, p.channels, p.height, p.width);
    const T* grad = sample_of<T>(plan.first, n, p.channels, p.out_height, p.out_width);
    for (int64_t y = p.out_height * chunk / plan.chunks; y < p.out_height * (chunk + 1) / plan.chunks; ++y) {
      const int64_t row = plan.row_map[y + dy];
      if (row < 0) continue;
      for (int64_t x0 = 0; x0 < p.out_width; x0 += kStrip<A>) {
        load_strip(mixing_row<T>(plan, n, y), p.basis, p.out_height * p.out_width, x0, p.out_width,
                   scratch.mixing, kStrip<A>);
        load_strip(grad + y * p.out_width, p.channels, p.out_height * p.out_width, x0, p.out_width,
                   scratch.pixels + kPad<A>, kPaddedStrip<A>);
        load_segments(plan, image, row, x0, scratch);
        pair_products(p, scratch, taps, smaller(kStrip<A>, p.out_width - x0));
        correlate(scratch.mixing, p.basis, taps, p.kernel_width, scratch.taps_rounded,
                  scratch.products);
        if (++strips % kStripsPerFlush == 0) flush_products(p, scratch, partial, dy);
      }
    }
  }
  flush_products(p, scratch, partial, dy);
}

size_t scratch_bytes(const Problem& problem) {
  return problem.dtype == DType::kFloat64 ? Scratch<double>(problem, nullptr).bytes()
                                          : Scratch<float>(problem, nullptr).bytes();
}

}  // namespace

#define BLUROPS_JOIN_(a, b) a##b
#define BLUROPS_JOIN(a, b) BLUROPS_JOIN_(a, b)
#define BLUROPS_TEXT_(a) #a
#define BLUROPS_TEXT(a) BLUROPS_TEXT_(a)

const DirectKernels& BLUROPS_JOIN(direct_kernels_, BLUROPS_ISA)() {
  static const DirectKernels kernels = {
      BLUROPS_TEXT(BLUROPS_ISA),
      kRows,
      scratch_bytes,
      {blur_row<float>, blur_row<double>, blur_row<Half>, blur_row<BFloat16>},
      {adjoint_row<float>, adjoint_row<double>, adjoint_row<Half>, adjoint_row<BFloat16>},
      {grad_kernels_row<float>, grad_kernels_row<double>, grad_kernels_row<Half>,
       grad_kernels_row<BFloat16>},
      {grad_mixing_row<float>, grad_mixing_row<double>, grad_mixing_row<Half>,
       grad_mixing_row<BFloat16>},
  };
  return kernels;
}

}  // namespace blurops
