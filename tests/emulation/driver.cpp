// SPDX-License-Identifier: BSD-3-Clause
// The CUDA launchers and their kernels, compiled for the host; tests load them by ctypes.
#include "basis_blur/cuda/adjoint.cu"
#include "basis_blur/cuda/blur.cu"
#include "basis_blur/cuda/grad_kernels.cu"
#include "basis_blur/cuda/grad_mixing.cu"
#include "basis_blur/cuda/grad_mixing_wide.cu"
#include "basis_blur/cuda/pack.cu"
#include "basis_blur/cuda/tile_gradients.cu"
#include "basis_blur/cuda/tiles.cu"
#include "schedule.h"

namespace {

// As problem_of in csrc/bindings.cpp.
blurops::Problem problem_of(const int64_t* s) {
  return {static_cast<blurops::DType>(s[0]),
          static_cast<blurops::Boundary>(s[1]),
          s[2],
          s[3],
          s[4],
          s[5],
          s[6],
          s[7],
          s[8],
          s[9],
          s[10],
          s[11],
          s[12],
          s[13] != 0,
          s[14] != 0,
          {s[15], s[16], s[17], s[18]}};
}

}  // namespace

extern "C" {

// NAME_bytes(numbers, high) and NAME(numbers, high, three inputs, out, workspace), as in cuda.h.
#define EMULATE(name)                                                                          \
  int64_t name##_bytes(const int64_t* numbers, int high) {                                     \
    return blurops::name##_cuda_bytes(problem_of(numbers), high != 0);                         \
  }                                                                                            \
  void name(const int64_t* numbers, int high, const void* first, const void* second,           \
            const void* third, void* out, void* workspace) {                                   \
    blurops::name##_cuda(problem_of(numbers), high != 0, first, second, third, out, workspace, \
                         nullptr);                                                             \
  }
EMULATE(basis_blur)
EMULATE(basis_blur_adjoint)
EMULATE(basis_blur_grad_kernels)
EMULATE(basis_blur_grad_mixing)
#undef EMULATE

int widest() { return blurops::widest_kernel_cuda(); }

// scalars: a, level, eps; strides: of the mask, from one sample and from one channel to the next.
void rl_ratios(const int64_t* numbers, int high, const double* scalars, int saturated,
               const int64_t* strides, const void* estimate, const void* kernels,
               const void* mixing, const void* observed, const void* mask, void* clean,
               void* ratios, void* workspace) {
  blurops::RlStep step{};
  step.saturated = saturated != 0;
  step.a = scalars[0], step.level = scalars[1], step.eps = scalars[2];
  step.mask_stride = strides[0], step.mask_channel_stride = strides[1];
  step.estimate = estimate, step.observed = observed, step.mask = mask;
  step.clean = clean, step.ratios = ratios;
  blurops::rl_ratios_cuda(problem_of(numbers), high != 0, step, kernels, mixing, workspace,
                          nullptr);
}
}
