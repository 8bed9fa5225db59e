// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/cuda.h"
#include "basis_blur/cuda/grad_kernels.h"
#include "basis_blur/cuda/plan.h"
#include "basis_blur/cuda/tile_plan.h"

namespace blurops {
namespace {

using namespace cuda;

// Enough strips and chunks of rows for every multiprocessor, and few enough to add them up.
constexpr int64_t kChunks = 64;
constexpr int kFewestRows = 16;

struct PixelOperands {
  int chunks, chunk_rows, row_groups;
  uint4* mixing;
  float *pixel_scale, *lines, *reaches, *partial;
  uint32_t* largest;
  int64_t mixing_stride, reach_count;

  PixelOperands(const Plan& plan, bool high, Workspace& workspace) {
    const Sizes& s = plan.sizes;
    const int64_t columns = int64_t{s.count} * s.strips, planes = columns * s.channels;
    const int64_t fair = (columns * s.out_height + kChunks - 1) / kChunks;
    chunk_rows =
        static_cast<int>(std::clamp<int64_t>(fair, kFewestRows, s.out_height + kFewestRows));
    chunks = ceil_div(s.out_height, chunk_rows);
    row_groups = ceil_div(s.kernel_height, kTapRows);
    const int64_t lines_of_strips = int64_t{s.out_height} * s.strips;
    mixing_stride =
        int64_t{sets_of(high)} * s.groups * lines_of_strips * mixing_vectors(plan.steps);
    reach_count = planes * s.extended_height() * reach_pitch(plan.taps);
    mixing = workspace.take<uint4>(plan.mixing_samples * mixing_stride);
    pixel_scale = workspace.take<float>(plan.mixing_samples * lines_of_strips * kStrip);
    lines = workspace.take<float>(planes * s.out_height * kStrip);
    reaches = workspace.take<float>(reach_count);
    partial = workspace.take<float>(columns * chunks * s.groups * row_groups * kTapRows * kBases *
                                    plan.steps * 8 * plan.taps);
    largest = workspace.take<uint32_t>(2);
  }
};

template <int kJ, int kSteps, int kC>
void run(const Plan& plan, const GradKernelsArgs& args, void* stream) {
  const Sizes& s = plan.sizes;
  const int64_t blocks = int64_t{s.count} * s.strips * args.chunks * s.groups * args.row_groups;
  gpu::launch(plan.launcher, grad_kernels_tile<kJ, kSteps, kC>, blocks, kTapThreads,
              grad_kernels_shared_bytes(kJ, kSteps, kC), stream, args);
}

}  // namespace

int64_t basis_blur_grad_kernels_cuda_bytes(const Problem& problem, bool high) {
  if (problem.tiling.height > 0) return tile_grad_kernels_bytes(problem);
  Workspace workspace(nullptr);
  PixelOperands(Plan("", problem, false), high, workspace);
  return workspace.bytes();
}

void basis_blur_grad_kernels_cuda(const Problem& problem, bool high, const void* grad,
                                  const void* image, const void* mixing, void* out, void* memory,
                                  void* stream) {
  if (problem.tiling.height > 0) {
    return tile_grad_kernels(problem, grad, image, mixing, out, memory, stream);
  }
  // The bases are listed once: the parts of high precision are passes of their own.
  const Plan plan("basis_blur_grad_kernels_cuda", problem, false);
  const Sizes& s = plan.sizes;
  Workspace workspace(memory);
  const PixelOperands to(plan, high, workspace);
  const bool own_mixing = plan.mixing_samples > 1;
  pack_pixels(plan, high, mixing, to.mixing, to.pixel_scale, stream);
  const int64_t planes = int64_t{s.count} * s.channels;
  const int64_t pixels = planes * s.out_height * s.strips * kStrip;
  with_storage(s.dtype, [&](auto storage) {
    using T = decltype(storage);
    const int64_t stride = own_mixing ? int64_t{s.out_height} * s.strips * kStrip : 0;
    launch_each(plan, prepare_lines<T>, pixels, stream,
                LinesArgs{s, grad, to.pixel_scale, stride, to.lines});
    launch_each(plan, prepare_reaches<T>, to.reach_count, stream,
                ReachArgs{s, image, to.reaches, reach_pitch(plan.taps)});
  });
  find_largest(plan, DType::kFloat32, to.lines, pixels, s.dtype, image, planes * s.height * s.width,
               to.largest, stream);
  gpu::launch(plan.launcher, scale_lines, (pixels + kPackThreads - 1) / kPackThreads, kPackThreads,
              0, stream, to.lines, to.largest, pixels);
  const GradKernelsArgs args{
      s,          to.lines,  to.reaches,    to.mixing,     own_mixing ? to.mixing_stride : 0,
      to.partial, to.chunks, to.chunk_rows, to.row_groups, high};
  with_instance(plan, [&](auto taps, auto steps, auto channels) {
    run<decltype(taps)::value, decltype(steps)::value, decltype(channels)::value>(plan, args,
                                                                                  stream);
  });
  const int64_t taps = int64_t{plan.kernel_samples} * plan.basis * s.kernel_height * s.kernel_width;
  with_storage(s.dtype, [&](auto storage) {
    launch_each(plan, sum_chunks<decltype(storage)>, taps, stream,
                SumChunksArgs{s, to.partial, to.largest, out, plan.basis, plan.steps, plan.taps,
                              to.chunks, to.row_groups, plan.kernel_samples == 1});
  });
}

}  // namespace blurops
