// SPDX-License-Identifier: BSD-3-Clause
// Which pixels belong to the bright set, by plain loops over bytes that compilers vectorise.
// Included by pointwise.cpp alone, once per instruction set.
#pragma once

#include <cstring>

#include "rl_step/pointwise.h"

namespace blurops {
namespace {

// One byte per pixel, with a column more on both sides.
int64_t byte_stride(int64_t width) { return (width + 2 + 63) / 64 * 64; }

// Rows of comparisons, of eroded sets and of sums over three rows.
size_t bright_bytes(int64_t width) { return (2 * kRlRows + 7) * byte_stride(width); }

// Whether a value is not below the threshold; NaN is not.
template <typename A>
bool reaches(const A* values, int64_t count, A threshold) {
  int below = 1;
  for (int64_t i = 0; i < count; ++i) below &= values[i] < threshold;
  return below == 0;
}

// to[x] = 1 where every one of the 3x3 pixels around x is.
inline void erode_row(const uint8_t* above, const uint8_t* row, const uint8_t* below, int64_t width,
                      uint8_t* columns, uint8_t* to) {
  for (int64_t x = -1; x <= width; ++x) columns[x] = above[x] & row[x] & below[x];
  for (int64_t x = 0; x < width; ++x) to[x] = columns[x - 1] & columns[x] & columns[x + 1];
}

// 1 - z0 of the rows begin .. end - 1 of a plane: compare, erode, and take the mean over the pixels
// inside the image.
template <typename A>
void lost_rows(const A* plane, int64_t height, int64_t width, int64_t begin, int64_t end,
               const RlBrightness& how, A* lost, uint8_t* scratch) {
  const int64_t stride = byte_stride(width);
  // Row y is at index y - begin + 2 and y - begin + 1; columns start at 1.
  uint8_t* const below = scratch + 1;
  uint8_t* const kept = below + (kRlRows + 4) * stride;
  uint8_t* const columns = kept + (kRlRows + 2) * stride;
  for (int64_t y = begin - 2; y < end + 2; ++y) {
    uint8_t* to = below + (y - begin + 2) * stride;
    // What lies outside does not erode.
    std::memset(to - 1, 1, width + 2);
    if (y < 0 || y >= height) continue;
    const A* from = plane + y * width;
    for (int64_t x = 0; x < width; ++x) to[x] = from[x] < A(how.threshold);
  }
  for (int64_t y = begin - 1; y < end + 1; ++y) {
    uint8_t* to = kept + (y - begin + 1) * stride;
    const uint8_t* row = below + (y - begin + 2) * stride;
    // Nor is it counted in the mean.
    std::memset(to - 1, 0, width + 2);
    if (y < 0 || y >= height) continue;
    if (how.erode) {
      erode_row(row - stride, row, row + stride, width, columns, to);
    } else {
      std::memcpy(to, row, width);
    }
  }
  for (int64_t y = begin; y < end; ++y) {
    const uint8_t* row = kept + (y - begin + 1) * stride;
    A* to = lost + y * width;
    if (!how.smooth) {
      for (int64_t x = 0; x < width; ++x) to[x] = A(1 - row[x]);
      continue;
    }
    for (int64_t x = -1; x <= width; ++x) {
      columns[x] = static_cast<uint8_t>(row[x - stride] + row[x] + row[x + stride]);
    }
    const int64_t rows = 1 + (y > 0) + (y + 1 < height);
    const auto mean = [&](int64_t x, int64_t inside) {
      return A(1) - A(columns[x - 1] + columns[x] + columns[x + 1]) / A(rows * inside);
    };
    for (int64_t x = 0; x < width; ++x) to[x] = mean(x, 3);
    to[0] = mean(0, width > 1 ? 2 : 1);
    if (width > 1) to[width - 1] = mean(width - 1, 2);
  }
}

}  // namespace
}  // namespace blurops
