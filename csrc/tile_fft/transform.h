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

// `count` butterflies: the j-th takes load(j * step + i * stride) for i < R, multiplies what goes
// in or what comes out by twiddles[j][i], and hands its results to store() under the same
// positions.
template <int R, typename A, Twiddle kTwiddle, typename Load, typename Store>
BLUROPS_INLINE void stage(int count, int step, int stride, const A* twiddles, Load load,
                          Store store) {
  for (int j = 0; j < count; ++j) {
    const A* w = twiddles + j * R * 2;
    Pair<typename Simd<A>::Vec> x[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      x[i] = load(j * step + i * stride);
      if (kTwiddle == Twiddle::kBefore && i > 0) x[i] = times(x[i], w[2 * i], w[2 * i + 1]);
    }
    Butterfly<R>::template run<A>(x);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      if (kTwiddle == Twiddle::kAfter && i > 0) x[i] = times(x[i], w[2 * i], w[2 * i + 1]);
      store(j * step + i * stride, x[i]);
    }
  }
}

template <typename A, Twiddle kTwiddle, typename Load, typename Store>
BLUROPS_INLINE void any_stage(int radix, int count, int step, int stride, const A* twiddles,
                              Load load, Store store) {
  switch (radix) {
    case 8:
      return stage<8, A, kTwiddle>(count, step, stride, twiddles, load, store);
    case 12:
      return stage<12, A, kTwiddle>(count, step, stride, twiddles, load, store);
    default:
      return stage<16, A, kTwiddle>(count, step, stride, twiddles, load, store);
  }
}

// load(n) -> the n-th value of each lane; store(position, X). `work` holds one pair per position.
template <typename A, typename Load, typename Store>
BLUROPS_INLINE void forward(const Length<A>& length, A* work, Load load, Store store) {
  constexpr int kPair = 2 * Simd<A>::kLanes;
  const int first = length.radix1, second = length.radix2;
  any_stage<A, Twiddle::kAfter>(first, second, 1, second, length.twiddles, load,
                                [=](int i, auto value) { write_pair(work + i * kPair, value); });
  any_stage<A, Twiddle::kNone>(
      second, first, second, 1, length.twiddles, [=](int i) { return read_pair(work + i * kPair); },
      store);
}

// load(position) -> X; store(n, value), which may ignore the n it has no use for.
template <typename A, typename Load, typename Store>
BLUROPS_INLINE void inverse(const Length<A>& length, A* work, Load load, Store store) {
  constexpr int kPair = 2 * Simd<A>::kLanes;
  const int first = length.radix1, second = length.radix2;
  any_stage<A, Twiddle::kNone>(
      second, first, second, 1, length.twiddles, [=](int i) { return swapped(load(i)); },
      [=](int i, auto value) { write_pair(work + i * kPair, value); });
  any_stage<A, Twiddle::kBefore>(
      first, second, 1, second, length.twiddles, [=](int i) { return read_pair(work + i * kPair); },
      [=](int i, auto value) { store(i, swapped(value)); });
}

// Working memory of the passes below: two columns of pairs.
template <typename A>
int64_t work_elements(const TileTransform<A>& t) {
  const int64_t longest = t.y.size > t.x.size ? t.y.size : t.x.size;
  return 2 * longest * 2 * Simd<A>::kLanes;
}

// Forward along y for L columns from `x0` on: load(y) -> pairs, lanes along x. Fills rows x0 .. of
// `half`.
template <typename A, typename Load>
BLUROPS_INLINE void forward_columns(const TileTransform<A>& t, int x0, A* half, A* work,
                                    Load load) {
  constexpr int kLanes = Simd<A>::kLanes, kPair = 2 * kLanes;
  A* column = work + int64_t{t.y.size} * kPair;
  forward(t.y, work, load, [=](int i, auto value) { write_pair(column + i * kPair, value); });
  for (int b = 0; b < t.blocks(); ++b) {
    const A* from = column + b * kLanes * kPair;
    A* to = half + b * t.block() + x0 * kPair;
    transpose(from, kPair, to, kPair);
    transpose(from + kLanes, kPair, to + kLanes, kPair);
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
  forward(
      t.x, work,
      [=](int i) { return i < columns ? read_pair(from + i * kPair) : Pair<Vec>{Vec{}, Vec{}}; },
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
  inverse(
      t.x, work, [=](int i) { return load(base + i * kPair); },
      [=](int i, auto value) {
        if (i < columns) write_pair(to + i * kPair, value);
      });
}

// Inverse along y for L columns from x0 on: store(y, value), lanes along x.
template <typename A, typename Store>
BLUROPS_INLINE void inverse_columns(const TileTransform<A>& t, int x0, const A* half, A* work,
                                    Store store) {
  constexpr int kLanes = Simd<A>::kLanes, kPair = 2 * kLanes;
  A* column = work + int64_t{t.y.size} * kPair;
  for (int b = 0; b < t.blocks(); ++b) {
    const A* from = half + b * t.block() + x0 * kPair;
    A* to = column + b * kLanes * kPair;
    transpose(from, kPair, to, kPair);
    transpose(from + kLanes, kPair, to + kLanes, kPair);
  }
  inverse(t.y, work, [=](int i) { return read_pair(column + i * kPair); }, store);
}

}  // namespace
}  // namespace blurops
