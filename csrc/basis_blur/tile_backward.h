// SPDX-License-Identifier: BSD-3-Clause
// The gradients of a blur in one sweep over the tiles: the spectra of the image serve the kernels'
// gradient and the mixing's, and the spectrum of mixed pixels serves the kernels' and the adjoint.
// Included by tiles.cpp alone, once per instruction set.
#pragma once

#include "basis_blur/tile_sums.h"

namespace blurops {
namespace {

// What one pair of bases adds for one channel; `seen`: the image is not zero there.
template <typename A>
void add_gradients(const TilePlan& plan, const Tile& tile, int64_t channel, bool seen,
                   const A* kernels, A* products, TileScratch<A>& s, Prefetch& fetch) {
  if (!plan.target) {
    if (seen) add_products(plan, tile, channel, products, s, fetch);
  } else if (plan.partial && seen) {
    add_folded_and_products(plan, tile, channel, kernels, products, s, fetch);
  } else {
    add_folded(plan, tile, mixed_channel(s, channel), kernels,
               s.adjoint + channel * plan.parts * s.spectrum, s, fetch);
  }
}

// A channel and a pair at a time: what both directions read of them is still in cache.
template <typename T, typename A>
void backward_tile(const TilePlan& plan, const Tile& tile, TileScratch<A>& s) {
  const Problem& p = plan.problem;
  const int64_t parts = plan.parts, spectrum = s.spectrum;
  load_pixels<T>(plan, tile, plan.first, 0, p.channels, s.transform.y.size, s);
  const Channels drawn = s.live;  // where the gradient is not zero; s.live: nor the image
  load_spectra<T>(plan, tile, plan.image, 0, s);
  if (plan.target) clear(s.adjoint, p.channels * parts * spectrum);
  if (plan.out) clear(s.sums, 2 * s.plane);
  const int64_t transforms = drawn.count() + (plan.out ? s.live.count() : 0);
  list_neighbours(plan, s);
  for (int64_t pair = 0; pair < plan.pairs; ++pair) {
    const A* kernels = pair_spectrum(plan, tile.n, s.pairs[pair], s);
    A* products = s.products + (plan.partial ? pair * parts * spectrum : 0);
    const bool mixed = (plan.target || plan.partial) && drawn.count() > 0 &&
                       load_mixing<T>(plan, tile, s.pairs[pair], s.transform.y.size, s);
    auto fetch = mixed ? prefetch_after<T>(plan, tile, pair, transforms, s) : Prefetch();
    for (int64_t c : drawn) {
      const bool seen = s.live.has(c);
      if (plan.out && seen) add_responses(plan, tile, c, kernels, s.sums, s, fetch);
      if (mixed) add_gradients(plan, tile, c, seen, kernels, products, s, fetch);
    }
    if (plan.out) {
      store_pair<T>(plan, tile, p.mixing_batched ? tile.n : 0, pair, s.sums, s);
      clear(s.sums, 2 * s.plane);
    }
  }
  if (plan.target) fold_sums(plan, tile, 0, drawn, s);
}

// Tiles of one disjoint group, plan.group.
template <typename T>
void backward_chunk(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  TileScratch<A> s(plan, memory);
  const Chunk chunk = {unit % plan.chunks, unit / plan.chunks, 0, plan.partial ? plan.pairs : 0};
  run_chunk(plan, chunk, plan.group_size, s,
            [&](int64_t n, int64_t i) { backward_tile<T>(plan, Tile(plan, n, plan.group[i]), s); });
}

}  // namespace
}  // namespace blurops
