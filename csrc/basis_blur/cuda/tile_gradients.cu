// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/tile_gradients.h"
#include "basis_blur/cuda/tile_plan.h"

namespace blurops::cuda {
namespace {

struct MixingBuffers {
  float2 *roots, *filters, *windows;
  float* sums;  // null where the result itself is of float32
  int64_t works, blocks, count;

  MixingBuffers(const TilePlan& plan, Workspace& workspace) {
    const TileSizes& s = plan.sizes;
    works = plan.mixing_samples() * s.tiles();
    blocks = plan.blocks(works);
    count = plan.mixing_samples() * s.basis * s.out_height * s.out_width;
    roots = workspace.take<float2>(plan.side);
    filters = workspace.take<float2>(plan.filter_points());
    windows = workspace.take<float2>(plan.window_points(blocks));
    sums = s.dtype == DType::kFloat32 ? nullptr : workspace.take<float>(count);
  }
};

struct KernelsBuffers {
  int chunks, splits;
  int64_t blocks;
  float2 *roots, *windows, *partial;

  KernelsBuffers(const TilePlan& plan, Workspace& workspace) {
    const TileSizes& s = plan.sizes;
    const int64_t works = s.works() / plan.kernel_samples();
    chunks = static_cast<int>(std::min<int64_t>(works, kTileChunks));
    splits = std::min(s.pairs, kTileSplits);
    blocks = plan.kernel_samples() * chunks * splits;
    roots = workspace.take<float2>(plan.side);
    windows = workspace.take<float2>(plan.window_points(blocks));
    partial = workspace.take<float2>(plan.kernel_samples() * chunks * s.filters() * plan.points());
  }
};

}  // namespace

int64_t tile_grad_mixing_bytes(const Problem& problem) {
  Workspace workspace(nullptr);
  MixingBuffers(TilePlan("", problem), workspace);
  return workspace.bytes();
}

void tile_grad_mixing(const Problem& problem, const void* grad, const void* image,
                      const void* kernels, void* out, void* memory, void* stream) {
  const TilePlan plan("basis_blur_grad_mixing_cuda", problem);
  Workspace workspace(memory);
  const MixingBuffers to(plan, workspace);
  prepare_roots(plan, to.roots, stream);
  prepare_filters(plan, to.roots, kernels, to.filters, stream);
  float* sums = to.sums == nullptr ? static_cast<float*>(out) : to.sums;
  const TileMixingArgs args{plan.sizes, to.roots, to.filters, grad,     image,
                            to.windows, sums,     to.works,   to.blocks};
  with_side(plan, [&](auto side) {
    constexpr int kT = decltype(side)::value;
    launch_tiles<kT>(plan, grad_mixing_tiles<kT>, to.blocks, stream, args);
  });
  if (to.sums == nullptr) return;
  launch_items(plan, round_sums, to.count, stream, TileRoundArgs{sums, out, plan.sizes.dtype});
}

int64_t tile_grad_kernels_bytes(const Problem& problem) {
  Workspace workspace(nullptr);
  KernelsBuffers(TilePlan("", problem), workspace);
  return workspace.bytes();
}

void tile_grad_kernels(const Problem& problem, const void* grad, const void* image,
                       const void* mixing, void* out, void* memory, void* stream) {
  const TilePlan plan("basis_blur_grad_kernels_cuda", problem);
  Workspace workspace(memory);
  const KernelsBuffers to(plan, workspace);
  prepare_roots(plan, to.roots, stream);
  const TileKernelsArgs args{plan.sizes, to.roots,   grad, image,     mixing,
                             to.windows, to.partial, out,  to.chunks, to.splits};
  with_side(plan, [&](auto side) {
    constexpr int kT = decltype(side)::value;
    launch_tiles<kT>(plan, grad_kernels_tiles<kT>, to.blocks, stream, args);
    launch_tiles<kT>(plan, finish_taps<kT>, plan.kernel_samples() * plan.sizes.filters(), stream,
                     args);
  });
}

}  // namespace blurops::cuda
