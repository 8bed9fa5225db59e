// SPDX-License-Identifier: BSD-3-Clause
// Tiles that mix a single basis. It has no partner among the bases; two planes, each a channel of a
// tile, share each transform instead, as the real and imaginary part of an image whose responses to
// a real kernel stay apart. Included by tiles.cpp alone, once per instruction set.
#pragma once

#include "basis_blur/tile_sums.h"

namespace blurops {
namespace {

// One half of a transform.
struct Plane {
  const Tile* tile;  // null: nothing
  int64_t channel;   // of the group
  int64_t place;     // in the planes of sums
  bool live;         // something there is not zero
};

// Halves 2 i and 2 i + 1 of the planes of a unit, `count` channels of each tile.
struct Halves {
  Plane planes[2];

  Halves(const TileSet& tiles, int64_t i, int64_t count) {
    for (int64_t j = 0; j < 2; ++j) {
      const int64_t place = 2 * i + j, tile = place / count;
      const bool there = tile < tiles.count;
      planes[j] = {there ? &tiles[tile] : nullptr, place % count, place,
                   there && tiles.mixed[tile]};
    }
  }

  bool live() const { return planes[0].live || planes[1].live; }
};

inline int64_t halves_of(const TileSet& tiles, int64_t count) {
  return (tiles.count * count + 1) / 2;
}

// The mixing of each tile of a unit, in planes of its own.
template <typename T, typename A>
void load_mixing_alone(const TilePlan& plan, const TileSet& tiles, int64_t height,
                       TileScratch<A>& s) {
  const Problem& p = plan.problem;
  // Picks give their planes in pairs, and tiles that share transforms have no picks.
  if (tiles.count == 1) {
    load_mixing<T>(plan, tiles[0], s.pairs[0], height, s);
    return;
  }
  for (int64_t i = 0; i < tiles.count; ++i) {
    const T* from = plane_of<T>(plan.mixing, p.mixing_batched ? tiles[i].n : 0, s.pairs[0].first,
                                p.basis, p.out_height * p.out_width);
    load_plane(plan, tiles[i], from, s.stride, height, s.mixing + i * s.plane);
  }
}

template <typename A>
const A* mixing_of(const TileSet& tiles, const Plane& plane, const TileScratch<A>& s) {
  return s.mixing + (plane.tile == &tiles[0] ? 0 : s.plane);
}

// One spectrum for both planes of an image. What is zero is live no longer.
template <typename T, typename A>
void load_spectrum_of_two(const TilePlan& plan, int64_t c0, Halves& halves, TileScratch<A>& s) {
  const Problem& p = plan.problem;
  bool any[2] = {};
  for (int64_t part = 0; part < plan.parts; ++part) {
    for (int64_t j = 0; j < 2; ++j) {
      const Plane& plane = halves.planes[j];
      A* window = s.window + j * s.spectrum / 2;
      if (plane.live) {
        const T* from = plane_of<T>(plan.first, plane.tile->n, c0 + plane.channel, p.channels,
                                    p.height * p.width);
        any[j] |= load_window(plan, *plane.tile, from, part, s.transform, window);
      } else {
        clear(window, s.spectrum / 2);
      }
    }
    if (plan.parts == 1 && !any[0] && !any[1]) break;
    transform_windows(s, s.spectra + part * s.spectrum);
  }
  for (int64_t j = 0; j < 2; ++j) halves.planes[j].live = any[j];
}

// The responses of both planes to the basis, times the mixing of each.
template <typename A>
void blur_two(const TilePlan& plan, const TileSet& tiles, const Halves& halves, const A* kernels,
              TileScratch<A>& s) {
  using V = Simd<A>;
  const A* first_mixing = mixing_of(tiles, halves.planes[0], s);
  const A* second_mixing = mixing_of(tiles, halves.planes[1], s);
  A *first = s.sums + halves.planes[0].place * s.plane, *second = first + s.plane;
  Prefetch nothing;
  respond(plan, tiles.extent(), s.spectra, kernels, s, nothing, [=](int64_t i, auto value) {
    V::write(first + i, V::read(first_mixing + i) * value.re);
    V::write(second + i, V::read(second_mixing + i) * value.im);
  });
}

// A group of channels of the unit's tiles: their sums, one tile's after the other's.
template <typename T, typename A>
void blur_alone(const TilePlan& plan, const TileSet& tiles, int64_t c0, int64_t count,
                TileScratch<A>& s) {
  load_mixing_alone<T>(plan, tiles, tiles.extent().rows, s);
  const A* kernels = pair_spectrum(plan, tiles[0].n, s.pairs[0], s);
  for (int64_t i = 0; i < halves_of(tiles, count); ++i) {
    Halves halves(tiles, i, count);
    load_spectrum_of_two<T>(plan, c0, halves, s);
    if (halves.live()) blur_two(plan, tiles, halves, kernels, s);
    // Rounding of the one is not to be seen in the other where that is zero.
    for (const Plane& plane : halves.planes) {
      if (!plane.live) clear(s.sums + plane.place * s.plane, s.plane);
    }
  }
}

// Two planes, each times a mixing of its own: u first + i v second.
template <typename A>
struct MixedApart {
  const A *u, *first, *v, *second;

