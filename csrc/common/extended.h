// SPDX-License-Identifier: BSD-3-Clause
// An image as its border extends it, in the compute type: rows that can be read without a look at
// the border. For launchers; the kernels only see its rows.
#pragma once

#include <cstring>
#include <vector>

#include "common/boundary.h"
#include "common/convert.h"
#include "common/parallel.h"

namespace blurops {

// Where extended positions 0 .. length - 1 lie on an axis of `size` pixels, or -1 where there is
// nothing; position `anchor` is the first pixel, unless the border is left out.
inline std::vector<int64_t> extended_map(int64_t length, int64_t anchor, int64_t size,
                                         Boundary boundary) {
  std::vector<int64_t> map(length);
  for (int64_t u = 0; u < length; ++u) map[u] = map_index(u - anchor, size, boundary);
  return map;
}

// For every pixel of an axis, the extended positions that read it, in ascending order: those of
// pixel q are positions[begin[q] .. begin[q + 1]).
struct Readers {
  std::vector<int64_t> begin, positions;

  Readers(const std::vector<int64_t>& map, int64_t size) : begin(size + 1, 0) {
    for (int64_t q : map) {
      if (q >= 0) ++begin[q + 1];
    }
    for (int64_t q = 0; q < size; ++q) begin[q + 1] += begin[q];
    positions.resize(begin[size]);
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    for (size_t u = 0; u < map.size(); ++u) {
      if (map[u] >= 0) positions[next[map[u]]++] = static_cast<int64_t>(u);
    }
  }
};

namespace {

// Planes of (rows, pitch) elements; what lies beyond the columns of a row is zero.
class Extended {
 public:
  int64_t pitch = 0, plane = 0;  // elements

  // `planes` planes of (height, width), extended by the maps, with `slack` elements more per row.
  void fill(DType dtype, const void* image, int64_t planes, int64_t height, int64_t width,
            const std::vector<int64_t>& rows, const std::vector<int64_t>& columns, int64_t slack,
            int threads) {
    pitch = (static_cast<int64_t>(columns.size()) + slack + 15) / 16 * 16;
    plane = pitch * static_cast<int64_t>(rows.size());
    switch (dtype) {
      case DType::kFloat32:
        return fill_as<float>(image, planes, height, width, rows, columns, threads);
      case DType::kFloat64:
        return fill_as<double>(image, planes, height, width, rows, columns, threads);
      case DType::kFloat16:
        return fill_as<Half>(image, planes, height, width, rows, columns, threads);
      case DType::kBFloat16:
        return fill_as<BFloat16>(image, planes, height, width, rows, columns, threads);
    }
  }

  const void* values() const { return memory_.get(); }

 private:
  AlignedBytes memory_;

  template <typename T>
  void fill_as(const void* image, int64_t planes, int64_t height, int64_t width,
               const std::vector<int64_t>& rows, const std::vector<int64_t>& columns, int threads) {
    using A = typename Compute<T>::type;
    const int64_t count = static_cast<int64_t>(rows.size());
    const int64_t length = static_cast<int64_t>(columns.size());
    memory_ = allocate(planes * plane * sizeof(A));
    A* to = reinterpret_cast<A*>(memory_.get());
    const T* from = static_cast<const T*>(image);
    Workers(threads, 0).run(planes * count, [&](int64_t unit, void*) {
      A* row = to + unit * pitch;
      const int64_t source = rows[unit % count];
      if (source < 0) {
        std::memset(row, 0, pitch * sizeof(A));
        return;
      }
      const T* pixels = from + (unit / count * height + source) * width;
      for (int64_t u = 0; u < length; ++u) {
        row[u] = columns[u] < 0 ? A(0) : A(load(pixels[columns[u]]));
      }
      for (int64_t u = length; u < pitch; ++u) row[u] = A(0);
    });
  }
};

}  // namespace
}  // namespace blurops
