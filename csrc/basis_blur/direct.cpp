// SPDX-License-Identifier: BSD-3-Clause
// Row kernels of the direct method, compiled once per instruction set (BLUROPS_ISA names it).
//
// Each pixel's own kernel is synthesised and used at once, a strip of pixels at a time.
//
//   blur and adjoint   W[dx, p] = sum_b k_b[dy, dx] m_b[p]
//                      y_c[p] += W[dx, p] x_c[p + d]        z_c[p + d] += W[dx, p] y_c[p]
//   gradients          S[dx, p] = sum_c g_c[p] x_c[p + d]
//                      gm_b[p] += k_b[dy, dx] S[dx, p]      gk_b[dy, dx] += m_b[p] S[dx, p]
//
// So a tap costs B + C multiply-adds per pixel instead of B C, and nothing larger than a strip is
// ever stored.
#include "basis_blur/direct_strip.h"

namespace blurops {
namespace {

// Unit (n, y): one row of the blurred image.
template <typename T>
void blur_row(const DirectPlan& plan, int64_t unit, void* memory) {
  using A = typename Compute<T>::type;
  const Problem& p = plan.problem;
  Scratch<A> scratch(p, memory);
  const int64_t n = unit / p.out_height, y = unit % p.out_height;
  const T* image = sample_of<T>(plan.first, n, p.channels, p.height, p.width);
  T* out = plan.epilogue
               ? nullptr
               : static_cast<T*>(plan.out) + (n * p.channels * p.out_height + y) * p.out_width;
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
          case 1:
            gather<1>(taps, p.kernel_width, segments, stride, sums);
            break;
          case 2:
            gather<2>(taps, p.kernel_width, segments, stride, sums);
            break;
          case 3:
            gather<3>(taps, p.kernel_width, segments, stride, sums);
            break;
          default:
            gather<4>(taps, p.kernel_width, segments, stride, sums);
        }
      }
    }
    const int64_t inside = smaller(kStrip<A>, p.out_width - x0);
    for (int64_t c = 0; c < p.channels; ++c) {
      const A* sums = scratch.sums + c * kStrip<A>;
      if (plan.epilogue) {
        plan.epilogue->row(plan.epilogue->context, n, c, y, x0, inside, sums);
        continue;
      }
      T* to = out + c * p.out_height * p.out_width + x0;
      for (int64_t i = 0; i < inside; ++i) store(sums[i], to + i);
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
      case 1:
        gather_transposed<1>(taps, p.kernel_width, pixels, stride, sums);
        break;
      case 2:
        gather_transposed<2>(taps, p.kernel_width, pixels, stride, sums);
        break;
      case 3:
        gather_transposed<3>(taps, p.kernel_width, pixels, stride, sums);
        break;
      default:
        gather_transposed<4>(taps, p.kernel_width, pixels, stride, sums);
    }
  }
}

// Unit (n, q): one row of the sharp image, gathered from every extended row that reads it and
// folded along x.
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
    // Some columns of the image may be read by no tap at all.
    const A* total = scratch.totals + c * scratch.total_stride;
    clear(scratch.folded, p.width);
    for (int64_t u = 0; u < p.out_width + p.kernel_width - 1; ++u) {
      const int64_t column = plan.column_map[u];
      if (column >= 0) scratch.folded[column] += total[u];
    }
    T* to = out + c * p.height * p.width;
    for (int64_t x = 0; x < p.width; ++x) store(scratch.folded[x], to + x);
  }
}

// Unit (n or 0, y): one row of the gradient to the mixing, summed over the batch when it is shared.
template <typename T>
void grad_mixing_row(const DirectPlan& plan, int64_t unit, void* memory) {
  using A = typename Compute<T>::type;
  const Problem& p = plan.problem;
  Scratch<A> scratch(p, memory);
  const int64_t sample = unit / p.out_height, y = unit % p.out_height;
  const int64_t begin = p.mixing_batched ? sample : 0,
                end = p.mixing_batched ? sample + 1 : p.count;
  T* out = static_cast<T*>(plan.out) + (sample * p.basis * p.out_height + y) * p.out_width;
  A* taps = scratch.taps + kPad<A>;
  for (int64_t x0 = 0; x0 < p.out_width; x0 += kStrip<A>) {
    const int64_t inside = smaller(kStrip<A>, p.out_width - x0);
    clear(scratch.sums, p.basis * kStrip<A>);
    for (int64_t n = begin; n < end; ++n) {
      const T* image = sample_of<T>(plan.image, n, p.channels, p.height, p.width);
      load_strip(
          sample_of<T>(plan.first, n, p.channels, p.out_height, p.out_width) + y * p.out_width,
          p.channels, p.out_height * p.out_width, x0, p.out_width, scratch.pixels + kPad<A>,
          kPaddedStrip<A>);
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
  const int64_t begin = p.kernels_batched ? sample : 0,
                end = p.kernels_batched ? sample + 1 : p.count;
  double* partial =
      plan.partial + (chunk * samples + sample) * p.basis * p.kernel_height * p.kernel_width;
  A* taps = scratch.taps + kPad<A>;
  clear(scratch.taps, scratch.taps_rounded * kPaddedStrip<A>);
  clear(scratch.products, scratch.basis_rounded * scratch.taps_rounded * Simd<A>::kLanes);
  int64_t strips = 0;
  for (int64_t n = begin; n < end; ++n) {
    const T* image = sample_of<T>(plan.image, n, p.channels, p.height, p.width);
    const T* grad = sample_of<T>(plan.first, n, p.channels, p.out_height, p.out_width);
    for (int64_t y = p.out_height * chunk / plan.chunks;
         y < p.out_height * (chunk + 1) / plan.chunks; ++y) {
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
