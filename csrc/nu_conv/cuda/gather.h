// SPDX-License-Identifier: BSD-3-Clause
// NU-Conv for any index map, in float32 throughout: one thread per result, which walks the taps and
// fetches the filters its pixel picks. Neighbours are at the same tap at the same time.
#pragma once

#include "nu_conv/cuda/fields.h"

namespace blurops::cuda {

// What one thread makes: a pixel of up to kChannelsAtOnce channels, of `pixels` in all.
struct FieldPart {
  int64_t pixel, n, first;
  int count;

  BLUROPS_DEVICE FieldPart(const Fields& f, int64_t item, int64_t pixels, int64_t channels) {
    const int64_t groups = (channels + f.group() - 1) / f.group();
    pixel = item % pixels;
    first = item / pixels % groups * f.group();
    n = item / pixels / groups;
    const int64_t left = channels - first;
    count = static_cast<int>(left < f.group() ? left : f.group());
  }
};

struct GatherArgs {
  Fields fields;
  void* out;
  Crowds crowds = {};
};

// sums[c] += the window of channel c times the pixel's own filter.
BLUROPS_DEVICE void gather_taps(const Fields& f, const Mix& mix, const float* bank,
                                const float* window, int count, float (&sums)[kChannelsAtOnce]) {
  const int64_t filters = f.problem.filters, pitch = f.extended_width();
  const int64_t plane = pitch * f.extended_height();
  const int width = static_cast<int>(f.problem.kernel_width);
  for (int dy = 0; dy < f.problem.kernel_height; ++dy, window += pitch) {
    for (int dx = 0; dx < width; ++dx, bank += filters) {
      const float tap = mix.at(bank);
      BLUROPS_UNROLL
      for (int c = 0; c < kChannelsAtOnce; ++c) {
        if (c < count) sums[c] = gpu::multiply_add(tap, window[c * plane + dx], sums[c]);
      }
    }
  }
}

// out (N, out channels, out_height, out_width), one pixel.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
gather_conv(const GatherArgs args, int64_t items) {
  const Fields& f = args.fields;
  const NuConv& p = f.problem;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const FieldPart part(f, item, f.pixels(), p.out_channels());
  if (args.crowds.made(part.n, part.pixel / p.out_width, part.pixel % p.out_width)) return;
  float sums[kChannelsAtOnce] = {};
  for (int64_t j = 0; j < p.picked; j += kPicked) {
    const Mix mix(f, part.n, j, part.pixel, true);
    // With filters for each channel the pass is over those, else over the only one.
    for (int64_t c = 0; c < p.bank_channels(); ++c) {
      gather_taps(f, mix, f.bank + c * f.taps() * p.filters,
                  f.window(part.n, p.own ? c : part.first, part.pixel), part.count, sums);
    }
  }
  BLUROPS_UNROLL
  for (int c = 0; c < kChannelsAtOnce; ++c) {
    if (c >= part.count) break;
    const int64_t channel = part.n * p.out_channels() + part.first + c;
    gpu::store_as(p.dtype, sums[c], args.out, channel * f.pixels() + part.pixel);
  }
}

// One pixel of the extended sharp image, gathered from the pixels that spread to it:
// sums (N, C, extended_height, extended_width).
BLUROPS_KERNEL(gpu::kItemThreads, 1)
gather_adjoint(const GatherArgs args, int64_t items) {
  const Fields& f = args.fields;
  const NuConv& p = f.problem;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int64_t extended = f.extended_height() * f.extended_width();
  const FieldPart part(f, item, extended, p.channels);
  const int64_t v = part.pixel / f.extended_width(), u = part.pixel % f.extended_width();
  const int64_t input = part.n * p.out_channels() + (p.own ? 0 : part.first);
  const float* values = f.filtered + input * f.pixels();
  const float* bank = f.bank + (p.own ? part.first * f.taps() * p.filters : 0);
  const int last = static_cast<int>(p.filters) - 1;
  const int32_t* picks = f.index + (p.index_batched ? part.n : 0) * p.picked * f.pixels();
  const float* weights = f.weight + (p.weight_batched ? part.n : 0) * p.picked * f.pixels();
  float sums[kChannelsAtOnce] = {};
  const bool none =
      args.crowds.all_made(part.n, v - p.kernel_height + 1, v, u - p.kernel_width + 1, u);
  for (int64_t dy = 0; dy < p.kernel_height && !none; ++dy) {
    const int64_t y = v - dy;
    if (y < 0 || y >= p.out_height) continue;
    for (int64_t dx = 0; dx < p.kernel_width; ++dx) {
      const int64_t x = u - dx, pixel = y * p.out_width + x;
      if (x < 0 || x >= p.out_width || args.crowds.made(part.n, y, x)) continue;
      const float* taps = bank + (dy * p.kernel_width + dx) * p.filters;
      const int32_t* pick = picks + pixel;
      const float* weight = weights + pixel;
      float tap = 0;
      for (int64_t j = 0; j < p.picked; ++j, pick += f.pixels(), weight += f.pixels()) {
        tap = gpu::multiply_add(*weight, taps[within(*pick, last)], tap);
      }
      BLUROPS_UNROLL
      for (int c = 0; c < kChannelsAtOnce; ++c) {
        if (c < part.count) {
          sums[c] = gpu::multiply_add(tap, values[c * f.pixels() + pixel], sums[c]);
        }
      }
    }
  }
  float* out = static_cast<float*>(args.out);
  BLUROPS_UNROLL
  for (int c = 0; c < kChannelsAtOnce; ++c) {
    if (c >= part.count) break;
    out[(part.n * p.channels + part.first + c) * extended + part.pixel] = sums[c];
  }
}

// sums[j] += filter j times the window of sum_c values[c] channel[c].
BLUROPS_DEVICE void correlate_taps(const Fields& f, const Mix& mix, const float* bank,
                                   const float* window, const float (&values)[kChannelsAtOnce],
                                   int count, float (&sums)[kPicked]) {
  const int64_t filters = f.problem.filters, pitch = f.extended_width();
  const int64_t plane = pitch * f.extended_height();
  const int width = static_cast<int>(f.problem.kernel_width);
  for (int dy = 0; dy < f.problem.kernel_height; ++dy, window += pitch) {
    for (int dx = 0; dx < width; ++dx, bank += filters) {
      float product = values[0] * window[dx];
      BLUROPS_UNROLL
      for (int c = 1; c < kChannelsAtOnce; ++c) {
        if (c < count) product = gpu::multiply_add(values[c], window[c * plane + dx], product);
      }
      BLUROPS_UNROLL
      for (int j = 0; j < kPicked; ++j) {
        sums[j] = gpu::multiply_add(product, bank[mix.filters[j]], sums[j]);
      }
    }
  }
}

// out shaped as the weight: kPicked coefficients of one pixel, summed over the batch where the
// weight is shared by it.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
gather_grad_weight(const GatherArgs args, int64_t items) {
  const Fields& f = args.fields;
  const NuConv& p = f.problem;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int64_t groups = (p.picked + kPicked - 1) / kPicked;
  const int64_t pixel = item % f.pixels(), first = item / f.pixels() % groups * kPicked;
  const int64_t sample = item / f.pixels() / groups;
  const int64_t begin = p.weight_batched ? sample : 0,
                end = p.weight_batched ? sample + 1 : p.count;
  float sums[kPicked] = {};
  for (int64_t n = begin; n < end; ++n) {
    const Mix mix(f, n, first, pixel, false);
    for (int64_t c = 0; c < p.channels; c += f.group()) {
      const int64_t left = p.channels - c;
      const int count = static_cast<int>(left < f.group() ? left : f.group());
      const float* from =
          f.filtered + (n * p.out_channels() + (p.own ? 0 : c)) * f.pixels() + pixel;
      float values[kChannelsAtOnce] = {};
      BLUROPS_UNROLL
      for (int i = 0; i < kChannelsAtOnce; ++i) {
        if (i < count) values[i] = from[i * f.pixels()];
      }
      correlate_taps(f, mix, f.bank + (p.own ? c * f.taps() * p.filters : 0), f.window(n, c, pixel),
                     values, count, sums);
    }
  }
  BLUROPS_UNROLL
  for (int j = 0; j < kPicked; ++j) {
    if (first + j >= p.picked) break;
    gpu::store_as(p.dtype, sums[j], args.out, (sample * p.picked + first + j) * f.pixels() + pixel);
  }
}

}  // namespace blurops::cuda
