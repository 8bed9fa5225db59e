// SPDX-License-Identifier: BSD-3-Clause
// The CUDA launchers of NU-Conv and motion blur, and their kernels, compiled for the host; tests
// load them by ctypes.
#include "gpu/planes.cu"
#include "motion_blur/cuda/blur.cu"
#include "nu_conv/cuda/gather.cu"
#include "nu_conv/cuda/spread.cu"
#include "nu_conv/cuda/synthesis.cu"
#include "schedule.h"

namespace {

blurops::NuConv conv_of(const int64_t* s) {
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
          s[13],
          s[14] != 0,
          s[15] != 0,
          s[16] != 0};
}

blurops::MotionBlur motion_of(const int64_t* s) {
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
          s[11] != 0,
          s[12] != 0,
          s[13] != 0};
}

}  // namespace

extern "C" {

// NAME_bytes(numbers, high) and NAME(numbers, high, addresses), as in the two cuda.h; `high` is
// there for all. Addresses: the inputs, out, workspace.
#define EMULATE_CONV(name)                                                                \
  int64_t name##_bytes(const int64_t* numbers, int high) {                                \
    return blurops::name##_cuda_bytes(conv_of(numbers), high != 0);                       \
  }                                                                                       \
  void name(const int64_t* numbers, int high, void** m) {                                 \
    blurops::name##_cuda(conv_of(numbers), high != 0, m[0], m[1], m[2], m[3], m[4], m[5], \
                         nullptr);                                                        \
  }
#define EMULATE_MOTION(name, ...)                                   \
  int64_t name##_bytes(const int64_t* numbers, int) {               \
    return blurops::name##_cuda_bytes(motion_of(numbers));          \
  }                                                                 \
  void name(const int64_t* numbers, int, void** m) {                \
    blurops::name##_cuda(motion_of(numbers), __VA_ARGS__, nullptr); \
  }
EMULATE_CONV(nu_conv)
EMULATE_CONV(nu_conv_adjoint)
EMULATE_CONV(nu_conv_grad_bank)
EMULATE_CONV(nu_conv_grad_weight)
EMULATE_MOTION(motion_blur, m[0], m[1], m[2], m[3], m[4])
EMULATE_MOTION(motion_blur_adjoint, m[0], m[1], m[2], m[3], m[4])
EMULATE_MOTION(motion_blur_grad_length, m[0], m[1], m[2], m[3], m[4], m[5])
EMULATE_MOTION(motion_blur_grad_angle, m[0], m[1], m[2], m[3], m[4], m[5])
#undef EMULATE_CONV
#undef EMULATE_MOTION
}
