// SPDX-License-Identifier: BSD-3-Clause
#include "common/check.h"
#include "common/cuda_device.h"

namespace blurops {

namespace {

CudaStatus look() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return {false, cudaGetErrorString(status)};
  if (count == 0) return {false, "there is no CUDA device"};
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, 0), "cuda_status");
  if (properties.major < 8) {
    return {false, "its CUDA kernels need compute capability 8.0, and " +
                       std::string(properties.name) + " has " + std::to_string(properties.major) +
                       "." + std::to_string(properties.minor)};
  }
  return {true, properties.name};
}

}  // namespace

CudaStatus cuda_status() {
  // Every call asks, and the driver takes its time to answer.
  static const CudaStatus status = look();
  return status;
}

}  // namespace blurops
