// SPDX-License-Identifier: BSD-3-Clause
// CUDA status codes become exceptions that name the launcher.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace blurops {

inline void check_cuda(cudaError_t status, const char* launcher) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(launcher) + ": " + cudaGetErrorString(status));
}

}  // namespace blurops
