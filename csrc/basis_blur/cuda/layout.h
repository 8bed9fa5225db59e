// SPDX-License-Identifier: BSD-3-Clause
// How kernels and mixing coefficients lie in memory for the tensor cores.
//
// The kernels here never store a pixel's own kernel, W[p, d] = sum_b m_b[p] k_b[d]: a product of
// tensor cores makes it (rows are pixels, columns are taps, the sum runs over bases), and its
// result is used from the registers at once. All three indices are permuted so that one aligned
// vector is one operand, and so that a thread owns a run of pixels and a run of taps. With
// lane = 4 g + t, as in mma.m16n8k16:
//
// - Bases: kSteps products of 16 bases each make a group. Thread t owns 4 kSteps of them in a row.
// - Taps: thread t owns 2 kJ slots from tap kStride t on. The last slot of a run is also the first
//   of the next one, and stays zero but in the last run: the odd stride keeps the threads of a
//   warp in different banks.
// - Pixels: a strip is 64 pixels wide; a warp owns two rows of 32, a thread 8 in a row.
#pragma once

#include <cstdint>

#include "common/boundary.h"
#include "common/dtype.h"
#include "gpu/device.h"

namespace blurops::cuda {

constexpr int kStrip = 64;     // pixels
constexpr int kRun = 8;        // of a thread
constexpr int kPairs = 4;      // of pixels in a run: the products of a thread
constexpr int kBases = 16;     // of a product
constexpr int kMostWide = 77;  // taps: the widest kernel that has an instance

constexpr int kPackThreads = 256;  // of the kernels with one thread per item

BLUROPS_HD constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Products per kernel row: so many taps fit into Taps<kJ>::kCapacity.
BLUROPS_HD constexpr int taps_class(int kernel_width) { return ceil_div(kernel_width + 3, 8); }

// Kernels with instances for one channel. Wider ones of one channel are the tile method's, and pass
// for three channels where synthesis is asked for.
constexpr int kWidestOfOne = 5;  // taps_class

template <int kJ>
struct Taps {
  static constexpr int kSlots = 2 * kJ;             // of a thread
  static constexpr int kStride = 2 * kJ - 1;        // from one thread's run to the next one's
  static constexpr int kCapacity = 8 * kJ - 3;      // different taps of the four threads
  static constexpr int kReach = kRun + kSlots - 1;  // pixels that a thread's products meet
};

// Bases listed once, or three times at high precision (pack.h).
BLUROPS_HD constexpr int listed_bases(int basis, bool high) { return high ? 3 * basis : basis; }

// One kernel row of one group: kJ products, 32 lanes, kSteps pairs of 32-bit operands.
BLUROPS_HD constexpr int kernel_vectors(int j, int steps) { return j * 16 * steps; }
// One row of a strip, of one group: 32 pairs of pixels.
BLUROPS_HD constexpr int mixing_vectors(int steps) { return kStrip / 2 * 4 * steps; }

// Where in their row the operands of pair `pair` (pixels 2 pair, 2 pair + 1), of a product and a
// thread lie. Neighbouring runs are exchanged in part, which keeps a warp's reads in different
// banks.
BLUROPS_HD inline int mixing_vector(int pair, int step, int steps, int t) {
  const int run = pair / kPairs;
  return ((pair * steps + step) ^ (run & 1)) * 4 + t;
}

// The same for the pairs of one run, from two numbers that are computed once.
template <int kSteps>
struct RunOfMixing {
  int even, odd;

  BLUROPS_DEVICE RunOfMixing(int run, int t)
      : even(mixing_vector(run * kPairs, 0, kSteps, t)),
        odd(mixing_vector(run * kPairs, 0, kSteps, t) + (run & 1 ? -4 : 4)) {}
  BLUROPS_DEVICE int vector(int pair, int step) const {
    const int unit = pair * kSteps + step;
    return (unit % 2 == 0 ? even : odd) + unit / 2 * 8;
  }
};

// The first of the four bases whose coefficients such a vector holds, within its group.
BLUROPS_HD inline int first_base(int step, int steps, int t) { return 4 * (t * steps + step); }

// Operands in memory, packed by pack.h. A shared field has strides of zero between samples.
struct Packed {
  const uint4* mixing;        // (samples, groups, out_height, strips, mixing_vectors)
  const float* pixel_scale;   // (samples, out_height, strips * kStrip)
  const uint4* kernels;       // (samples, groups, kernel_height, kernel_vectors)
  const float* kernel_scale;  // (samples)
  int64_t mixing_stride, pixel_stride, kernels_stride;
  int64_t scale_stride;
};

// The sizes of a problem as the kernels need them; see Problem.
struct Sizes {
  int count, channels, height, width, out_height, out_width;
  int kernel_height, kernel_width, anchor_y, anchor_x;
  Boundary boundary;
  DType dtype;
  int groups;          // of bases
  int strips;          // across the blurred image
  int channel_groups;  // a block works on kC channels

  BLUROPS_HD int extended_height() const { return out_height + kernel_height - 1; }
  BLUROPS_HD int extended_width() const { return out_width + kernel_width - 1; }
};

// Which part of the work a block does: strips run fastest.
struct Part {
  int strip, tile, sample, first_channel, channels;
};

template <int kC>
BLUROPS_DEVICE Part part_of(const Sizes& sizes, int tiles) {
  int64_t rest = gpu::block_index();
  Part part;
  part.strip = static_cast<int>(rest % sizes.strips);
  rest /= sizes.strips;
  part.tile = static_cast<int>(rest % tiles);
  rest /= tiles;
  part.first_channel = static_cast<int>(rest % sizes.channel_groups) * kC;
  part.sample = static_cast<int>(rest / sizes.channel_groups);
  const int left = sizes.channels - part.first_channel;
  part.channels = left < kC ? left : kC;
  return part;
}

// Which pixels a thread owns, of a strip and of the rows that two warps share, and which taps.
struct Place {
  int lane, row, half, run, t;

  BLUROPS_DEVICE explicit Place(int thread) : lane(thread % 32), t(thread % 4) {
    const int warp = thread / 32, g = lane / 4;
    half = warp % 2;
    run = half * 4 + g % 4;
    row = warp / 2 * 2 + g / 4;
  }
};

// What one product with a kernel's taps needs of a thread.
template <int kSteps>
struct KernelOperand {
  uint32_t words[2 * kSteps];
};

template <int kSteps>
BLUROPS_DEVICE KernelOperand<kSteps> read_kernel(const uint4* row, int j, int lane) {
  KernelOperand<kSteps> operand;
  if constexpr (kSteps == 2) {
    const uint4 v = gpu::read(row + j * 32 + lane);
    operand.words[0] = v.x, operand.words[1] = v.y, operand.words[2] = v.z, operand.words[3] = v.w;
  } else {
    const uint2 v = gpu::read(reinterpret_cast<const uint2*>(row) + j * 32 + lane);
    operand.words[0] = v.x, operand.words[1] = v.y;
  }
  return operand;
}

// The own kernels of two pixels at two taps each: (pixel 0, tap 0), (0, 1), (1, 0), (1, 1).
template <int kSteps>
BLUROPS_DEVICE void synthesise(float (&own)[4], const uint4 (&mixing)[kSteps],
                               const KernelOperand<kSteps>& kernel) {
  gpu::mma_first(own, mixing[0], kernel.words[0], kernel.words[1]);
  if constexpr (kSteps == 2) gpu::mma_next(own, mixing[1], kernel.words[2], kernel.words[3]);
}

}  // namespace blurops::cuda
