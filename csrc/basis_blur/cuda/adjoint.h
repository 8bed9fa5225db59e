// SPDX-License-Identifier: BSD-3-Clause
// The adjoint on the GPU, the exact transpose of blur.h with the same packed operands. A block owns
// rows of the extended image, as wide as what one strip of the blurred image reaches, and writes
// its sums beside those of the other strips; fold_strips then adds strips and borders in a fixed
// order. So there are no atomics, and results repeat bit for bit.
#pragma once

#include "basis_blur/cuda/blur.h"
#include "basis_blur/cuda/layout.h"

namespace blurops::cuda {

// Twelve warps share a multiprocessor's registers; wide rows of taps need more for each thread.
BLUROPS_HD constexpr int spread_warps(int j) { return j <= 5 ? 12 : 8; }
BLUROPS_HD constexpr int spread_threads(int j) { return 32 * spread_warps(j); }
// Of a block: two warps share two rows.
BLUROPS_HD constexpr int spread_rows(int j) { return spread_warps(j); }

constexpr int kRing = 16;  // rows of the blurred image in shared memory
static_assert(kRing >= spread_rows(1) + kStages, "rows in use, on their way, and one warp behind");

// Columns of the extended image that a strip reaches, and half a strip, with room to spare.
BLUROPS_HD constexpr int strip_span(int j) { return kStrip + 8 * j; }
// 4 modulo 8, as blur_pitch.
BLUROPS_HD constexpr int half_span(int j) { return kStrip / 2 + 8 * j + 4; }

BLUROPS_HD constexpr int64_t spread_shared_bytes(int j, int steps, int channels) {
  const int64_t rings =
      int64_t{16} * (kRing * mixing_vectors(steps) + kStages * kernel_vectors(j, steps)) +
      int64_t{4} * kRing * channels * kStrip;
  const int64_t sums = int64_t{4} * channels * 2 * spread_rows(j) * half_span(j);
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

// Rows of the blurred image and of its coefficients on their way through shared memory.
template <int kSteps, int kC, int kThreads>
struct RowRing {
  static constexpr int kMixing = mixing_vectors(kSteps), kLine = kC * kStrip;
  static_assert(kMixing <= kThreads, "a thread copies one vector of a row at most");

  uint4* mixing;
  float* lines;
  const uint4* mixing_from;  // this thread's part of row 0
  const float* lines_from;
  int thread, line_thread, rows, strips;
  bool copies_line;

  BLUROPS_DEVICE RowRing(uint4* ring, const SpreadArgs& args, const Part& part, int group,
                         int thread_index)
      : mixing(ring), lines(reinterpret_cast<float*>(ring + kRing * kMixing)) {
    const Sizes& s = args.sizes;
    rows = s.out_height;
    strips = s.strips;
    thread = thread_index;
    mixing_from = args.packed.mixing + part.sample * args.packed.mixing_stride +
                  (int64_t{group} * rows * strips + part.strip) * kMixing + thread;
    // The last threads have no coefficients to copy, or fewer.
    line_thread = kThreads - 1 - thread;
    const int c = line_thread / (kStrip / 4), x = line_thread % (kStrip / 4) * 4;
    copies_line = c < part.channels;
    const int64_t channel = int64_t{part.sample} * s.channels + part.first_channel;
    lines_from =
        args.lines + ((channel + (copies_line ? c : 0)) * rows * strips + part.strip) * kStrip + x;
    line_thread = c * kStrip + x;
  }

  BLUROPS_DEVICE static unsigned place(int row) { return static_cast<unsigned>(row) % kRing; }

  // Row y into place(row), zeros where the image has no such row. Channels beyond the last stay
  // what they are, and so do their sums, which nobody stores.
  BLUROPS_DEVICE void fetch(bool wanted, int y, int row) const {
    const bool there = y >= 0 && y < rows;
    const int64_t line = int64_t{there ? y : 0} * strips;
    gpu::copy_async(wanted && thread < kMixing, mixing + place(row) * kMixing + thread,
                    mixing_from + line * kMixing, there);
    gpu::copy_async(wanted && copies_line, lines + place(row) * kLine + line_thread,
                    lines_from + line * kStrip, there);
  }
};

// One kernel row against one row of the blurred image:
// sums[c][i + d] += W[i, d] values[c][i] over the thread's pixels i and taps d.
template <int kJ, int kSteps, int kC>
BLUROPS_DEVICE void spread_row(float (&sums)[kC][Taps<kJ>::kReach], const uint4* mixing,
                               const RunOfMixing<kSteps>& of, const uint4* kernel,
                               const float* values, int lane) {
  KernelOperand<kSteps> operands[kJ];
  BLUROPS_UNROLL
  for (int j = 0; j < kJ; ++j) operands[j] = read_kernel<kSteps>(kernel, j, lane);
  float4 value[kC];
  BLUROPS_UNROLL
  for (int a = 0; a < kPairs; ++a) {
    if constexpr (kJ > 9) gpu::keep_order();
    BLUROPS_UNROLL
    for (int c = 0; c < kC && a % 2 == 0; ++c) {
      value[c] = gpu::read(reinterpret_cast<const float4*>(values + c * kStrip + 2 * a));
    }
    uint4 coefficients[kSteps];
    BLUROPS_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      coefficients[step] = gpu::read(mixing + of.vector(a, step));
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

// All kernel rows of one group of bases. The row of the blurred image that a kernel row needs is
// the output's own less the kernel's: with each step, one more enters above.
template <int kJ, int kSteps, int kC>
BLUROPS_DEVICE void spread_group(float (&sums)[kC][Taps<kJ>::kReach], const SpreadArgs& args,
                                 int group) {
  using Rows = RowRing<kSteps, kC, spread_threads(kJ)>;
  const Part part = part_of<kC>(args.sizes, args.tiles);
  constexpr int kKernel = kernel_vectors(kJ, kSteps);
  const int steps = args.sizes.kernel_height, top = part.tile * spread_rows(kJ);
  const int thread = gpu::thread_index();
  const Place place(thread);
  uint4* shared = reinterpret_cast<uint4*>(gpu::shared_memory());
  const KernelRing<kKernel, spread_threads(kJ)> kernels{
      shared,
      args.packed.kernels + part.sample * args.packed.kernels_stride +
          int64_t{group} * steps * kKernel,
      steps, thread};
  const Rows rows(shared + kStages * kKernel, args, part, group, thread);
  // Rows are counted from the highest that the block meets.
  const auto fetch = [&](int step) {
    rows.fetch(step < steps, top - step, steps - 1 - step);
    kernels.fetch(step);
  };
  BLUROPS_ROLLED
  for (int i = 1; i < spread_rows(kJ); ++i) rows.fetch(true, top + i, steps - 1 + i);
  BLUROPS_ROLLED
  for (int step = 0; step + 1 < kStages; ++step) fetch(step);
  const RunOfMixing<kSteps> of(place.run, place.t);
  BLUROPS_ROLLED
  for (int step = 0; step < steps; ++step) {
    gpu::wait_copies<kStages - 2>();
    gpu::barrier();
    const unsigned at = Rows::place(steps - 1 - step + place.row);
    spread_row<kJ, kSteps, kC>(sums, rows.mixing + at * Rows::kMixing, of, kernels.row(step),
                               rows.lines + at * Rows::kLine + place.run * kRun, place.lane);
    fetch(step + kStages - 1);
  }
}

// Adds the sums of the threads, whose pixels and taps overlap, in shared memory: in step i, every
// thread adds its i-th, and no two of a warp meet, because 8 run + kStride t never repeats.
template <int kJ, int kC>
BLUROPS_DEVICE void gather_sums(const float (&sums)[kC][Taps<kJ>::kReach], float* gathered,
                                const Place& place) {
  constexpr int kPitch = half_span(kJ), kRows = spread_rows(kJ), kPlane = 2 * kRows * kPitch;
  BLUROPS_ROLLED
  for (int i = gpu::thread_index(); i < kC * kPlane; i += spread_threads(kJ)) {
    gpu::write(gathered + i, 0.f);
  }
  gpu::barrier();
  float* to = gathered + (place.half * kRows + place.row) * kPitch + place.run % 4 * kRun +
              place.t * Taps<kJ>::kStride;
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
BLUROPS_DEVICE void store_strip(const float* gathered, const SpreadArgs& args) {
  constexpr int kPitch = half_span(kJ), kSpan = strip_span(kJ), kRows = spread_rows(kJ);
  const Sizes& s = args.sizes;
  const Part part = part_of<kC>(s, args.tiles);
  const float scale = args.packed.kernel_scale[part.sample * args.packed.scale_stride];
  BLUROPS_ROLLED
  for (int i = gpu::thread_index(); i < kC * kRows * kSpan; i += spread_threads(kJ)) {
    const int c = i / (kRows * kSpan), row = i / kSpan % kRows, x = i % kSpan;
    const int u = part.tile * kRows + row;
    if (c >= part.channels || u >= s.extended_height()) continue;
    const float* from = gathered + (c * 2 * kRows + row) * kPitch + x;
    const float left = x < kPitch ? gpu::read(from) : 0.f;
    const float right = x >= kStrip / 2 ? gpu::read(from + kRows * kPitch - kStrip / 2) : 0.f;
    const int64_t channel = int64_t{part.sample} * s.channels + part.first_channel + c;
    const int64_t line = channel * s.extended_height() + u;
    args.sums[(line * s.strips + part.strip) * kSpan + x] = (left + right) * scale;
  }
}

// Some rows of the extended image, from one strip of the blurred image.
template <int kJ, int kSteps, int kC>
BLUROPS_KERNEL(spread_threads(kJ), 1)
spread_tile(const SpreadArgs args) {
  float sums[kC][Taps<kJ>::kReach] = {};
  BLUROPS_ROLLED
  for (int group = 0; group < args.sizes.groups; ++group) {
    if (group > 0) gpu::barrier();
    spread_group<kJ, kSteps, kC>(sums, args, group);
  }
  // Every copy has been waited for; the rings make room for the sums.
  gpu::barrier();
  float* gathered = reinterpret_cast<float*>(gpu::shared_memory());
  gather_sums<kJ, kC>(sums, gathered, Place(gpu::thread_index()));
  store_strip<kJ, kC>(gathered, args);
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
