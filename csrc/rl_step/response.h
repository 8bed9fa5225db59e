// SPDX-License-Identifier: BSD-3-Clause
// The sensor's response R and its slope R' (Carbajal et al., eq. 4), a vector at a time. Included
// by pointwise.cpp alone, once per instruction set.
#pragma once

#include <cstring>

#include "common/simd.h"

namespace blurops {
namespace {

template <typename A>
struct ExpConstants;

// Adding and subtracting kRound rounds to an integer, whose low bits are then those of the sum.
// ln 2 is split so that n ln2_high is exact for every n that occurs. The Taylor polynomial of
// degree kDegree on |r| <= ln(2) / 2, and kTerms terms of the series of atanh on [0, 1/3], leave
// less than a tenth of a unit in the last place.
template <>
struct ExpConstants<float> {
  using Bits = uint32_t;
  static constexpr float kRound = 0x1.8p23f, kHigh = 0x1.62e4p-1f, kLow = 0x1.7f7d1cp-20f;
  static constexpr float kSmallest = -87.0f;
  static constexpr int kMantissa = 23, kBias = 127, kDegree = 7, kTerms = 8;
};
template <>
struct ExpConstants<double> {
  using Bits = uint64_t;
  static constexpr double kRound = 0x1.8p52, kHigh = 0x1.62e42feep-1, kLow = 0x1.a39ef35793c76p-33;
  static constexpr double kSmallest = -708.0;
  static constexpr int kMantissa = 52, kBias = 1023, kDegree = 13, kTerms = 17;
};

// exp(x) for x <= 0; 0 where it would be too small for a normal number. NaN stays.
template <typename A>
typename Simd<A>::Vec exp_of_negative(typename Simd<A>::Vec x) {
  using C = ExpConstants<A>;
  using Vec = typename Simd<A>::Vec;
  typedef typename C::Bits BitVec __attribute__((vector_size(kVectorBytes)));
  const auto vanishes = x < C::kSmallest;
  x = vanishes ? Vec{} : x;
  const Vec shifted = x * A(0x1.71547652b82fep0) + C::kRound;
  const Vec n = shifted - C::kRound;
  const Vec r = (x - n * C::kHigh) - n * C::kLow;
  Vec sum = Vec{} + A(1);
#pragma GCC unroll 16
  for (int k = C::kDegree; k > 0; --k) sum = sum * (r * A(1.0 / k)) + A(1);
  BitVec bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + C::kBias) << C::kMantissa;  // the bits of kRound are shifted out
  Vec scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return vanishes ? Vec{} : sum * scale;
}

// log(1 + e) for 0 <= e <= 1, as 2 atanh(e / (2 + e)).
template <typename A>
typename Simd<A>::Vec log1p_of_fraction(typename Simd<A>::Vec e) {
  using Vec = typename Simd<A>::Vec;
  const Vec s = e / (e + A(2));
  const Vec square = s * s;
  Vec sum = Vec{};
#pragma GCC unroll 20
  for (int k = ExpConstants<A>::kTerms; k > 0; --k) sum = (sum + A(1.0 / (2 * k + 1))) * square;
  return A(2) * s + A(2) * s * sum;
}

template <typename A>
struct Response {
  typename Simd<A>::Vec value, slope;  // R, R'
};

// R(x) = x - log(1 + exp(t)) / a with t = a (x - level), and R'(x) = 1 / (1 + exp(t)), in the form
// that neither overflows nor cancels on either side of the level.
template <typename A>
Response<A> respond(typename Simd<A>::Vec x, A a, A level) {
  using Vec = typename Simd<A>::Vec;
  const Vec t = a * (x - level);
  const auto above = t > A(0);
  const Vec power = exp_of_negative<A>(above ? -t : t);
  const Vec bend = log1p_of_fraction<A>(power) * (1 / a);
  return {(above ? Vec{} + level : x) - bend, (above ? power : Vec{} + A(1)) / (power + A(1))};
}

}  // namespace
}  // namespace blurops
