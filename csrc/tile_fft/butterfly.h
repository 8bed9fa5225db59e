// SPDX-License-Identifier: BSD-3-Clause
// Forward transforms of a few complex vectors in registers: X[k] = sum_n x[n] exp(-2 pi i n k / R),
// one transform per lane, real and imaginary parts apart. Swapping the two parts of input and
// output turns each into the unscaled inverse.
//
// Additions outnumber multiplications in an FFT while processors do as many of either, so constants
// are folded into fused multiply-adds where that saves an addition's or a product's own
// instruction.
#pragma once

#include "common/simd.h"

namespace blurops {
namespace {

#define BLUROPS_INLINE inline __attribute__((always_inline))

// A complex vector.
template <typename V>
struct Pair {
  V re, im;
};

template <typename V>
BLUROPS_INLINE Pair<V> operator+(Pair<V> a, Pair<V> b) {
  return {a.re + b.re, a.im + b.im};
}
template <typename V>
BLUROPS_INLINE Pair<V> operator-(Pair<V> a, Pair<V> b) {
  return {a.re - b.re, a.im - b.im};
}
template <typename V>
BLUROPS_INLINE Pair<V> minus_i_times(Pair<V> a) {
  return {a.im, -a.re};
}

// a + scale * b, as fused multiply-adds.
template <typename A, typename V>
BLUROPS_INLINE Pair<V> add_scaled(Pair<V> a, A scale, Pair<V> b) {
  return {a.re + scale * b.re, a.im + scale * b.im};
}

template <typename A, typename V>
BLUROPS_INLINE Pair<V> times(Pair<V> a, A re, A im) {
  return {a.re * re - a.im * im, a.re * im + a.im * re};
}

// a - b as a multiplication by one that the compiler does not see through: some processors have
// units for additions and others for multiply-adds, and an FFT leaves the latter idle.
template <typename A, typename V>
BLUROPS_INLINE Pair<V> fused_difference(Pair<V> a, Pair<V> b) {
  V one = V{} + A(1);
  in_register(one);
  return {a.re - one * b.re, a.im - one * b.im};
}

// Which units the first differences of an 8-point butterfly are computed by; the larger ones, which
// multiply more, have no choice.
enum class Units { kAdd, kMultiply };

// run<A, kUsed>(x): the inputs from kUsed on are zero and are not looked at; kUsed is one of those
// that far_forward() asks for.
template <int R>
struct Butterfly;

template <>
struct Butterfly<3> {
  template <typename A, typename V>
  static BLUROPS_INLINE void run(Pair<V>& x0, Pair<V>& x1, Pair<V>& x2) {
    const Pair<V> sum = x1 + x2, turned = minus_i_times(x1 - x2);
    const Pair<V> middle = add_scaled(x0, -kHalf<A>, sum);
    x0 = x0 + sum;
    part<A>(middle, turned, x1, x2);
  }

  // With 0 for x2.
  template <typename A, typename V>
  static BLUROPS_INLINE void run_first_two(Pair<V>& x0, Pair<V>& x1, Pair<V>& x2) {
    const Pair<V> middle = add_scaled(x0, -kHalf<A>, x1), turned = minus_i_times(x1);
    x0 = x0 + x1;
    part<A>(middle, turned, x1, x2);
  }

  // With 0 for x0.
  template <typename A, typename V>
  static BLUROPS_INLINE void run_last_two(Pair<V>& x0, Pair<V>& x1, Pair<V>& x2) {
    const Pair<V> turned = minus_i_times(x1 - x2);
    x0 = x1 + x2;
    const Pair<V> middle = {-kHalf<A> * x0.re, -kHalf<A> * x0.im};
    part<A>(middle, turned, x1, x2);
  }

 private:
  template <typename A>
  static constexpr A kHalf = A(0.5);
  template <typename A>
  static constexpr A kSin = A(0.866025403784438646763723170752936183);

  template <typename A, typename V>
  static BLUROPS_INLINE void part(Pair<V> middle, Pair<V> turned, Pair<V>& x1, Pair<V>& x2) {
    x1 = add_scaled(middle, kSin<A>, turned);
    x2 = add_scaled(middle, -kSin<A>, turned);
  }
};

template <>
struct Butterfly<4> {
  template <typename A, typename V>
  static BLUROPS_INLINE void run(Pair<V>& x0, Pair<V>& x1, Pair<V>& x2, Pair<V>& x3) {
    const Pair<V> odd = x1 + x3, odd_difference = minus_i_times(x1 - x3);
    join(odd, odd_difference, x0, x1, x2, x3);
  }

  // With 0 for x3.
  template <typename A, typename V>
  static BLUROPS_INLINE void run_first_three(Pair<V>& x0, Pair<V>& x1, Pair<V>& x2, Pair<V>& x3) {
    join(x1, minus_i_times(x1), x0, x1, x2, x3);
  }

