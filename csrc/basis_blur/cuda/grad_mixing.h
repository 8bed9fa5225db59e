// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the mixing on the GPU: grad_mixing_b[p] = sum_d S[p, d] k_b[d]. A thread makes S
// for its pixels and taps from the image's window, as blur.h holds it, and it is an operand of the
// tensor cores as it lies.
#pragma once

#include "basis_blur/cuda/blur.h"
#include "basis_blur/cuda/pack_gradients.h"

namespace blurops::cuda {

struct GradMixingArgs {
  Sizes sizes;
  const void* grad;      // (count, channels, out_height, out_width)
  const void* image;     // (count, channels, height, width)
  const uint4* kernels;  // of pack_taps
  const float* kernel_scale;
  int64_t kernels_stride, scale_stride;  // of a sample, 0 when shared
  const uint32_t* largest;               // of grad and image
  void* out;                             // (1 or count, basis, out_height, out_width)
  int basis, tiles, band;
  bool high, summed;  // over the samples
};

constexpr int64_t grad_mixing_shared_bytes(int j, int steps, int channels, int band) {
  return int64_t{16} * kStages * tap_vectors(j, steps) +
         int64_t{4} * channels * (kBlurRows + band - 1) * blur_pitch(j);
}

// The thread's pixels of the gradient of the blurred image; zeros outside it.
template <typename T, int kC>
BLUROPS_DEVICE void load_pixels(float (&values)[kC][kRun], const T* image, const Sizes& s,
                                const Part& part, int y, int x, const ProductScale& scale) {
  BLUROPS_UNROLL
  for (int c = 0; c < kC; ++c) {
    BLUROPS_UNROLL
    for (int i = 0; i < kRun; ++i) {
      const bool there = c < part.channels && y < s.out_height && x + i < s.out_width;
      const int64_t channel = int64_t{part.sample} * s.channels + part.first_channel + c;
      const int64_t at = (channel * s.out_height + y) * s.out_width + x + i;
      values[c][i] = there ? scale.in(load(image[at])) : 0.f;
    }
  }
}

template <int kC>
BLUROPS_DEVICE void load_pixels(float (&values)[kC][kRun], const void* image, const Sizes& s,
                                const Part& part, int y, int x, const ProductScale& scale) {
  if (s.dtype == DType::kFloat32) {
    load_pixels(values, static_cast<const float*>(image), s, part, y, x, scale);
  } else if (s.dtype == DType::kFloat16) {
    load_pixels(values, static_cast<const Half*>(image), s, part, y, x, scale);
  } else {
    load_pixels(values, static_cast<const BFloat16*>(image), s, part, y, x, scale);
  }
}

// S of two pixels at the thread's taps, as operands: four taps of both make one.
template <int kJ, int kC, bool kLow>
BLUROPS_DEVICE void pair_products(uint4 (&products)[tap_steps(kJ)], const float (&grad)[kC][kRun],
                                  int pair, const float* window, int plane) {
  constexpr int kSlots = Taps<kJ>::kSlots;
  float s[2][4 * tap_steps(kJ)] = {};
  BLUROPS_UNROLL
  for (int c = 0; c < kC; ++c) {
    float held[kSlots + 1];
    BLUROPS_UNROLL
    for (int i = 0; i <= kSlots; ++i) held[i] = gpu::read(window + c * plane + 2 * pair + i);
    BLUROPS_UNROLL
    for (int d = 0; d < kSlots; ++d) {
      s[0][d] = gpu::multiply_add(grad[c][2 * pair], held[d], s[0][d]);
      s[1][d] = gpu::multiply_add(grad[c][2 * pair + 1], held[d + 1], s[1][d]);
    }
  }
  BLUROPS_UNROLL
  for (int q = 0; q < tap_steps(kJ); ++q) {
    products[q] = {pack_products<kLow>(s[0][4 * q], s[0][4 * q + 1]),
                   pack_products<kLow>(s[1][4 * q], s[1][4 * q + 1]),
                   pack_products<kLow>(s[0][4 * q + 2], s[0][4 * q + 3]),
                   pack_products<kLow>(s[1][4 * q + 2], s[1][4 * q + 3])};
  }
}

template <int kSteps>
using BasisSums = float[kPairs][2 * kSteps][4];

// One kernel row. The chain of a product is the row's taps alone: tensor cores truncate.
template <int kJ, int kSteps, int kC, bool kLow>
BLUROPS_DEVICE void grad_mixing_row(BasisSums<kSteps>& sums, const float (&grad)[kC][kRun],
                                    const uint4* taps, const float* window, int plane, int lane) {
  BLUROPS_UNROLL
  for (int a = 0; a < kPairs; ++a) {
    if constexpr (kJ > 9) gpu::keep_order();
    uint4 products[tap_steps(kJ)];
    pair_products<kJ, kC, kLow>(products, grad, a, window, plane);
    BLUROPS_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      float row[2][4];
      BLUROPS_UNROLL
      for (int q = 0; q < tap_steps(kJ); ++q) {
        const uint4 operand = gpu::read(taps + (q * kSteps + step) * 32 + lane);
        if (q == 0) {
          gpu::mma_first(row[0], products[q], operand.x, operand.y);
          gpu::mma_first(row[1], products[q], operand.z, operand.w);
        } else {
          gpu::mma_next(row[0], products[q], operand.x, operand.y);
          gpu::mma_next(row[1], products[q], operand.z, operand.w);
        }
      }
      BLUROPS_UNROLL
      for (int i = 0; i < 4; ++i) {
        sums[a][2 * step][i] += row[0][i];
        sums[a][2 * step + 1][i] += row[1][i];
      }
    }
  }
}

