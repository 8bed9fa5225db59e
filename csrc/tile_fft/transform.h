// SPDX-License-Identifier: BSD-3-Clause
// Two-dimensional transforms of one tile, in cache, vectorised across its columns.
//
// A length is a product of two radices, N = R1 R2, and every 1-D transform two stages of
// butterflies (Cooley and Tukey, 1965). The forward one leaves frequency k1 + R1 k2 at position k1
// R2 + k2 and the inverse one takes it from there, so nothing is ever reordered: spectra are only
// multiplied with each other, position by position. The inverse runs the same stages in the other
// order on numbers whose real and imaginary parts have changed places. Both apply the twiddles in
// the stage along R1, the far end from the spectrum: the near stage multiplies spectra already.
//
// A spectrum is stored as [block of L positions along y][position along x][re, im][L lanes];
// `half`, between the passes, as [block][x][re, im][L].
#pragma once

#include "tile_fft/butterfly.h"
#include "tile_fft/transpose.h"

namespace blurops {
namespace {

// One length of a transform; the tables are those of lengths().
template <typename A>
struct Length {
  int size, radix1, radix2;
  const A* twiddles;  // exp(-2 pi i n2 k1 / N) as (n2, k1, 2)
};

template <typename A>
struct TileTransform {
  Length<A> y, x;
  static constexpr int kLanes = Simd<A>::kLanes;

