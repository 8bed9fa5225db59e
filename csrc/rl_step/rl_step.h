// SPDX-License-Identifier: BSD-3-Clause
// One Richardson-Lucy update, U F(q) or, with two sets, z0 U F(q(R' z)) + (1 - z0) U F(q(R')),
// divided by the TV term: Carbajal et al., eqs. 9-14, as blurops/ops/rl_step/formula.py states
// them.
//
// A step is made of passes over images, around the blur and its adjoint: `lost`, `clean` (in the
// epilogue of the blur of `lost`), `ratios` (in the epilogue of the blur of U), the adjoint, and
// `update`. Every pass treats a pixel alone or reads its neighbours, so that results do not depend
// on the number of threads.
#pragma once

#include "basis_blur/basis_blur.h"

namespace blurops {

// The second set's ratios are kept as their difference to the first set's. It is zero wherever no
// bright pixel has reached the data, and so is the gradient of its correction away from bright
// pixels.
struct RlStep {
  DType dtype;  // float32 or float64
  int64_t count, channels;
  int64_t height, width;          // of the sharp images
  int64_t out_height, out_width;  // of the blurred ones

  bool saturated;  // false: R(x) = x, R'(x) = 1
  double a, level;
  double eps;
  double tv;
  double smallest_sum;  // a pixel whose column sum is not above it keeps its value
  double lost_share;    // a blurred pixel is clean up to this share of its kernel on lost pixels

  // H^T 1, (N or 1, 1, height, width); elements from one sample to the next, or 0
  int64_t sums_stride;
  // mask (N or 1, 1 or C, out_height, out_width); elements from one sample or channel to the next,
  // or 0
  int64_t mask_stride, mask_channel_stride;

  const void* estimate;     // U (N, C, height, width)
  const void* observed;     // V (N, C, out_height, out_width)
  const void* column_sums;  // H^T 1
  const void* mask;         // or null: 1 everywhere
  const void* lost;         // 1 - z0 (N, C, height, width), or null: one set
  void* clean;              // z (N, C, out_height, out_width), or null: one set
  void* blurred;            // W = H U (N, C, out_height, out_width), or null: not wanted
  void* ratios;  // q, or q of the first set and what the second's adds to it (N, C or 2C, ...)
  const void* corrections;  // H^T ratios (N, C or 2C, height, width)

  // For the derivatives; grad_X is the derivative of the loss by X and shaped like X.
  const void* grad;         // by the updated estimate
  void* grad_corrections;   // (N, C or 2C, height, width)
  void* grad_estimate;      // without what passes through W
  void* grad_sums;          // (N, 1, height, width)
  void* grad_divergence;    // by div(grad U / |grad U|), or null when tv is 0
  const void* grad_ratios;  // (N, C or 2C, out_height, out_width)
  void* grad_blurred;       // by W
  void* grad_observed;
  void* grad_mask;  // (N, C, out_height, out_width), or null: not wanted
};

// Which pixels of U are bright: writes 1 - z0 to `lost`, or returns false, and writes nothing, when
// no pixel of U reaches the threshold: one set is then the same.
bool rl_lost_cpu(const RlStep& step, double threshold, bool erode, bool smooth, void* lost,
                 int threads);

// z: blurs step.lost by the basis kernels and their mixing, and writes step.clean.
void rl_clean_cpu(const Problem& problem, const RlStep& step, const void* basis, const void* mixing,
                  int threads);

// q: blurs step.estimate and writes step.ratios, and step.blurred when wanted.
void rl_ratios_cpu(const Problem& problem, const RlStep& step, const void* basis,
                   const void* mixing, int threads);

// q where W = H U is known: reads `blurred` (N, C, out_height, out_width) and writes step.ratios.
void rl_ratios_of_cpu(const RlStep& step, const void* blurred, int threads);

// The updated estimate (N, C, height, width) from U, the corrections, the column sums and `lost`.
void rl_update_cpu(const RlStep& step, void* out, int threads);

// From step.grad: grad_corrections, grad_estimate (including the TV term's part) and grad_sums.
void rl_grad_update_cpu(const RlStep& step, int threads);

// From step.grad_ratios: grad_blurred, grad_observed and, when wanted, grad_mask.
void rl_grad_ratios_cpu(const RlStep& step, int threads);

}  // namespace blurops
