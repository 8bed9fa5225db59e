// SPDX-License-Identifier: BSD-3-Clause
// What becomes of a blurred pixel: it is stored, or a Richardson-Lucy step's ratios of it are, and
// the blurred image is never written (rl_step.h; Carbajal et al., eqs. 4 and 9-13).
#pragma once

#include "basis_blur/cuda/layout.h"
#include "common/convert.h"

namespace blurops::cuda {

// q(s) = V s / (r + eps) + 1 - s with r = max(R(W), 0) and s = R'(W), W = max(H U, 0); without
// saturation r = W and s = 1. A mask multiplies s. Of float32 images.
struct Ratios {
  const float* observed;  // V (count, channels, height, width); null: no ratios are wanted
  const float* mask;      // (1 or count, 1 or channels, height, width), or null
  const float* clean;     // z, shaped as observed, or null: one set
  float* ratios;          // q, or q of s z and then q of s for each sample, along the channels
  int64_t mask_stride, mask_channel_stride;
  float a, level, eps;
  bool saturated;

  BLUROPS_DEVICE float ratio(float asked, float response, float weight) const {
    return asked * weight / (response + eps) + (1.f - weight);
  }

  BLUROPS_DEVICE void store(float blurred, int sample, int channel, int channels, int64_t pixel,
                            int64_t pixels) const {
    // A maximum with 0 that lets NaN through.
    const float light = blurred < 0 ? 0.f : blurred;
    float response = light, weight = 1;
    if (saturated) {
      // In the form that neither overflows nor cancels on either side of the level.
      const float t = a * (light - level);
      const float power = gpu::exponential(t > 0 ? -t : t);
      response = (t > 0 ? level : light) - gpu::log_of_one_plus(power) / a;
      response = response < 0 ? 0.f : response;
      weight = (t > 0 ? power : 1.f) / (power + 1.f);
    }
    if (mask != nullptr)
      weight *= mask[sample * mask_stride + channel * mask_channel_stride + pixel];
    const int64_t plane = int64_t{sample} * channels + channel;
    const float asked = observed[plane * pixels + pixel];
    if (clean == nullptr) {
      ratios[plane * pixels + pixel] = ratio(asked, response, weight);
      return;
    }
    float* to = ratios + (plane + int64_t{sample} * channels) * pixels + pixel;
    to[0] = ratio(asked, response, weight * clean[plane * pixels + pixel]);
    to[channels * pixels] = ratio(asked, response, weight);
  }
};

}  // namespace blurops::cuda