 private:
  template <typename V>
  static BLUROPS_INLINE void join(Pair<V> odd, Pair<V> odd_difference, Pair<V>& x0, Pair<V>& x1,
                                  Pair<V>& x2, Pair<V>& x3) {
    const Pair<V> even = x0 + x2, even_difference = x0 - x2;
    x0 = even + odd;
    x1 = even_difference + odd_difference;
    x2 = even - odd;
    x3 = even_difference - odd_difference;
  }
};

template <>
struct Butterfly<8> {
  template <typename A, int kUsed, Units kUnits = Units::kAdd, typename V>
  static BLUROPS_INLINE void run(Pair<V>* x) {
    constexpr A kRoot = A(0.707106781186547524400844362104849039);
    const auto minus = [](Pair<V> a, Pair<V> b) {
      return kUnits == Units::kAdd ? a - b : fused_difference<A>(a, b);
    };
    constexpr bool kAll = kUsed > 6;
    const Pair<V> d0 = minus(x[0], x[4]), d1 = minus(x[1], x[5]);
    const Pair<V> d2 = minus_i_times(kAll ? minus(x[2], x[6]) : x[2]);
    const Pair<V> d3 = kAll ? minus(x[3], x[7]) : x[3];
    Pair<V> s0 = x[0] + x[4], s1 = x[1] + x[5];
    Pair<V> s2 = kAll ? x[2] + x[6] : x[2], s3 = kAll ? x[3] + x[7] : x[3];
    Butterfly<4>::run<A>(s0, s1, s2, s3);
    x[0] = s0, x[2] = s1, x[4] = s2, x[6] = s3;
    // The odd half, whose twiddles are sqrt(1/2) times p = (1 - i) d1 and q = (-1 - i) d3.
    const Pair<V> p = {d1.re + d1.im, d1.im - d1.re}, q = {d3.im - d3.re, -(d3.re + d3.im)};
    const Pair<V> even = d0 + d2, even_difference = d0 - d2;
    const Pair<V> odd = p + q, odd_difference = minus_i_times(p - q);
    x[1] = add_scaled(even, kRoot, odd);
    x[5] = add_scaled(even, -kRoot, odd);
    x[3] = add_scaled(even_difference, kRoot, odd_difference);
    x[7] = add_scaled(even_difference, -kRoot, odd_difference);
  }
};

// 12 = 3 x 4 without twiddles: inputs 4 i + 3 j, outputs 4 k + 9 l, modulo 12 (Good, 1958).
template <>
struct Butterfly<12> {
  template <typename A, int kUsed, Units = Units::kAdd, typename V>
  static BLUROPS_INLINE void run(Pair<V>* x) {
    if constexpr (kUsed > 8) {
      Butterfly<3>::run<A>(x[0], x[4], x[8]);
      Butterfly<3>::run<A>(x[9], x[1], x[5]);
    } else {
      Butterfly<3>::run_first_two<A>(x[0], x[4], x[8]);
      Butterfly<3>::run_last_two<A>(x[9], x[1], x[5]);
    }
    if constexpr (kUsed > 10) {
      Butterfly<3>::run<A>(x[3], x[7], x[11]);
      Butterfly<3>::run<A>(x[6], x[10], x[2]);
    } else {
      Butterfly<3>::run_first_two<A>(x[3], x[7], x[11]);
      // Where the second input is zero, not the third, the second and third results change places.
      Butterfly<3>::run_first_two<A>(x[6], x[2], x[10]);
    }
    Butterfly<4>::run<A>(x[0], x[3], x[6], x[9]);
    Butterfly<4>::run<A>(x[4], x[7], x[10], x[1]);
    Butterfly<4>::run<A>(x[8], x[11], x[2], x[5]);
    // Row k, column l of the result lies at x[(4 k + 3 l) % 12] and belongs at (4 k + 9 l) % 12.
    swap(x[3], x[9]);
    swap(x[7], x[1]);
    swap(x[11], x[5]);
  }

 private:
  template <typename V>
  static BLUROPS_INLINE void swap(Pair<V>& a, Pair<V>& b) {
    const Pair<V> t = a;
    a = b;
    b = t;
  }
};

// 16 = 4 x 4.
template <>
struct Butterfly<16> {
  template <typename A, int kUsed, Units = Units::kAdd, typename V>
  static BLUROPS_INLINE void run(Pair<V>* x) {
    constexpr A kCos = A(0.923879532511286756128183189396788287);
    constexpr A kSin = A(0.382683432365089771728459984030398866);
    constexpr A kRoot = A(0.707106781186547524400844362104849039);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if constexpr (kUsed > 12) {
        Butterfly<4>::run<A>(x[j], x[4 + j], x[8 + j], x[12 + j]);
      } else {
        Butterfly<4>::run_first_three<A>(x[j], x[4 + j], x[8 + j], x[12 + j]);
      }
    }
    x[5] = times(x[5], kCos, -kSin);
    x[6] = eighth(x[6], kRoot);
    x[7] = times(x[7], kSin, -kCos);
    x[9] = eighth(x[9], kRoot);
    x[10] = minus_i_times(x[10]);
    x[11] = minus_i_times(eighth(x[11], kRoot));
    x[13] = times(x[13], kSin, -kCos);
    x[14] = minus_i_times(eighth(x[14], kRoot));
    x[15] = times(x[15], -kCos, kSin);
    Pair<V> y[16];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      Butterfly<4>::run<A>(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) y[i + 4 * k] = x[4 * i + k];
    }
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) x[k] = y[k];
  }

 private:
  // a exp(-2 pi i / 8)
  template <typename A, typename V>
  static BLUROPS_INLINE Pair<V> eighth(Pair<V> a, A root) {
    return {root * (a.re + a.im), root * (a.im - a.re)};
  }
};

}  // namespace
}  // namespace blurops
