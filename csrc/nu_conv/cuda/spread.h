// SPDX-License-Identifier: BSD-3-Clause
// The adjoint of synthesis.h on tensor cores: a tile of pixels spreads its own filters, whose rows
// of taps are all in shared memory, to the rows of the extended image that it reaches. Every tile
// writes its sums beside those of the others; collect_tiles adds them up in a fixed order.
#pragma once

#include "basis_blur/cuda/adjoint.h"
#include "nu_conv/cuda/synthesis.h"

namespace blurops::cuda {

constexpr int kZeroRow = kBlurRows;  // of coefficients and values, for rows outside the tile

BLUROPS_HD constexpr int tile_reach(int kernel_height) { return kBlurRows + kernel_height - 1; }

// Shared memory of a block, for up to `band` rows of taps at a time.
template <int kJ, int kC>
struct SpreadShelf : Listed {
  static constexpr int kPlane = 2 * kBlurRows * half_span(kJ);
  uint4* kernels;   // (band, kernel_vectors)
  float* lines;     // (kBlurRows + 1, kC, kStrip): what is spread
  float* gathered;  // (kC, 2, kBlurRows, half_span)

  BLUROPS_HD static int64_t bytes(int band, int words) {
    return Listed::bytes(kBlurRows + 1, words) + int64_t{16} * band * kernel_vectors(kJ, 2) +
           int64_t{4} * kC * ((kBlurRows + 1) * kStrip + kPlane);
  }
  BLUROPS_DEVICE SpreadShelf(int band, int words) : Listed(kBlurRows + 1, words) {
    kernels = static_cast<uint4*>(rest(words));
    lines = reinterpret_cast<float*>(kernels + band * kernel_vectors(kJ, 2));
    gathered = lines + (kBlurRows + 1) * kC * kStrip;
  }
};

// The tile's values without their pixels' scales, and the rows of zeros.
template <int kJ, int kC>
BLUROPS_DEVICE void fill_lines(const SynthesisArgs& args, const SpreadShelf<kJ, kC>& shelf) {
  const Fields& f = args.fields;
  const NuConv& p = f.problem;
  const Part part = part_of<kC>(args.sizes, args.crowds.tiles);
  const int64_t channel = part.sample * p.out_channels() + (p.own ? 0 : part.first_channel);
  const float* values = f.filtered + channel * f.pixels();
  const float* scales = args.pixel_scales + (p.weight_batched ? part.sample : 0) * f.pixels();
  for (int i = gpu::thread_index(); i < (kBlurRows + 1) * kC * kStrip; i += kBlurThreads) {
    const int x = part.strip * kStrip + i % kStrip, c = i / kStrip % kC, row = i / kStrip / kC;
    const int y = part.tile * kBlurRows + row;
    const bool there = row < kBlurRows && c < part.channels && y < p.out_height && x < p.out_width;
    const int64_t pixel = int64_t{y} * p.out_width + x;
    gpu::write(shelf.lines + i, there ? values[c * f.pixels() + pixel] / scales[pixel] : 0.f);
  }
  for (int i = gpu::thread_index(); i < kTileVectors; i += kBlurThreads) {
    gpu::write(shelf.mixing + kZeroRow * kTileVectors + i, uint4{});
  }
}

// What row `first` + (the thread's row) of the tile's reach gets from rows of taps 0 .. steps - 1.
template <int kJ, int kC>
BLUROPS_DEVICE void spread_rows(float (&sums)[kC][Taps<kJ>::kReach],
                                const SpreadShelf<kJ, kC>& shelf, int first, int steps) {
  const Place place(gpu::thread_index());
  const RunOfMixing<2> of(place.run, place.t);
  // The same for both rows of a warp.
  const int top = first + place.row / 2 * 2;
  const int begin = top < kBlurRows ? 0 : top - kBlurRows + 1;
  const int end = top + 2 < steps ? top + 2 : steps;
  BLUROPS_ROLLED
  for (int dy = begin; dy < end; ++dy) {
    const int from = first + place.row - dy;
    const int row = from < 0 || from >= kBlurRows ? kZeroRow : from;
    spread_row<kJ, 2, kC>(sums, shelf.mixing + row * kTileVectors, of,
                          shelf.kernels + dy * kernel_vectors(kJ, 2),
                          shelf.lines + row * kC * kStrip + place.run * kRun, place.lane);
  }
}

// Adds the threads' sums in shared memory, as gather_sums does, and those to the tile's in memory:
// rows `first` .. first + kBlurRows - 1 of its reach.
template <int kJ, int kC>
BLUROPS_DEVICE void add_sums(const float (&sums)[kC][Taps<kJ>::kReach], const SynthesisArgs& args,
                             const SpreadShelf<kJ, kC>& shelf, int first) {
  constexpr int kPitch = half_span(kJ), kSpan = strip_span(kJ);
  constexpr int kPlane = SpreadShelf<kJ, kC>::kPlane;
  const Place place(gpu::thread_index());
  for (int i = gpu::thread_index(); i < kC * kPlane; i += kBlurThreads) {
    gpu::write(shelf.gathered + i, 0.f);
  }
  gpu::barrier();
  float* to = shelf.gathered + (place.half * kBlurRows + place.row) * kPitch +
              place.run % 4 * kRun + place.t * Taps<kJ>::kStride;
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
  const Part part = part_of<kC>(args.sizes, args.crowds.tiles);
  const int reach = tile_reach(args.sizes.kernel_height);
  const int64_t channel = int64_t{part.sample} * args.sizes.channels + part.first_channel;
  for (int i = gpu::thread_index(); i < kC * kBlurRows * kSpan; i += kBlurThreads) {
    const int c = i / (kBlurRows * kSpan), row = i / kSpan % kBlurRows, x = i % kSpan;
    if (c >= part.channels || first + row >= reach) continue;
    const float* from = shelf.gathered + (c * 2 * kBlurRows + row) * kPitch + x;
    const float left = x < kPitch ? gpu::read(from) : 0.f;
    const float right = x >= kStrip / 2 ? gpu::read(from + kBlurRows * kPitch - kStrip / 2) : 0.f;
    const int64_t tile = (channel + c) * args.crowds.tiles + part.tile;
    const int64_t line = (tile * args.crowds.strips + part.strip) * reach + first + row;
    static_cast<float*>(args.out)[line * kSpan + x] += left + right;
  }
  gpu::barrier();
}

// One tile of what is spread, up to kC channels of it. args.out: zeros,
// (N, C, tiles, strips, tile_reach, strip_span).
template <int kJ, int kC>
BLUROPS_KERNEL(kBlurThreads, 1)
spread_listed(const SynthesisArgs args) {
  const SpreadShelf<kJ, kC> shelf(args.band, args.words);
  const int groups = begin_tile<kC>(args, shelf);
  if (groups < 0) return;
  const int height = args.sizes.kernel_height;
  constexpr int kVectors = kernel_vectors(kJ, 2);
  fill_lines(args, shelf);
  BLUROPS_ROLLED
  for (int group = 0; group < groups; ++group) {
    write_mixing(args, part_of<kC>(args.sizes, args.crowds.tiles), shelf, group);
    BLUROPS_ROLLED
    for (int band = 0; band < height; band += args.band) {
      const int left = height - band, steps = left < args.band ? left : args.band;
      const int channel =
          args.fields.problem.own ? part_of<kC>(args.sizes, args.crowds.tiles).first_channel : 0;
      for (int i = gpu::thread_index(); i < steps * kVectors; i += kBlurThreads) {
        const int vector = i % kVectors;
        gpu::write(shelf.kernels + i,
                   fetch_taps<kJ>(args, shelf.list, vector, channel, band + i / kVectors, group));
      }
      gpu::barrier();
      BLUROPS_ROLLED
      for (int first = 0; first < tile_reach(steps); first += kBlurRows) {
        float sums[kC][Taps<kJ>::kReach] = {};
        spread_rows<kJ, kC>(sums, shelf, first, steps);
        add_sums<kJ, kC>(sums, args, shelf, band + first);
      }
    }
  }
}

struct CollectArgs {
  int extended_height, extended_width, kernel_height, span;
  Crowds crowds;
  const float* tiles;  // of spread_listed
  float* sums;         // (N, C, extended_height, extended_width), added to
};

// One pixel of the extended image: every tile that reaches it, from the top left.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
collect_tiles(const CollectArgs args, int64_t items) {
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int u = static_cast<int>(item % args.extended_width);
  const int64_t line = item / args.extended_width;
  const int v = static_cast<int>(line % args.extended_height);
  const int64_t channel = line / args.extended_height;  // of all samples
  const int reach = tile_reach(args.kernel_height);
  const int last_tile = v / kBlurRows, last_strip = u / kStrip;
  const int first_tile = v < reach ? 0 : (v - reach) / kBlurRows + 1;
  const int first_strip = u < args.span ? 0 : (u - args.span) / kStrip + 1;
  float sum = args.sums[item];
  for (int tile = first_tile; tile <= last_tile && tile < args.crowds.tiles; ++tile) {
    for (int strip = first_strip; strip <= last_strip && strip < args.crowds.strips; ++strip) {
      const int64_t at = (channel * args.crowds.tiles + tile) * args.crowds.strips + strip;
      sum += args.tiles[(at * reach + v - tile * kBlurRows) * args.span + u - strip * kStrip];
    }
  }
  args.sums[item] = sum;
}

}  // namespace blurops::cuda
