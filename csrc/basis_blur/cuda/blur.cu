// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/blur.h"
#include "basis_blur/cuda/cuda.h"
#include "basis_blur/cuda/plan.h"

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

}  // namespace

int widest_kernel_cuda() { return kMostWide; }

int64_t basis_blur_cuda_bytes(const Problem& problem, bool high) {
  Workspace workspace(nullptr);
  Operands(Plan("", problem, high), workspace);
  return workspace.bytes();
}

void basis_blur_cuda(const Problem& problem, bool high, const void* image, const void* kernels,
                     const void* mixing, void* out, void* memory, void* stream) {
  const Plan plan("basis_blur_cuda", problem, high);
  Workspace workspace(memory);
  const Operands operands(plan, workspace);
  pack(plan, operands, kernels, mixing, stream);
  BlurArgs args{
      plan.sizes, operands.packed(plan), image, out, ceil_div(plan.sizes.out_height, kBlurRows), 0};
  with_instance(plan, [&](auto taps, auto steps, auto channels) {
    run<decltype(taps)::value, decltype(steps)::value, decltype(channels)::value>(plan, args,
                                                                                  stream);
  });
}

}  // namespace blurops
