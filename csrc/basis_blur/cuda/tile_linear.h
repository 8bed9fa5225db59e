// SPDX-License-Identifier: BSD-3-Clause
// Blur and adjoint by tiles. A block makes one tile of one channel at a time; with kHeld, which is
// for kernels of one part, spectra that it needs for every pair of bases stay in registers.
#pragma once

#include "basis_blur/cuda/ratios.h"
#include "basis_blur/cuda/tile_sizes.h"

namespace blurops::cuda {

struct TileBlurArgs {
  TileSizes sizes;
  const float2* roots;
  const float2* filters;  // of transform_kernels
  const void* image;      // (count, channels, height, width)
  const void* mixing;     // (1 or count, basis, out_height, out_width)
  float2* windows;        // (blocks, parts, kPoints), unless they are held
  void* out;              // (count, channels, out_height, out_width), unless ratios are wanted
  int64_t blocks;
  Ratios ratios;
};

template <int kT, bool kHeld>
BLUROPS_KERNEL(Tile<kT>::kThreads, kT == 64 ? 2 : 1)
blur_tiles(const TileBlurArgs args) {
  using Of = Tile<kT>;
  const TileSizes& s = args.sizes;
  const Passes<kT> passes(args.roots, gpu::thread_index());
  float2* windows = args.windows + gpu::block_index() * s.parts() * Of::kPoints;
  BLUROPS_ROLLED
  for (int64_t work = gpu::block_index(); work < s.works(); work += args.blocks) {
    const Spot spot(s, work);
    float2 held[Of::kVectors][8];
    if constexpr (kHeld) {
      fill_window(passes, s, args.image, spot, 0);
      passes.forward_lines(kT);
      passes.forward_across(kT, [&](int u, const float2(&r)[8]) {
        BLUROPS_UNROLL
        for (int k = 0; k < 8; ++k) held[u][k] = r[k];
      });
    } else {
      transform_windows(passes, s, args.image, spot, windows);
    }
    float sums[Of::kRounds][Of::kFirst] = {};
    const float2* filters =
        args.filters + (s.own_kernels ? spot.sample : 0) * s.filters() * Of::kPoints;
    BLUROPS_ROLLED
    for (int pair = 0; pair < s.pairs; ++pair, filters += int64_t{s.parts()} * Of::kPoints) {
      passes.inverse_across(s.columns, [&](int u, float2(&r)[8]) {
        if constexpr (kHeld) {
          BLUROPS_UNROLL
          for (int k = 0; k < 8; ++k) r[k] = product(held[u][k], filters[passes.at(u, k)]);
        } else {
          multiply_parts(passes, s, windows, filters, u, r);
        }
      });
      const PairOfMaps maps(s, args.mixing, spot.sample, pair);
      passes.inverse_lines(s.columns, [&](int u, int x, int n2, const float2(&r)[Of::kFirst]) {
        BLUROPS_UNROLL
        for (int n1 = 0; n1 < Of::kFirst; ++n1) {
          const int y = 8 * n1 + n2;
          if (!spot.has(s, y, x)) continue;
          const float2 share = maps.at(spot.pixel(s, y, x));
          sums[u][n1] =
              gpu::multiply_add(share.y, r[n1].y, gpu::multiply_add(share.x, r[n1].x, sums[u][n1]));
        }
      });
    }
    BLUROPS_UNROLL
    for (int u = 0; u < Of::kRounds; ++u) {
      const int i = passes.thread + u * Of::kThreads, x = i % s.columns, n2 = i / s.columns;
      BLUROPS_UNROLL
      for (int n1 = 0; n1 < Of::kFirst; ++n1) {
        const int y = 8 * n1 + n2;
        if (n2 >= 8 || !spot.has(s, y, x)) continue;
        const int64_t pixel = spot.pixel(s, y, x);
        if (args.ratios.observed != nullptr) {
          args.ratios.store(sums[u][n1], spot.sample, spot.channel, s.channels, pixel,
                            int64_t{s.out_height} * s.out_width);
        } else {
          store_at(sums[u][n1], args.out, s.dtype, spot.plane(s) + pixel);
        }
      }
    }
  }
}

struct TileSpreadArgs {
  TileSizes sizes;
  const float2* roots;
  const float2* filters;
  const void* image;   // (count, channels, out_height, out_width)
  const void* mixing;  // (1 or count, basis, out_height, out_width)
  float2* totals;      // (blocks, parts, kPoints), unless they are held
  float* sums;         // (works, parts, kT, kT): what a tile adds to each part's window
  int64_t blocks;
};

// total (+)= spectrum conj(filter), a vector of each
template <int kT>
BLUROPS_DEVICE void add_conjugate(const Passes<kT>& passes, const float2* filters, int u,
                                  bool first, const float2 (&r)[8], float2* totals) {
  BLUROPS_UNROLL
  for (int k = 0; k < 8; ++k) {
    const int at = passes.at(u, k);
    totals[at] = add_product(r[k], conjugate(filters[at]), first ? float2{0.f, 0.f} : totals[at]);
  }
}

template <int kT, bool kHeld>
BLUROPS_KERNEL(Tile<kT>::kThreads, kT == 64 ? 2 : 1)
spread_tiles(const TileSpreadArgs args) {
  using Of = Tile<kT>;
  const TileSizes& s = args.sizes;
  const Passes<kT> passes(args.roots, gpu::thread_index());
  float2* totals = args.totals + gpu::block_index() * s.parts() * Of::kPoints;
  BLUROPS_ROLLED
  for (int64_t work = gpu::block_index(); work < s.works(); work += args.blocks) {
    const Spot spot(s, work);
    float2 held[Of::kVectors][8] = {};
    const float2* filters =
        args.filters + (s.own_kernels ? spot.sample : 0) * s.filters() * Of::kPoints;
    BLUROPS_ROLLED
    for (int pair = 0; pair < s.pairs; ++pair, filters += int64_t{s.parts()} * Of::kPoints) {
      fill_products(passes, s, args.image, PairOfMaps(s, args.mixing, spot.sample, pair), spot);
      passes.forward_lines(s.columns);
      passes.forward_across(s.columns, [&](int u, const float2(&r)[8]) {
        if constexpr (kHeld) {
          BLUROPS_UNROLL
          for (int k = 0; k < 8; ++k) {
            held[u][k] = add_product(r[k], conjugate(filters[passes.at(u, k)]), held[u][k]);
          }
        } else {
          BLUROPS_ROLLED
          for (int part = 0; part < s.parts(); ++part) {
            const int64_t from = int64_t{part} * Of::kPoints;
            add_conjugate(passes, filters + from, u, pair == 0, r, totals + from);
          }
        }
      });
    }
    BLUROPS_ROLLED
    for (int part = 0; part < s.parts(); ++part) {
      passes.inverse_across(kT, [&](int u, float2(&r)[8]) {
        BLUROPS_UNROLL
        for (int k = 0; k < 8; ++k) {
          r[k] = kHeld ? held[u][k] : totals[int64_t{part} * Of::kPoints + passes.at(u, k)];
        }
      });
      float* to = args.sums + (work * s.parts() + part) * Of::kPoints;
      passes.inverse_lines(kT, [&](int, int x, int n2, const float2(&r)[Of::kFirst]) {
        BLUROPS_UNROLL
        for (int n1 = 0; n1 < Of::kFirst; ++n1) to[(8 * n1 + n2) * kT + x] = r[n1].x;
      });
    }
  }
}

struct TileFoldArgs {
  TileSizes sizes;
  const float* sums;  // of spread_tiles
  void* out;          // (count, channels, height, width)
};

// Along an axis, the tiles whose window of one part reaches extended position u: first .. last.
struct Reached {
  int first, last;

