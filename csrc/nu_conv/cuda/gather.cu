// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>

#include "nu_conv/cuda/cuda.h"
#include "nu_conv/cuda/gather.h"
#include "nu_conv/cuda/grad_bank.h"

namespace blurops {
namespace cuda {
namespace {

struct BankLayout {
  DType dtype;
  const void* from;  // (F, bank channels, Kh Kw)
  float* to;         // (bank channels, Kh Kw, F)
  int64_t filters, taps;
};

BLUROPS_KERNEL(gpu::kItemThreads, 1)
lay_out_items(const BankLayout args, int64_t items) {
  const int64_t i = gpu::item_index();
  if (i >= items) return;
  const int64_t filter = i % args.filters, tap = i / args.filters;  // of all channels
  args.to[i] = gpu::load_as(args.dtype, args.from, filter * args.taps + tap);
}

}  // namespace

gpu::Planes planes_of(const NuConv& p) {
  return {p.boundary,
          p.count * p.channels,
          p.height,
          p.width,
          p.out_height + p.kernel_height - 1,
          p.out_width + p.kernel_width - 1,
          p.anchor_y,
          p.anchor_x};
}

const float* lay_out_bank(gpu::Queue& queue, const NuConv& p, const void* bank) {
  const int64_t taps = p.bank_channels() * p.kernel_height * p.kernel_width;
  float* to = queue.take<float>(taps * p.filters);
  queue.items(lay_out_items, taps * p.filters, BankLayout{p.dtype, bank, to, p.filters, taps});
  return to;
}

}  // namespace cuda

namespace {

using namespace cuda;

int64_t weights_of(const NuConv& p) {
  return (p.weight_batched ? p.count : 1) * p.picked * p.out_height * p.out_width;
}
int64_t filtered_of(const NuConv& p) {
  return p.count * p.out_channels() * p.out_height * p.out_width;
}
// Threads of a kernel that makes `channels` channels of `pixels` pixels.
int64_t parts_of(const Fields& f, int64_t pixels, int64_t channels) {
  return f.problem.count * gpu::ceil_div(channels, f.group()) * pixels;
}

// Bank, index and weight as both operators take them.
Rounded operands(gpu::Queue& queue, const NuConv& p, bool high, const void* bank, const void* index,
                 const void* weight) {
  if (rounds(p, high)) return round_operands(queue, p, bank, index, weight);
  Fields f{p, nullptr, nullptr, nullptr, static_cast<const int32_t*>(index), nullptr};
  f.bank = lay_out_bank(queue, p, bank);
  f.weight = queue.floats(weight, weights_of(p));
  return {f, nullptr, nullptr, nullptr};
}

void conv(gpu::Queue& queue, const NuConv& p, bool high, const void* image, const void* bank,
          const void* index, const void* weight, void* out) {
  const Rounded given = operands(queue, p, high, bank, index, weight);
  Fields f = given.fields;
  f.extended = queue.extend(planes_of(p), image);
  const Crowds crowds = rounds(p, high) ? synthesise(queue, given, image, out) : Crowds{};
  queue.items(gather_conv, parts_of(f, f.pixels(), p.out_channels()), GatherArgs{f, out, crowds});
}

void adjoint(gpu::Queue& queue, const NuConv& p, bool high, const void* image, const void* bank,
             const void* index, const void* weight, void* out) {
  Rounded given = operands(queue, p, high, bank, index, weight);
  Fields& f = given.fields;
  f.filtered = queue.floats(image, filtered_of(p));
  const gpu::Planes planes = planes_of(p);
  float* sums = queue.take<float>(planes.extended_pixels());
  const int64_t extended = planes.extended_height * planes.extended_width;
  const bool rounded = rounds(p, high);
  const Spread made = rounded ? spread(queue, given) : Spread{};
  queue.items(gather_adjoint, parts_of(f, extended, p.channels), GatherArgs{f, sums, made.crowds});
  if (rounded) collect(queue, p, made, sums);
  queue.fold(planes, sums, out);
}

// Blocks that keep every multiprocessor busy.
constexpr int64_t kBankBlocks = 512;

void grad_bank(gpu::Queue& queue, const NuConv& p, bool, const void* grad, const void* image,
               const void* index, const void* weight, void* out) {
  Fields f{p, nullptr, nullptr, nullptr, static_cast<const int32_t*>(index), nullptr};
  f.extended = queue.extend(planes_of(p), image);
  f.filtered = queue.floats(grad, filtered_of(p));
  f.weight = queue.floats(weight, weights_of(p));
  const int64_t owners = gpu::ceil_div(p.filters, kBankFilters) *
                         gpu::ceil_div(f.taps(), kBankThreads) * p.bank_channels();
  const int64_t tiles = gpu::ceil_div(p.count * f.pixels(), kBankThreads);
  const int64_t wanted = std::clamp<int64_t>(kBankBlocks / owners, 1, tiles);
  BankArgs args{f, nullptr, 0, gpu::ceil_div(tiles, wanted)};
  args.chunks = gpu::ceil_div(tiles, args.tiles);
  const int64_t elements = p.filters * p.bank_channels() * f.taps();
  args.partial = queue.take<float>(args.chunks * elements);
  queue.zero(args.partial, args.chunks * elements * static_cast<int64_t>(sizeof(float)));
  queue.blocks(gather_grad_bank, owners * args.chunks, kBankThreads, kBankShared, args);
  queue.items(sum_bank, elements, SumBankArgs{p.dtype, args.partial, args.chunks, out});
}

void grad_weight(gpu::Queue& queue, const NuConv& p, bool, const void* grad, const void* image,
                 const void* bank, const void* index, void* out) {
  Fields f{p, nullptr, nullptr, nullptr, static_cast<const int32_t*>(index), nullptr};
  f.extended = queue.extend(planes_of(p), image);
  f.filtered = queue.floats(grad, filtered_of(p));
  f.bank = lay_out_bank(queue, p, bank);
  const int64_t samples = p.weight_batched ? p.count : 1;
  queue.items(gather_grad_weight, samples * gpu::ceil_div(p.picked, kPicked) * f.pixels(),
              GatherArgs{f, out});
}

}  // namespace

// Both functions of a launcher: the bytes it needs, and itself.
#define BLUROPS_LAUNCHER(name, member, first, second, third, fourth)                           \
  int64_t name##_bytes(const NuConv& problem, bool high) {                                     \
    gpu::Queue queue(#name, problem.dtype, true);                                              \
    member(queue, problem, high, nullptr, nullptr, nullptr, nullptr, nullptr);                 \
    return queue.bytes();                                                                      \
  }                                                                                            \
  void name(const NuConv& problem, bool high, const void* first, const void* second,           \
            const void* third, const void* fourth, void* out, void* workspace, void* stream) { \
    gpu::Queue queue(#name, problem.dtype, false, workspace, stream);                          \
    member(queue, problem, high, first, second, third, fourth, out);                           \
  }
BLUROPS_LAUNCHER(nu_conv_cuda, conv, image, bank, index, weight)
BLUROPS_LAUNCHER(nu_conv_adjoint_cuda, adjoint, image, bank, index, weight)
BLUROPS_LAUNCHER(nu_conv_grad_bank_cuda, grad_bank, grad, image, index, weight)
BLUROPS_LAUNCHER(nu_conv_grad_weight_cuda, grad_weight, grad, image, bank, index)
#undef BLUROPS_LAUNCHER

}  // namespace blurops
