// SPDX-License-Identifier: BSD-3-Clause
#include <stdexcept>
#include <string>

#include "gpu/planes.h"

namespace blurops::gpu {
namespace {

struct ConvertArgs {
  DType dtype;
  const void* from;
  float* to;
};

BLUROPS_KERNEL(kItemThreads, 1)
convert_items(const ConvertArgs args, int64_t items) {
  const int64_t i = item_index();
  if (i < items) args.to[i] = load_as(args.dtype, args.from, i);
}

struct ExtendArgs {
  Planes planes;
  DType dtype;
  const void* from;
  float* to;
};

BLUROPS_KERNEL(kItemThreads, 1)
extend_items(const ExtendArgs args, int64_t items) {
  const int64_t i = item_index();
  if (i >= items) return;
  const Planes& p = args.planes;
  const int64_t u = i % p.extended_width, line = i / p.extended_width;
  const int64_t x = map_index(u - p.anchor_x, p.width, p.boundary);
  const int64_t y = map_index(line % p.extended_height - p.anchor_y, p.height, p.boundary);
  const int64_t at = (line / p.extended_height * p.height + y) * p.width + x;
  args.to[i] = x < 0 || y < 0 ? 0.f : load_as(args.dtype, args.from, at);
}

struct FoldArgs {
  Planes planes;
  DType dtype;
  const float* from;
  void* to;
};

BLUROPS_KERNEL(kItemThreads, 1)
fold_items(const FoldArgs args, int64_t items) {
  const int64_t i = item_index();
  if (i >= items) return;
  const Planes& p = args.planes;
  const int64_t x = i % p.width, y = i / p.width % p.height, plane = i / p.width / p.height;
  const float* from = args.from + plane * p.extended_height * p.extended_width;
  const Sources rows(y, p.height, p.extended_height, p.anchor_y, p.boundary);
  const Sources columns(x, p.width, p.extended_width, p.anchor_x, p.boundary);
  float total = 0;
  for (int64_t j = 0; j < rows.count(); ++j) {
    const int64_t v = rows.at(j);
    for (int64_t k = 0; v >= 0 && k < columns.count(); ++k) {
      const int64_t u = columns.at(k);
      if (u >= 0) total += from[v * p.extended_width + u];
    }
  }
  store_as(args.dtype, total, args.to, i);
}

}  // namespace

Queue::Queue(const char* launcher, DType dtype, bool counting, void* workspace, void* stream)
    : launcher_(launcher),
      dtype_(dtype),
      counting_(counting),
      workspace_(workspace),
      stream_(stream) {
  if (dtype == DType::kFloat64) {
    throw std::invalid_argument(std::string(launcher) +
                                " takes float32, float16 and bfloat16 only");
  }
}

const float* Queue::floats(const void* from, int64_t count) {
  if (dtype_ == DType::kFloat32) return static_cast<const float*>(from);
  float* to = take<float>(count);
  items(convert_items, count, ConvertArgs{dtype_, from, to});
  return to;
}

const float* Queue::extend(const Planes& planes, const void* from) {
  float* to = take<float>(planes.extended_pixels());
  items(extend_items, planes.extended_pixels(), ExtendArgs{planes, dtype_, from, to});
  return to;
}

void Queue::fold(const Planes& planes, const float* from, void* to) const {
  items(fold_items, planes.pixels(), FoldArgs{planes, dtype_, from, to});
}

}  // namespace blurops::gpu
