// SPDX-License-Identifier: BSD-3-Clause
// The tile method on the CPU: what the launchers (tile_launch.cpp) hand to the tile kernels
// (tiles.cpp), which are compiled once per instruction set.
//
// Overlap-save: a tile of the blurred image, rows x columns, needs a window of the extended image
// as large as one transform. Two bases a, b share a transform: with F = conj(K_a) + i conj(K_b) the
// inverse of X F holds the response to k_a in its real part and to k_b in its imaginary part,
// because image and kernels are real. The adjoint runs it backwards: P, the spectrum of (m_a + i
// m_b) y, times conj(F), summed over the pairs, has H^T y as the real part of its inverse. For the
// kernels' gradient conj(P) X, summed over channels and tiles, inverts to g_a - i g_b. All three
// gradients of a blur share one sweep: X and P are computed once.
//
// Kernels that no tile can hold are cut into parts, each with its own window; their products are
// summed as spectra, so that no inverse is added.
//
// Bases whose mixing is zero all over a tile are left out there. Where that breaks up neighbours,
// blur and adjoint pair what is left anew, F being the sum of the two kernels' own spectra. A
// single basis has no partner; there two channels share a transform instead (tile_alone.h). Under a
// single kernel for the whole image an odd number of channels would leave half a transform empty in
// every tile; two tiles are computed together there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "basis_blur/basis_blur.h"

namespace blurops {

// Bases that share a transform; no second one is kNone.
struct BasisPair {
  static constexpr int64_t kNone = -1;
  int64_t first, second;
};

// How a tile takes the bases that it mixes.
enum class Pairing { kNeighbours, kAnew, kAlone };

// Mixing coefficients of which each pixel has but few that are not zero: the weights of the bases
// it picks, as NU-Conv has them. A basis that is picked twice has both weights.
struct Picks {
  int64_t picked;        // by each pixel
  const int32_t* index;  // (N or 1, picked, out_height, out_width): which bases
  // (N or 1, picked, out_height, out_width), storage type; null where it is what is wanted: then
  // every basis that is picked counts
  const void* weight;
  bool index_batched, weight_batched;  // Problem::mixing_batched is either
  // What the method may spend: transforms of tiles beside those that every tile needs.
  double budget;
};

// `active` says of each of `basis` bases whether a tile mixes it; `shared` and `own`: whether pairs
// of neighbours have spectra, and whether kernels have spectra of their own.
inline Pairing pairing_of(const uint8_t* active, int64_t basis, bool shared, bool own) {
  int64_t count = 0, neighbours = 0;
  for (int64_t b = 0; b < basis; b += 2) {
    const int here = active[b] + (b + 1 < basis ? active[b + 1] : 0);
    count += here;
    neighbours += here > 0;
  }
  if (shared && !own) return Pairing::kNeighbours;
  if (count == 1) return Pairing::kAlone;
  return !shared || (count + 1) / 2 < neighbours ? Pairing::kAnew : Pairing::kNeighbours;
}

// One call, ready to run. Of the fused backward `out`, `target` and `partial` are null where the
// gradient by the mixing, the image or the kernels is not wanted.
struct TilePlan {
  Problem problem;
  const void* first;   // image, or grad for the gradients
  const void* image;   // sharp image of the gradients
  const void* mixing;  // storage type; unused by grad_mixing
  const Picks* picks;  // of blur, adjoint and grad_weight in place of the mixing, or null
  const void* kernels;
  void* out;
  const Epilogue* epilogue;  // of the forward, or null

  const int64_t* row_map;                   // (extended_rows): source row of an extended row, or -1
  const int64_t* column_map;                // (extended_columns)
  int64_t extended_rows, extended_columns;  // out + K - 1

  int64_t part_height, part_width;  // taps of one part of the kernels
  int64_t parts;
  int64_t rows, columns;  // blurred pixels of a tile
  int64_t tiles_down, tiles_across;
  int64_t together = 1;  // tiles of a unit of blur and adjoint, at most 2
  int64_t turns = 1;     // units that share out the channel groups of a set of tiles: adjoint

  int64_t pairs;  // of neighbouring bases
  // Compute type, (samples of kernels, pairs, parts, one spectrum): F of neighbours. Null where
  // there are picks, whose pairs are all made anew.
  void* spectra;
  // Of blur and adjoint, or null where every tile mixes every basis: (samples of mixing, tiles, B).
  uint8_t* active;
  // Bases with a spectrum of their own, conj(K_b): their places in `own`, or -1; null: none has.
  const int64_t* own_index;
  int64_t owners;
  void* own;              // (samples of kernels, owners, parts, one spectrum)
  const BasisPair* made;  // while spectra are made: of which bases,
  int64_t made_count;     // how many,
  void* making;           // and where to
  int64_t channel_group;  // channels whose spectra are held at a time
  bool keeps_all_bases;   // grad_mixing: sums outlive a pair, because channels or samples come in
                          // groups

  // Adjoint: what is added to, (N, C, height, width) of the compute type.
  void* target;
  // Adjoint and fused backward: tiles of a sample that add to different places of the target.
  const int64_t* group;
  int64_t group_size;

  // Kernel gradient: fixed chunks of tiles, each with its own partial sums in double,
  // (chunks, N or 1, B, Kh, Kw); `pair_group` pairs are summed at a time.
  int64_t chunks, pair_group;
  double* partial;
};

// Channels whose spectra are held at a time, at most.
constexpr int64_t kMaxChannelGroup = 64;

using TileUnit = void (*)(const TilePlan& plan, int64_t unit, void* scratch);

struct TileKernels {
  // Bytes of scratch that one thread needs for any member.
  size_t (*scratch_bytes)(const TilePlan& plan);
  int64_t (*spectrum_bytes)(const TilePlan& plan);
  // By dtype code. A unit is: spectra (sample, one of `made`, part); picked (sample of the picks,
  // ty, tx); mixed (sample of the mixing, ty, basis); blur (n, set of tiles); adjoint (n, set of
  // tiles of plan.group, turn); grad_mixing (n or 0, ty, tx); grad_weight, of picks, (n, ty, tx);
  // grad_kernels (n or 0, group of pairs, chunk); backward (n or 0, chunk of plan.group), with n
  // that of the kernels.
  TileUnit spectra[kDTypeCount];
  TileUnit picked[kDTypeCount];
  TileUnit mixed[kDTypeCount];
  TileUnit blur[kDTypeCount];
  TileUnit adjoint[kDTypeCount];
  TileUnit grad_kernels[kDTypeCount];
  TileUnit grad_mixing[kDTypeCount];
  TileUnit grad_weight[kDTypeCount];
  TileUnit backward[kDTypeCount];
};

#define BLUROPS_DECLARE_ISA(isa) const TileKernels& tile_kernels_##isa();
BLUROPS_DECLARE_ISA(baseline)
BLUROPS_DECLARE_ISA(avx2)
BLUROPS_DECLARE_ISA(avx512)
#undef BLUROPS_DECLARE_ISA

}  // namespace blurops
