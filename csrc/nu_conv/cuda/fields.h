// SPDX-License-Identifier: BSD-3-Clause
// What the kernels of NU-Conv read: float copies of the operands where storage is narrower, the
// image extended by its border, and the bank with its filters side by side, so that neighbours that
// pick different filters at one tap read one line of the cache.
#pragma once

#include "gpu/planes.h"
#include "nu_conv/nu_conv.h"

namespace blurops::cuda {

constexpr int kPicked = 4;          // filters that are mixed in one pass over the taps
constexpr int kChannelsAtOnce = 3;  // that share a pass

// An index as the bank has it: nobody has looked whether it lies inside.
BLUROPS_DEVICE int within(int filter, int last) {
  return filter < 0 ? 0 : filter > last ? last : filter;
}

// Read by every kernel; what a member does not need is null.
struct Fields {
  NuConv problem;
  const float* extended;  // (N, C, extended_height, extended_width)
  const float* filtered;  // (N, out channels, out_height, out_width): the gradient, or the input
  const float* bank;      // (bank channels, Kh Kw, F)
  const int32_t* index;
  const float* weight;

  BLUROPS_HD int64_t extended_height() const {
    return problem.out_height + problem.kernel_height - 1;
  }
  BLUROPS_HD int64_t extended_width() const { return problem.out_width + problem.kernel_width - 1; }
  BLUROPS_HD int64_t pixels() const { return problem.out_height * problem.out_width; }
  BLUROPS_HD int taps() const {
    return static_cast<int>(problem.kernel_height * problem.kernel_width);
  }
  // A bank of one channel makes three channels in a pass, one of several makes one.
  BLUROPS_HD int64_t group() const { return problem.own ? 1 : kChannelsAtOnce; }

  BLUROPS_DEVICE int filter(int64_t n, int64_t j, int64_t pixel) const {
    const int64_t sample = problem.index_batched ? n : 0;
    return within(index[(sample * problem.picked + j) * pixels() + pixel],
                  static_cast<int>(problem.filters) - 1);
  }
  BLUROPS_DEVICE float coefficient(int64_t n, int64_t j, int64_t pixel) const {
    const int64_t sample = problem.weight_batched ? n : 0;
    return weight[(sample * problem.picked + j) * pixels() + pixel];
  }
  // Row 0 of what the first tap of a pixel's filter reads.
  BLUROPS_DEVICE const float* window(int64_t n, int64_t c, int64_t pixel) const {
    // Of 32 bits, for which dividing is quick.
    const uint32_t width = static_cast<uint32_t>(problem.out_width);
    const uint32_t y = static_cast<uint32_t>(pixel) / width;
    const uint32_t x = static_cast<uint32_t>(pixel) % width;
    return extended + ((n * problem.channels + c) * extended_height() + y) * extended_width() + x;
  }
};

// Some of the filters that a pixel picks; beyond the last, the first with a weight of zero.
struct Mix {
  int filters[kPicked];
  float weights[kPicked];

  BLUROPS_DEVICE Mix(const Fields& f, int64_t n, int64_t first, int64_t pixel, bool weighted) {
    BLUROPS_UNROLL
    for (int j = 0; j < kPicked; ++j) {
      const bool there = first + j < f.problem.picked;
      filters[j] = f.filter(n, there ? first + j : first, pixel);
      weights[j] = there && weighted ? f.coefficient(n, first + j, pixel) : 0.f;
    }
  }

  // The pixel's own filter at a tap; `taps` are those of all filters.
  BLUROPS_DEVICE float at(const float* taps) const {
    float sum = weights[0] * taps[filters[0]];
    BLUROPS_UNROLL
    for (int j = 1; j < kPicked; ++j) {
      sum = gpu::multiply_add(weights[j], taps[filters[j]], sum);
    }
    return sum;
  }
};

// Which tiles of pixels pick too many filters for tensor cores, which make the others.
struct Crowds {
  int* crowded = nullptr;  // (N, tiles, strips); null: all
  int tiles = 0, strips = 0, rows = 1, columns = 1;

  BLUROPS_DEVICE bool made(int64_t n, int64_t y, int64_t x) const {
    return crowded != nullptr && crowded[(n * tiles + y / rows) * strips + x / columns] == 0;
  }
  // Whether all of rows y0 .. y1 and columns x0 .. x1 is made, as far as there are such.
  BLUROPS_DEVICE bool all_made(int64_t n, int64_t y0, int64_t y1, int64_t x0, int64_t x1) const {
    bool all = crowded != nullptr;
    for (int64_t i = (y0 < 0 ? 0 : y0) / rows; i <= y1 / rows && i < tiles; ++i) {
      for (int64_t j = (x0 < 0 ? 0 : x0) / columns; all && j <= x1 / columns && j < strips; ++j) {
        all = crowded[(n * tiles + i) * strips + j] == 0;
      }
    }
    return all;
  }
};

// Operands of 11 bits, and what tensor cores need beside them.
struct Rounded {
  Fields fields;  // bank, index and weight; problem.weight_batched may differ from the call's
  const uint16_t* halves;
  const float *scales, *pixel_scales;
};

// Whether a call has such operands: filters neither wider than the instances, nor so narrow that
// gathering is as fast.
bool rounds(const NuConv& problem, bool high);

// Queues the rounding (synthesis.cu).
Rounded round_operands(gpu::Queue& queue, const NuConv& problem, const void* bank,
                       const void* index, const void* weight);

// Queues what tensor cores make of out (N, out channels, out_height, out_width), and says where
// they make nothing.
Crowds synthesise(gpu::Queue& queue, const Rounded& from, const void* image, void* out);

// What tensor cores make of the adjoint: each tile's sums beside those of the others.
struct Spread {
  Crowds crowds;
  const float* tiles;
};
Spread spread(gpu::Queue& queue, const Rounded& from);
// Queues adding them to sums (N, C, extended_height, extended_width).
void collect(gpu::Queue& queue, const NuConv& problem, const Spread& from, float* sums);

gpu::Planes planes_of(const NuConv& problem);

// The bank as Fields has it.
const float* lay_out_bank(gpu::Queue& queue, const NuConv& problem, const void* bank);

}  // namespace blurops::cuda
