// SPDX-License-Identifier: BSD-3-Clause
// What the launchers of NU-Conv (cpu.cpp) hand to its kernels (kernels.cpp), which are compiled
// once per instruction set.
#pragma once

#include <cstddef>

#include "nu_conv/nu_conv.h"

namespace blurops {

// A row of taps as vectors of `lanes`. Where windows are read, none reaches beyond the row as long
// as a row fills one: the last begins early enough (`overlapping`), and its taps that the one
// before it has are zero. Where rows are spread they follow one another, since a vector that has
// just been written must not be read in part.
struct TapRow {
  int64_t taps, lanes;
  bool overlapping;

  int64_t vectors() const { return (taps + lanes - 1) / lanes; }
  int64_t first(int64_t v) const {
    return overlapping && v > 0 && v + 1 == vectors() ? taps - lanes : v * lanes;
  }
  // The lanes of vector v that hold taps no earlier vector has: fresh(v) .. end(v) - 1.
  int64_t fresh(int64_t v) const { return v * lanes - first(v); }
  int64_t end(int64_t v) const { return first(v) + lanes < taps ? lanes : taps - first(v); }
  int64_t live() const { return taps < lanes ? taps : lanes; }
  int64_t stride() const { return vectors() * lanes; }
};

// Rows of taps that one unit of the gradient by the bank sums.
inline constexpr int64_t kBankRows = 4;

struct NuConvPlan {
  NuConv problem;
  TapRow row;
  const void* first;     // of the filtered size, storage type: what is spread, or the gradient
  const void* extended;  // sharp image, compute type: (N, C, out_height + Kh - 1, pitch)
  int64_t pitch, plane;  // elements
  const void* bank;      // compute type: (F, bank channels, Kh, row.stride()), zero elsewhere
  const int32_t* index;
  const void* weight;
  void* out;

  // Adjoint: a unit makes `rows` rows of the sharp image; the extended rows that read row q are
  // sources[source_begin[q] .. source_begin[q + 1]). Its columns are summed over spread_pitch.
  int64_t rows, spread_pitch;
  const int64_t* column_map;  // (out_width + Kw - 1), -1 where there is nothing
  const int64_t* source_begin;
  const int64_t* sources;

  // Gradient by the bank: filtered rows of the batch are shared out in fixed chunks, each with its
  // own sums in double, (chunks, F, bank channels, Kh, Kw).
  int64_t chunks;
  double* partial;
};

using NuConvUnit = void (*)(const NuConvPlan& plan, int64_t unit, void* scratch);

struct NuConvKernels {
  int lanes[kDTypeCount];
  // By dtype code. A unit is: conv (n, y); adjoint (n, block of rows); grad_weight (n or 0, y);
  // grad_bank (group of kBankRows rows of taps, chunk).
  NuConvUnit conv[kDTypeCount];
  NuConvUnit adjoint[kDTypeCount];
  NuConvUnit grad_bank[kDTypeCount];
  NuConvUnit grad_weight[kDTypeCount];
};

#define BLUROPS_DECLARE_ISA(isa) const NuConvKernels& nu_conv_kernels_##isa();
BLUROPS_DECLARE_ISA(baseline)
BLUROPS_DECLARE_ISA(avx2)
BLUROPS_DECLARE_ISA(avx512)
#undef BLUROPS_DECLARE_ISA

}  // namespace blurops
