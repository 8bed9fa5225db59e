// SPDX-License-Identifier: BSD-3-Clause
// The adjoint on the GPU, the exact transpose of blur.h with the same packed operands. A block owns
// rows of the extended image, as wide as what one strip of the blurred image reaches, and writes
// its sums beside those of the other strips; fold_strips then adds strips and borders in a fixed
// order. So there are no atomics, and results repeat bit for bit.
#pragma once

#include "basis_blur/cuda/blur.h"
#include "basis_blur/cuda/layout.h"

namespace blurops::cuda {

constexpr int kSpreadWarps = 12;
constexpr int kSpreadThreads = 32 * kSpreadWarps;
constexpr int kSpreadRows = kSpreadWarps;  // of a block: two warps share two rows
constexpr int kRing = 16;                  // rows of the blurred image in shared memory
static_assert(kRing >= kSpreadRows + kStages, "rows in use, rows on their way, one warp behind");

// Columns of the extended image that a strip reaches, and half a strip, with room to spare.
constexpr int strip_span(int j) { return kStrip + 8 * j; }
// 4 modulo 8, as blur_pitch.
constexpr int half_span(int j) { return kStrip / 2 + 8 * j + 4; }

constexpr int64_t spread_shared_bytes(int j, int steps, int channels) {
  const int64_t rings =
      int64_t{16} * (kRing * mixing_vectors(steps) + kStages * kernel_vectors(j, steps)) +
      int64_t{4} * kRing * channels * kStrip;
  const int64_t sums = int64_t{4} * channels * 2 * kSpreadRows * half_span(j);
  return rings > sums ? rings : sums;
}

struct SpreadArgs {
  Sizes sizes;
  Packed packed;
  const float* lines;  // (count, channels, out_height, strips * kStrip), scaled by prepare_lines
  float* sums;         // (count, channels, extended_height, strips, strip_span)
  int tiles;           // down the extended image
};

struct LinesArgs {
  Sizes sizes;
  const void* image;  // (count, channels, out_height, out_width)
  const float* pixel_scale;
  int64_t pixel_stride;
  float* lines;
};

// The blurred image in whole strips, with the scale of each pixel's coefficients taken out.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
prepare_lines(const LinesArgs args, int64_t pixels) {
  const Sizes& s = args.sizes;
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index >= pixels) return;
  const int padded = s.strips * kStrip;
  const int x = static_cast<int>(index % padded);
  const int64_t line = index / padded;  // of all samples and channels
  const int64_t y = line % s.out_height, sample = line / s.out_height / s.channels;
  const float scale = args.pixel_scale[sample * args.pixel_stride + y * padded + x];
  const T* image = static_cast<const T*>(args.image) + line * s.out_width;
  args.lines[index] = x < s.out_width ? load(image[x]) * scale : 0.f;
}

// The three rings of shared memory, and what fills them.
template <int kJ, int kSteps, int kC>
struct SpreadRings {
  static constexpr int kMixing = mixing_vectors(kSteps), kKernel = kernel_vectors(kJ, kSteps);
  static_assert(kMixing <= kSpreadThreads && kKernel <= kSpreadThreads);

  uint4 *mixing, *kernels;
  float* lines;

  BLUROPS_DEVICE SpreadRings() {
    mixing = reinterpret_cast<uint4*>(gpu::shared_memory());
    kernels = mixing + kRing * kMixing;
    lines = reinterpret_cast<float*>(kernels + kStages * kKernel);
  }

  // Row y of the blurred image and its coefficients into place `slot`; zeros outside.
  BLUROPS_DEVICE void fetch_row(const SpreadArgs& args, const Part& part, int group, int y,
                                int slot) const {
    const Sizes& s = args.sizes;
    const int thread = gpu::thread_index();
    const bool inside = y >= 0 && y < s.out_height;
    const int line = inside ? y : 0;
    if (thread < kMixing) {
      const uint4* from = args.packed.mixing + part.sample * args.packed.mixing_stride +
                          (int64_t{group * s.out_height + line} * s.strips + part.strip) * kMixing;
      gpu::copy_async(mixing + slot * kMixing + thread, from + thread, inside);
    }
    // The last threads fetch fewer of the other rows.
    constexpr int kVectors = kStrip / 4, kFirst = kSpreadThreads - kC * kVectors;
    if (thread >= kFirst) {
      const int c = (thread - kFirst) / kVectors, i = (thread - kFirst) % kVectors * 4;
      const int64_t channel = int64_t{part.sample} * s.channels + part.first_channel + c;
      const bool there = inside && c < part.channels;
      const float* from =
          args.lines + ((there ? channel * s.out_height + y : 0) * s.strips + part.strip) * kStrip +
          i;
      gpu::copy_async(lines + (slot * kC + c) * kStrip + i, from, there);
    }
  }
};

