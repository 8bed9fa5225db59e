// SPDX-License-Identifier: BSD-3-Clause
// Conversion between storage and compute types. Everything here has internal linkage: the file is
// compiled once per instruction set, and the linker must not let one of them stand in for another.
#pragma once

#include <cstring>

#include "common/dtype.h"

namespace blurops {
namespace {

// Half types are storage only; sums are formed in float.
template <typename T>
struct Compute {
  using type = float;
};
template <>
struct Compute<double> {
  using type = double;
};

BLUROPS_HD inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

BLUROPS_HD inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

BLUROPS_HD inline float load(float value) { return value; }
BLUROPS_HD inline double load(double value) { return value; }
BLUROPS_HD inline float load(BFloat16 value) { return bits_to_float(uint32_t{value.bits} << 16); }

BLUROPS_HD inline float load(Half value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  const uint32_t rest = value.bits & 0x7fffu;
  if (rest >= 0x7c00u) return bits_to_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  // Shifted in place, the exponent is too small by 112, for subnormal numbers as well: a product
  // puts it right.
  return bits_to_float(sign | float_to_bits(bits_to_float(rest << 13) * 0x1p112f));
}

BLUROPS_HD inline void store(float value, float* out) { *out = value; }
BLUROPS_HD inline void store(double value, double* out) { *out = value; }

// Round to nearest, ties to even.
BLUROPS_HD inline void store(float value, BFloat16* out) {
  const uint32_t bits = float_to_bits(value);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  out->bits =
      nan ? uint16_t{0x7fc0} : static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

BLUROPS_HD inline void store(float value, Half* out) {
  const uint32_t bits = float_to_bits(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t rest = bits & 0x7fffffffu;
  uint32_t half;
  if (rest > 0x7f800000u) {
    half = 0x7e00u;
  } else if (rest >= 0x477ff000u) {  // rounds to 65536 or more
    half = 0x7c00u;
  } else if (rest < 0x38800000u) {
    // Below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    half = float_to_bits(bits_to_float(rest) + 0.5f) - float_to_bits(0.5f);
  } else {
    half = (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13;
  }
  out->bits = static_cast<uint16_t>(sign | half);
}

}  // namespace
}  // namespace blurops
