// SPDX-License-Identifier: BSD-3-Clause
// What the members of the family are made of, over one tile: spectra of the image, responses to a
// pair of bases, spectra of mixed pixels, and the inverse that is folded back into the image.
// Included by tiles.cpp alone, once per instruction set.
#pragma once

#include "basis_blur/tile_window.h"

namespace blurops {
namespace {

template <typename T>
using ComputeOf = typename Compute<T>::type;

inline BasisPair neighbours(const TilePlan& plan, int64_t pair) {
  return {2 * pair, 2 * pair + 1 < plan.problem.basis ? 2 * pair + 1 : BasisPair::kNone};
}

template <typename A>
void list_neighbours(const TilePlan& plan, TileScratch<A>& s) {
  s.pair_count = plan.pairs;
  for (int64_t pair = 0; pair < plan.pairs; ++pair) s.pairs[pair] = neighbours(plan, pair);
}

// Lists the pairs of bases that a tile mixes, `index` being its place in the plan.
template <typename A>
Pairing list_pairs_of(const TilePlan& plan, int64_t n, int64_t index, TileScratch<A>& s) {
  const Problem& p = plan.problem;
  s.pair_count = 0;
  const auto add = [&](BasisPair pair) { s.pairs[s.pair_count++] = pair; };
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const uint8_t* active = plan.active + ((p.mixing_batched ? n : 0) * tiles + index) * p.basis;
  const Pairing pairing =
      pairing_of(active, p.basis, plan.spectra != nullptr, plan.own_index != nullptr);
  if (pairing == Pairing::kNeighbours) {
    for (int64_t pair = 0; pair < plan.pairs; ++pair) {
      const BasisPair both = neighbours(plan, pair);
      if (active[both.first] || (both.second != BasisPair::kNone && active[both.second])) add(both);
    }
    return pairing;
  }
  int64_t waiting = BasisPair::kNone;
  for (int64_t b = 0; b < p.basis; ++b) {
    if (!active[b]) continue;
    if (waiting == BasisPair::kNone) {
      waiting = b;
    } else {
      add({waiting, b});
      waiting = BasisPair::kNone;
    }
  }
  if (waiting != BasisPair::kNone) add({waiting, BasisPair::kNone});
  return pairing;
}

// The same for the tiles of a unit, which mix the same basis, if any, where they are several.
template <typename A>
Pairing list_pairs(const TilePlan& plan, TileSet& tiles, TileScratch<A>& s) {
  if (!plan.active) {
    list_neighbours(plan, s);
    return Pairing::kNeighbours;
  }
  if (tiles.count == 1) return list_pairs_of(plan, tiles[0].n, tiles.index[0], s);
  int64_t mixed = 0;
  for (int64_t i = 0; i < tiles.count; ++i) {
    list_pairs_of(plan, tiles[i].n, tiles.index[i], s);
    tiles.mixed[i] = s.pair_count > 0;
    mixed += s.pair_count;
  }
  s.pairs[0] = {0, BasisPair::kNone};
  s.pair_count = smaller(mixed, 1);
  return Pairing::kAlone;
}

// F of a pair: made before, or now of the two kernels' own spectra.
template <typename A>
const A* pair_spectrum(const TilePlan& plan, int64_t n, BasisPair pair, TileScratch<A>& s) {
  const int64_t sample = plan.problem.kernels_batched ? n : 0, size = plan.parts * s.spectrum;
  const BasisPair usual = neighbours(plan, pair.first / 2);
  if (plan.spectra && usual.first == pair.first && usual.second == pair.second) {
    return static_cast<const A*>(plan.spectra) + (sample * plan.pairs + pair.first / 2) * size;
  }
  const auto own = [&](int64_t b) {
    return static_cast<const A*>(plan.own) + (sample * plan.owners + plan.own_index[b]) * size;
  };
  const A* first = own(pair.first);
  if (pair.second == BasisPair::kNone) return first;
  const A* second = own(pair.second);
  for (int64_t i = 0; i < size; i += 2 * Simd<A>::kLanes) {
    const auto a = read_pair(first + i), b = read_pair(second + i);
    write_pair(s.paired + i, {a.re - b.im, a.im + b.re});
  }
  return s.paired;
}

// Spectrum of the two windows, as real and imaginary part of one.
template <typename A>
void transform_windows(TileScratch<A>& s, A* spectrum) {
  using V = Simd<A>;
  const TileTransform<A> t = s.transform;
  const int64_t width = t.x.size;
  const A *first = s.window, *second = s.window + t.y.size * width;
  for (int x0 = 0; x0 < t.x.size; x0 += t.kLanes) {
    forward_columns(t, x0, t.y.size, s.half, s.work, [=](int y) {
      return Pair<typename V::Vec>{V::read(first + y * width + x0),
                                   V::read(second + y * width + x0)};
    });
  }
  for (int b = 0; b < t.blocks(); ++b) {
    forward_rows(t, b, t.x.size, s.half, s.work,
                 [=](int64_t i, auto value) { write_pair(spectrum + i, value); });
  }
}

// Spectra of the live channels of the group that begins with c0, as each part of the kernels sees
// them; those that are zero are live no longer.
template <typename T, typename A>
void load_spectra(const TilePlan& plan, const Tile& tile, const void* image, int64_t c0,
                  TileScratch<A>& s) {
  const Problem& p = plan.problem;
  const Channels candidates = s.live;
  s.live.clear();
  clear(s.window + s.spectrum / 2, s.spectrum / 2);
  for (int64_t c : candidates) {
    const T* from = plane_of<T>(image, tile.n, c0 + c, p.channels, p.height * p.width);
    bool any = false;
    for (int64_t part = 0; part < plan.parts; ++part) {
      any |= load_window(plan, tile, from, part, s.transform, s.window);
      if (plan.parts == 1 && !any) break;
      transform_windows(s, s.spectra + (c * plan.parts + part) * s.spectrum);
    }
    if (any) s.live.add(c);
  }
}

// Values of channels c0 .. c0 + count - 1 at a tile; those that are not zero are live.
template <typename T, typename A>
void load_pixels(const TilePlan& plan, const Tile& tile, const void* image, int64_t c0,
                 int64_t count, int64_t height, TileScratch<A>& s) {
  const Problem& p = plan.problem;
  s.live.clear();
  for (int64_t c = 0; c < count; ++c) {
    const T* from = plane_of<T>(image, tile.n, c0 + c, p.channels, p.out_height * p.out_width);
    if (load_plane(plan, tile, from, s.stride, height, s.pixels + c * s.plane)) {
      s.live.add(c);
    }
  }
}

// The product of two spectra at a place.
template <typename A>
BLUROPS_INLINE Pair<typename Simd<A>::Vec> product_at(const A* image, const A* kernels) {
  const auto x = read_pair(image), f = read_pair(kernels);
  return {x.re * f.re - x.im * f.im, x.re * f.im + x.im * f.re};
}

// The responses of one channel to a pair of bases: store(offset in a plane, values).
template <typename A, typename Store>
BLUROPS_INLINE void respond(const TilePlan& plan, const Tile& tile, const A* image,
                            const A* kernels, TileScratch<A>& s, Prefetch& fetch, Store store) {
  const TileTransform<A> t = s.transform;  // a copy, which no store can change
  const int columns = static_cast<int>(tile.columns), rows = static_cast<int>(tile.rows);
  const int64_t stride = s.stride, spectrum = s.spectrum, parts = plan.parts;
  const auto rows_pass = [&](auto product) {
    for (int b = 0; b < t.blocks(); ++b) {
      fetch.step();
      inverse_rows(t, b, columns, s.half, s.work, product);
    }
  };
  // One part, the usual case, has a loop of its own without tests inside.
  if (plan.parts == 1) {
    rows_pass([=](int64_t i) { return product_at(image + i, kernels + i); });
  } else {
    rows_pass([=](int64_t i) {
      auto sum = product_at(image + i, kernels + i);
      for (int64_t part = 1; part < parts; ++part) {
        const int64_t at = part * spectrum + i;
        sum = sum + product_at(image + at, kernels + at);
      }
      return sum;
    });
  }
  for (int x0 = 0; x0 < columns; x0 += t.kLanes) {
    fetch.step();
    inverse_columns(t, x0, rows, s.half, s.work,
                    [=](int y, auto value) { store(y * stride + x0, value); });
  }
}

// Of the pair that follows the i-th of the list, over `transforms` calls of respond() or
// transform_mixed(), which take a step with every vector of columns and every block of rows.
template <typename T, typename A>
Prefetch prefetch_after(const TilePlan& plan, const Tile& tile, int64_t i, int64_t transforms,
                        const TileScratch<A>& s) {
  if (i + 1 == s.pair_count || plan.picks) return {};
  const int64_t steps = transforms * (s.stride / s.transform.kLanes + s.transform.blocks());
  return {plan, tile, static_cast<const T*>(plan.mixing), s.pairs[i + 1], steps};
}

template <typename T, typename A>
void store_plane(const TilePlan& plan, const Tile& tile, int64_t stride, const A* from, T* to) {
  const int64_t width = plan.problem.out_width;
  to += tile.y * width + tile.x;
  for (int64_t y = 0; y < tile.rows; ++y, from += stride, to += width) {
    for (int64_t x = 0; x < tile.columns; ++x) store(from[x], to + x);
  }
}

// What is transformed, planes of pixels: a channel times the mixing of a pair of bases,
// v (first + i second).
template <typename A>
struct Mixed {
  const A *v, *first, *second;

