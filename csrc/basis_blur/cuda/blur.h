// SPDX-License-Identifier: BSD-3-Clause
// The forward operator on the GPU: each thread makes its pixels' own kernels by tensor cores and
// multiplies them with a sliding window of the image; see layout.h.
#pragma once

#include "basis_blur/cuda/layout.h"
#include "basis_blur/cuda/ratios.h"
#include "common/convert.h"

namespace blurops::cuda {

constexpr int kBlurThreads = 256;
constexpr int kBlurRows = 8;  // of a block's tile, which is one strip wide
constexpr int kStages = 4;    // kernel rows in shared memory

// Words of a row of the image in shared memory. 4 modulo 8: the two rows of a warp and its four
// runs of taps then lie in different banks.
BLUROPS_HD constexpr int blur_pitch(int j) { return kStrip + 8 * j + 4; }

BLUROPS_HD constexpr int64_t blur_shared_bytes(int j, int steps, int channels, int band) {
  return int64_t{16} * kStages * kernel_vectors(j, steps) +
         int64_t{4} * channels * (kBlurRows + band - 1) * blur_pitch(j);
}

// How many kernel rows are worked on between two fills of shared memory, when the rows of the image
// that they meet may take `bytes` of it.
constexpr int band_of(int kernel_height, int j, int channels, int64_t bytes) {
  const int64_t line = int64_t{4} * channels * blur_pitch(j);
  const int64_t fit = bytes / line - (kBlurRows - 1);
  const int most = fit < 1 ? 1 : fit < kernel_height ? static_cast<int>(fit) : kernel_height;
  return ceil_div(kernel_height, ceil_div(kernel_height, most));  // much alike
}

struct BlurArgs {
  Sizes sizes;
  Packed packed;
  const void* image;
  void* out;
  int tiles;  // down the blurred image
  int band;   // kernel rows that are worked on between two fills of shared memory
  Ratios ratios;
};

// The image around a tile, `rows` extended rows from first_row on; zero where there is nothing.
template <typename T, int kPitch, int kC>
BLUROPS_DEVICE void fill_window(float* window, const T* image, const Sizes& s, int channels,
                                int first_row, int rows, int plane, int first_column) {
  constexpr int kPerLane = ceil_div(kPitch, 32);
  const int thread = gpu::thread_index(), warp = thread / 32, lane = thread % 32;
  int column[kPerLane];
  BLUROPS_UNROLL
  for (int i = 0; i < kPerLane; ++i) {
    const int u = first_column + lane + 32 * i;
    const bool inside = u < s.extended_width();
    column[i] = inside ? map_index(u - s.anchor_x, s.width, s.boundary) : -1;
  }
  BLUROPS_ROLLED
  for (int row = warp; row < rows; row += kBlurThreads / 32) {
    const int u = first_row + row;
    const bool inside = u < s.extended_height();
    const int y = inside ? map_index(u - s.anchor_y, s.height, s.boundary) : -1;
    BLUROPS_UNROLL
    for (int c = 0; c < kC; ++c) {
      const T* line = image + (int64_t{c} * s.height + y) * s.width;
      float* to = window + c * plane + row * kPitch;
      BLUROPS_UNROLL
      for (int i = 0; i < kPerLane; ++i) {
        if (lane + 32 * i >= kPitch) continue;
        const bool there = c < channels && y >= 0 && column[i] >= 0;
        gpu::write(to + lane + 32 * i, there ? load(line[column[i]]) : 0.f);
      }
    }
  }
}

template <int kPitch, int kC>
BLUROPS_DEVICE void fill_window(float* window, int plane, const void* image, const Sizes& s,
                                const Part& part, int band, int rows) {
  const int64_t first =
      (int64_t{part.sample} * s.channels + part.first_channel) * s.height * s.width;
  const int row = part.tile * kBlurRows + band, column = part.strip * kStrip;
  if (s.dtype == DType::kFloat32) {
    fill_window<float, kPitch, kC>(window, static_cast<const float*>(image) + first, s,
                                   part.channels, row, rows, plane, column);
  } else if (s.dtype == DType::kFloat16) {
    fill_window<Half, kPitch, kC>(window, static_cast<const Half*>(image) + first, s, part.channels,
                                  row, rows, plane, column);
  } else {
    fill_window<BFloat16, kPitch, kC>(window, static_cast<const BFloat16*>(image) + first, s,
                                      part.channels, row, rows, plane, column);
  }
}

// The coefficients of a thread's 8 pixels, straight from memory.
template <int kSteps>
BLUROPS_DEVICE void load_mixing(uint4 (&mixing)[kPairs][kSteps], const uint4* row, int run, int t) {
  const RunOfMixing<kSteps> of(run, t);
  BLUROPS_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    BLUROPS_UNROLL
    for (int step = 0; step < kSteps; ++step) mixing[i][step] = row[of.vector(i, step)];
  }
}

