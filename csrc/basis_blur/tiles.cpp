// SPDX-License-Identifier: BSD-3-Clause
// The family by transforms of tiles in cache; basis_blur/tiles.h has the method. Compiled once per
// instruction set.
#include "basis_blur/tiles.h"

#include "basis_blur/tile_alone.h"
#include "basis_blur/tile_backward.h"

namespace blurops {
namespace {

// Which bases a tile's pixels pick, by weights that are not zero.
template <typename T>
void find_picked(const TilePlan& plan, int64_t unit, void*) {
  const Problem& p = plan.problem;
  const Picks& picks = *plan.picks;
  const int64_t tiles = plan.tiles_down * plan.tiles_across, width = p.out_width;
  const Tile tile(plan, unit / tiles, unit % tiles);
  uint8_t* active = plan.active + unit * p.basis;
  std::memset(active, 0, p.basis);
  for (int64_t j = 0; j < picks.picked; ++j) {
    const int32_t* index = pick_of<int32_t>(plan, tile, picks.index, picks.index_batched, j);
    if (!picks.weight) {
      for (int64_t y = 0; y < tile.rows; ++y, index += width) {
        for (int64_t x = 0; x < tile.columns; ++x) active[index[x]] = 1;
      }
      continue;
    }
    const T* weight = pick_of<T>(plan, tile, picks.weight, picks.weight_batched, j);
    for (int64_t y = 0; y < tile.rows; ++y, index += width, weight += width) {
      for (int64_t x = 0; x < tile.columns; ++x) active[index[x]] |= load(weight[x]) != 0;
    }
  }
}

// Which of the tiles side by side mix a basis. Rows are read whole, as they lie in memory, and no
// farther than it takes.
template <typename T>
void find_mixed(const TilePlan& plan, int64_t unit, void*) {
  const Problem& p = plan.problem;
  const int64_t b = unit % p.basis, first = unit / p.basis * plan.tiles_across;
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const Tile left(plan, first / tiles, first % tiles);
  uint8_t* active = plan.active + first * p.basis + b;
  for (int64_t i = 0; i < plan.tiles_across; ++i) active[i * p.basis] = 0;
  const T* row = plane_of<T>(plan.mixing, left.n, b, p.basis, p.out_height * p.out_width) +
                 left.y * p.out_width;
  int64_t unknown = plan.tiles_across;
  for (int64_t y = 0; y < left.rows && unknown > 0; ++y, row += p.out_width) {
    for (int64_t i = 0; i < plan.tiles_across; ++i) {
      uint8_t& mixed = active[i * p.basis];
      if (mixed) continue;
      const int64_t x = i * plan.columns;
      mixed = any_of<ComputeOf<T>>(row + x, smaller(plan.columns, p.out_width - x));
      unknown -= mixed;
    }
  }
}

// A group of channels, blurred by the listed pairs.
template <typename T, typename A>
void blur_channels(const TilePlan& plan, const Tile& tile, int64_t c0, int64_t count,
                   TileScratch<A>& s) {
  s.live.fill(count);
  load_spectra<T>(plan, tile, plan.first, c0, s);
  for (int64_t i = 0; i < s.pair_count && s.live.count() > 0; ++i) {
    load_mixing<T>(plan, tile, s.pairs[i], tile.rows, s);
    const A* kernels = pair_spectrum(plan, tile.n, s.pairs[i], s);
    auto fetch = prefetch_after<T>(plan, tile, i, s.live.count(), s);
    for (int64_t c : s.live) add_blurred(plan, tile, c, kernels, s, fetch);
  }
}

// The sums of one channel are the blurred tile's.
template <typename T, typename A>
void put_tile(const TilePlan& plan, const Tile& tile, int64_t channel, const A* sums,
              int64_t stride) {
  const Problem& p = plan.problem;
  if (!plan.epilogue) {
    const int64_t plane = (tile.n * p.channels + channel) * p.out_height * p.out_width;
    return store_plane(plan, tile, stride, sums, static_cast<T*>(plan.out) + plane);
  }
  for (int64_t y = 0; y < tile.rows; ++y) {
    plan.epilogue->row(plan.epilogue->context, tile.n, channel, tile.y + y, tile.x, tile.columns,
                       sums + y * stride);
  }
}

template <typename T>
void blur_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  TileSet tiles(plan, unit);
  const Pairing pairing = list_pairs(plan, tiles, s);
  for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
    const int64_t count = smaller(plan.channel_group, p.channels - c0);
    if (pairing == Pairing::kAlone) {
      blur_alone<T>(plan, tiles, c0, count, s);
    } else {
      clear(s.sums, count * s.plane);
      blur_channels<T>(plan, tiles[0], c0, count, s);
    }
    for (int64_t i = 0; i < tiles.count * count; ++i) {
      put_tile<T>(plan, tiles[i / count], c0 + i % count, s.sums + i * s.plane, s.stride);
    }
  }
}

