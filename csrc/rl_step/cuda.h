// SPDX-License-Identifier: BSD-3-Clause
// The part of a Richardson-Lucy step that the GPU's blur does in its epilogue. float32; memory on
// the current device, everything contiguous and queued on `stream`.
#pragma once

#include "rl_step/rl_step.h"

namespace blurops {

// q: blurs step.estimate and writes step.ratios, for two sets q of s z and then q of s for each
// sample; of the step it reads a, level, eps, saturated, mask and its strides, observed and clean.
// `workspace` is that of basis_blur_cuda.
void rl_ratios_cuda(const Problem& problem, bool high, const RlStep& step, const void* kernels,
                    const void* mixing, void* workspace, void* stream);

}  // namespace blurops
