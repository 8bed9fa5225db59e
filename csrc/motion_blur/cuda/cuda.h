// SPDX-License-Identifier: BSD-3-Clause
// Motion blur on the GPU; shapes as in motion_blur.h. float32 and the half types; memory on the
// current device, in contiguous tensors of problem.dtype. Lengths below 1, and those that reach
// beyond problem.reach, are clamped; a length or angle that is NaN or infinite makes NaN of its own
// pixel. All work is queued on `stream`, a cudaStream_t, and nothing
// waits for it.
#pragma once

#include "motion_blur/motion_blur.h"

namespace blurops {

// `workspace` holds the bytes that the function beside the launcher asks for, 256-byte aligned.
int64_t motion_blur_cuda_bytes(const MotionBlur& problem);
void motion_blur_cuda(const MotionBlur& problem, const void* image, const void* length,
                      const void* angle, void* out, void* workspace, void* stream);

int64_t motion_blur_adjoint_cuda_bytes(const MotionBlur& problem);
void motion_blur_adjoint_cuda(const MotionBlur& problem, const void* image, const void* length,
                              const void* angle, void* out, void* workspace, void* stream);

int64_t motion_blur_grad_length_cuda_bytes(const MotionBlur& problem);
void motion_blur_grad_length_cuda(const MotionBlur& problem, const void* grad, const void* image,
                                  const void* length, const void* angle, void* out, void* workspace,
                                  void* stream);

int64_t motion_blur_grad_angle_cuda_bytes(const MotionBlur& problem);
void motion_blur_grad_angle_cuda(const MotionBlur& problem, const void* grad, const void* image,
                                 const void* length, const void* angle, void* out, void* workspace,
                                 void* stream);

}  // namespace blurops
