// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace blurops {

// What the CUDA half of the module sees: the first device's name, or why there is none.
struct CudaStatus {
  bool available;
  std::string text;
};

CudaStatus cuda_status();

}  // namespace blurops
