// SPDX-License-Identifier: BSD-3-Clause
// The family by transforms of tiles in cache; basis_blur/tiles.h has the method. Compiled once per
// instruction set.
#include "basis_blur/tiles.h"

#include "basis_blur/tile_backward.h"

namespace blurops {
namespace {

template <typename T>
void blur_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  using V = Simd<A>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const Tile tile(plan, unit / tiles, unit % tiles);
  const A *first = s.mixing, *second = s.mixing + s.plane;
  for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
    const int64_t count = smaller(plan.channel_group, p.channels - c0);
    s.live.fill(count);
    load_spectra<T>(plan, tile, plan.first, c0, s);
    clear(s.sums, count * s.plane);
    for (int64_t pair = 0; pair < plan.pairs && s.live.count() > 0; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, tile.rows, s)) continue;
      const A* kernels = pair_spectrum(plan, s, tile.n, pair);
      auto fetch = prefetch_after<T>(plan, tile, pair, s.live.count() * s.transform.blocks());
      for (int64_t c : s.live) {
        A* sums = s.sums + c * s.plane;
        respond(plan, tile, s.spectra + c * plan.parts * s.spectrum, kernels, s, fetch,
                [=](int64_t i, auto value) {
                  V::write(sums + i, V::read(sums + i) + V::read(first + i) * value.re +
                                         V::read(second + i) * value.im);
                });
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      const A* sums = s.sums + c * s.plane;
      if (plan.epilogue) {
        for (int64_t y = 0; y < tile.rows; ++y) {
          plan.epilogue->row(plan.epilogue->context, tile.n, c0 + c, tile.y + y, tile.x,
                             tile.columns, sums + y * s.stride);
        }
      } else {
        const int64_t plane = (tile.n * p.channels + c0 + c) * p.out_height * p.out_width;
        store_plane(plan, tile, s.stride, sums, static_cast<T*>(plan.out) + plane);
      }
    }
  }
}

template <typename T>
void adjoint_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const Tile tile(plan, unit / tiles, unit % tiles);
  const int64_t height = s.transform.y.size;
  for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
    const int64_t count = smaller(plan.channel_group, p.channels - c0);
    load_pixels<T>(plan, tile, plan.first, c0, count, height, s);
    clear(s.adjoint, count * plan.parts * s.spectrum);
    for (int64_t pair = 0; pair < plan.pairs && s.live.count() > 0; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, height, s)) continue;
      const A* kernels = pair_spectrum(plan, s, tile.n, pair);
      auto fetch =
          prefetch_after<T>(plan, tile, pair, s.live.count() * s.stride / s.transform.kLanes);
      for (int64_t c : s.live) add_folded(plan, tile, c, kernels, s, fetch);
    }
    fold_sums(plan, tile, c0, s.live, s);
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
        const A* kernels = pair_spectrum(plan, s, n, pair);
        for (int64_t c : s.live) add_responses(plan, tile, c, kernels, sums, s, nothing);
        if (!last) continue;
        store_pair<T>(plan, tile, begin, pair, sums, s);
        if (!plan.keeps_all_bases) clear(s.sums, 2 * s.plane);
      }
    }
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
  run_chunk(plan, chunk, plan.tiles_down * plan.tiles_across, s, [&](int64_t n, int64_t i) {
    const Tile tile(plan, n, i);
    for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
      const int64_t count = smaller(plan.channel_group, p.channels - c0);
      load_pixels<T>(plan, tile, plan.first, c0, count, height, s);
      load_spectra<T>(plan, tile, plan.image, c0, s);
      for (int64_t pair = chunk.begin; pair < chunk.end && s.live.count() > 0; ++pair) {
        if (!load_mixing<T>(plan, tile, pair, height, s)) continue;
        A* sums = s.products + (pair - chunk.begin) * products;
        auto fetch =
            prefetch_after<T>(plan, tile, pair, s.live.count() * s.stride / s.transform.kLanes);
        for (int64_t c : s.live) add_products(plan, tile, c, sums, s, fetch);
      }
    }
  });
}

// F of one part of a pair of kernels, scaled for the inverse: the kernels lie at negative
// positions, which turns their convolution into a correlation.
template <typename T>
void kernel_spectrum(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  using V = Simd<A>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t part = unit % plan.parts, pair = unit / plan.parts % plan.pairs;
  const int64_t sample = unit / plan.parts / plan.pairs;
  const int64_t height = s.transform.y.size, width = s.transform.x.size;
  const A scale = A(1) / (static_cast<A>(height) * static_cast<A>(width));
  const int64_t top = part / p.tiling.parts_across * plan.part_height;
  const int64_t left = part % p.tiling.parts_across * plan.part_width;
  clear(s.window, 2 * height * width);
  for (int64_t i = 0; i < 2 && 2 * pair + i < p.basis; ++i) {
    const T* taps =
        plane_of<T>(plan.kernels, sample, 2 * pair + i, p.basis, p.kernel_height * p.kernel_width);
    A* window = s.window + i * height * width;
    for (int64_t dy = 0; dy < smaller(plan.part_height, p.kernel_height - top); ++dy) {
      const int64_t y = dy > 0 ? height - dy : 0;
      for (int64_t dx = 0; dx < smaller(plan.part_width, p.kernel_width - left); ++dx) {
        const int64_t x = dx > 0 ? width - dx : 0;
        window[y * width + x] = scale * load(taps[(top + dy) * p.kernel_width + left + dx]);
      }
    }
  }
  const A *first = s.window, *second = s.window + height * width;
  transform_window(s, static_cast<A*>(plan.spectra) + unit * s.spectrum, [=](int y, int x0) {
    return Pair<typename V::Vec>{V::read(first + y * width + x0), V::read(second + y * width + x0)};
  });
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
      {blur_tile<float>, blur_tile<double>, blur_tile<Half>, blur_tile<BFloat16>},
      {adjoint_tile<float>, adjoint_tile<double>, adjoint_tile<Half>, adjoint_tile<BFloat16>},
      {grad_kernels_chunk<float>, grad_kernels_chunk<double>, grad_kernels_chunk<Half>,
       grad_kernels_chunk<BFloat16>},
      {grad_mixing_tile<float>, grad_mixing_tile<double>, grad_mixing_tile<Half>,
       grad_mixing_tile<BFloat16>},
      {backward_chunk<float>, backward_chunk<double>, backward_chunk<Half>,
       backward_chunk<BFloat16>},
  };
  return kernels;
}

}  // namespace blurops
