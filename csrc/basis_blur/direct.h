// SPDX-License-Identifier: BSD-3-Clause
// The direct method on the CPU: what the launchers (cpu.cpp) hand to the row kernels (direct.cpp),
// which are compiled once per instruction set.
#pragma once

#include <cstddef>

#include "basis_blur/basis_blur.h"

namespace blurops {

// One call, ready to run. Rows of work are independent of each other, and each sums in a fixed
// order.
struct DirectPlan {
  Problem problem;
  const void* first;           // image, or grad for the gradients
  const void* image;           // sharp image of the gradients
  const void* mixing;          // storage type; unused by grad_mixing
  const void* packed_kernels;  // compute type, see pack() in cpu.cpp; unused by grad_kernels
  int64_t packed_stride;       // elements of one (sample, kernel row)
  void* out;
  const Epilogue* epilogue;  // of the blur, or null

  const int64_t* row_map;     // (out_height + Kh - 1): source row of an extended row, or -1
  const int64_t* column_map;  // (out_width + Kw - 1)
  int64_t first_column;       // extended columns first_column .. + width - 1 are the image itself

  // Adjoint: the extended rows that read image row q are sources[source_begin[q] .. source_begin[q
  // + 1]).
  const int64_t* source_begin;
  const int64_t* sources;

  // Kernel gradient: blurred rows are shared out in fixed chunks, each with its own partial sums in
  // double, (chunks, N or 1, B, Kh, Kw).
  int64_t chunks;
  double* partial;
};

using DirectRow = void (*)(const DirectPlan& plan, int64_t unit, void* scratch);

struct DirectKernels {
  const char* name;
  int rows;  // rows of a register block: the packing of the kernels
  // Bytes of scratch that one thread needs.
  size_t (*scratch_bytes)(const Problem& problem);
  // By dtype code. A unit is: blur (n, y); adjoint (n, q); grad_mixing (n or 0, y); grad_kernels (n
  // or 0, dy, chunk).
  DirectRow blur[kDTypeCount];
  DirectRow adjoint[kDTypeCount];
  DirectRow grad_kernels[kDTypeCount];
  DirectRow grad_mixing[kDTypeCount];
};

#define BLUROPS_DECLARE_ISA(isa) const DirectKernels& direct_kernels_##isa();
BLUROPS_DECLARE_ISA(baseline)
BLUROPS_DECLARE_ISA(avx2)
BLUROPS_DECLARE_ISA(avx512)
#undef BLUROPS_DECLARE_ISA

}  // namespace blurops
