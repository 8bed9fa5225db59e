// SPDX-License-Identifier: BSD-3-Clause
// The inner loops of the peak probe, compiled once per instruction set.
#include "common/peak.h"

#include "common/simd.h"

namespace blurops {
namespace {

using V = Simd<float>;

// Latency times ports is 8 to 16 multiply-adds in flight; two registers hold the factor and the
// summand. AVX2 and SSE have 16 registers, the others 32.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kChains = 20;
#else
constexpr int kChains = 12;
#endif

double multiply_add(int64_t rounds, float* sink) {
  // Converges to 1, far from subnormal numbers.
  const V::Vec factor = V::Vec{} + (0.5f + *sink), summand = V::Vec{} + 0.5f;
  V::Vec chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = V::Vec{} + static_cast<float>(i);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 20
    for (int i = 0; i < kChains; ++i) chain[i] = chain[i] * factor + summand;
  }
  V::Vec total{};
  for (int i = 0; i < kChains; ++i) total += chain[i];
  for (int lane = 0; lane < V::kLanes; ++lane) *sink += total[lane];
  return 2.0 * kChains * V::kLanes * static_cast<double>(rounds);
}

void triad(float* a, const float* b, const float* c, float s, int64_t count) {
  int64_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes)
    V::write(a + i, V::read(b + i) + s * V::read(c + i));
  for (; i < count; ++i) a[i] = b[i] + s * c[i];
}

}  // namespace

#define BLUROPS_JOIN_(a, b) a##b
#define BLUROPS_JOIN(a, b) BLUROPS_JOIN_(a, b)

const PeakKernels& BLUROPS_JOIN(peak_kernels_, BLUROPS_ISA)() {
  static constexpr PeakKernels kernels{multiply_add, triad};
  return kernels;
}

}  // namespace blurops