  int64_t block() const { return int64_t{x.size} * 2 * kLanes; }  // of a spectrum, or of `half`
  int blocks() const { return y.size / kLanes; }
  int64_t elements() const { return int64_t{y.size} * x.size * 2; }
};

// Read once: a compiler that takes operands from memory would load those that are used twice twice,
// and loads are what the products of spectra wait for.
template <typename A>
BLUROPS_INLINE Pair<typename Simd<A>::Vec> read_pair(const A* from) {
  Pair<typename Simd<A>::Vec> value = {Simd<A>::read(from), Simd<A>::read(from + Simd<A>::kLanes)};
  in_register(value.re);
  in_register(value.im);
  return value;
}

template <typename A>
BLUROPS_INLINE void write_pair(A* to, Pair<typename Simd<A>::Vec> value) {
  Simd<A>::write(to, value.re);
  Simd<A>::write(to + Simd<A>::kLanes, value.im);
}

template <typename V>
BLUROPS_INLINE Pair<V> swapped(Pair<V> a) {
  return {a.im, a.re};
}

enum class Twiddle { kNone, kBefore, kAfter };

// `count` butterflies: the j-th takes load(j * step + i * stride) for i < kUsed, the rest of its
// inputs being zero, multiplies what goes in or what comes out by twiddles[j][i], and hands its
// first kKept results to store() under the same positions.
template <int R, typename A, Twiddle kTwiddle, int kUsed = R, int kKept = R, typename Load,
          typename Store>
BLUROPS_INLINE void stage(int count, int step, int stride, const A* twiddles, Load load,
                          Store store) {
  for (int j = 0; j < count; ++j) {
    const A* w = twiddles + j * R * 2;
    Pair<typename Simd<A>::Vec> x[R];
#pragma GCC unroll 16
    for (int i = 0; i < kUsed; ++i) {
      x[i] = load(j * step + i * stride);
      if (kTwiddle == Twiddle::kBefore && i > 0) x[i] = times(x[i], w[2 * i], w[2 * i + 1]);
    }
    Butterfly<R>::template run<A, kUsed>(x);
#pragma GCC unroll 16
    for (int i = 0; i < kKept; ++i) {
      if (kTwiddle == Twiddle::kAfter && i > 0) x[i] = times(x[i], w[2 * i], w[2 * i + 1]);
      store(j * step + i * stride, x[i]);
    }
  }
}

// The forward stage along R1; the values from `used` on are zero and are not loaded, or not all.
template <typename A, typename Load, typename Store>
BLUROPS_INLINE void far_forward(const Length<A>& t, int used, Load load, Store store) {
  constexpr Twiddle kAfter = Twiddle::kAfter;
  const int count = t.radix2, inputs = (used + count - 1) / count;
  switch (t.radix1) {
    case 8:
      if (inputs <= 6) return stage<8, A, kAfter, 6>(count, 1, count, t.twiddles, load, store);
      return stage<8, A, kAfter>(count, 1, count, t.twiddles, load, store);
    case 12:
      if (inputs <= 8) return stage<12, A, kAfter, 8>(count, 1, count, t.twiddles, load, store);
      if (inputs <= 10) return stage<12, A, kAfter, 10>(count, 1, count, t.twiddles, load, store);
      return stage<12, A, kAfter>(count, 1, count, t.twiddles, load, store);
    default:
      if (inputs <= 12) return stage<16, A, kAfter, 12>(count, 1, count, t.twiddles, load, store);
      return stage<16, A, kAfter>(count, 1, count, t.twiddles, load, store);
  }
}

// The inverse stage along R1; of the values from `kept` on not all are stored.
template <typename A, typename Load, typename Store>
BLUROPS_INLINE void far_inverse(const Length<A>& t, int kept, Load load, Store store) {
  constexpr Twiddle kBefore = Twiddle::kBefore;
  const int count = t.radix2, outputs = (kept + count - 1) / count;
  const A* w = t.twiddles;
  switch (t.radix1) {
    case 8:
      if (outputs <= 6) return stage<8, A, kBefore, 8, 6>(count, 1, count, w, load, store);
      return stage<8, A, kBefore>(count, 1, count, w, load, store);
    case 12:
      if (outputs <= 8) return stage<12, A, kBefore, 12, 8>(count, 1, count, w, load, store);
      if (outputs <= 10) return stage<12, A, kBefore, 12, 10>(count, 1, count, w, load, store);
      return stage<12, A, kBefore>(count, 1, count, w, load, store);
    default:
      if (outputs <= 12) return stage<16, A, kBefore, 16, 12>(count, 1, count, w, load, store);
      return stage<16, A, kBefore>(count, 1, count, w, load, store);
  }
}

// The stage along R2, of neighbouring positions, in either direction.
template <typename A, typename Load, typename Store>
BLUROPS_INLINE void near_stage(const Length<A>& t, Load load, Store store) {
  constexpr Twiddle kNone = Twiddle::kNone;
  switch (t.radix2) {
    case 8:
      return stage<8, A, kNone>(t.radix1, 8, 1, t.twiddles, load, store);
    case 12:
      return stage<12, A, kNone>(t.radix1, 12, 1, t.twiddles, load, store);
    default:
      return stage<16, A, kNone>(t.radix1, 16, 1, t.twiddles, load, store);
  }
}

// Cells that R positions are made of and that do not reach into the next block: large ones take
// fewer accesses to memory, and more registers.
template <typename A, bool kLarge>
using CellsOf = Cells<A, kLarge && kVectorBytes >= 32 ? 32 : 16>;

// The same along y, for L columns of `half` from `column` on (its first block), which it finds
// transposed: lanes along y there, along x here.
template <int R, typename A, typename Store>
BLUROPS_INLINE void near_inverse_of_columns(const TileTransform<A>& t, const A* column,
                                            Store store) {
  using Square = CellsOf<A, R == 8>;
  constexpr int kLanes = Simd<A>::kLanes, kPair = 2 * kLanes, kCell = Square::kCell;
  for (int j = 0; j < t.y.radix1; ++j) {
    typename Simd<A>::Vec re[R], im[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; i += kCell) {
      const int y = j * R + i;
      const A* from = column + y / kLanes * t.block() + y % kLanes;
      read_transposed<Square>(from, kPair, re + i);
      read_transposed<Square>(from + kLanes, kPair, im + i);
    }
    Pair<typename Simd<A>::Vec> x[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) x[i] = {im[i], re[i]};
    Butterfly<R>::template run<A, R>(x);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) store(j * R + i, x[i]);
  }
}

template <int R, typename A, typename Load>
BLUROPS_INLINE void near_forward_of_columns(const TileTransform<A>& t, A* column, Load load) {
  using Square = CellsOf<A, R % 8 == 0>;
  constexpr int kLanes = Simd<A>::kLanes, kPair = 2 * kLanes, kCell = Square::kCell;
  for (int j = 0; j < t.y.radix1; ++j) {
    Pair<typename Simd<A>::Vec> x[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) x[i] = load(j * R + i);
    Butterfly<R>::template run<A, R, Units::kMultiply>(x);
    typename Simd<A>::Vec re[R], im[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) re[i] = x[i].re, im[i] = x[i].im;
#pragma GCC unroll 16
    for (int i = 0; i < R; i += kCell) {
      const int y = j * R + i;
      A* to = column + y / kLanes * t.block() + y % kLanes;
      write_transposed<Square>(re + i, to, kPair);
      write_transposed<Square>(im + i, to + kLanes, kPair);
    }
  }
}

// Working memory of the passes below: one pair per position.
template <typename A>
int64_t work_elements(const TileTransform<A>& t) {
  const int64_t longest = t.y.size > t.x.size ? t.y.size : t.x.size;
  return longest * 2 * Simd<A>::kLanes;
}

// Forward along y for L columns from `x0` on: load(y) -> pairs, lanes along x, for y < rows; the
// rows from there on are zero where they are not loaded. Fills rows x0 .. of `half`.
template <typename A, typename Load>
BLUROPS_INLINE void forward_columns(const TileTransform<A>& t, int x0, int rows, A* half, A* work,
                                    Load load) {
  constexpr int kPair = 2 * Simd<A>::kLanes;
  far_forward(t.y, rows, load, [=](int i, auto value) { write_pair(work + i * kPair, value); });
  const auto again = [=](int i) { return read_pair(work + i * kPair); };
  A* column = half + x0 * kPair;
  switch (t.y.radix2) {
    case 8:
      return near_forward_of_columns<8>(t, column, again);
    case 12:
      return near_forward_of_columns<12>(t, column, again);
    default:
      return near_forward_of_columns<16>(t, column, again);
  }
}

// Forward along x for block b; the rows of `half` from `columns` on count as zero.
// store(offset in the spectrum, X).
template <typename A, typename Store>
BLUROPS_INLINE void forward_rows(const TileTransform<A>& t, int b, int columns, const A* half,
                                 A* work, Store store) {
  constexpr int kPair = 2 * Simd<A>::kLanes;
  using Vec = typename Simd<A>::Vec;
  const A* from = half + b * t.block();
  const int64_t base = b * t.block();
  far_forward(
      t.x, columns,
      [=](int i) { return i < columns ? read_pair(from + i * kPair) : Pair<Vec>{Vec{}, Vec{}}; },
      [=](int i, auto value) { write_pair(work + i * kPair, value); });
  near_stage(
      t.x, [=](int i) { return read_pair(work + i * kPair); },
      [=](int i, auto value) { store(base + i * kPair, value); });
}

// Inverse along x for block b: load(offset in the spectrum) -> X. Fills rows 0 .. columns - 1 of
// `half`.
template <typename A, typename Load>
BLUROPS_INLINE void inverse_rows(const TileTransform<A>& t, int b, int columns, A* half, A* work,
                                 Load load) {
  constexpr int kPair = 2 * Simd<A>::kLanes;
  A* to = half + b * t.block();
  const int64_t base = b * t.block();
  near_stage(
      t.x, [=](int i) { return swapped(load(base + i * kPair)); },
      [=](int i, auto value) { write_pair(work + i * kPair, value); });
  far_inverse(
      t.x, columns, [=](int i) { return read_pair(work + i * kPair); },
      [=](int i, auto value) {
        if (i < columns) write_pair(to + i * kPair, swapped(value));
      });
}

// Inverse along y for L columns from x0 on: store(y, value), lanes along x, for y < rows.
template <typename A, typename Store>
BLUROPS_INLINE void inverse_columns(const TileTransform<A>& t, int x0, int rows, const A* half,
                                    A* work, Store store) {
  constexpr int kPair = 2 * Simd<A>::kLanes;
  const auto keep = [=](int i, auto value) { write_pair(work + i * kPair, value); };
  const A* column = half + x0 * kPair;
  switch (t.y.radix2) {
    case 8:
      near_inverse_of_columns<8>(t, column, keep);
      break;
    case 12:
      near_inverse_of_columns<12>(t, column, keep);
      break;
    default:
      near_inverse_of_columns<16>(t, column, keep);
  }
  far_inverse(
      t.y, rows, [=](int i) { return read_pair(work + i * kPair); },
      [=](int i, auto value) {
        if (i < rows) store(i, swapped(value));
      });
}

}  // namespace
}  // namespace blurops