  BLUROPS_INLINE Pair<typename Simd<A>::Vec> at(int64_t i) const {
    const auto value = Simd<A>::read(v + i);
    return {value * Simd<A>::read(first + i), value * Simd<A>::read(second + i)};
  }
};

template <typename A>
Mixed<A> mixed_channel(const TileScratch<A>& s, int64_t channel) {
  return {s.pixels + channel * s.plane, s.mixing, s.mixing + s.plane};
}

// add(offset in the spectra of all parts, P) with P the spectrum of what is mixed over a tile, the
// same for every part.
template <typename A, typename Planes, typename Add>
BLUROPS_INLINE void transform_mixed(const TilePlan& plan, const Tile& tile, Planes mixed,
                                    TileScratch<A>& s, Prefetch& fetch, Add add) {
  const TileTransform<A> t = s.transform;
  const int64_t stride = s.stride, spectrum = s.spectrum, parts = plan.parts;
  const int rows = static_cast<int>(tile.rows);
  int x0 = 0;
  for (; x0 < tile.columns; x0 += t.kLanes) {
    fetch.step();
    forward_columns(t, x0, rows, s.half, s.work, [=](int y) { return mixed.at(y * stride + x0); });
  }
  const auto rows_pass = [&](auto store) {
    for (int b = 0; b < t.blocks(); ++b) {
      fetch.step();
      forward_rows(t, b, x0, s.half, s.work, store);
    }
  };
  if (parts == 1) {
    rows_pass(add);
  } else {
    rows_pass([=](int64_t i, auto value) {
      for (int64_t part = 0; part < parts; ++part) add(part * spectrum + i, value);
    });
  }
}

// The part of the extended image that one part of the kernels sees from a tile; empty beyond it.
struct Reach {
  int64_t top, left, rows, columns;

