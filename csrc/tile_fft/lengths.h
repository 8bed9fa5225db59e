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
  std::vector<A> by_column, by_row;

  explicit LengthTable(Factors f) {
    const int size = f.radix1 * f.radix2;
    by_column.resize(2 * size);
    by_row.resize(2 * size);
    for (int k = 0; k < f.radix1; ++k) {
      for (int n = 0; n < f.radix2; ++n) {
        const double angle = -2 * 3.14159265358979323846 * n * k / size;
        const A re = static_cast<A>(std::cos(angle)), im = static_cast<A>(std::sin(angle));
        by_column[(n * f.radix1 + k) * 2] = re;
        by_column[(n * f.radix1 + k) * 2 + 1] = im;
        by_row[(k * f.radix2 + n) * 2] = re;
        by_row[(k * f.radix2 + n) * 2 + 1] = im;
      }
    }
    length = {size, f.radix1, f.radix2, by_column.data(), by_row.data()};
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
