// SPDX-License-Identifier: BSD-3-Clause
// Launches the instances of grad_mixing.h. They take long to compile: two source files share them.
#pragma once

#include "basis_blur/cuda/grad_mixing.h"
#include "basis_blur/cuda/plan.h"

namespace blurops::cuda {

template <int kFrom, int kTo>
void run_grad_mixing(const Plan& plan, GradMixingArgs& args, void* stream) {
  constexpr int64_t kWindowBytes = 64 << 10;
  const Sizes& s = plan.sizes;
  const int64_t blocks = int64_t{plan.mixing_samples} * s.groups * args.tiles * s.strips;
  with_instance<kFrom, kTo>(plan, [&](auto taps, auto steps, auto channels) {
    constexpr int kJ = decltype(taps)::value, kSteps = decltype(steps)::value;
    constexpr int kC = decltype(channels)::value;
    args.band = band_of(s.kernel_height, kJ, kC, kWindowBytes);
    gpu::launch(plan.launcher, grad_mixing_tile<kJ, kSteps, kC>, blocks, kBlurThreads,
                grad_mixing_shared_bytes(kJ, kSteps, kC, args.band), stream, args);
  });
}

// Of the classes beyond kWidestOfOne (grad_mixing_wide.cu).
void run_grad_mixing_wide(const Plan& plan, GradMixingArgs& args, void* stream);

}  // namespace blurops::cuda
