// SPDX-License-Identifier: BSD-3-Clause
// Storage types, their codes, and the types they are computed in.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define BLUROPS_HD __host__ __device__
#else
#define BLUROPS_HD
#endif

namespace blurops {

// The codes of blurops/_native.py.
enum class DType : int { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };
inline constexpr int kDTypeCount = 4;

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

}  // namespace blurops