// The adjoint of a group of channels, whose pixels are loaded, by the listed pairs.
template <typename T, typename A>
void fold_channels(const TilePlan& plan, const Tile& tile, int64_t c0, int64_t count,
                   TileScratch<A>& s) {
  const int64_t size = plan.parts * s.spectrum;
  clear(s.adjoint, count * size);
  for (int64_t i = 0; i < s.pair_count && s.live.count() > 0; ++i) {
    load_mixing<T>(plan, tile, s.pairs[i], s.transform.y.size, s);
    const A* kernels = pair_spectrum(plan, tile.n, s.pairs[i], s);
    auto fetch = prefetch_after<T>(plan, tile, i, s.live.count(), s);
    for (int64_t c : s.live) {
      add_folded(plan, tile, mixed_channel(s, c), kernels, s.adjoint + c * size, s, fetch);
    }
  }
  fold_sums(plan, tile, c0, s.live, s);
}

template <typename T>
void adjoint_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  TileSet tiles(plan, unit / plan.turns);
  const Pairing pairing = list_pairs(plan, tiles, s);
  if (s.pair_count == 0) return;
  const int64_t group = plan.channel_group;
  for (int64_t c0 = unit % plan.turns * group; c0 < p.channels; c0 += plan.turns * group) {
    const int64_t count = smaller(group, p.channels - c0);
    if (pairing == Pairing::kAlone) {
      fold_alone<T>(plan, tiles, c0, count, s);
    } else {
      load_pixels<T>(plan, tiles[0], plan.first, c0, count, s.transform.y.size, s);
      fold_channels<T>(plan, tiles[0], c0, count, s);
    }
  }
}

template <typename T>
void grad_mixing_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const int64_t begin = p.mixing_batched ? unit / tiles : 0;
  const int64_t end = p.mixing_batched ? begin + 1 : p.count;
  Prefetch nothing;
  // The sums of a pair are complete after its last channel, unless channels or samples come in
  // groups.
  const int64_t kept = plan.keeps_all_bases ? p.basis + 1 : 2;
  clear(s.sums, kept * s.plane);
  for (int64_t n = begin; n < end; ++n) {
    const Tile tile(plan, n, unit % tiles);
    for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
      const int64_t count = smaller(plan.channel_group, p.channels - c0);
      load_pixels<T>(plan, tile, plan.first, c0, count, tile.rows, s);
      load_spectra<T>(plan, tile, plan.image, c0, s);
      const bool last = n + 1 == end && c0 + count == p.channels;
      for (int64_t pair = 0; pair < plan.pairs; ++pair) {
        A* sums = s.sums + (plan.keeps_all_bases ? 2 * pair : 0) * s.plane;
        const A* kernels = pair_spectrum(plan, n, neighbours(plan, pair), s);
        for (int64_t c : s.live) add_responses(plan, tile, c, kernels, sums, s, nothing);
        if (!last) continue;
        store_pair<T>(plan, tile, begin, pair, sums, s);
        if (!plan.keeps_all_bases) clear(s.sums, 2 * s.plane);
      }
    }
  }
}

// Two planes of gradients by the mixing go to the weights of the picks of these bases.
template <typename T, typename A>
void store_picked(const TilePlan& plan, const Tile& tile, BasisPair pair, const TileScratch<A>& s) {
  const Problem& p = plan.problem;
  const Picks& picks = *plan.picks;
  const int64_t size = p.out_height * p.out_width;
  const int64_t n = picks.weight_batched ? tile.n : 0;
  const int32_t a = static_cast<int32_t>(pair.first), b = static_cast<int32_t>(pair.second);
  for (int64_t j = 0; j < picks.picked; ++j) {
    const int32_t* index = pick_of<int32_t>(plan, tile, picks.index, picks.index_batched, j);
    T* out =
        static_cast<T*>(plan.out) + (n * picks.picked + j) * size + tile.y * p.out_width + tile.x;
    const A *first = s.sums, *second = s.sums + s.plane;
    for (int64_t y = 0; y < tile.rows; ++y) {
      for (int64_t x = 0; x < tile.columns; ++x) {
        if (index[x] == a) store(first[x], out + x);
        if (index[x] == b) store(second[x], out + x);
      }
      index += p.out_width, out += p.out_width, first += s.stride, second += s.stride;
    }
  }
}

// Every weight of a tile is stored once, with the basis that it weighs.
template <typename T>
void grad_weight_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  TileScratch<A> s(plan, memory);
  TileSet tiles(plan, unit);
  const Tile tile = tiles[0];
  list_pairs(plan, tiles, s);
  Prefetch nothing;
  load_pixels<T>(plan, tile, plan.first, 0, plan.problem.channels, tile.rows, s);
  load_spectra<T>(plan, tile, plan.image, 0, s);
  for (int64_t i = 0; i < s.pair_count; ++i) {
    clear(s.sums, 2 * s.plane);
    const A* kernels = pair_spectrum(plan, tile.n, s.pairs[i], s);
    for (int64_t c : s.live) add_responses(plan, tile, c, kernels, s.sums, s, nothing);
    store_picked<T>(plan, tile, s.pairs[i], s);
  }
}