// One kernel row against one row of the blurred image:
// sums[c][i + d] += W[i, d] values[c][i] over the thread's pixels i and taps d.
template <int kJ, int kSteps, int kC>
BLUROPS_DEVICE void spread_row(float (&sums)[kC][Taps<kJ>::kReach], const uint4* mixing,
                               const uint4* kernel, const float* values, int run, int t) {
  const int lane = gpu::thread_index() % 32;
  KernelOperand<kSteps> operands[kJ];
  BLUROPS_UNROLL
  for (int j = 0; j < kJ; ++j) operands[j] = read_kernel<kSteps>(kernel, j, lane);
  BLUROPS_UNROLL
  for (int half = 0; half < 2; ++half) {
    float4 value[kC];
    BLUROPS_UNROLL
    for (int c = 0; c < kC; ++c) {
      value[c] =
          gpu::read(reinterpret_cast<const float4*>(values + c * kStrip + run * kRun + 4 * half));
    }
    BLUROPS_UNROLL
    for (int a = 2 * half; a < 2 * half + 2; ++a) {
      uint4 coefficients[kSteps];
      BLUROPS_UNROLL
      for (int step = 0; step < kSteps; ++step) {
        coefficients[step] = gpu::read(mixing + mixing_vector(run * kPairs + a, step, kSteps, t));
      }
      BLUROPS_UNROLL
      for (int j = 0; j < kJ; ++j) {
        float own[4];
        synthesise(own, coefficients, operands[j]);
        BLUROPS_UNROLL
        for (int c = 0; c < kC; ++c) {
          const float first = a % 2 == 0 ? value[c].x : value[c].z;
          const float second = a % 2 == 0 ? value[c].y : value[c].w;
          float* to = sums[c] + 2 * a + 2 * j;
          to[0] = gpu::multiply_add(own[0], first, to[0]);
          to[1] = gpu::multiply_add(own[1], first, to[1]);
          to[1] = gpu::multiply_add(own[2], second, to[1]);
          to[2] = gpu::multiply_add(own[3], second, to[2]);
        }
      }
    }
  }
}

// All kernel rows of one group of bases. The row of the blurred image that a kernel row needs is
// the output's own less the kernel's: with each step, one more enters above.
template <int kJ, int kSteps, int kC>
BLUROPS_DEVICE void spread_group(float (&sums)[kC][Taps<kJ>::kReach], const SpreadArgs& args,
                                 const Part& part, int group, int row, int run, int t) {
  using Rings = SpreadRings<kJ, kSteps, kC>;
  const Rings rings;
  const Sizes& s = args.sizes;
  const int steps = s.kernel_height, first = part.tile * kSpreadRows;
  const uint4* kernels = args.packed.kernels + part.sample * args.packed.kernels_stride +
                         int64_t{group} * steps * Rings::kKernel;
  // Rows are counted from the highest that the block meets, which keeps their places positive.
  const auto fetch = [&](int step) {
    if (step < steps) {
      rings.fetch_row(args, part, group, first - step, (steps - 1 - step) % kRing);
    }
    fetch_kernel_row<Rings::kKernel, kSpreadThreads>(rings.kernels, kernels, step, steps);
    gpu::commit_copies();
  };
  for (int i = 1; i < kSpreadRows; ++i) {
    rings.fetch_row(args, part, group, first + i, (steps - 1 + i) % kRing);
  }
  for (int step = 0; step + 1 < kStages; ++step) fetch(step);
  BLUROPS_ROLLED
  for (int step = 0; step < steps; ++step) {
    gpu::wait_copies<kStages - 2>();
    gpu::barrier();
    const int slot = (steps - 1 - step + row) % kRing;
    spread_row<kJ, kSteps, kC>(sums, rings.mixing + slot * Rings::kMixing,
                               rings.kernels + step % kStages * Rings::kKernel,
                               rings.lines + slot * kC * kStrip, run, t);
    fetch(step + kStages - 1);
  }
}

// Adds the sums of the threads, whose pixels and taps overlap, in shared memory: in step i, every
// thread adds its i-th, and no two of a warp meet, because 8 run + kStride t never repeats.
template <int kJ, int kC>
BLUROPS_DEVICE void gather_sums(const float (&sums)[kC][Taps<kJ>::kReach], float* gathered,
                                int half, int row, int run, int t) {
  constexpr int kPitch = half_span(kJ), kPlane = 2 * kSpreadRows * kPitch;
  for (int i = gpu::thread_index(); i < kC * kPlane; i += kSpreadThreads) {
    gpu::write(gathered + i, 0.f);
  }
  gpu::barrier();
  float* to =
      gathered + (half * kSpreadRows + row) * kPitch + run % 4 * kRun + t * Taps<kJ>::kStride;
  BLUROPS_UNROLL
  for (int i = 0; i < Taps<kJ>::kReach; ++i) {
    BLUROPS_UNROLL
    for (int c = 0; c < kC; ++c) {
      float* sum = to + c * kPlane + i;
      gpu::write(sum, gpu::read(sum) + sums[c][i]);
    }
    gpu::warp_barrier();
  }
  gpu::barrier();
}

