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

// Which pixels spread to one sharp pixel, and what these have in each channel.
struct Receiver {
  int count;      // of channels
  int64_t plane;  // of the maps
  const float *planes, *values;
  float sums[kMotionChannels] = {};

  BLUROPS_DEVICE void add(float weight, int64_t from) {
    if (weight == 0) return;
    BLUROPS_UNROLL
    for (int c = 0; c < kMotionChannels; ++c) {
      if (c < count) sums[c] = gpu::multiply_add(weight, values[c * plane + from], sums[c]);
    }
  }

  // A pixel without a motion has no weights to spread by: its NaN goes to its own place.
  BLUROPS_DEVICE void add_missing(const Maps& maps, int64_t row, int64_t column) {
    const int64_t y = row - maps.problem.margin_y, x = column - maps.problem.margin_x;
    if (y < 0 || x < 0 || y >= maps.problem.out_height || x >= maps.problem.out_width) return;
    const int64_t from = y * maps.problem.out_width + x;
    const float half = planes[kSpreadHalf * plane + from];
    add(half - half, from);
  }
};

// Every extended position that reads the pixel, and every blurred pixel that may reach that
// position, in a fixed order.
BLUROPS_DEVICE void gather_positions(const Maps& maps, int reach, int64_t row, int64_t column,
                                     Receiver& to) {
  const MotionBlur& p = maps.problem;
  const int twice = 2 * reach;
  const int height = static_cast<int>(p.out_height), width = static_cast<int>(p.out_width);
  const Sources rows(row, p.height, p.out_height + twice, reach - p.margin_y, p.boundary);
  const Sources columns(column, p.width, p.out_width + twice, reach - p.margin_x, p.boundary);
  for (int64_t i = 0; i < rows.count(); ++i) {
    const int v = static_cast<int>(rows.at(i));
    for (int y = v > twice ? v - twice : 0; y <= v && y < height; ++y) {
      for (int64_t j = 0; j < columns.count(); ++j) {
        const int u = static_cast<int>(columns.at(j));
        for (int x = u > twice ? u - twice : 0; x <= u && x < width; ++x) {
          const int64_t from = int64_t{y} * width + x;
          to.add(spread_weight(to.planes + from, to.plane, p.segment, v - reach - y, u - reach - x),
                 from);
        }
      }
    }
  }
}

// The offsets from a pixel at `from` that a replicated border takes to pixel `to` of n.
struct EdgeOffsets {
  int first, last;

  BLUROPS_DEVICE EdgeOffsets(int to, int n, int from, int reach)
      : first(to == 0 ? -reach : to - from), last(to == n - 1 ? reach : to - from) {}
};

// The sum of a pixel's weights at some offsets, over that of all of them.
BLUROPS_DEVICE float edge_weight(const float* planes, int64_t plane, bool segment, int reach,
                                 const EdgeOffsets& rows, const EdgeOffsets& columns) {
  OneLine line;
  line.cos = planes[kSpreadCos * plane], line.cos_lo = planes[kSpreadCosLo * plane];
  line.sin = planes[kSpreadSin * plane], line.sin_lo = planes[kSpreadSinLo * plane];
  line.half = planes[kSpreadHalf * plane], line.limit = planes[kSpreadLimit * plane];
  const Extent<float> extent = extent_of(line.cos + line.cos_lo, line.sin + line.sin_lo, line.half,
                                         false, static_cast<float>(reach));
  const int down = static_cast<int>(extent.down);
  float sum = 0;
  for (int q = rows.first > -down ? rows.first : -down; q <= rows.last && q <= down; ++q) {
    const ColumnsOf<float> of(extent.cot, extent.cot, extent.spread, extent.right,
                              static_cast<float>(q));
    const int low = static_cast<int>(of.first), high = static_cast<int>(of.last);
    for (int p = columns.first > low ? columns.first : low; p <= columns.last && p <= high; ++p) {
      sum += weight_of<Single>(
          place_at(line, segment, static_cast<float>(q), static_cast<float>(p)).distance);
    }
  }
  return sum == 0 ? 0.f : sum * planes[kSpreadNorm * plane];
}

// The same for a pixel of a replicated border, which stands for all positions beyond it: every
// blurred pixel in reach is asked once, for all of its offsets there.
BLUROPS_DEVICE void gather_edge(const Maps& maps, int reach, int row, int column, Receiver& to) {
  const MotionBlur& p = maps.problem;
  const int height = static_cast<int>(p.height), width = static_cast<int>(p.width);
  for (int y = row > reach ? row - reach : 0; y <= row + reach && y < height; ++y) {
    const EdgeOffsets rows(row, height, y, reach);
    for (int x = column > reach ? column - reach : 0; x <= column + reach && x < width; ++x) {
      const int64_t from = int64_t{y} * width + x;
      to.add(edge_weight(to.planes + from, to.plane, p.segment, reach, rows,
                         EdgeOffsets(column, width, x, reach)),
             from);
    }
  }
}

// out (N, C, height, width): one sharp pixel, up to kMotionChannels channels.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
gather_lines(const SpreadArgsOfMotion args, int64_t items) {
  const Maps& maps = args.maps;
  const MotionBlur& p = maps.problem;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int64_t sharp = p.height * p.width, row = item % sharp / p.width, column = item % p.width;
  const int64_t groups = (p.channels + kMotionChannels - 1) / kMotionChannels;
  const int64_t first = item / sharp % groups * kMotionChannels, n = item / sharp / groups;
  const int reach = static_cast<int>(*args.reach);
  Receiver to;
  to.count = static_cast<int>(p.channels - first);
  to.plane = maps.pixels();
  to.planes = args.planes + (maps.batched() ? n : 0) * kSpreadPlanes * maps.pixels();
  to.values = args.values + (n * p.channels + first) * maps.pixels();
  const bool edge = row == 0 || row == p.height - 1 || column == 0 || column == p.width - 1;
  if (p.boundary == Boundary::kReplicate && edge) {
    gather_edge(maps, reach, static_cast<int>(row), static_cast<int>(column), to);
  } else {
    gather_positions(maps, reach, row, column, to);
  }
  to.add_missing(maps, row, column);
  BLUROPS_UNROLL
  for (int c = 0; c < kMotionChannels; ++c) {
    if (c >= to.count) break;
    gpu::store_as(p.dtype, to.sums[c], args.out,
                  (n * p.channels + first + c) * sharp + item % sharp);
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
