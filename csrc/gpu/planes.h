// SPDX-License-Identifier: BSD-3-Clause
// What the gathering ops share on the GPU: storage types become float, images are extended by their
// border, and extended sums are folded back. One thread makes one element.
#pragma once

#include <cstdint>

#include "common/boundary.h"
#include "common/convert.h"
#include "gpu/device.h"
#include "gpu/workspace.h"

namespace blurops::gpu {

constexpr int kItemThreads = 256;

// Element i of a tensor whose type is known at run time.
BLUROPS_DEVICE float load_as(DType dtype, const void* from, int64_t i) {
  if (dtype == DType::kFloat32) return static_cast<const float*>(from)[i];
  if (dtype == DType::kFloat16) return load(static_cast<const Half*>(from)[i]);
  return load(static_cast<const BFloat16*>(from)[i]);
}
BLUROPS_DEVICE void store_as(DType dtype, float value, void* to, int64_t i) {
  if (dtype == DType::kFloat32) return store(value, static_cast<float*>(to) + i);
  if (dtype == DType::kFloat16) return store(value, static_cast<Half*>(to) + i);
  store(value, static_cast<BFloat16*>(to) + i);
}

BLUROPS_DEVICE int64_t item_index() { return block_index() * kItemThreads + thread_index(); }

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Planes of (height, width) pixels, and extended ones: position u of an axis lies at u - anchor.
struct Planes {
  Boundary boundary;
  int64_t planes, height, width;
  int64_t extended_height, extended_width, anchor_y, anchor_x;

  int64_t pixels() const { return planes * height * width; }
  int64_t extended_pixels() const { return planes * extended_height * extended_width; }
};

// One call of a launcher: hands out its workspace and queues its kernels. Where it counts, it
// queues nothing and only adds up the bytes, so that one function says both.
class Queue {
 public:
  Queue(const char* launcher, DType dtype, bool counting, void* workspace = nullptr,
        void* stream = nullptr);

  template <typename T>
  T* take(int64_t count) {
    return workspace_.take<T>(count);
  }
  int64_t bytes() const { return workspace_.bytes(); }

  template <typename... Params, typename... Args>
  void blocks(void (*kernel)(Params...), int64_t count, int threads, int64_t shared_bytes,
              const Args&... args) const {
    if (!counting_) launch(launcher_, kernel, count, threads, shared_bytes, stream_, args...);
  }
  // One thread per item: kernel(args, items).
  template <typename Args>
  void items(void (*kernel)(Args, int64_t), int64_t count, const Args& args) const {
    blocks(kernel, ceil_div(count, kItemThreads), kItemThreads, 0, args, count);
  }
  void zero(void* memory, int64_t count) const {
    if (!counting_) fill_zero(launcher_, memory, count, stream_);
  }

  // A tensor of the call's type as float: itself, or a copy.
  const float* floats(const void* from, int64_t count);
  // from (planes, height, width) -> (planes, extended_height, extended_width); zero where there is
  // nothing.
  const float* extend(const Planes& planes, const void* from);
  // The transpose, in a fixed order: from (planes, extended_height, extended_width) -> to
  // (planes, height, width).
  void fold(const Planes& planes, const float* from, void* to) const;

 private:
  const char* launcher_;
  DType dtype_;
  bool counting_;
  Workspace workspace_;
  void* stream_;
};

}  // namespace blurops::gpu
