// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the bank, in float32: a block owns some filters at some taps for a chunk of the
// pixels, one tap a thread, so every sum has one owner; chunks are added up in order afterwards.
#pragma once

#include "nu_conv/cuda/fields.h"

namespace blurops::cuda {

constexpr int kBankThreads = 256;  // taps of a block, and pixels that it looks through at a time
constexpr int kBankFilters = 32;   // of a block
constexpr int kBankTiles = 4;      // of pixels, between two times that sums go to memory
constexpr int kBankWarps = kBankThreads / 32;
constexpr int64_t kBankShared = int64_t{4} * (kBankThreads * (kBankFilters + 1) + kBankWarps);

struct BankArgs {
  Fields fields;
  float* partial;  // zeros; (chunks, F, bank channels, Kh Kw)
  int64_t chunks;
  int64_t tiles;  // of kBankThreads pixels of the batch, in a chunk
};

// Where a block is: groups of filters run fastest.
struct BankPart {
  int64_t first_filter, first_tap, channel, chunk;

  BLUROPS_DEVICE explicit BankPart(const Fields& f) {
    int64_t rest = gpu::block_index();
    const int64_t filters = (f.problem.filters + kBankFilters - 1) / kBankFilters;
    const int64_t taps = (f.taps() + kBankThreads - 1) / kBankThreads;
    first_filter = rest % filters * kBankFilters;
    rest /= filters;
    first_tap = rest % taps * kBankThreads;
    rest /= taps;
    channel = rest % f.problem.bank_channels();
    chunk = rest / f.problem.bank_channels();
  }
};

// Those of kBankThreads pixels that pick one of the block's filters, in order; returns their
// number.
BLUROPS_DEVICE int list_pixels(const Fields& f, int64_t first, int64_t first_filter,
                               uint32_t* found, int* list) {
  const NuConv& p = f.problem;
  const int thread = gpu::thread_index();
  const int64_t at = first + thread;
  bool wanted = false;
  for (int64_t j = 0; j < p.picked && at < p.count * f.pixels(); ++j) {
    const int64_t filter = f.filter(at / f.pixels(), j, at % f.pixels());
    if (filter >= first_filter && filter < first_filter + kBankFilters) wanted = true;
  }
  const uint32_t mine = gpu::ballot(wanted);
  if (thread % 32 == 0) gpu::write(found + thread / 32, mine);
  gpu::barrier();
  int before = gpu::count_bits(mine & ((1u << thread % 32) - 1)), all = 0;
  for (int warp = 0; warp < kBankWarps; ++warp) {
    const int count = gpu::count_bits(gpu::read(found + warp));
    if (warp < thread / 32) before += count;
    all += count;
  }
  if (wanted) gpu::write(list + before, thread);
  gpu::barrier();
  return all;
}

// Adds one pixel's products to the sums of this thread's tap, which lies at `offset` in a window.
BLUROPS_DEVICE void add_pixel(const Fields& f, const BankPart& part, int64_t n, int64_t pixel,
                              int64_t offset, float* sums) {
  const NuConv& p = f.problem;
  // Every pixel beyond the first of a block's tile may lie in a later sample.
  for (; pixel >= f.pixels(); pixel -= f.pixels()) ++n;
  const int64_t plane = f.extended_height() * f.extended_width();
  const float* window = f.window(n, p.own ? part.channel : 0, pixel) + offset;
  const float* values = f.filtered + n * p.out_channels() * f.pixels() + pixel;
  float product = 0;
  for (int64_t c = 0; c < p.out_channels(); ++c) {
    product = gpu::multiply_add(values[c * f.pixels()], window[c * plane], product);
  }
  for (int64_t j = 0; j < p.picked; ++j) {
    const int64_t filter = f.filter(n, j, pixel) - part.first_filter;
    if (filter < 0 || filter >= kBankFilters) continue;
    float* sum = sums + filter * kBankThreads;
    gpu::write(sum, gpu::multiply_add(f.coefficient(n, j, pixel), product, gpu::read(sum)));
  }
}

// Adds a thread's sums to those in memory, and starts them anew.
BLUROPS_DEVICE void flush_sums(const BankArgs& args, const BankPart& part, int64_t tap,
                               float* sums) {
  const NuConv& p = args.fields.problem;
  for (int i = 0; i < kBankFilters && part.first_filter + i < p.filters; ++i) {
    const int64_t filter = part.chunk * p.filters + part.first_filter + i;
    float* to =
        args.partial + (filter * p.bank_channels() + part.channel) * args.fields.taps() + tap;
    if (tap < args.fields.taps()) *to += gpu::read(sums + i * kBankThreads);
    gpu::write(sums + i * kBankThreads, 0.f);
  }
}

BLUROPS_KERNEL(kBankThreads, 2)
gather_grad_bank(const BankArgs args) {
  const Fields& f = args.fields;
  const BankPart part(f);
  const int thread = gpu::thread_index();
  float* sums = reinterpret_cast<float*>(gpu::shared_memory()) + thread;
  int* list = reinterpret_cast<int*>(gpu::shared_memory()) + kBankFilters * kBankThreads;
  uint32_t* found = reinterpret_cast<uint32_t*>(list + kBankThreads);
  for (int i = 0; i < kBankFilters; ++i) gpu::write(sums + i * kBankThreads, 0.f);
  // Threads beyond the last tap read the first one's pixels, and store nothing.
  const int64_t tap = part.first_tap + thread, read_tap = tap < f.taps() ? tap : 0;
  const int64_t width = f.problem.kernel_width;
  const int64_t offset = read_tap / width * f.extended_width() + read_tap % width;
  for (int64_t tile = 0; tile < args.tiles; ++tile) {
    const int64_t first = (part.chunk * args.tiles + tile) * kBankThreads;
    const int count = list_pixels(f, first, part.first_filter, found, list);
    const int64_t n = first / f.pixels(), pixel = first % f.pixels();
    for (int i = 0; i < count; ++i) {
      add_pixel(f, part, n, pixel + gpu::read(list + i), offset, sums);
    }
    if (tile % kBankTiles == kBankTiles - 1) flush_sums(args, part, tap, sums);
  }
  flush_sums(args, part, tap, sums);
}

struct SumBankArgs {
  DType dtype;
  const float* partial;
  int64_t chunks;
  void* out;
};

// One element of the result.
BLUROPS_KERNEL(gpu::kItemThreads, 1)
sum_bank(const SumBankArgs args, int64_t items) {
  const int64_t i = gpu::item_index();
  if (i >= items) return;
  float sum = 0;
  for (int64_t chunk = 0; chunk < args.chunks; ++chunk) sum += args.partial[chunk * items + i];
  gpu::store_as(args.dtype, sum, args.out, i);
}

}  // namespace blurops::cuda