// A block's work: a tile for one group of bases, of one sample or of all.
struct GradMixingPart {
  Part part;
  int group;

  BLUROPS_DEVICE explicit GradMixingPart(const GradMixingArgs& args) {
    int64_t rest = gpu::block_index();
    part.strip = static_cast<int>(rest % args.sizes.strips);
    rest /= args.sizes.strips;
    part.tile = static_cast<int>(rest % args.tiles);
    rest /= args.tiles;
    group = static_cast<int>(rest % args.sizes.groups);
    part.sample = static_cast<int>(rest / args.sizes.groups);
  }
};

// All kernel rows of a band against a window that is in shared memory.
template <int kJ, int kSteps, int kC, bool kLow>
BLUROPS_DEVICE void grad_mixing_band(BasisSums<kSteps>& sums, const GradMixingArgs& args,
                                     const Part& part, int group, int band, int steps, int set) {
  constexpr int kVectors = tap_vectors(kJ, kSteps), kPitch = blur_pitch(kJ);
  const Sizes& s = args.sizes;
  const int thread = gpu::thread_index();
  const Place place(thread);
  uint4* shared = reinterpret_cast<uint4*>(gpu::shared_memory());
  const uint4* kernels = args.kernels + part.sample * args.kernels_stride +
                         ((int64_t{set} * s.groups + group) * s.kernel_height + band) * kVectors;
  const KernelRing<kVectors, kBlurThreads> ring{shared, kernels, steps, thread};
  BLUROPS_ROLLED
  for (int step = 0; step + 1 < kStages; ++step) ring.fetch(step);
  float grad[kC][kRun];
  load_pixels<kC>(grad, args.grad, s, part, part.tile * kBlurRows + place.row,
                  part.strip * kStrip + place.run * kRun, ProductScale(args.largest));
  const float* values = reinterpret_cast<float*>(shared + kStages * kVectors) + place.row * kPitch +
                        place.run * kRun + place.t * Taps<kJ>::kStride;
  BLUROPS_ROLLED
  for (int step = 0; step < steps; ++step) {
    gpu::wait_copies<kStages - 2>();
    gpu::barrier();
    grad_mixing_row<kJ, kSteps, kC, kLow>(sums, grad, ring.row(step), values,
                                          (kBlurRows + args.band - 1) * kPitch, place.lane);
    values += kPitch;
    ring.fetch(step + kStages - 1);
  }
}

