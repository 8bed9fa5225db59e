// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/tile_linear.h"
#include "basis_blur/cuda/tile_plan.h"

namespace blurops::cuda {
namespace {

struct LinearBuffers {
  float2 *roots, *filters, *spectra;  // the last: of windows, or sums over pairs
  float* sums = nullptr;
  int64_t blocks;

  LinearBuffers(const TilePlan& plan, bool adjoint, Workspace& workspace)
      : blocks(plan.blocks(plan.sizes.works())) {
    roots = workspace.take<float2>(plan.side);
    filters = workspace.take<float2>(plan.filter_points());
    spectra = workspace.take<float2>(plan.holds() ? 0 : plan.window_points(blocks));
    if (adjoint) sums = workspace.take<float>(plan.window_points(plan.sizes.works()));
  }
};

int64_t linear_bytes(const Problem& problem, bool adjoint) {
  Workspace workspace(nullptr);
  LinearBuffers(TilePlan("", problem), adjoint, workspace);
  return workspace.bytes();
}

}  // namespace

void prepare_roots(const TilePlan& plan, float2* roots, void* stream) {
  with_side(plan, [&](auto side) {
    constexpr int kT = decltype(side)::value;
    gpu::launch(plan.launcher, write_roots<kT>, 1, kT, 0, stream, roots);
  });
}

void prepare_filters(const TilePlan& plan, const float2* roots, const void* kernels,
                     float2* filters, void* stream) {
  const FilterArgs args{plan.sizes, roots, kernels, filters};
  with_side(plan, [&](auto side) {
    constexpr int kT = decltype(side)::value;
    launch_tiles<kT>(plan, transform_kernels<kT>, plan.kernel_samples() * plan.sizes.filters(),
                     stream, args);
  });
}

int64_t tile_blur_bytes(const Problem& problem) { return linear_bytes(problem, false); }

void tile_blur(const Problem& problem, const void* image, const void* kernels, const void* mixing,
               void* out, const Ratios& ratios, void* memory, void* stream) {
  const TilePlan plan("basis_blur_cuda", problem);
  Workspace workspace(memory);
  const LinearBuffers to(plan, false, workspace);
  prepare_roots(plan, to.roots, stream);
  prepare_filters(plan, to.roots, kernels, to.filters, stream);
  const TileBlurArgs args{plan.sizes, to.roots, to.filters, image, mixing,
                          to.spectra, out,      to.blocks,  ratios};
  if (plan.holds()) {
    launch_tiles<64>(plan, blur_tiles<64, true>, to.blocks, stream, args);
  } else if (plan.side == 64) {
    launch_tiles<64>(plan, blur_tiles<64, false>, to.blocks, stream, args);
  } else {
    launch_tiles<128>(plan, blur_tiles<128, false>, to.blocks, stream, args);
  }
}

int64_t tile_adjoint_bytes(const Problem& problem) { return linear_bytes(problem, true); }

void tile_adjoint(const Problem& problem, const void* image, const void* kernels,
                  const void* mixing, void* out, void* memory, void* stream) {
  const TilePlan plan("basis_blur_adjoint_cuda", problem);
  const TileSizes& s = plan.sizes;
  Workspace workspace(memory);
  const LinearBuffers to(plan, true, workspace);
  prepare_roots(plan, to.roots, stream);
  prepare_filters(plan, to.roots, kernels, to.filters, stream);
  const TileSpreadArgs args{s, to.roots, to.filters, image, mixing, to.spectra, to.sums, to.blocks};
  if (plan.holds()) {
    launch_tiles<64>(plan, spread_tiles<64, true>, to.blocks, stream, args);
  } else if (plan.side == 64) {
    launch_tiles<64>(plan, spread_tiles<64, false>, to.blocks, stream, args);
  } else {
    launch_tiles<128>(plan, spread_tiles<128, false>, to.blocks, stream, args);
  }
  with_side(plan, [&](auto side) {
    const int64_t pixels = int64_t{s.count} * s.channels * s.height * s.width;
    launch_items(plan, fold_tiles<decltype(side)::value>, pixels, stream,
                 TileFoldArgs{s, to.sums, out});
  });
}

}  // namespace blurops::cuda
