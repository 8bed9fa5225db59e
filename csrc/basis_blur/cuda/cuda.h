// SPDX-License-Identifier: BSD-3-Clause
// The basis-mixed family on the GPU; shapes as in basis_blur.h. float32 and the half types; memory
// on the current device, in contiguous tensors of problem.dtype. All work is queued on `stream`, a
// cudaStream_t, and nothing waits for it.
#pragma once

#include "basis_blur/basis_blur.h"

namespace blurops {

// The widest kernels that these launchers take.
int widest_kernel_cuda();

// At `high` precision kernels and mixing keep 22 bits, else 11. `workspace` holds the bytes that
// the function beside the launcher asks for, 256-byte aligned.
int64_t basis_blur_cuda_bytes(const Problem& problem, bool high);
void basis_blur_cuda(const Problem& problem, bool high, const void* image, const void* kernels,
                     const void* mixing, void* out, void* workspace, void* stream);

int64_t basis_blur_adjoint_cuda_bytes(const Problem& problem, bool high);
void basis_blur_adjoint_cuda(const Problem& problem, bool high, const void* image,
                             const void* kernels, const void* mixing, void* out, void* workspace,
                             void* stream);

int64_t basis_blur_grad_kernels_cuda_bytes(const Problem& problem, bool high);
void basis_blur_grad_kernels_cuda(const Problem& problem, bool high, const void* grad,
                                  const void* image, const void* mixing, void* out, void* workspace,
                                  void* stream);

int64_t basis_blur_grad_mixing_cuda_bytes(const Problem& problem, bool high);
void basis_blur_grad_mixing_cuda(const Problem& problem, bool high, const void* grad,
                                 const void* image, const void* kernels, void* out, void* workspace,
                                 void* stream);

}  // namespace blurops