// One kernel row: sums[c][i] += sum_d W[i, d] window[c][i + d] over the thread's pixels and taps.
// Of the window, the 9 values that the next product meets are in registers.
template <int kJ, int kSteps, int kC>
BLUROPS_DEVICE void blur_row(float (&sums)[kC][kRun], const uint4 (&mixing)[kPairs][kSteps],
                             const uint4* kernel, const float* window, int plane, int lane) {
  constexpr int kHeld = kRun + 1;
  float held[kC][kHeld];
  BLUROPS_UNROLL
  for (int c = 0; c < kC; ++c) {
    BLUROPS_UNROLL
    for (int i = 0; i < kHeld; ++i) held[c][i] = gpu::read(window + c * plane + i);
  }
  BLUROPS_UNROLL
  for (int j = 0; j < kJ; ++j) {
    const KernelOperand<kSteps> operand = read_kernel<kSteps>(kernel, j, lane);
    float own[kPairs][4];
    BLUROPS_UNROLL
    for (int a = 0; a < kPairs; ++a) synthesise(own[a], mixing[a], operand);
    BLUROPS_UNROLL
    for (int c = 0; c < kC; ++c) {
      BLUROPS_UNROLL
      for (int e = 0; e < 2 * kRun; ++e) {
        const int pixel = e / 2, tap = e % 2;
        sums[c][pixel] = gpu::multiply_add(own[pixel / 2][2 * (pixel % 2) + tap],
                                           held[c][(pixel + tap + 2 * j) % kHeld], sums[c][pixel]);
      }
    }
    if (j + 1 == kJ) break;
    BLUROPS_UNROLL
    for (int c = 0; c < kC; ++c) {
      BLUROPS_UNROLL
      for (int i = 2 * j + kHeld; i < 2 * j + kHeld + 2; ++i) {
        held[c][i % kHeld] = gpu::read(window + c * plane + i);
      }
    }
  }
}

// The thread's run of blurred pixels in one channel; each thread of four stores two of them.
template <typename T>
BLUROPS_DEVICE void store_run(const float (&run)[kRun], T* out, const float* pixel_scale,
                              float kernel_scale, int t, int valid) {
  BLUROPS_UNROLL
  for (int i = 0; i < kRun; ++i) {
    if (i / 2 == t && i < valid) store(run[i] * pixel_scale[i] * kernel_scale, out + i);
  }
}

// The same, where a step's ratios are wanted instead.
BLUROPS_DEVICE void store_ratios(const float (&run)[kRun], const Ratios& ratios, int sample,
                                 int channel, const Sizes& s, int64_t pixel,
                                 const float* pixel_scale, float kernel_scale, int t, int valid) {
  float mine[2] = {};
  BLUROPS_UNROLL
  for (int i = 0; i < kRun; ++i) {
    if (i / 2 == t) mine[i % 2] = run[i];
  }
  BLUROPS_ROLLED
  for (int i = 0; i < 2 && 2 * t + i < valid; ++i) {
    const float value = (i == 0 ? mine[0] : mine[1]) * pixel_scale[2 * t + i] * kernel_scale;
    ratios.store(value, sample, channel, s.channels, pixel + 2 * t + i,
                 int64_t{s.out_height} * s.out_width);
  }
}

// Adds the four threads' runs of taps, takes the scales of the operands out, and stores.
template <int kC>
BLUROPS_DEVICE void store_tile(float (&sums)[kC][kRun], const BlurArgs& args) {
  BLUROPS_UNROLL
  for (int c = 0; c < kC; ++c) {
    BLUROPS_UNROLL
    for (int i = 0; i < kRun; ++i) {
      sums[c][i] += gpu::shuffle_xor(sums[c][i], 1);
      sums[c][i] += gpu::shuffle_xor(sums[c][i], 2);
    }
  }
  const Sizes& s = args.sizes;
  const Part part = part_of<kC>(s, args.tiles);
  const Place place(gpu::thread_index());
  const int y = part.tile * kBlurRows + place.row;
  const int x = part.strip * kStrip + place.run * kRun, valid = s.out_width - x;
  if (y >= s.out_height || valid <= 0) return;
  const float* pixel_scale = args.packed.pixel_scale + part.sample * args.packed.pixel_stride +
                             int64_t{y} * s.strips * kStrip + x;
  const float kernel_scale = args.packed.kernel_scale[part.sample * args.packed.scale_stride];
  BLUROPS_UNROLL
  for (int c = 0; c < kC; ++c) {
    if (c >= part.channels) break;
    const int64_t channel = int64_t{part.sample} * s.channels + part.first_channel + c;
    const int64_t at = (channel * s.out_height + y) * s.out_width + x;
    if (args.ratios.observed != nullptr) {
      store_ratios(sums[c], args.ratios, part.sample, part.first_channel + c, s,
                   int64_t{y} * s.out_width + x, pixel_scale, kernel_scale, place.t, valid);
      continue;
    }
    if (s.dtype == DType::kFloat32) {
      store_run(sums[c], static_cast<float*>(args.out) + at, pixel_scale, kernel_scale, place.t,
                valid);
    } else if (s.dtype == DType::kFloat16) {
      store_run(sums[c], static_cast<Half*>(args.out) + at, pixel_scale, kernel_scale, place.t,
                valid);
    } else {
      store_run(sums[c], static_cast<BFloat16*>(args.out) + at, pixel_scale, kernel_scale, place.t,
                valid);
    }
  }
}

