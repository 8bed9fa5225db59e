// SPDX-License-Identifier: BSD-3-Clause
// Motion blur on the GPU: one thread per result, which draws the lines as it goes. The adjoint
// gathers as well, from every pixel near enough to spread to its own.
#pragma once

#include "motion_blur/cuda/line.h"

namespace blurops::cuda {

constexpr int kMotionChannels = 3;  // that share a pass over the weights

struct MotionArgs {
  Maps maps;
  const float* image;  // (N, C, height, width)
  const float* grad;   // (N, C, out_height, out_width), of the gradients
  void* out;
};

// The sharp image from a blurred pixel: offset (q, p) lies at row + q, column + p.
struct View {
  int height, width, row, column;
  Boundary boundary;

  BLUROPS_DEVICE View(const Maps& maps, int64_t pixel)
      : height(static_cast<int>(maps.problem.height)),
        width(static_cast<int>(maps.problem.width)),
        row(static_cast<int>(pixel / maps.problem.out_width + maps.problem.margin_y)),
        column(static_cast<int>(pixel % maps.problem.out_width + maps.problem.margin_x)),
        boundary(maps.problem.boundary) {}

  // Where an offset lies in a plane, or -1 where there is nothing.
  BLUROPS_DEVICE int64_t at(int q, int p) const {
    const int y = map_index(row + q, height, boundary);
    const int x = map_index(column + p, width, boundary);
    return x < 0 || y < 0 ? -1 : int64_t{y} * width + x;
  }
};

// out (N, C, out_height, out_width): one pixel, up to kMotionChannels channels.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
blur_pixels(const MotionArgs args, int64_t items) {
  const Maps& maps = args.maps;
  const MotionBlur& p = maps.problem;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int64_t pixel = item % maps.pixels();
  const int64_t groups = (p.channels + kMotionChannels - 1) / kMotionChannels;
  const int64_t first = item / maps.pixels() % groups * kMotionChannels;
  const int64_t n = item / maps.pixels() / groups, plane = p.height * p.width;
  const OneLine line = line_of(maps.motion(n, pixel));
  const View view(maps, pixel);
  const float* image = args.image + (n * p.channels + first) * plane;
  float total = 0, sums[kMotionChannels] = {};
  for_offsets_of(extent_on(line, maps), [&](int q, int offset) {
    const float down = static_cast<float>(q), right = static_cast<float>(offset);
    const float weight = weight_of<Single>(place_at(line, p.segment, down, right).distance);
    if (weight == 0) return;
    total += weight;
    const int64_t at = view.at(q, offset);
    if (at < 0) return;
    BLUROPS_UNROLL
    for (int c = 0; c < kMotionChannels; ++c) {
      if (first + c < p.channels) {
        sums[c] = gpu::multiply_add(weight, image[c * plane + at], sums[c]);
      }
    }
  });
  BLUROPS_UNROLL
  for (int c = 0; c < kMotionChannels; ++c) {
    if (first + c >= p.channels) break;
    const int64_t to = (n * p.channels + first + c) * maps.pixels() + pixel;
    gpu::store_as(p.dtype, sums[c] / total, args.out, to);
  }
}

// The lines of all maps as planes, for the adjoint, whose threads read other pixels' lines.
enum SpreadPlane : int {
  kSpreadCos,
  kSpreadCosLo,
  kSpreadSin,
  kSpreadSinLo,
  kSpreadHalf,
  kSpreadLimit,
  kSpreadNorm,
  kSpreadPlanes
};

struct SpreadLinesArgs {
  Maps maps;
  float* planes;    // (maps, kSpreadPlanes, out_height, out_width)
  uint32_t* reach;  // zero; raised to what the longest of them reaches
};

BLUROPS_KERNEL(gpu::kItemThreads, 1)
draw_lines(const SpreadLinesArgs args, int64_t items) {
  const Maps& maps = args.maps;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int64_t pixel = item % maps.pixels(), n = item / maps.pixels();
  const Motion<float> motion = maps.motion(n, pixel);
  const OneLine line = line_of(motion);
  const Extent<float> extent = extent_on(line, maps);
  float total = 0;
  for_offsets_of(extent, [&](int q, int offset) {
    total += weight_of<Single>(
        place_at(line, maps.problem.segment, static_cast<float>(q), static_cast<float>(offset))
            .distance);
  });
  const float values[kSpreadPlanes] = {motion.cos,  motion.cos_lo, motion.sin, motion.sin_lo,
                                       motion.half, motion.limit,  1.f / total};
  BLUROPS_UNROLL
  for (int k = 0; k < kSpreadPlanes; ++k) {
    args.planes[(n * kSpreadPlanes + k) * maps.pixels() + pixel] = values[k];
  }
  const float far = extent.right > extent.down ? extent.right : extent.down;
  const uint32_t reach = static_cast<uint32_t>(far);
  // Few threads see that they have to raise it.
  if (reach > *args.reach) gpu::raise_to(args.reach, reach);
}

struct SpreadArgsOfMotion {
  Maps maps;
  const float* planes;
  const uint32_t* reach;
  const float* values;  // (N, C, out_height, out_width), what is spread
  void* out;
};

// The weight with which the pixel whose planes start at `planes` spreads to its offset (q, p),
// divided by the sum of its weights.
BLUROPS_DEVICE float spread_weight(const float* planes, int64_t plane, bool segment, int q, int p) {
  const float down = static_cast<float>(q), right = static_cast<float>(p);
  OneLine line;
  line.cos = planes[kSpreadCos * plane], line.sin = planes[kSpreadSin * plane];
  // Without its low parts, the distance across is nearly right: most pixels are far beyond.
  const float across = down * line.cos + right * line.sin;
  const float size = (down < 0 ? -down : down) + (right < 0 ? -right : right);
  if ((across < 0 ? -across : across) > 1.f + 0x1p-11f * size) return 0.f;
  line.cos_lo = planes[kSpreadCosLo * plane], line.sin_lo = planes[kSpreadSinLo * plane];
  line.half = planes[kSpreadHalf * plane], line.limit = planes[kSpreadLimit * plane];
  const float weight = weight_of<Single>(place_at(line, segment, down, right).distance);
  return weight == 0 ? 0.f : weight * planes[kSpreadNorm * plane];
}

// out (N, C, height, width): one sharp pixel, up to kMotionChannels channels. Every extended
// position that reads it, and every blurred pixel that may reach that position, in a fixed order.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
gather_lines(const SpreadArgsOfMotion args, int64_t items) {
  const Maps& maps = args.maps;
  const MotionBlur& p = maps.problem;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int64_t sharp = p.height * p.width, pixel = item % sharp;
  const int64_t groups = (p.channels + kMotionChannels - 1) / kMotionChannels;
  const int64_t first = item / sharp % groups * kMotionChannels, n = item / sharp / groups;
  const int reach = static_cast<int>(*args.reach), twice = 2 * reach;
  const int height = static_cast<int>(p.out_height), width = static_cast<int>(p.out_width);
  const Sources rows(pixel / p.width, p.height, p.out_height + twice, reach - p.margin_y,
                     p.boundary);
  const Sources columns(pixel % p.width, p.width, p.out_width + twice, reach - p.margin_x,
                        p.boundary);
  const float* planes = args.planes + (maps.batched() ? n : 0) * kSpreadPlanes * maps.pixels();
  const float* values = args.values + (n * p.channels + first) * maps.pixels();
  float sums[kMotionChannels] = {};
  for (int64_t i = 0; i < rows.count(); ++i) {
    const int v = static_cast<int>(rows.at(i));
    if (v < 0) continue;
    for (int y = v > twice ? v - twice : 0; y <= v && y < height; ++y) {
      for (int64_t j = 0; j < columns.count(); ++j) {
        const int u = static_cast<int>(columns.at(j));
        for (int x = u > twice ? u - twice : 0; x <= u && x < width; ++x) {
          const int64_t from = int64_t{y} * width + x;
          const float weight =
              spread_weight(planes + from, maps.pixels(), p.segment, v - reach - y, u - reach - x);
          if (weight == 0) continue;
          BLUROPS_UNROLL
          for (int c = 0; c < kMotionChannels; ++c) {
            if (first + c < p.channels) {
              sums[c] = gpu::multiply_add(weight, values[c * maps.pixels() + from], sums[c]);
            }
          }
        }
      }
    }
  }
  BLUROPS_UNROLL
  for (int c = 0; c < kMotionChannels; ++c) {
    if (first + c >= p.channels) break;
    gpu::store_as(p.dtype, sums[c], args.out, (n * p.channels + first + c) * sharp + pixel);
  }
}

// The gradient by the length or angle of one pixel, of sample n.
template <bool kAngle>
BLUROPS_DEVICE float slope_at(const MotionArgs& args, int64_t n, int64_t pixel) {
  const Maps& maps = args.maps;
  const MotionBlur& p = maps.problem;
  const int64_t plane = p.height * p.width;
  const OneLine line = line_of(maps.motion(n, pixel));
  const View view(maps, pixel);
  const float* image = args.image + n * p.channels * plane;
  const float* grad = args.grad + n * p.channels * maps.pixels() + pixel;
  float total = 0, change = 0, mean = 0, moved = 0;
  for_offsets_of(extent_on(line, maps), [&](int q, int offset) {
    const PlaceOf<Single> where =
        place_at(line, p.segment, static_cast<float>(q), static_cast<float>(offset));
    const float weight = weight_of<Single>(where.distance);
    const float slope = slope_of<kAngle, false>(where, line);
    if (weight == 0 && slope == 0) return;
    total += weight;
    change += slope;
    const int64_t at = view.at(q, offset);
    if (at < 0) return;
    float product = 0;
    for (int64_t c = 0; c < p.channels; ++c) {
      product = gpu::multiply_add(grad[c * maps.pixels()], image[c * plane + at], product);
    }
    mean = gpu::multiply_add(weight, product, mean);
    moved = gpu::multiply_add(slope, product, moved);
  });
  return (moved - change * mean / total) / total;
}

// out shaped as the map: one pixel, summed over the batch where the map is shared by it.
template <bool kAngle>
BLUROPS_KERNEL(gpu::kItemThreads, 1)
slope_pixels(const MotionArgs args, int64_t items) {
  const MotionBlur& p = args.maps.problem;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const bool batched = kAngle ? p.angle_batched : p.length_batched;
  const int64_t pixel = item % args.maps.pixels(), sample = item / args.maps.pixels();
  const int64_t begin = batched ? sample : 0, end = batched ? sample + 1 : p.count;
  float sum = 0;
  for (int64_t n = begin; n < end; ++n) sum += slope_at<kAngle>(args, n, pixel);
  gpu::store_as(p.dtype, sum, args.out, item);
}

}  // namespace blurops::cuda
