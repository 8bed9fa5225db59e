// SPDX-License-Identifier: BSD-3-Clause
// The CUDA launchers and their kernels, compiled for the host; tests load them by ctypes.
#include "basis_blur/cuda/adjoint.cu"
#include "basis_blur/cuda/blur.cu"
#include "basis_blur/cuda/pack.cu"

namespace {

// As problem_of in csrc/bindings.cpp, without a tiling.
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
          {}};
}

}  // namespace

extern "C" {

void emulate(int copies_land_late, int order) {
  auto& settings = blurops::emulation::settings();
  settings.copies_land_late = copies_land_late != 0;
  settings.order = static_cast<blurops::emulation::Order>(order);
  settings.report.clear();
}

const char* report() { return blurops::emulation::settings().report.c_str(); }

int64_t basis_blur_bytes(const int64_t* numbers, int high) {
  return blurops::basis_blur_cuda_bytes(problem_of(numbers), high != 0);
}
void basis_blur(const int64_t* numbers, int high, const void* image, const void* kernels,
                const void* mixing, void* out, void* workspace) {
  blurops::basis_blur_cuda(problem_of(numbers), high != 0, image, kernels, mixing, out, workspace,
                           nullptr);
}

int64_t basis_blur_adjoint_bytes(const int64_t* numbers, int high) {
  return blurops::basis_blur_adjoint_cuda_bytes(problem_of(numbers), high != 0);
}
void basis_blur_adjoint(const int64_t* numbers, int high, const void* image, const void* kernels,
                        const void* mixing, void* out, void* workspace) {
  blurops::basis_blur_adjoint_cuda(problem_of(numbers), high != 0, image, kernels, mixing, out,
                                   workspace, nullptr);
}
}
