// SPDX-License-Identifier: BSD-3-Clause
// What the tiles of adjoint and fused backward add to, and which of them may do so at the same
// time.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "basis_blur/launch.h"
#include "basis_blur/tiles.h"
#include "common/convert.h"
#include "common/parallel.h"

namespace blurops {

// Tiles along one axis in groups whose members write to different rows (or columns) of the image,
// so that a group's tiles can be added at the same time, and the groups one after the other in the
// same order every time. `map` says where an extended row lands.
inline std::vector<std::vector<int64_t>> disjoint_groups(const std::vector<int64_t>& map,
                                                         int64_t size, int64_t tiles, int64_t step,
                                                         int64_t reach) {
  std::vector<std::vector<int64_t>> groups;
  std::vector<std::vector<char>> taken;
  const int64_t length = static_cast<int64_t>(map.size());
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const auto begin = map.begin() + tile * step;
    const auto end = map.begin() + std::min(tile * step + reach, length);
    size_t group = 0;
    const auto is_taken = [&](int64_t row) { return row >= 0 && taken[group][row]; };
    while (group < groups.size() && std::any_of(begin, end, is_taken)) ++group;
    if (group == groups.size()) {
      groups.emplace_back();
      taken.emplace_back(size, 0);
    }
    groups[group].push_back(tile);
    for (auto row = begin; row != end; ++row) {
      if (*row >= 0) taken[group][*row] = 1;
    }
  }
  return groups;
}

// Tiles of a sample in groups whose members add to different pixels of the image.
inline std::vector<std::vector<int64_t>> tile_groups(const TilePlan& plan, const IndexMaps& maps) {
  const Problem& p = plan.problem;
  const auto down = disjoint_groups(maps.rows, p.height, plan.tiles_down, plan.rows,
                                    plan.rows + p.kernel_height - 1);
  const auto across = disjoint_groups(maps.columns, p.width, plan.tiles_across, plan.columns,
                                      plan.columns + p.kernel_width - 1);
  std::vector<std::vector<int64_t>> groups;
  for (const auto& rows : down) {
    for (const auto& columns : across) {
      auto& group = groups.emplace_back();
      for (int64_t row : rows) {
        for (int64_t column : columns) group.push_back(row * plan.tiles_across + column);
      }
    }
  }
  return groups;
}

// What the adjoint's tiles are added to, zero at first: the result, or for half types a float copy.
class Target {
 public:
  Target(const Problem& p, void* out)
      : dtype_(p.dtype), elements_(p.count * p.channels * p.height * p.width), out_(out) {
    const bool wide = dtype_ == DType::kFloat64, half = !wide && dtype_ != DType::kFloat32;
    const size_t bytes = elements_ * (wide ? sizeof(double) : sizeof(float));
    if (half) copy_ = allocate(bytes);
    memory_ = half ? copy_.get() : out;
    prefer_large_pages(memory_, bytes);
    std::memset(memory_, 0, bytes);
  }

  void* memory() const { return memory_; }

  // After the last tile.
  void finish() const {
    if (!copy_) return;
    const auto* from = reinterpret_cast<const float*>(copy_.get());
    with_type(dtype_, out_, [&](auto* to) {
      for (int64_t i = 0; i < elements_; ++i) store(from[i], to + i);
    });
  }

 private:
  DType dtype_;
  int64_t elements_;
  void *out_, *memory_;
  AlignedBytes copy_;
};

}  // namespace blurops
