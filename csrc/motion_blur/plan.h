// SPDX-License-Identifier: BSD-3-Clause
// What the launchers of motion blur (cpu.cpp) hand to its kernels (kernels.cpp), which are compiled
// once per instruction set.
#pragma once

#include <cstddef>

#include "motion_blur/motion_blur.h"

namespace blurops {

// Planes that describe the motion of every pixel, in the compute type.
enum LinePlane : int {
  kCos,    // rounded to 12 bits behind the point in float, so that multiples of it are exact
  kCosLo,  // the rest
  kSin,
  kSinLo,
  kHalf,   // (length - 1) / 2
  kLimit,  // half squared, rounded up: fspecial's caps begin at p^2 + q^2 >= kLimit
  kNorm,   // 1 / sum of the weights; of the adjoint alone
  kLinePlanes
};

// What the motions of some pixels have in common: at row q of offsets, those that have weight lie
// between the extremes of -q cot and at most `spread` beyond them.
enum Bound : int { kCotLow, kCotHigh, kSpread, kReachX, kReachY, kLimitLow, kBounds };

struct MotionPlan {
  MotionBlur problem;
  bool derivative;    // the lines are for derivatives: see line.py
  bool maps_batched;  // length or angle is
  const void* first;  // of the blurred size, storage type: what is spread, or the gradient
  const void* length;
  const void* angle;
  void* out;
  void* by_angle;  // the gradient by the angle, where out is that by the length

  const void* extended;  // sharp image, compute type: (N, C, out_height + 2 reach, pitch)
  int64_t pitch, plane;

  // (maps, out_height, kLinePlanes, line_pitch), with `pad` columns before those of the maps, and
  // (maps, out_height, blocks, kBounds), each for a vector of the line planes, or for the window
  // that an adjoint's vector of results looks at.
  void* lines;
  void* bounds;
  void* windows;
  int64_t pad, line_pitch, blocks;

  // Adjoint: what is spread, divided by the sum of weights, (N, C, out_height, line_pitch), zero
  // outside the maps; the extended columns as extended_map() has them, and for every row of the
  // sharp image the extended rows that read it.
  void* divided;
  const int64_t* column_map;
  const int64_t* source_begin;
  const int64_t* sources;
};

using MotionUnit = void (*)(const MotionPlan& plan, int64_t unit, void* scratch);

struct MotionKernels {
  int lanes[kDTypeCount];
  // By dtype code. A unit is a row: lines (map, y), windows (map, y), blur (n, y), divide (n, y),
  // adjoint (n, q), grad_length, grad_angle and grad_both (n or 0, y).
  MotionUnit lines[kDTypeCount];
  MotionUnit windows[kDTypeCount];
  MotionUnit norms[kDTypeCount];
  MotionUnit blur[kDTypeCount];
  MotionUnit divide[kDTypeCount];
  MotionUnit adjoint[kDTypeCount];
  MotionUnit grad_length[kDTypeCount];
  MotionUnit grad_angle[kDTypeCount];
  MotionUnit grad_both[kDTypeCount];
};

#define BLUROPS_DECLARE_ISA(isa) const MotionKernels& motion_kernels_##isa();
BLUROPS_DECLARE_ISA(baseline)
BLUROPS_DECLARE_ISA(avx2)
BLUROPS_DECLARE_ISA(avx512)
#undef BLUROPS_DECLARE_ISA

}  // namespace blurops
