// SPDX-License-Identifier: BSD-3-Clause
// What this processor can do at most, measured: the yardstick of benchmarks/. Nothing else uses it.
#pragma once

#include <cstdint>

namespace blurops {

// float32 arithmetic, in operations per second (a multiply-add counts two): independent chains of
// vector multiply-adds on `threads` threads, for about `seconds`.
double peak_flops(double seconds, int threads);

// a = b + s c over arrays of `bytes` bytes in all, in bytes read or written per second, the best of
// several passes. The read that a write to memory may cause is not counted.
double peak_bandwidth(int64_t bytes, int threads);

struct PeakKernels {
  // Runs `rounds` rounds, returns the operations done; *sink receives a value that depends on all.
  double (*multiply_add)(int64_t rounds, float* sink);
  void (*triad)(float* a, const float* b, const float* c, float s, int64_t count);
};

#define BLUROPS_DECLARE_ISA(isa) const PeakKernels& peak_kernels_##isa();
BLUROPS_DECLARE_ISA(baseline)
BLUROPS_DECLARE_ISA(avx2)
BLUROPS_DECLARE_ISA(avx512)
#undef BLUROPS_DECLARE_ISA

}  // namespace blurops
