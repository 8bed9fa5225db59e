// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/plan.h"
#include "nu_conv/cuda/instances.h"
#include "nu_conv/cuda/rounding.h"
#include "nu_conv/cuda/synthesis.h"

namespace blurops::cuda {
namespace {

// Of the shared memory, so that two blocks fit into the 228 KB of sm_90's multiprocessors.
constexpr int64_t kWindowOfTile = 64 << 10;

template <int kJ, int kC>
void launch_synthesis(const gpu::Queue& queue, SynthesisArgs& args) {
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
                       const void* index, const void* weight) {
  const NuConv& p = problem;
  const int64_t taps = p.kernel_height * p.kernel_width, rows = p.bank_channels() * p.kernel_height;
  const int products = products_of(p);
  float* scales = queue.take<float>(p.filters);
  float* rounded_bank = queue.take<float>(p.filters * p.bank_channels() * taps);
  const int64_t half_count = rows * 8 * products * p.filters;
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
               RoundBankArgs{p, bank, scales, rounded_bank, packed, products});

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
  SynthesisArgs args = arguments_of(queue, from, p.own ? 1 : p.channels);
  args.image = image;
  args.out = out;
  with_products(p, [&](auto products, auto channels) {
    launch_synthesis<decltype(products)::value, decltype(channels)::value>(queue, args);
  });
  return args.crowds;
}

}  // namespace blurops::cuda
