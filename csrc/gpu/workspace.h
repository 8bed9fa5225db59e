// SPDX-License-Identifier: BSD-3-Clause
// The memory that a launcher is given beside inputs and outputs, handed out piece by piece.
#pragma once

#include <cstdint>

namespace blurops::gpu {

// Hands out pieces of the workspace; from a null start, only their sum counts.
class Workspace {
 public:
  explicit Workspace(void* start) : start_(static_cast<unsigned char*>(start)) {}

  template <typename T>
  T* take(int64_t count) {
    constexpr int64_t kAlignment = 256;
    const int64_t at = bytes_;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return start_ == nullptr ? nullptr : reinterpret_cast<T*>(start_ + at);
  }
  int64_t bytes() const { return bytes_; }

 private:
  unsigned char* start_;
  int64_t bytes_ = 0;
};

}  // namespace blurops::gpu