// Kernel rows on their way through shared memory. fetch() is called for every step, also where no
// rows are left, and ends a group of copies each time, so that waits can count them.
template <int kVectors, int kThreads>
struct KernelRing {
  uint4* ring;
  const uint4* kernels;  // row 0
  int steps, thread;

  BLUROPS_DEVICE const uint4* row(int step) const { return ring + place(step) * kVectors; }

  BLUROPS_DEVICE void fetch(int step) const {
    BLUROPS_UNROLL
    for (int first = 0; first < kVectors; first += kThreads) {
      // From the last thread on: the first ones may have other rows to fetch.
      const int i = first + kThreads - 1 - thread;
      gpu::copy_async(i < kVectors && step < steps, ring + place(step) * kVectors + i,
                      kernels + step * kVectors + i, true);
    }
    gpu::commit_copies();
  }

 private:
  BLUROPS_DEVICE static unsigned place(int step) { return static_cast<unsigned>(step) % kStages; }
};

// The kernel rows of a band, of one group of bases; three of them are on their way while one is
// used. Where the block and the thread are is worked out here and not by the caller, whose loops
// would have to keep it.
template <int kJ, int kSteps, int kC>
BLUROPS_DEVICE void blur_group(float (&sums)[kC][kRun], uint4* shared, const float* window,
                               const BlurArgs& args, int band, int steps, int group) {
  constexpr int kPitch = blur_pitch(kJ), kVectors = kernel_vectors(kJ, kSteps);
  const Sizes& s = args.sizes;
  const Part part = part_of<kC>(s, args.tiles);
  const int thread = gpu::thread_index();
  const Place place(thread);
  const uint4* kernels = args.packed.kernels + part.sample * args.packed.kernels_stride +
                         (int64_t{group} * s.kernel_height + band) * kVectors;
  const KernelRing<kVectors, kBlurThreads> ring{shared, kernels, steps, thread};
  BLUROPS_ROLLED
  for (int step = 0; step + 1 < kStages; ++step) ring.fetch(step);

  uint4 mixing[kPairs][kSteps] = {};
  const int y = part.tile * kBlurRows + place.row;
  if (y < s.out_height) {
    const int64_t line = int64_t{group} * s.out_height + y;
    load_mixing(mixing,
                args.packed.mixing + part.sample * args.packed.mixing_stride +
                    (line * s.strips + part.strip) * mixing_vectors(kSteps),
                place.run, place.t);
  }
  const float* values =
      window + place.row * kPitch + place.run * kRun + place.t * Taps<kJ>::kStride;
  const int plane = (kBlurRows + args.band - 1) * kPitch;
  BLUROPS_ROLLED
  for (int step = 0; step < steps; ++step) {
    gpu::wait_copies<kStages - 2>();
    gpu::barrier();
    blur_row<kJ, kSteps, kC>(sums, mixing, ring.row(step), values, plane, place.lane);
    values += kPitch;
    // Into the place of the row before this one, which every warp has left behind.
    ring.fetch(step + kStages - 1);
  }
}

// One tile of the blurred image, up to kC channels of it.
template <int kJ, int kSteps, int kC>
BLUROPS_KERNEL(kBlurThreads, 2)
blur_tile(const BlurArgs args) {
  uint4* ring = reinterpret_cast<uint4*>(gpu::shared_memory());
  float* window = reinterpret_cast<float*>(ring + kStages * kernel_vectors(kJ, kSteps));
  constexpr int kPitch = blur_pitch(kJ);
  const int kernel_height = args.sizes.kernel_height;
  float sums[kC][kRun] = {};
  BLUROPS_ROLLED
  for (int band = 0; band < kernel_height; band += args.band) {
    const int left = kernel_height - band, steps = left < args.band ? left : args.band;
    if (band > 0) gpu::barrier();
    fill_window<kPitch, kC>(window, (kBlurRows + args.band - 1) * kPitch, args.image, args.sizes,
                            part_of<kC>(args.sizes, args.tiles), band, kBlurRows + steps - 1);
    BLUROPS_ROLLED
    for (int group = 0; group < args.sizes.groups; ++group) {
      if (group > 0) gpu::barrier();
      blur_group<kJ, kSteps, kC>(sums, ring, window, args, band, steps, group);
    }
  }
  store_tile(sums, args);
}

}  // namespace blurops::cuda
