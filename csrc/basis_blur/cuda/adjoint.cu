// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/adjoint.h"
#include "basis_blur/cuda/cuda.h"
#include "basis_blur/cuda/plan.h"
#include "basis_blur/cuda/tile_plan.h"

namespace blurops {
namespace {

using namespace cuda;

// What the adjoint needs beside the packed operands.
struct Buffers {
  float *lines, *sums;

  Buffers(const Plan& plan, Workspace& workspace) {
    const Sizes& s = plan.sizes;
    const int64_t planes = int64_t{s.count} * s.channels * s.strips;
    lines = workspace.take<float>(planes * s.out_height * kStrip);
    sums = workspace.take<float>(planes * s.extended_height() * strip_span(plan.taps));
  }
};

template <int kJ, int kSteps, int kC>
void run(const Plan& plan, const SpreadArgs& args, void* stream) {
  const Sizes& s = plan.sizes;
  const int64_t blocks = int64_t{s.count} * s.channel_groups * args.tiles * s.strips;
  gpu::launch(plan.launcher, spread_tile<kJ, kSteps, kC>, blocks, spread_threads(kJ),
              spread_shared_bytes(kJ, kSteps, kC), stream, args);
}

}  // namespace

int64_t basis_blur_adjoint_cuda_bytes(const Problem& problem, bool high) {
  if (problem.tiling.height > 0) return tile_adjoint_bytes(problem);
  const Plan plan("", problem, high);
  Workspace workspace(nullptr);
  Operands(plan, workspace);
  Buffers(plan, workspace);
  return workspace.bytes();
}

void basis_blur_adjoint_cuda(const Problem& problem, bool high, const void* image,
                             const void* kernels, const void* mixing, void* out, void* memory,
                             void* stream) {
  if (problem.tiling.height > 0) {
    return tile_adjoint(problem, image, kernels, mixing, out, memory, stream);
  }
  const Plan plan("basis_blur_adjoint_cuda", problem, high);
  const Sizes& s = plan.sizes;
  Workspace workspace(memory);
  const Operands operands(plan, workspace);
  const Buffers buffers(plan, workspace);
  const Packed packed = operands.packed(plan);
  pack(plan, operands, kernels, mixing, stream);
  const int64_t planes = int64_t{s.count} * s.channels;
  with_storage(s.dtype, [&](auto storage) {
    const LinesArgs lines{s, image, packed.pixel_scale, packed.pixel_stride, buffers.lines};
    launch_each(plan, prepare_lines<decltype(storage)>, planes * s.out_height * s.strips * kStrip,
                stream, lines);
  });
  const SpreadArgs spread{s, packed, buffers.lines, buffers.sums,
                          ceil_div(s.extended_height(), spread_rows(plan.taps))};
  with_instance(plan, [&](auto taps, auto steps, auto channels) {
    run<decltype(taps)::value, decltype(steps)::value, decltype(channels)::value>(plan, spread,
                                                                                  stream);
  });
  with_storage(s.dtype, [&](auto storage) {
    const FoldArgs fold{s, buffers.sums, out, strip_span(plan.taps)};
    launch_each(plan, fold_strips<decltype(storage)>, planes * s.height * s.width, stream, fold);
  });
}

}  // namespace blurops
