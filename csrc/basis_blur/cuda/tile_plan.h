// SPDX-License-Identifier: BSD-3-Clause
// What the launchers of the tile method share: sizes, pieces of the workspace, and the choice of an
// instance. Problem::tiling says how a problem is cut; its tiles are square.
#pragma once

#include "basis_blur/cuda/plan.h"
#include "basis_blur/cuda/ratios.h"
#include "basis_blur/cuda/tile_sizes.h"

// Blocks that work at the same time, on the largest devices; each has a piece of the workspace.
// Chunks of tiles, to be added up, for the gradient by the kernels. Tests compile fewer of both.
#ifndef BLUROPS_TILE_SLOTS
#define BLUROPS_TILE_SLOTS 592
#define BLUROPS_TILE_CHUNKS 32
#endif

namespace blurops::cuda {

constexpr int64_t tile_slots(int side) {
  return side == 64 ? BLUROPS_TILE_SLOTS : BLUROPS_TILE_SLOTS / 2;
}
constexpr int kTileChunks = BLUROPS_TILE_CHUNKS;
constexpr int kTileSplits = 8;  // of the pairs, so that there are blocks for every multiprocessor

struct TilePlan {
  const char* launcher;
  TileSizes sizes;
  int side;

  TilePlan(const char* name, const Problem& p)
      : launcher(name), side(static_cast<int>(p.tiling.height)) {
    if ((side != 64 && side != 128) || p.tiling.width != side) {
      throw std::invalid_argument("the CUDA kernels have tiles of 64 x 64 and of 128 x 128 only");
    }
    const auto narrow = [](int64_t size) { return static_cast<int>(size); };
    TileSizes& s = sizes;
    s.count = narrow(p.count), s.channels = narrow(p.channels);
    s.basis = narrow(p.basis), s.pairs = ceil_div(s.basis, 2);
    s.height = narrow(p.height), s.width = narrow(p.width);
    s.out_height = narrow(p.out_height), s.out_width = narrow(p.out_width);
    s.kernel_height = narrow(p.kernel_height), s.kernel_width = narrow(p.kernel_width);
    s.anchor_y = narrow(p.anchor_y), s.anchor_x = narrow(p.anchor_x);
    s.boundary = p.boundary, s.dtype = p.dtype;
    s.own_kernels = p.kernels_batched && p.count > 1;
    s.own_mixing = p.mixing_batched && p.count > 1;
    s.parts_down = narrow(p.tiling.parts_down), s.parts_across = narrow(p.tiling.parts_across);
    s.part_height = ceil_div(s.kernel_height, s.parts_down);
    s.part_width = ceil_div(s.kernel_width, s.parts_across);
    s.rows = side + 1 - s.part_height, s.columns = side + 1 - s.part_width;
    if (s.rows < 1 || s.columns < 1) {
      throw std::invalid_argument("a part of the kernels must not be larger than a tile");
    }
    s.tiles_down = ceil_div(s.out_height, s.rows);
    s.tiles_across = ceil_div(s.out_width, s.columns);
  }

  int64_t points() const { return int64_t{side} * side; }
  int64_t kernel_samples() const { return sizes.own_kernels ? sizes.count : 1; }
  int64_t mixing_samples() const { return sizes.own_mixing ? sizes.count : 1; }
  int64_t blocks(int64_t works) const { return std::min(works, tile_slots(side)); }
  // Whether the spectra that a block needs for every pair stay in registers.
  bool holds() const { return side == 64 && sizes.parts() == 1; }
  int64_t filter_points() const { return kernel_samples() * sizes.filters() * points(); }
  int64_t window_points(int64_t blocks) const { return blocks * sizes.parts() * points(); }
};

// Calls visit with the side of the tiles as a constant.
template <typename Visit>
void with_side(const TilePlan& plan, const Visit& visit) {
  if (plan.side == 64) return visit(std::integral_constant<int, 64>{});
  visit(std::integral_constant<int, 128>{});
}

template <int kT, typename Args>
void launch_tiles(const TilePlan& plan, void (*kernel)(Args), int64_t blocks, void* stream,
                  const Args& args) {
  gpu::launch(plan.launcher, kernel, blocks, Tile<kT>::kThreads, Tile<kT>::kSharedBytes, stream,
              args);
}

template <typename Args>
void launch_items(const TilePlan& plan, void (*kernel)(Args, int64_t), int64_t items, void* stream,
                  const Args& args) {
  const int64_t blocks = (items + kPackThreads - 1) / kPackThreads;
  gpu::launch(plan.launcher, kernel, blocks, kPackThreads, 0, stream, args, items);
}

// Queues the table of roots, and the kernels' spectra (tiles.cu).
void prepare_roots(const TilePlan& plan, float2* roots, void* stream);
void prepare_filters(const TilePlan& plan, const float2* roots, const void* kernels,
                     float2* filters, void* stream);

// The members by tiles; arguments as in cuda.h.
int64_t tile_blur_bytes(const Problem& problem);
void tile_blur(const Problem& problem, const void* image, const void* kernels, const void* mixing,
               void* out, const Ratios& ratios, void* workspace, void* stream);
int64_t tile_adjoint_bytes(const Problem& problem);
void tile_adjoint(const Problem& problem, const void* image, const void* kernels,
                  const void* mixing, void* out, void* workspace, void* stream);
int64_t tile_grad_kernels_bytes(const Problem& problem);
void tile_grad_kernels(const Problem& problem, const void* grad, const void* image,
                       const void* mixing, void* out, void* workspace, void* stream);
int64_t tile_grad_mixing_bytes(const Problem& problem);
void tile_grad_mixing(const Problem& problem, const void* grad, const void* image,
                      const void* kernels, void* out, void* workspace, void* stream);

}  // namespace blurops::cuda
