// SPDX-License-Identifier: BSD-3-Clause
// The passes of a Richardson-Lucy update on the CPU: what the launchers (cpu.cpp) call of the
// kernels (pointwise.cpp), which are compiled once per instruction set.
#pragma once

#include <cstddef>

#include "rl_step/rl_step.h"

namespace blurops {

struct RlBrightness {
  double threshold;
  bool erode, smooth;
  void* lost;
};

// Rows of an image that one unit of work covers, all channels of one sample.
constexpr int64_t kRlRows = 16;

struct RlKernels {
  // Bytes of scratch that one thread needs for an image of this width.
  size_t (*scratch_bytes)(int64_t width);

  // By dtype code, float32 and float64. A unit is (n, block of kRlRows rows).
  bool (*any_bright[2])(const RlStep& step, const RlBrightness& how, int64_t unit);
  void (*lost[2])(const RlStep& step, const RlBrightness& how, int64_t unit, void* scratch);
  void (*update[2])(const RlStep& step, int64_t unit, void* out, void* scratch);
  void (*grad_update[2])(const RlStep& step, int64_t unit, void* scratch);
  void (*grad_tv[2])(const RlStep& step, int64_t unit, void* scratch);
  void (*grad_ratios[2])(const RlStep& step, int64_t unit, void* scratch);

  // Epilogues of the blur; the context is the step.
  decltype(Epilogue::row) clean[2];
  decltype(Epilogue::row) ratios[2];
};

#define BLUROPS_DECLARE_ISA(isa) const RlKernels& rl_kernels_##isa();
BLUROPS_DECLARE_ISA(baseline)
BLUROPS_DECLARE_ISA(avx2)
BLUROPS_DECLARE_ISA(avx512)
#undef BLUROPS_DECLARE_ISA

}  // namespace blurops
