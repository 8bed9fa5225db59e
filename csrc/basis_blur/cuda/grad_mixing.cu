// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/cuda.h"
#include "basis_blur/cuda/grad_mixing_launch.h"
#include "basis_blur/cuda/tile_plan.h"

namespace blurops {
namespace {

using namespace cuda;

struct TapOperands {
  uint4* kernels;
  float* kernel_scale;
  uint32_t* largest;
  int64_t kernels_stride;

  TapOperands(const Plan& plan, bool high, Workspace& workspace) {
    const Sizes& s = plan.sizes;
    kernels_stride =
        int64_t{sets_of(high)} * s.groups * s.kernel_height * tap_vectors(plan.taps, plan.steps);
    kernels = workspace.take<uint4>(plan.kernel_samples * kernels_stride);
    kernel_scale = workspace.take<float>(plan.kernel_samples);
    largest = workspace.take<uint32_t>(2);
  }
};

}  // namespace

int64_t basis_blur_grad_mixing_cuda_bytes(const Problem& problem, bool high) {
  if (problem.tiling.height > 0) return tile_grad_mixing_bytes(problem);
  Workspace workspace(nullptr);
  TapOperands(Plan("", problem, false), high, workspace);
  return workspace.bytes();
}

void basis_blur_grad_mixing_cuda(const Problem& problem, bool high, const void* grad,
                                 const void* image, const void* kernels, void* out, void* memory,
                                 void* stream) {
  if (problem.tiling.height > 0) {
    return tile_grad_mixing(problem, grad, image, kernels, out, memory, stream);
  }
  // The bases are listed once: the parts of high precision are passes of their own.
  const Plan plan("basis_blur_grad_mixing_cuda", problem, false);
  const Sizes& s = plan.sizes;
  Workspace workspace(memory);
  const TapOperands operands(plan, high, workspace);
  const bool summed = !problem.mixing_batched, own_kernels = plan.kernel_samples > 1;
  pack_taps(plan, high, summed, kernels, operands.kernels, operands.kernel_scale,
            operands.kernels_stride, stream);
  find_largest(plan, s.dtype, grad, int64_t{s.count} * s.channels * s.out_height * s.out_width,
               s.dtype, image, int64_t{s.count} * s.channels * s.height * s.width, operands.largest,
               stream);
  GradMixingArgs args{s,
                      grad,
                      image,
                      operands.kernels,
                      operands.kernel_scale,
                      own_kernels ? operands.kernels_stride : 0,
                      own_kernels && !summed ? 1 : 0,
                      operands.largest,
                      out,
                      plan.basis,
                      ceil_div(s.out_height, kBlurRows),
                      0,
                      high,
                      summed};
  if (plan.taps <= kWidestOfOne) {
    run_grad_mixing<1, kWidestOfOne>(plan, args, stream);
  } else {
    run_grad_mixing_wide(plan, args, stream);
  }
}

}  // namespace blurops
