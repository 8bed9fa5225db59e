// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/blur.h"
#include "basis_blur/cuda/cuda.h"
#include "basis_blur/cuda/plan.h"
#include "basis_blur/cuda/tile_plan.h"
#include "rl_step/cuda.h"

namespace blurops {
namespace {

using namespace cuda;

// Of the shared memory, so that two blocks fit into the 164 KB of sm_80's multiprocessors.
constexpr int64_t kWindowBytes = 58 << 10;

template <int kJ, int kSteps, int kC>
void run(const Plan& plan, BlurArgs& args, void* stream) {
  const Sizes& s = plan.sizes;
  args.band = band_of(s.kernel_height, kJ, kC, kWindowBytes);
  const int64_t blocks = int64_t{s.count} * s.channel_groups * args.tiles * s.strips;
  gpu::launch(plan.launcher, blur_tile<kJ, kSteps, kC>, blocks, kBlurThreads,
              blur_shared_bytes(kJ, kSteps, kC, args.band), stream, args);
}

// The blurred image, or a step's ratios of it.
void queue_blur(const Problem& problem, bool high, const void* image, const void* kernels,
                const void* mixing, void* out, const Ratios& ratios, void* memory, void* stream) {
  if (problem.tiling.height > 0) {
    return tile_blur(problem, image, kernels, mixing, out, ratios, memory, stream);
  }
  const Plan plan("basis_blur_cuda", problem, high);
  Workspace workspace(memory);
  const Operands operands(plan, workspace);
  pack(plan, operands, kernels, mixing, stream);
  BlurArgs args{
      plan.sizes, operands.packed(plan), image, out, ceil_div(plan.sizes.out_height, kBlurRows), 0,
      ratios};
  with_instance(plan, [&](auto taps, auto steps, auto channels) {
    run<decltype(taps)::value, decltype(steps)::value, decltype(channels)::value>(plan, args,
                                                                                  stream);
  });
}

}  // namespace

int widest_kernel_cuda() { return kMostWide; }

int64_t basis_blur_cuda_bytes(const Problem& problem, bool high) {
  if (problem.tiling.height > 0) return tile_blur_bytes(problem);
  Workspace workspace(nullptr);
  Operands(Plan("", problem, high), workspace);
  return workspace.bytes();
}

void basis_blur_cuda(const Problem& problem, bool high, const void* image, const void* kernels,
                     const void* mixing, void* out, void* memory, void* stream) {
  queue_blur(problem, high, image, kernels, mixing, out, {}, memory, stream);
}

void rl_ratios_cuda(const Problem& problem, bool high, const RlStep& step, const void* kernels,
                    const void* mixing, void* memory, void* stream) {
  if (problem.dtype != DType::kFloat32) {
    throw std::invalid_argument("the ratios of a step are computed in float32 on the GPU");
  }
  const auto images = [](const void* memory) { return static_cast<const float*>(memory); };
  const auto number = [](double value) { return static_cast<float>(value); };
  const Ratios ratios{images(step.observed), images(step.mask),
                      images(step.clean),    static_cast<float*>(step.ratios),
                      step.mask_stride,      step.mask_channel_stride,
                      number(step.a),        number(step.level),
                      number(step.eps),      step.saturated};
  queue_blur(problem, high, step.estimate, kernels, mixing, nullptr, ratios, memory, stream);
}

}  // namespace blurops