  BLUROPS_INLINE Pair<typename Simd<A>::Vec> at(int64_t i) const {
    using V = Simd<A>;
    return {V::read(u + i) * V::read(first + i), V::read(v + i) * V::read(second + i)};
  }
};

// The planes' values. What is zero is live no longer.
template <typename T, typename A>
void load_two(const TilePlan& plan, int64_t c0, Halves& halves, TileScratch<A>& s) {
  const Problem& p = plan.problem;
  const int64_t height = s.transform.y.size;
  for (int64_t j = 0; j < 2; ++j) {
    Plane& plane = halves.planes[j];
    A* to = s.pixels + j * s.plane;
    if (plane.live) {
      const T* from = plane_of<T>(plan.first, plane.tile->n, c0 + plane.channel, p.channels,
                                  p.out_height * p.out_width);
      plane.live = load_plane(plan, *plane.tile, from, s.stride, height, to);
    } else {
      clear(to, height * s.stride);
    }
  }
}

// The adjoint of a group of channels of the unit's tiles.
template <typename T, typename A>
void fold_alone(const TilePlan& plan, const TileSet& tiles, int64_t c0, int64_t count,
                TileScratch<A>& s) {
  const Problem& p = plan.problem;
  load_mixing_alone<T>(plan, tiles, s.transform.y.size, s);
  const A* kernels = pair_spectrum(plan, tiles[0].n, s.pairs[0], s);
  Prefetch nothing;
  A* targets = static_cast<A*>(plan.target) + (tiles[0].n * p.channels + c0) * p.height * p.width;
  for (int64_t i = 0; i < halves_of(tiles, count); ++i) {
    Halves halves(tiles, i, count);
    load_two<T>(plan, c0, halves, s);
    if (!halves.live()) continue;
    clear(s.adjoint, plan.parts * s.spectrum);
    add_folded(plan, tiles.extent(),
               MixedApart<A>{mixing_of(tiles, halves.planes[0], s), s.pixels,
                             mixing_of(tiles, halves.planes[1], s), s.pixels + s.plane},
               kernels, s.adjoint, s, nothing);
    for (int64_t part = 0; part < plan.parts; ++part) {
      invert_sums<true>(tiles.extent(), plan, s.adjoint + part * s.spectrum, s);
      for (int64_t j = 0; j < 2; ++j) {
        const Plane& plane = halves.planes[j];
        if (!plane.live) continue;
        add_window(plan, *plane.tile, part, s.window + j * s.spectrum / 2, s.transform.x.size,
                   targets + plane.channel * p.height * p.width);
      }
    }
  }
}

}  // namespace
}  // namespace blurops
