// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/grad_mixing_launch.h"

namespace blurops::cuda {

void run_grad_mixing_wide(const Plan& plan, GradMixingArgs& args, void* stream) {
  run_grad_mixing<kWidestOfOne + 1, BLUROPS_CUDA_LAST>(plan, args, stream);
}

}  // namespace blurops::cuda