template <typename T>
void grad_kernels_chunk(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t height = s.transform.y.size, products = plan.parts * s.spectrum;
  const int64_t groups = (plan.pairs + plan.pair_group - 1) / plan.pair_group;
  const int64_t first = unit / plan.chunks % groups * plan.pair_group;
  const Chunk chunk = {unit % plan.chunks, unit / plan.chunks / groups, first,
                       smaller(first + plan.pair_group, plan.pairs)};
  list_neighbours(plan, s);
  run_chunk(plan, chunk, plan.tiles_down * plan.tiles_across, s, [&](int64_t n, int64_t i) {
    const Tile tile(plan, n, i);
    for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
      const int64_t count = smaller(plan.channel_group, p.channels - c0);
      load_pixels<T>(plan, tile, plan.first, c0, count, height, s);
      load_spectra<T>(plan, tile, plan.image, c0, s);
      for (int64_t pair = chunk.begin; pair < chunk.end && s.live.count() > 0; ++pair) {
        if (!load_mixing<T>(plan, tile, s.pairs[pair], height, s)) continue;
        A* sums = s.products + (pair - chunk.begin) * products;
        auto fetch = prefetch_after<T>(plan, tile, pair, s.live.count(), s);
        for (int64_t c : s.live) add_products(plan, tile, c, sums, s, fetch);
      }
    }
  });
}

// F of one part of a pair of kernels, or of a kernel of its own, scaled for the inverse: the
// kernels lie at negative positions, which turns their convolution into a correlation.
template <typename T>
void kernel_spectrum(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t part = unit % plan.parts, sample = unit / plan.parts / plan.made_count;
  const BasisPair pair = plan.made[unit / plan.parts % plan.made_count];
  const int64_t height = s.transform.y.size, width = s.transform.x.size;
  const A scale = A(1) / (static_cast<A>(height) * static_cast<A>(width));
  const int64_t top = part / p.tiling.parts_across * plan.part_height;
  const int64_t left = part % p.tiling.parts_across * plan.part_width;
  clear(s.window, 2 * height * width);
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t b = i == 0 ? pair.first : pair.second;
    if (b == BasisPair::kNone) continue;
    const T* taps = plane_of<T>(plan.kernels, sample, b, p.basis, p.kernel_height * p.kernel_width);
    A* window = s.window + i * height * width;
    for (int64_t dy = 0; dy < smaller(plan.part_height, p.kernel_height - top); ++dy) {
      const int64_t y = dy > 0 ? height - dy : 0;
      for (int64_t dx = 0; dx < smaller(plan.part_width, p.kernel_width - left); ++dx) {
        const int64_t x = dx > 0 ? width - dx : 0;
        window[y * width + x] = scale * load(taps[(top + dy) * p.kernel_width + left + dx]);
      }
    }
  }
  transform_windows(s, static_cast<A*>(plan.making) + unit * s.spectrum);
}

size_t scratch_bytes(const TilePlan& plan) {
  return plan.problem.dtype == DType::kFloat64 ? TileScratch<double>(plan, nullptr).bytes()
                                               : TileScratch<float>(plan, nullptr).bytes();
}

int64_t spectrum_bytes(const TilePlan& plan) {
  const bool wide = plan.problem.dtype == DType::kFloat64;
  return wide ? transform_of<double>(plan).elements() * int64_t{sizeof(double)}
              : transform_of<float>(plan).elements() * int64_t{sizeof(float)};
}

}  // namespace

#define BLUROPS_JOIN_(a, b) a##b
#define BLUROPS_JOIN(a, b) BLUROPS_JOIN_(a, b)

const TileKernels& BLUROPS_JOIN(tile_kernels_, BLUROPS_ISA)() {
  static const TileKernels kernels = {
      scratch_bytes,
      spectrum_bytes,
      {kernel_spectrum<float>, kernel_spectrum<double>, kernel_spectrum<Half>,
       kernel_spectrum<BFloat16>},
      {find_picked<float>, find_picked<double>, find_picked<Half>, find_picked<BFloat16>},
      {find_mixed<float>, find_mixed<double>, find_mixed<Half>, find_mixed<BFloat16>},
      {blur_tile<float>, blur_tile<double>, blur_tile<Half>, blur_tile<BFloat16>},
      {adjoint_tile<float>, adjoint_tile<double>, adjoint_tile<Half>, adjoint_tile<BFloat16>},
      {grad_kernels_chunk<float>, grad_kernels_chunk<double>, grad_kernels_chunk<Half>,
       grad_kernels_chunk<BFloat16>},
      {grad_mixing_tile<float>, grad_mixing_tile<double>, grad_mixing_tile<Half>,
       grad_mixing_tile<BFloat16>},
      {grad_weight_tile<float>, grad_weight_tile<double>, grad_weight_tile<Half>,
       grad_weight_tile<BFloat16>},
      {backward_chunk<float>, backward_chunk<double>, backward_chunk<Half>,
       backward_chunk<BFloat16>},
  };
  return kernels;
}

}  // namespace blurops
