// SPDX-License-Identifier: BSD-3-Clause
#include "common/check.h"
#include "common/cuda_device.h"

namespace blurops {

CudaStatus cuda_status() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return {false, cudaGetErrorString(status)};
  if (count == 0) return {false, "there is no CUDA device"};
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, 0), "cuda_status");
  return {true, properties.name};
}

}  // namespace blurops
