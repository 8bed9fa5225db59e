// SPDX-License-Identifier: BSD-3-Clause
// Motion blur on raw memory: out[p] = sum_u a_p(u) image[p + u] / sum_u a_p(u), with a_p the
// weights of a straight motion of pixel p's own length and angle; blurops/ops/motion_blur/line.py
// has the rule.
#pragma once

#include "common/boundary.h"
#include "common/dtype.h"

namespace blurops {

struct MotionBlur {
  DType dtype;
  Boundary boundary;
  int64_t count;                  // N
  int64_t channels;               // C
  int64_t height, width;          // of the sharp image, (N, C, height, width)
  int64_t out_height, out_width;  // of the blurred one, and of length and angle
  int64_t margin_y, margin_x;     // blurred pixel p lies at the sharp pixel p + margin
  int64_t reach;                  // no motion has weight at an offset beyond it, down or across
  bool segment;                   // how lines end: as the distance to a segment, else as fspecial
  bool length_batched;            // length is (N, out_height, out_width), else (1, ...)
  bool angle_batched;             // likewise
};

// All tensors are contiguous and of problem.dtype, lengths at least 1, angles finite. The result
// does not depend on the number of threads.

// image (N, C, height, width), length, angle -> out (N, C, out_height, out_width)
void motion_blur_cpu(const MotionBlur& problem, const void* image, const void* length,
                     const void* angle, void* out, int threads);

// image (N, C, out_height, out_width), length, angle -> out (N, C, height, width)
void motion_blur_adjoint_cpu(const MotionBlur& problem, const void* image, const void* length,
                             const void* angle, void* out, int threads);

// grad (N, C, out_height, out_width), image (N, C, height, width), length, angle -> out, shaped as
// the length or the angle; summed over the batch when that is not batched
void motion_blur_grad_length_cpu(const MotionBlur& problem, const void* grad, const void* image,
                                 const void* length, const void* angle, void* out, int threads);
void motion_blur_grad_angle_cpu(const MotionBlur& problem, const void* grad, const void* image,
                                const void* length, const void* angle, void* out, int threads);

// Both in one sweep. length and angle are batched alike.
void motion_blur_backward_cpu(const MotionBlur& problem, const void* grad, const void* image,
                              const void* length, const void* angle, void* by_length,
                              void* by_angle, int threads);

}  // namespace blurops
