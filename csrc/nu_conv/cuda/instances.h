// SPDX-License-Identifier: BSD-3-Clause
// What the launchers with tensor cores share: the instances, and the arguments of both directions.
#pragma once

#include <type_traits>

#include "nu_conv/cuda/synthesis.h"

namespace blurops::cuda {

// The instances: products in a row of taps, up to 21 and up to 37 of these.
constexpr int kNarrow = 3, kWide = 5;

inline int products_of(const NuConv& p) {
  return taps_class(static_cast<int>(p.kernel_width)) <= kNarrow ? kNarrow : kWide;
}

inline int channels_of_block(const NuConv& p) { return p.own || p.channels == 1 ? 1 : 3; }

// Calls visit with the instance of a problem: (products, channels of a block) as constants.
template <typename Visit>
void with_products(const NuConv& p, const Visit& visit) {
  const auto channels = [&](auto products) {
    if (channels_of_block(p) == 1) return visit(products, std::integral_constant<int, 1>{});
    visit(products, std::integral_constant<int, 3>{});
  };
  if (products_of(p) == kNarrow) return channels(std::integral_constant<int, kNarrow>{});
  channels(std::integral_constant<int, kWide>{});
}

inline Sizes sizes_of(const NuConv& p, int64_t channels) {
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  Sizes s{};
  s.count = narrow(p.count), s.channels = narrow(p.channels);
  s.height = narrow(p.height), s.width = narrow(p.width);
  s.out_height = narrow(p.out_height), s.out_width = narrow(p.out_width);
  s.kernel_height = narrow(p.kernel_height), s.kernel_width = narrow(p.kernel_width);
  s.anchor_y = narrow(p.anchor_y), s.anchor_x = narrow(p.anchor_x);
  s.boundary = p.boundary, s.dtype = p.dtype;
  s.strips = ceil_div(s.out_width, kStrip);
  s.channel_groups = narrow(gpu::ceil_div(channels, channels_of_block(p)));
  return s;
}

// `channels`: how many there are of what blocks make.
inline SynthesisArgs arguments_of(gpu::Queue& queue, const Rounded& from, int64_t channels) {
  const NuConv& p = from.fields.problem;
  SynthesisArgs args{};
  args.sizes = sizes_of(p, channels);
  const Sizes& s = args.sizes;
  args.fields = from.fields;
  args.crowds = {nullptr, ceil_div(s.out_height, kBlurRows), s.strips, kBlurRows, kStrip};
  args.crowds.crowded = queue.take<int>(p.count * args.crowds.tiles * s.strips);
  args.bank = from.halves;
  args.scales = from.scales;
  args.pixel_scales = from.pixel_scales;
  // What lies behind the mask begins at a vector.
  args.words = static_cast<int>(gpu::ceil_div(p.filters, 64)) * 2;
  return args;
}

}  // namespace blurops::cuda
