// SPDX-License-Identifier: BSD-3-Clause
// The tables of the transforms' lengths.
#pragma once

#include <cmath>
#include <vector>

#include "tile_fft/factors.h"
#include "tile_fft/transform.h"

namespace blurops {
namespace {

template <typename A>
struct LengthTable {
  Length<A> length;
  std::vector<A> twiddles;

  explicit LengthTable(Factors f) {
    const int size = f.radix1 * f.radix2;
    for (int n = 0; n < f.radix2; ++n) {
      for (int k = 0; k < f.radix1; ++k) {
        const double angle = -2 * 3.14159265358979323846 * n * k / size;
        twiddles.push_back(static_cast<A>(std::cos(angle)));
        twiddles.push_back(static_cast<A>(std::sin(angle)));
      }
    }
    length = {size, f.radix1, f.radix2, twiddles.data()};
  }
};

// The tables of one length; made when first asked for, then only read.
template <typename A>
const Length<A>& length_of(int64_t size) {
  static const std::vector<LengthTable<A>> tables(kFactors.begin(), kFactors.end());
  for (const auto& table : tables) {
    if (table.length.size == size) return table.length;
  }
  return tables.back().length;
}

}  // namespace
}  // namespace blurops
