// SPDX-License-Identifier: BSD-3-Clause
// The operands of the default precision: bank and weights as halves, which carry 11 bits. Powers of
// two keep them in range, one for each filter and one for each pixel; a filter keeps the sum of its
// taps, and a pixel that of its weights. Every kernel of that precision, with or without tensor
// cores, uses these same numbers, so the adjoint is the exact transpose.
#pragma once

#include "basis_blur/cuda/pack.h"
#include "nu_conv/cuda/fields.h"

namespace blurops::cuda {

struct RoundBankArgs {
  NuConv problem;
  const void* bank;     // (F, bank channels, Kh, Kw)
  const float* scales;  // (F): what a filter's halves have to be multiplied with
  float* rounded;       // (bank channels, Kh Kw, F)
  uint16_t* halves;     // zeros; (bank channels, Kh, slots, F)
  int products;         // of tensor cores in a row of taps: 8 slots each
};

// The slot of a tap in its row, as layout.h orders them for one product after the other.
BLUROPS_DEVICE int slot_of(int tap, int products) {
  const int stride = 2 * products - 1;
  const int owner = tap / stride < 3 ? tap / stride : 3, slot = tap - owner * stride;
  return slot / 2 * 8 + 2 * owner + slot % 2;
}

// One filter in one channel.
BLUROPS_KERNEL(kPackThreads, 1)
round_bank(const RoundBankArgs args) {
  const NuConv& p = args.problem;
  const int64_t filter = gpu::block_index() / p.bank_channels();
  const int64_t channel = gpu::block_index() % p.bank_channels();
  const int taps = static_cast<int>(p.kernel_height * p.kernel_width);
  const int64_t first = gpu::block_index() * taps;
  const float out_scale = args.scales[filter], scale = 1.f / out_scale;
  Remainder remainder;
  for (int i = gpu::thread_index(); i < taps; i += kPackThreads) {
    remainder.add(gpu::load_as(p.dtype, args.bank, first + i) * scale, i);
  }
  remainder = over_block(remainder);
  const int64_t width = p.kernel_width;
  for (int i = gpu::thread_index(); i < taps; i += kPackThreads) {
    const float value = gpu::load_as(p.dtype, args.bank, first + i) * scale;
    const uint32_t half = to_half(i == remainder.taker ? halved(value) + remainder.lost : value);
    args.rounded[(channel * taps + i) * p.filters + filter] = gpu::half_value(half) * out_scale;
    const int64_t row = channel * p.kernel_height + i / width;
    const int slot = slot_of(static_cast<int>(i % width), args.products);
    args.halves[(row * 8 * args.products + slot) * p.filters + filter] =
        static_cast<uint16_t>(half);
  }
}

struct RoundWeightsArgs {
  Fields fields;        // index, and the weights as they are given
  const float* scales;  // of the filters
  float* rounded;       // (samples, J, out_height, out_width)
  float* pixel_scales;  // (samples, out_height, out_width): what brings weights into [1, 2)
};

// A pixel's weight of a filter that it picks more than once stands where it is picked first.
BLUROPS_DEVICE float merged_weight(const Fields& f, int64_t n, int64_t j, int64_t pixel) {
  const int filter = f.filter(n, j, pixel);
  float sum = 0;
  for (int64_t i = 0; i < f.problem.picked; ++i) {
    if (f.filter(n, i, pixel) != filter) continue;
    if (i < j) return 0.f;
    sum += f.coefficient(n, i, pixel);
  }
  return sum;
}

// One pixel.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
round_weights(const RoundWeightsArgs args, int64_t items) {
  const Fields& f = args.fields;
  const int64_t item = gpu::item_index();
  if (item >= items) return;
  const int64_t n = item / f.pixels(), pixel = item % f.pixels(), picked = f.problem.picked;
  float largest = 0;
  for (int64_t j = 0; j < picked; ++j) {
    const float scaled = merged_weight(f, n, j, pixel) * args.scales[f.filter(n, j, pixel)];
    const float size = scaled < 0 ? -scaled : scaled;
    if (size > largest) largest = size;
  }
  const float scale = scale_to(largest, 0);
  float lost = 0;
  uint32_t smallest = 0xffffffffu;
  int64_t taker = -1;
  for (int64_t j = 0; j < picked; ++j) {
    const float weight = merged_weight(f, n, j, pixel);
    const float step = args.scales[f.filter(n, j, pixel)] * scale;
    lost += (weight * step - halved(weight * step)) / step;
    const uint32_t size = magnitude(weight);
    if (size > 0 && size < smallest) smallest = size, taker = j;
  }
  for (int64_t j = 0; j < picked; ++j) {
    const float step = args.scales[f.filter(n, j, pixel)] * scale;
    float value = halved(merged_weight(f, n, j, pixel) * step);
    // Filters may differ in scale by so much that one cannot make up for the other.
    const float kept = halved(value + lost * step);
    if (j == taker && kept < 4 && kept > -4) value = kept;
    args.rounded[(n * picked + j) * f.pixels() + pixel] = value / step;
  }
  args.pixel_scales[item] = scale;
}

}  // namespace blurops::cuda