// The two halves of the strip together, scaled.
template <int kJ, int kC>
BLUROPS_DEVICE void store_strip(const float* gathered, const SpreadArgs& args, const Part& part) {
  constexpr int kPitch = half_span(kJ), kSpan = strip_span(kJ);
  const Sizes& s = args.sizes;
  const float scale = args.packed.kernel_scale[part.sample * args.packed.scale_stride];
  for (int i = gpu::thread_index(); i < kC * kSpreadRows * kSpan; i += kSpreadThreads) {
    const int c = i / (kSpreadRows * kSpan), row = i / kSpan % kSpreadRows, x = i % kSpan;
    const int u = part.tile * kSpreadRows + row;
    if (c >= part.channels || u >= s.extended_height()) continue;
    const float* from = gathered + (c * 2 * kSpreadRows + row) * kPitch + x;
    const float left = x < kPitch ? gpu::read(from) : 0.f;
    const float right = x >= kStrip / 2 ? gpu::read(from + kSpreadRows * kPitch - kStrip / 2) : 0.f;
    const int64_t channel = int64_t{part.sample} * s.channels + part.first_channel + c;
    const int64_t line = channel * s.extended_height() + u;
    args.sums[(line * s.strips + part.strip) * kSpan + x] = (left + right) * scale;
  }
}

// Some rows of the extended image, from one strip of the blurred image.
template <int kJ, int kSteps, int kC>
BLUROPS_KERNEL(kSpreadThreads, 1)
spread_tile(const SpreadArgs args) {
  const Part part = part_of<kC>(args.sizes, args.tiles);
  const int lane = gpu::thread_index() % 32, warp = gpu::thread_index() / 32;
  const int g = lane / 4, t = lane % 4, half = warp % 2;
  const int run = half * 4 + g % 4, row = warp / 2 * 2 + g / 4;
  float sums[kC][Taps<kJ>::kReach] = {};
  for (int group = 0; group < args.sizes.groups; ++group) {
    if (group > 0) gpu::barrier();
    spread_group<kJ, kSteps, kC>(sums, args, part, group, row, run, t);
  }
  gpu::wait_copies<0>();
  gpu::barrier();
  float* gathered = reinterpret_cast<float*>(gpu::shared_memory());
  gather_sums<kJ, kC>(sums, gathered, half, row, run, t);
  store_strip<kJ, kC>(gathered, args, part);
}

struct FoldArgs {
  Sizes sizes;
  const float* sums;  // of spread_tile
  void* out;          // (count, channels, height, width)
  int span;
};

// What lies at column u of the extended image: every strip that reaches it, from the left.
BLUROPS_DEVICE float extended_sum(const float* line, int u, int strips, int span) {
  const int last = u / kStrip < strips ? u / kStrip : strips - 1;
  float sum = 0;
  for (int strip = u < span ? 0 : (u - span) / kStrip + 1; strip <= last; ++strip) {
    sum += line[int64_t{strip} * span + (u - strip * kStrip)];
  }
  return sum;
}

// One pixel of the result: the exact transpose of the index maps, in a fixed order.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
fold_strips(const FoldArgs args, int64_t pixels) {
  const Sizes& s = args.sizes;
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index >= pixels) return;
  const int64_t x = index % s.width, y = index / s.width % s.height;
  const int64_t channel = index / s.width / s.height;
  const float* sums =
      args.sums + channel * s.extended_height() * s.strips * static_cast<int64_t>(args.span);
  const Sources rows(y, s.height, s.extended_height(), s.anchor_y, s.boundary);
  const Sources columns(x, s.width, s.extended_width(), s.anchor_x, s.boundary);
  float total = 0;
  for (int64_t j = 0; j < rows.count(); ++j) {
    const int64_t v = rows.at(j);
    if (v < 0) continue;
    for (int64_t i = 0; i < columns.count(); ++i) {
      const int64_t u = columns.at(i);
      if (u < 0) continue;
      total +=
          extended_sum(sums + v * s.strips * args.span, static_cast<int>(u), s.strips, args.span);
    }
  }
  store(total, static_cast<T*>(args.out) + index);
}

}  // namespace blurops::cuda
