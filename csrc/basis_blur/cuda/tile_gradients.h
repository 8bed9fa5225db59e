// SPDX-License-Identifier: BSD-3-Clause
// The gradients of a blur by mixing and kernels, by tiles. Sums have one owner, or are added up in
// an order that the shapes alone decide.
#pragma once

#include "basis_blur/cuda/tile_sizes.h"

namespace blurops::cuda {

struct TileMixingArgs {
  TileSizes sizes;
  const float2* roots;
  const float2* filters;
  const void* grad;   // (count, channels, out_height, out_width)
  const void* image;  // (count, channels, height, width)
  float2* windows;    // (blocks, parts, kPoints)
  float* sums;        // (1 or count, basis, out_height, out_width)
  int64_t works, blocks;
};

// A tile of the gradient's maps: sum_c grad_c times the responses to each pair, of one sample or
// of all.
template <int kT>
BLUROPS_KERNEL(Tile<kT>::kThreads, kT == 64 ? 2 : 1)
grad_mixing_tiles(const TileMixingArgs args) {
  using Of = Tile<kT>;
  const TileSizes& s = args.sizes;
  const Passes<kT> passes(args.roots, gpu::thread_index());
  float2* windows = args.windows + gpu::block_index() * s.parts() * Of::kPoints;
  BLUROPS_ROLLED
  for (int64_t work = gpu::block_index(); work < args.works; work += args.blocks) {
    const int maps_of = static_cast<int>(work / s.tiles());
    const int terms = (s.own_mixing ? 1 : s.count) * s.channels;
    BLUROPS_ROLLED
    for (int term = 0; term < terms; ++term) {
      const int sample = maps_of + term / s.channels;
      const Spot spot(s, work % s.tiles(), sample, term % s.channels);
      transform_windows(passes, s, args.image, spot, windows);
      const float2* filters =
          args.filters + (s.own_kernels ? sample : 0) * s.filters() * Of::kPoints;
      BLUROPS_ROLLED
      for (int pair = 0; pair < s.pairs; ++pair, filters += int64_t{s.parts()} * Of::kPoints) {
        passes.inverse_across(s.columns, [&](int u, float2(&r)[8]) {
          multiply_parts(passes, s, windows, filters, u, r);
        });
        const PairOfMaps maps(s, nullptr, maps_of, pair);
        passes.inverse_lines(s.columns, [&](int, int x, int n2, const float2(&r)[Of::kFirst]) {
          BLUROPS_UNROLL
          for (int n1 = 0; n1 < Of::kFirst; ++n1) {
            const int y = 8 * n1 + n2;
            if (!spot.has(s, y, x)) continue;
            const int64_t pixel = spot.pixel(s, y, x);
            const float grad = load_at(args.grad, s.dtype, spot.plane(s) + pixel);
            float* first = args.sums + maps.first + pixel;
            *first = gpu::multiply_add(grad, r[n1].x, term == 0 ? 0.f : *first);
            if (maps.second < 0) continue;
            float* second = args.sums + maps.second + pixel;
            *second = gpu::multiply_add(grad, r[n1].y, term == 0 ? 0.f : *second);
          }
        });
      }
    }
  }
}

struct TileRoundArgs {
  const float* sums;
  void* out;
  DType dtype;
};

BLUROPS_KERNEL(kPackThreads, 1) round_sums(const TileRoundArgs args, int64_t count) {
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index < count) store_at(args.sums[index], args.out, args.dtype, index);
}

struct TileKernelsArgs {
  TileSizes sizes;
  const float2* roots;
  const void* grad;    // (count, channels, out_height, out_width)
  const void* image;   // (count, channels, height, width)
  const void* mixing;  // (1 or count, basis, out_height, out_width)
  float2* windows;     // (blocks, parts, kPoints)
  float2* partial;     // (1 or count, chunks, pairs, parts, kPoints)
  void* out;           // (1 or count, basis, kernel_height, kernel_width)
  int chunks, splits;  // of the tiles, of the pairs
};