template <int kSteps, typename T>
BLUROPS_DEVICE void store_gradient(const BasisSums<kSteps>& sums, const GradMixingArgs& args,
                                   T* out) {
  const Sizes& s = args.sizes;
  const GradMixingPart of(args);
  const Place place(gpu::thread_index());
  const ProductScale scale(args.largest);
  const float kernel_scale = args.kernel_scale[of.part.sample * args.scale_stride];
  const int y = of.part.tile * kBlurRows + place.row;
  if (y >= s.out_height) return;
  BLUROPS_UNROLL
  for (int a = 0; a < kPairs; ++a) {
    BLUROPS_UNROLL
    for (int e = 0; e < 8 * kSteps; ++e) {
      // Of a product: rows are the pair's pixels, columns are bases 2t and 2t + 1.
      const int x = of.part.strip * kStrip + place.run * kRun + 2 * a + e % 4 / 2;
      const int basis = (of.group * 2 * kSteps + e / 4) * 8 + 2 * place.t + e % 2;
      if (x >= s.out_width || basis >= args.basis) continue;
      const int64_t plane = int64_t{of.part.sample} * args.basis + basis;
      store(scale.out(sums[a][e / 4][e % 4] * kernel_scale),
            out + (plane * s.out_height + y) * s.out_width + x);
    }
  }
}

// A tile of the gradient's maps for one group of bases.
template <int kJ, int kSteps, int kC>
BLUROPS_KERNEL(kBlurThreads, 1)
grad_mixing_tile(const GradMixingArgs args) {
  constexpr int kPitch = blur_pitch(kJ);
  const Sizes& s = args.sizes;
  uint4* shared = reinterpret_cast<uint4*>(gpu::shared_memory());
  float* window = reinterpret_cast<float*>(shared + kStages * tap_vectors(kJ, kSteps));
  GradMixingPart of(args);
  const int last = args.summed ? s.count - 1 : of.part.sample;
  BasisSums<kSteps> sums = {};
  BLUROPS_ROLLED
  for (; of.part.sample <= last; ++of.part.sample) {
    BLUROPS_ROLLED
    for (int first = 0; first < s.channels; first += kC) {
      of.part.first_channel = first;
      of.part.channels = s.channels - first < kC ? s.channels - first : kC;
      BLUROPS_ROLLED
      for (int band = 0; band < s.kernel_height; band += args.band) {
        const int left = s.kernel_height - band, steps = left < args.band ? left : args.band;
        gpu::barrier();
        fill_window<kPitch, kC>(window, (kBlurRows + args.band - 1) * kPitch, args.image, s,
                                of.part, band, kBlurRows + steps - 1);
        // S high with the kernels' high halves and their low ones, then S low with the high ones.
        BLUROPS_ROLLED
        for (int set = 0; set < sets_of(args.high); ++set) {
          gpu::barrier();
          grad_mixing_band<kJ, kSteps, kC, false>(sums, args, of.part, of.group, band, steps, set);
        }
        if (!args.high) continue;
        gpu::barrier();
        grad_mixing_band<kJ, kSteps, kC, true>(sums, args, of.part, of.group, band, steps, 0);
      }
    }
  }
  if (s.dtype == DType::kFloat32) {
    store_gradient<kSteps>(sums, args, static_cast<float*>(args.out));
  } else if (s.dtype == DType::kFloat16) {
    store_gradient<kSteps>(sums, args, static_cast<Half*>(args.out));
  } else {
    store_gradient<kSteps>(sums, args, static_cast<BFloat16*>(args.out));
  }
}

}  // namespace blurops::cuda
