// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/plan.h"
#include "nu_conv/cuda/synthesis.h"

namespace blurops::cuda {
namespace {

// The instances: products in a row of taps, up to 21 and up to 37 of these.
constexpr int kNarrow = 3, kWide = 5;

int products_of(const NuConv& p) {
  return taps_class(static_cast<int>(p.kernel_width)) <= kNarrow ? kNarrow : kWide;
}

// Of the shared memory, so that two blocks fit into the 228 KB of sm_90's multiprocessors.
constexpr int64_t kWindowOfTile = 64 << 10;

Sizes sizes_of(const NuConv& p) {
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  Sizes s{};
  s.count = narrow(p.count), s.channels = narrow(p.channels);
  s.height = narrow(p.height), s.width = narrow(p.width);
  s.out_height = narrow(p.out_height), s.out_width = narrow(p.out_width);
  s.kernel_height = narrow(p.kernel_height), s.kernel_width = narrow(p.kernel_width);
  s.anchor_y = narrow(p.anchor_y), s.anchor_x = narrow(p.anchor_x);
  s.boundary = p.boundary, s.dtype = p.dtype;
  s.strips = ceil_div(s.out_width, kStrip);
  s.channel_groups = p.own || p.channels == 1 ? 1 : ceil_div(s.channels, 3);
  return s;
}

template <int kJ, int kC>
void run(const gpu::Queue& queue, SynthesisArgs& args) {
  const Sizes& s = args.sizes;
  args.band = band_of(s.kernel_height, kJ, kC, kWindowOfTile);
  const int64_t blocks = int64_t{s.count} * s.channel_groups * args.crowds.tiles * s.strips;
  queue.blocks(synthesise_tile<kJ, kC>, blocks, kBlurThreads,
               Shelf<kJ>::bytes(kC, args.band, args.words), args);
}

}  // namespace

bool rounds(const NuConv& p, bool high) {
  return !high && p.kernel_width >= 5 && taps_class(static_cast<int>(p.kernel_width)) <= kWide &&
         p.filters <= kMostFilters;
}

Rounded round_operands(gpu::Queue& queue, const NuConv& problem, const void* bank,
                       const void* index, const void* weight, bool halves) {
  const NuConv& p = problem;
  const int64_t taps = p.kernel_height * p.kernel_width, rows = p.bank_channels() * p.kernel_height;
  const int products = products_of(p);
  float* scales = queue.take<float>(p.filters);
  float* rounded_bank = queue.take<float>(p.filters * p.bank_channels() * taps);
  const int64_t half_count = halves ? rows * 8 * products * p.filters : 0;
  uint16_t* packed = queue.take<uint16_t>(half_count);
  queue.zero(packed, half_count * static_cast<int64_t>(sizeof(uint16_t)));
  constexpr int64_t kShared = int64_t{kPackThreads} * 12;
  const PackKernelsArgs scaled{bank,
                               nullptr,
                               scales,
                               static_cast<int>(p.bank_channels()),
                               static_cast<int>(p.kernel_height),
                               static_cast<int>(p.kernel_width),
                               0,
                               0,
                               0,
                               false};
  with_storage(p.dtype, [&](auto storage) {
    queue.blocks(scale_kernels<decltype(storage)>, p.filters, kPackThreads, kShared, scaled);
  });
  queue.blocks(round_bank, p.filters * p.bank_channels(), kPackThreads, kShared,
               RoundBankArgs{p, bank, scales, rounded_bank, halves ? packed : nullptr, products});

  const int64_t given = p.weight_batched ? p.count : 1;
  const bool batched = p.weight_batched || p.index_batched;
  const int64_t pixels = p.out_height * p.out_width, samples = batched ? p.count : 1;
  Fields f{p, nullptr, nullptr, nullptr, static_cast<const int32_t*>(index), nullptr};
  f.weight = queue.floats(weight, given * p.picked * pixels);
  float* rounded = queue.take<float>(samples * p.picked * pixels);
  float* pixel_scales = queue.take<float>(samples * pixels);
  queue.items(round_weights, samples * pixels, RoundWeightsArgs{f, scales, rounded, pixel_scales});
  f.problem.weight_batched = batched;
  f.weight = rounded;
  f.bank = rounded_bank;
  return {f, packed, scales, pixel_scales};
}

Crowds synthesise(gpu::Queue& queue, const Rounded& from, const void* image, void* out) {
  const NuConv& p = from.fields.problem;
  SynthesisArgs args{};
  args.sizes = sizes_of(p);
  const Sizes& s = args.sizes;
  args.fields = from.fields;
  args.crowds = {nullptr, ceil_div(s.out_height, kBlurRows), s.strips, kBlurRows, kStrip};
  args.crowds.crowded = queue.take<int>(p.count * args.crowds.tiles * s.strips);
  args.image = image;
  args.out = out;
  args.bank = from.halves;
  args.scales = from.scales;
  args.pixel_scales = from.pixel_scales;
  args.words = static_cast<int>(gpu::ceil_div(p.filters, 32));
  // The list behind the mask, and the window behind that, start at vectors.
  args.words = (args.words + 1) / 2 * 2;
  const bool one = p.own || p.channels == 1;
  if (products_of(p) == kNarrow) {
    one ? run<kNarrow, 1>(queue, args) : run<kNarrow, 3>(queue, args);
  } else {
    one ? run<kWide, 1>(queue, args) : run<kWide, 3>(queue, args);
  }
  return args.crowds;
}

}  // namespace blurops::cuda