// The sum over a chunk of tiles and channels of conj(P) X, X being a window's spectrum and P that
// of the gradient's tile times a pair's mixing.
template <int kT>
BLUROPS_KERNEL(Tile<kT>::kThreads, kT == 64 ? 2 : 1)
grad_kernels_tiles(const TileKernelsArgs args) {
  using Of = Tile<kT>;
  const TileSizes& s = args.sizes;
  const Passes<kT> passes(args.roots, gpu::thread_index());
  float2* windows = args.windows + gpu::block_index() * s.parts() * Of::kPoints;
  const int split = static_cast<int>(gpu::block_index() % args.splits);
  const int64_t chunk_of = gpu::block_index() / args.splits, chunk = chunk_of % args.chunks;
  const int64_t sample = chunk_of / args.chunks;
  const int64_t works = s.own_kernels ? s.tiles() * s.channels : s.works();
  const int64_t begin = sample * works + works * chunk / args.chunks;
  const int64_t end = sample * works + works * (chunk + 1) / args.chunks;
  const int first = s.pairs * split / args.splits, last = s.pairs * (split + 1) / args.splits;
  float2* totals = args.partial + chunk_of * s.filters() * Of::kPoints;
  BLUROPS_ROLLED
  for (int64_t work = begin; work < end; ++work) {
    const Spot spot(s, work);
    transform_windows(passes, s, args.image, spot, windows);
    BLUROPS_ROLLED
    for (int pair = first; pair < last; ++pair) {
      fill_products(passes, s, args.grad, PairOfMaps(s, args.mixing, spot.sample, pair), spot);
      passes.forward_lines(s.columns);
      passes.forward_across(s.columns, [&](int u, const float2(&r)[8]) {
        BLUROPS_ROLLED
        for (int part = 0; part < s.parts(); ++part) {
          const float2* window = windows + int64_t{part} * Of::kPoints;
          float2* total = totals + (int64_t{pair} * s.parts() + part) * Of::kPoints;
          BLUROPS_UNROLL
          for (int k = 0; k < 8; ++k) {
            const int at = passes.at(u, k);
            total[at] = add_product(window[at], conjugate(r[k]),
                                    work == begin ? float2{0.f, 0.f} : total[at]);
          }
        }
      });
    }
  }
}

// The taps of a pair's part, from the chunks' sums: the inverse is g_a - i g_b.
template <int kT>
BLUROPS_KERNEL(Tile<kT>::kThreads, 1)
finish_taps(const TileKernelsArgs args) {
  using Of = Tile<kT>;
  const TileSizes& s = args.sizes;
  const Passes<kT> passes(args.roots, gpu::thread_index());
  const int64_t filter = gpu::block_index() % s.filters();
  const int64_t sample = gpu::block_index() / s.filters();
  const float2* partial =
      args.partial + (sample * args.chunks * s.filters() + filter) * Of::kPoints;
  passes.inverse_across(s.part_width, [&](int u, float2(&r)[8]) {
    BLUROPS_UNROLL
    for (int k = 0; k < 8; ++k) {
      r[k] = {0.f, 0.f};
      BLUROPS_ROLLED
      for (int chunk = 0; chunk < args.chunks; ++chunk) {
        r[k] = plus(r[k], partial[chunk * s.filters() * Of::kPoints + passes.at(u, k)]);
      }
      r[k] = scaled(r[k], 1.f / Of::kPoints);
    }
  });
  const int part = static_cast<int>(filter % s.parts()),
            pair = static_cast<int>(filter / s.parts());
  const int top = part / s.parts_across * s.part_height;
  const int left = part % s.parts_across * s.part_width;
  const int64_t taps = int64_t{s.kernel_height} * s.kernel_width;
  const int64_t kernel = (sample * s.basis + 2 * pair) * taps;
  passes.inverse_lines(s.part_width, [&](int, int x, int n2, const float2(&r)[Of::kFirst]) {
    BLUROPS_UNROLL
    for (int n1 = 0; n1 < Of::kFirst; ++n1) {
      const int y = 8 * n1 + n2;
      if (y >= s.part_height || top + y >= s.kernel_height || left + x >= s.kernel_width) continue;
      const int64_t tap = kernel + int64_t{top + y} * s.kernel_width + left + x;
      store_at(r[n1].x, args.out, s.dtype, tap);
      if (2 * pair + 1 < s.basis) store_at(-r[n1].y, args.out, s.dtype, tap + taps);
    }
  });
}

}  // namespace blurops::cuda
