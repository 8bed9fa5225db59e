// SPDX-License-Identifier: BSD-3-Clause
// The lengths of tile transforms: products of two of the radices 8, 12 and 16.
#pragma once

#include <array>

namespace blurops {

struct Factors {
  int radix1, radix2;
};

// The larger radix comes first where that was measured to be faster.
constexpr std::array<Factors, 6> kFactors = {
    {{8, 8}, {12, 8}, {8, 16}, {12, 12}, {16, 12}, {16, 16}}};

}  // namespace blurops
