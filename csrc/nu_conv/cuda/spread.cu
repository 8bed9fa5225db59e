// SPDX-License-Identifier: BSD-3-Clause
#include "nu_conv/cuda/instances.h"
#include "nu_conv/cuda/spread.h"

namespace blurops::cuda {
namespace {

// Of the 164 KB of sm_80's multiprocessors.
constexpr int64_t kMostShared = 160 << 10;

template <int kJ, int kC>
void launch_spread(const gpu::Queue& queue, SynthesisArgs& args) {
  using Shelf = SpreadShelf<kJ, kC>;
  const Sizes& s = args.sizes;
  const int64_t row = Shelf::bytes(2, args.words) - Shelf::bytes(1, args.words);
  const int most = static_cast<int>((kMostShared - Shelf::bytes(0, args.words)) / row);
  args.band = ceil_div(s.kernel_height, ceil_div(s.kernel_height, most));  // much alike
  const int64_t blocks = int64_t{s.count} * s.channel_groups * args.crowds.tiles * s.strips;
  queue.blocks(spread_listed<kJ, kC>, blocks, kBlurThreads, Shelf::bytes(args.band, args.words),
               args);
}

}  // namespace

Spread spread(gpu::Queue& queue, const Rounded& from) {
  const NuConv& p = from.fields.problem;
  SynthesisArgs args = arguments_of(queue, from, p.channels);
  const int64_t tiles = p.count * p.channels * args.crowds.tiles * args.sizes.strips;
  const int64_t count =
      tiles * tile_reach(static_cast<int>(p.kernel_height)) * strip_span(products_of(p));
  float* sums = queue.take<float>(count);
  queue.zero(sums, count * static_cast<int64_t>(sizeof(float)));
  args.out = sums;
  with_products(p, [&](auto products, auto channels) {
    launch_spread<decltype(products)::value, decltype(channels)::value>(queue, args);
  });
  return {args.crowds, sums};
}

void collect(gpu::Queue& queue, const NuConv& p, const Spread& from, float* sums) {
  const gpu::Planes planes = planes_of(p);
  queue.items(
      collect_tiles, planes.extended_pixels(),
      CollectArgs{static_cast<int>(planes.extended_height), static_cast<int>(planes.extended_width),
                  static_cast<int>(p.kernel_height), strip_span(products_of(p)), from.crowds,
                  from.tiles, sums});
}

}  // namespace blurops::cuda
