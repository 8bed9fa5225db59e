// SPDX-License-Identifier: BSD-3-Clause
// A thread's own line: where it may have weight, and its weights.
#pragma once

#include "gpu/planes.h"
#include "motion_blur/formula.h"
#include "motion_blur/motion_blur.h"

namespace blurops::cuda {

// Of formula.h: one number.
struct Single {
  using Scalar = float;
  using Vec = float;
  BLUROPS_HD static float root(float x) { return std::sqrt(x); }
};
using OneLine = LineOf<Single>;

struct Maps {
  MotionBlur problem;
  const void *length, *angle;
  bool derivative;  // the lines are for derivatives: see line.py

  BLUROPS_HD int64_t pixels() const { return problem.out_height * problem.out_width; }
  BLUROPS_HD bool batched() const { return problem.length_batched || problem.angle_batched; }

  // The motion of a pixel: all NaN where its length or angle is NaN or infinite, and so without
  // weight anywhere.
  BLUROPS_DEVICE Motion<float> motion(int64_t n, int64_t pixel) const {
    const MotionBlur& p = problem;
    const double longest = 2.0 * static_cast<double>(p.reach) + 1;
    const double given =
        gpu::load_as(p.dtype, length, (p.length_batched ? n : 0) * pixels() + pixel);
    const double turn = gpu::load_as(p.dtype, angle, (p.angle_batched ? n : 0) * pixels() + pixel);
    const double missing = (given - given) + (turn - turn);  // 0 or NaN
    double pixels_long = given;
    if (pixels_long < 1) pixels_long = 1;
    if (pixels_long > longest) pixels_long = longest;
    return motion_of<float>(pixels_long + missing, turn + missing, derivative);
  }
};

BLUROPS_DEVICE OneLine line_of(const Motion<float>& m) {
  OneLine line;
  line.cos = m.cos, line.cos_lo = m.cos_lo, line.sin = m.sin, line.sin_lo = m.sin_lo;
  line.half = m.half, line.limit = m.limit;
  return line;
}

BLUROPS_DEVICE Extent<float> extent_on(const OneLine& line, const Maps& maps) {
  return extent_of(line.cos + line.cos_lo, line.sin + line.sin_lo, line.half, maps.derivative,
                   static_cast<float>(maps.problem.reach));
}

BLUROPS_DEVICE PlaceOf<Single> place_at(const OneLine& line, bool segment, float q, float p) {
  return segment ? place<true>(line, q, p) : place<false>(line, q, p);
}

// Calls visit(q, p) for the offsets that may have weight.
template <typename Visit>
BLUROPS_DEVICE void for_offsets_of(const Extent<float>& extent, const Visit& visit) {
  const int down = static_cast<int>(extent.down);
  for (int q = -down; q <= down; ++q) {
    const ColumnsOf<float> columns(extent.cot, extent.cot, extent.spread, extent.right,
                                   static_cast<float>(q));
    const int last = static_cast<int>(columns.last);
    for (int p = static_cast<int>(columns.first); p <= last; ++p) visit(q, p);
  }
}

}  // namespace blurops::cuda
