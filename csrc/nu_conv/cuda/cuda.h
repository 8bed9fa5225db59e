// SPDX-License-Identifier: BSD-3-Clause
// NU-Conv on the GPU; shapes as in nu_conv.h. float32 and the half types; memory on the current
// device, in contiguous tensors of problem.dtype. An index outside the bank is clamped. All work is
// queued on `stream`, a cudaStream_t, and nothing waits for it.
#pragma once

#include "nu_conv/nu_conv.h"

namespace blurops {

// `workspace` holds the bytes that the function beside the launcher asks for, 256-byte aligned.
int64_t nu_conv_cuda_bytes(const NuConv& problem, bool high);
void nu_conv_cuda(const NuConv& problem, bool high, const void* image, const void* bank,
                  const void* index, const void* weight, void* out, void* workspace, void* stream);

int64_t nu_conv_adjoint_cuda_bytes(const NuConv& problem, bool high);
void nu_conv_adjoint_cuda(const NuConv& problem, bool high, const void* image, const void* bank,
                          const void* index, const void* weight, void* out, void* workspace,
                          void* stream);

int64_t nu_conv_grad_bank_cuda_bytes(const NuConv& problem, bool high);
void nu_conv_grad_bank_cuda(const NuConv& problem, bool high, const void* grad, const void* image,
                            const void* index, const void* weight, void* out, void* workspace,
                            void* stream);

int64_t nu_conv_grad_weight_cuda_bytes(const NuConv& problem, bool high);
void nu_conv_grad_weight_cuda(const NuConv& problem, bool high, const void* grad, const void* image,
                              const void* bank, const void* index, void* out, void* workspace,
                              void* stream);

}  // namespace blurops