  Reach(const TilePlan& plan, const Tile& tile, int64_t part)
      : top(tile.y + part / plan.problem.tiling.parts_across * plan.part_height),
        left(tile.x + part % plan.problem.tiling.parts_across * plan.part_width),
        rows(smaller(tile.rows + plan.part_height - 1, plan.extended_rows - top)),
        columns(smaller(tile.columns + plan.part_width - 1, plan.extended_columns - left)) {}

  bool empty() const { return rows <= 0 || columns <= 0; }
};

// Add a window to the target, each value where the boundary read it.
template <typename A>
void add_window(const TilePlan& plan, const Tile& tile, int64_t part, const A* window,
                int64_t width, A* target) {
  const Reach reach(plan, tile, part);
  if (reach.empty()) return;
  const int64_t columns = reach.columns;
  const int64_t* map = plan.column_map + reach.left;
  const bool plain = map[0] >= 0 && map[columns - 1] - map[0] == columns - 1;
  for (int64_t u = 0; u < reach.rows; ++u) {
    const int64_t row = plan.row_map[reach.top + u];
    if (row < 0) continue;
    A* to = target + row * plan.problem.width;
    const A* from = window + u * width;
    if (plain) {
      to += map[0];
      for (int64_t v = 0; v < columns; ++v) to[v] += from[v];
    } else {
      for (int64_t v = 0; v < columns; ++v) {
        if (map[v] >= 0) to[map[v]] += from[v];
      }
    }
  }
}

// The inverse of `sums` in the window: its real part and, of two that share a transform, its
// imaginary part. `extent` is the largest of their tiles.
template <bool kTwo, typename A>
void invert_sums(const Tile& extent, const TilePlan& plan, const A* sums, TileScratch<A>& s) {
  using V = Simd<A>;
  const TileTransform<A> t = s.transform;
  const int64_t width = t.x.size, columns = extent.columns + plan.part_width - 1;
  const int rows = static_cast<int>(extent.rows + plan.part_height - 1);
  A *first = s.window, *second = s.window + t.y.size * width;
  for (int b = 0; b < t.blocks(); ++b) {
    inverse_rows(t, b, static_cast<int>(columns), s.half, s.work,
                 [=](int64_t i) { return read_pair(sums + i); });
  }
  for (int x0 = 0; x0 < columns; x0 += t.kLanes) {
    inverse_columns(t, x0, rows, s.half, s.work, [=](int y, auto value) {
      V::write(first + y * width + x0, value.re);
      if (kTwo) V::write(second + y * width + x0, value.im);
    });
  }
}

}  // namespace
}  // namespace blurops