  BLUROPS_DEVICE Reached(int u, int offset, int tile, int tiles, int window) {
    const int at = u - offset;
    last = at < 0 ? -1 : at / tile < tiles ? at / tile : tiles - 1;
    first = at < window ? 0 : (at - window) / tile + 1;
  }
};

// What lies at (v, u) of a channel's extended image: all parts and tiles that reach it, in a fixed
// order.
template <int kT>
BLUROPS_DEVICE float tile_sum(const TileFoldArgs& args, int sample, int channel, int v, int u) {
  const TileSizes& s = args.sizes;
  float sum = 0;
  for (int part = 0; part < s.parts(); ++part) {
    const int down = part / s.parts_across * s.part_height;
    const int across = part % s.parts_across * s.part_width;
    const Reached rows(v, down, s.rows, s.tiles_down, kT);
    const Reached columns(u, across, s.columns, s.tiles_across, kT);
    for (int i = rows.first; i <= rows.last; ++i) {
      for (int j = columns.first; j <= columns.last; ++j) {
        const int64_t tile = (sample * s.tiles() + int64_t{i} * s.tiles_across + j);
        const int64_t window = (tile * s.channels + channel) * s.parts() + part;
        const int y = v - down - i * s.rows, x = u - across - j * s.columns;
        sum += args.sums[(window * kT + y) * kT + x];
      }
    }
  }
  return sum;
}

// One pixel of the result: the exact transpose of the index maps.
template <int kT>
BLUROPS_KERNEL(kPackThreads, 1)
fold_tiles(const TileFoldArgs args, int64_t pixels) {
  const TileSizes& s = args.sizes;
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index >= pixels) return;
  const int64_t x = index % s.width, y = index / s.width % s.height;
  const int64_t plane = index / s.width / s.height;
  const int sample = static_cast<int>(plane / s.channels);
  const int channel = static_cast<int>(plane % s.channels);
  const Sources rows(y, s.height, s.extended_height(), s.anchor_y, s.boundary);
  const Sources columns(x, s.width, s.extended_width(), s.anchor_x, s.boundary);
  float total = 0;
  for (int64_t j = 0; j < rows.count(); ++j) {
    const int64_t v = rows.at(j);
    for (int64_t i = 0; v >= 0 && i < columns.count(); ++i) {
      const int64_t u = columns.at(i);
      if (u < 0) continue;
      total += tile_sum<kT>(args, sample, channel, static_cast<int>(v), static_cast<int>(u));
    }
  }
  store_at(total, args.out, s.dtype, index);
}

}  // namespace blurops::cuda
