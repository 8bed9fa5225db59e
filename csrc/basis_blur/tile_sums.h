// SPDX-License-Identifier: BSD-3-Clause
// What the gradients add up for one channel and one pair of bases, and the chunks of tiles over
// which the kernels' gradient is summed. Included by tiles.cpp alone, once per instruction set.
#pragma once

#include "basis_blur/tile_passes.h"

namespace blurops {
namespace {

// Tiles whose products are summed as float spectra before they move to double.
constexpr int64_t kTilesPerFlush = 32;

// P conj(F), which inverts to the pair's part of the adjoint.
template <typename V>
BLUROPS_INLINE Pair<V> plus_folded(Pair<V> sum, Pair<V> p, Pair<V> f) {
  sum.re += p.re * f.re + p.im * f.im;
  sum.im += p.im * f.re - p.re * f.im;
  return sum;
}

// conj(P) X, which inverts to the pair's part of the kernels' gradient.
template <typename V>
BLUROPS_INLINE Pair<V> plus_product(Pair<V> sum, Pair<V> p, Pair<V> x) {
  sum.re += p.re * x.re + p.im * x.im;
  sum.im += p.re * x.im - p.im * x.re;
  return sum;
}

// A channel's responses to a pair, times their mixing, are added to its sums.
template <typename A>
void add_blurred(const TilePlan& plan, const Tile& tile, int64_t channel, const A* kernels,
                 TileScratch<A>& s, Prefetch& fetch) {
  using V = Simd<A>;
  const A *first = s.mixing, *second = s.mixing + s.plane;
  A* sums = s.sums + channel * s.plane;
  respond(plan, tile, s.spectra + channel * plan.parts * s.spectrum, kernels, s, fetch,
          [=](int64_t i, auto value) {
            V::write(sums + i, V::read(sums + i) + V::read(first + i) * value.re +
                                   V::read(second + i) * value.im);
          });
}

// The sums of the adjoint, those of a pair's products, or both, of a channel's pixels.
template <typename A, typename Planes>
void add_folded(const TilePlan& plan, const Tile& tile, Planes mixed, const A* kernels, A* sums,
                TileScratch<A>& s, Prefetch& fetch) {
  transform_mixed(plan, tile, mixed, s, fetch, [=](int64_t i, auto value) {
    write_pair(sums + i, plus_folded(read_pair(sums + i), value, read_pair(kernels + i)));
  });
}

template <typename A>
void add_products(const TilePlan& plan, const Tile& tile, int64_t channel, A* products,
                  TileScratch<A>& s, Prefetch& fetch) {
  const A* image = s.spectra + channel * plan.parts * s.spectrum;
  transform_mixed(plan, tile, mixed_channel(s, channel), s, fetch, [=](int64_t i, auto value) {
    write_pair(products + i, plus_product(read_pair(products + i), value, read_pair(image + i)));
  });
}

template <typename A>
void add_folded_and_products(const TilePlan& plan, const Tile& tile, int64_t channel,
                             const A* kernels, A* products, TileScratch<A>& s, Prefetch& fetch) {
  const A* image = s.spectra + channel * plan.parts * s.spectrum;
  A* sums = s.adjoint + channel * plan.parts * s.spectrum;
  transform_mixed(plan, tile, mixed_channel(s, channel), s, fetch, [=](int64_t i, auto value) {
    const auto sum = plus_folded(read_pair(sums + i), value, read_pair(kernels + i));
    const auto product = plus_product(read_pair(products + i), value, read_pair(image + i));
    write_pair(sums + i, sum);
    write_pair(products + i, product);
  });
}

// A channel's responses to a pair, times the gradient, are added to two planes of sums.
template <typename A>
void add_responses(const TilePlan& plan, const Tile& tile, int64_t channel, const A* kernels,
                   A* sums, TileScratch<A>& s, Prefetch& fetch) {
  using V = Simd<A>;
  const A* pixels = s.pixels + channel * s.plane;
  A *first = sums, *second = sums + s.plane;
  respond(plan, tile, s.spectra + channel * plan.parts * s.spectrum, kernels, s, fetch,
          [=](int64_t i, auto value) {
            const auto g = V::read(pixels + i);
            V::write(first + i, V::read(first + i) + g * value.re);
            V::write(second + i, V::read(second + i) + g * value.im);
          });
}

// The two planes become the mixing's gradient at the tile; `sample` is that of the mixing.
template <typename T, typename A>
void store_pair(const TilePlan& plan, const Tile& tile, int64_t sample, int64_t pair, const A* sums,
                const TileScratch<A>& s) {
  const Problem& p = plan.problem;
  const int64_t size = p.out_height * p.out_width;
  T* out = static_cast<T*>(plan.out) + (sample * p.basis + 2 * pair) * size;
  store_plane(plan, tile, s.stride, sums, out);
  if (2 * pair + 1 < p.basis) store_plane(plan, tile, s.stride, sums + s.plane, out + size);
}

// The live channels' sums go where the boundary read the image.
template <typename A>
void fold_sums(const TilePlan& plan, const Tile& tile, int64_t c0, const Channels& live,
               TileScratch<A>& s) {
  const Problem& p = plan.problem;
  for (int64_t c : live) {
    A* target = static_cast<A*>(plan.target) + (tile.n * p.channels + c0 + c) * p.height * p.width;
    for (int64_t part = 0; part < plan.parts; ++part) {
      if (Reach(plan, tile, part).empty()) continue;
      invert_sums<false>(tile, plan, s.adjoint + (c * plan.parts + part) * s.spectrum, s);
      add_window(plan, tile, part, s.window, s.transform.x.size, target);
    }
  }
}

// The sums of one pair become taps, added to its partial sums in double.
template <typename A>
void flush_pair(const TilePlan& plan, int64_t pair, A* products, double* partial,
                TileScratch<A>& s) {
  using V = Simd<A>;
  const Problem& p = plan.problem;
  const TileTransform<A>& t = s.transform;
  const int64_t width = t.x.size;
  A *first = s.window, *second = s.window + t.y.size * width;
  const double scale = 1.0 / (static_cast<double>(t.y.size) * width);
  for (int64_t part = 0; part < plan.parts; ++part) {
    A* sums = products + part * s.spectrum;
    for (int b = 0; b < t.blocks(); ++b) {
      inverse_rows(t, b, static_cast<int>(plan.part_width), s.half, s.work,
                   [=](int64_t i) { return read_pair(sums + i); });
    }
    const int rows = static_cast<int>(plan.part_height);
    for (int x0 = 0; x0 < plan.part_width; x0 += t.kLanes) {
      inverse_columns(t, x0, rows, s.half, s.work, [=](int y, auto value) {
        V::write(first + y * width + x0, value.re);
        V::write(second + y * width + x0, value.im);
      });
    }
    const int64_t top = part / p.tiling.parts_across * plan.part_height;
    const int64_t left = part % p.tiling.parts_across * plan.part_width;
    for (int64_t dy = 0; dy < smaller(plan.part_height, p.kernel_height - top); ++dy) {
      for (int64_t dx = 0; dx < smaller(plan.part_width, p.kernel_width - left); ++dx) {
        double* to = partial + (2 * pair * p.kernel_height + top + dy) * p.kernel_width + left + dx;
        *to += scale * first[dy * width + dx];
        if (2 * pair + 1 < p.basis) {
          to[p.kernel_height * p.kernel_width] -= scale * second[dy * width + dx];
        }
      }
    }
  }
  clear(products, plan.parts * s.spectrum);
}

// Part of the tiles of one sample of the kernels, or of the whole batch where it shares them: its
// chunk says which, a function of the shapes alone, and has partial sums of its own.
struct Chunk {
  int64_t index, sample;  // of the kernels
  int64_t begin, end;     // pairs of bases whose products are summed
};

template <typename A>
void flush(const TilePlan& plan, const Chunk& chunk, TileScratch<A>& s) {
  const Problem& p = plan.problem;
  const int64_t samples = p.kernels_batched ? p.count : 1;
  double* partial = plan.partial + (chunk.index * samples + chunk.sample) * p.basis *
                                       p.kernel_height * p.kernel_width;
  for (int64_t pair = chunk.begin; pair < chunk.end; ++pair) {
    flush_pair(plan, pair, s.products + (pair - chunk.begin) * plan.parts * s.spectrum, partial, s);
  }
}

// Calls visit(n, i) for every tile of the chunk, one after the other, i below `tiles`, and moves
// the products that it has summed to the chunk's partial sums.
template <typename A, typename Visit>
void run_chunk(const TilePlan& plan, const Chunk& chunk, int64_t tiles, TileScratch<A>& s,
               Visit visit) {
  const Problem& p = plan.problem;
  const int64_t total = p.kernels_batched ? tiles : p.count * tiles;
  const int64_t last = (chunk.index + 1) * total / plan.chunks;
  const bool sums = chunk.end > chunk.begin;
  clear(s.products, (chunk.end - chunk.begin) * plan.parts * s.spectrum);
  int64_t summed = 0;
  for (int64_t i = chunk.index * total / plan.chunks; i < last; ++i) {
    visit(p.kernels_batched ? chunk.sample : i / tiles, i % tiles);
    if (sums && (++summed % kTilesPerFlush == 0 || i + 1 == last)) flush(plan, chunk, s);
  }
}

}  // namespace
}  // namespace blurops
