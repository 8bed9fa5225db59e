// SPDX-License-Identifier: BSD-3-Clause
// Operands of the gradients. Both are products with S[p, d] = sum_c grad_c[p] image_c[p + d], which
// a kernel makes in registers and rounds to halves after a power of two has brought it into range;
// the other operand, kernels or mixing, comes from memory in the order of S. Rounded as in pack.h.
//
// At high precision an operand is split into high + low, and a kernel runs through its work three
// times: S high with high, S high with low, S low with high.
#pragma once

#include "basis_blur/cuda/pack.h"

namespace blurops::cuda {

// High halves, and at high precision low ones.
BLUROPS_HD constexpr int sets_of(bool high) { return high ? 2 : 1; }

// ---- Kernels, for the gradient by the mixing: (samples, sets, groups, height, tap_vectors).
// The sum runs over taps: thread t brings its run of 2 kJ slots, four to a product; columns are
// bases, eight to a product, and two such products share a vector.

BLUROPS_HD constexpr int tap_steps(int j) { return (j + 1) / 2; }
BLUROPS_HD constexpr int tap_vectors(int j, int steps) { return tap_steps(j) * steps * 32; }

struct PackTapsArgs {
  PackKernelsArgs kernels;  // packed: zeros
  bool one_scale;           // for all samples, whose results are summed
};

BLUROPS_DEVICE int64_t tap_half(const PackKernelsArgs& args, int basis, int dy, int dx) {
  const int stride = 2 * args.j - 1, bases = kBases * args.steps;
  const int t = dx / stride < 3 ? dx / stride : 3, slot = dx - t * stride;
  const int group = basis / bases, column = basis % bases;
  const int vector = (slot / 4 * args.steps + column / 16) * 32 + 4 * (column % 8) + t;
  const int word = column % 16 / 8 * 2 + slot % 4 / 2;
  const int64_t row = int64_t{group} * args.height + dy;
  return (row * tap_vectors(args.j, args.steps) + vector) * 8 + 2 * word + slot % 2;
}

// One kernel of one sample.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
pack_taps(const PackTapsArgs args) {
  const PackKernelsArgs& k = args.kernels;
  const int64_t sample = gpu::block_index() / k.basis;
  const int basis = static_cast<int>(gpu::block_index() % k.basis);
  const int taps = k.height * k.width;
  const T* from = static_cast<const T*>(k.kernels) + gpu::block_index() * taps;
  const float scale = 1.f / k.scale[args.one_scale ? 0 : sample];
  Remainder remainder;
  for (int i = gpu::thread_index(); i < taps && !k.high; i += kPackThreads) {
    remainder.add(load(from[i]) * scale, i);
  }
  if (!k.high) remainder = over_block(remainder);
  const int64_t set = int64_t{k.groups} * k.height * tap_vectors(k.j, k.steps) * 8;
  uint16_t* to = k.packed + sample * sets_of(k.high) * set;
  for (int i = gpu::thread_index(); i < taps; i += kPackThreads) {
    const float value = load(from[i]) * scale;
    const int64_t at = tap_half(k, basis, i / k.width, i % k.width);
    const float operand = i == remainder.taker ? halved(value) + remainder.lost : value;
    to[at] = static_cast<uint16_t>(to_half(operand));
    if (k.high) to[set + at] = static_cast<uint16_t>(to_half(value - halved(value)));
  }
}

// ---- Mixing, for the gradient by the kernels: (samples, sets, groups, out_height, strips,
// mixing_vectors). The sum runs over pixels: thread t brings 8 of the 32 of half a strip, four to a
// product; rows are bases.

BLUROPS_HD constexpr int pixel_vector(int pair, int tile, int steps, int g) {
  const int half = pair / 16, t = pair % 16 / 4, step = pair % 4 / 2;
  return ((half * steps + tile) * 2 + step) * 32 + 4 * g + t;
}

// One pair of pixels.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
pack_pixels(const PackMixingArgs args, int64_t pairs) {
  const Sizes& s = args.sizes;
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index >= pairs) return;
  const PairOfPixels<T> two(args, index);
  const int64_t row = mixing_vectors(args.steps) * 4;  // words
  const int64_t set = int64_t{s.groups} * s.out_height * s.strips * row;
  auto* words = reinterpret_cast<uint32_t*>(args.packed) + two.sample * sets_of(args.high) * set +
                two.y * s.strips * row + two.strip * row;
  for (int b = 0; b < s.groups * kBases * args.steps; ++b) {
    const int group = b / (kBases * args.steps), column = b % (kBases * args.steps);
    const int vector = pixel_vector(two.pair, column / kBases, args.steps, column % 8);
    uint32_t* to = words + int64_t{group} * s.out_height * s.strips * row + vector * 4 +
                   two.pair % 2 * 2 + column % kBases / 8;
    const bool there = b < args.basis;
    *to = there ? gpu::pack_halves(two.operand(0, b), two.operand(1, b)) : 0;
    if (!args.high) continue;
    // At high precision the list goes on with the low halves.
    const int low = args.basis + b;
    to[set] = there ? gpu::pack_halves(two.operand(0, low), two.operand(1, low)) : 0;
  }
}

// ---- The range of S.

struct LargestArgs {
  const void* values;
  int64_t count;
  uint32_t* largest;  // bits of a magnitude, raised
};

constexpr int kValuesOfThread = 32;

template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
find_largest(const LargestArgs args, int64_t) {
  const int thread = gpu::thread_index();
  const int64_t first = gpu::block_index() * kPackThreads * kValuesOfThread + thread;
  uint32_t mine = 0;
  for (int i = 0; i < kValuesOfThread; ++i) {
    const int64_t at = first + int64_t{i} * kPackThreads;
    if (at >= args.count) break;
    const uint32_t size = magnitude(load(static_cast<const T*>(args.values)[at]));
    mine = size > mine ? size : mine;
  }
  for (int mask = 1; mask < 32; mask *= 2) {
    const uint32_t other = gpu::bits_of(gpu::shuffle_xor(gpu::float_of(mine), mask));
    mine = other > mine ? other : mine;
  }
  if (thread % 32 == 0) gpu::raise_to(args.largest, mine);
}

// Brings products of one value of each kind into [-3 2^14, 3 2^14] for up to three channels.
struct ProductScale {
  float grad, image;

  BLUROPS_DEVICE explicit ProductScale(const uint32_t* largest)
      : grad(scale_to(gpu::float_of(largest[0]), 6)),
        image(scale_to(gpu::float_of(largest[1]), 6)) {}
  BLUROPS_DEVICE float in(float value) const { return value * grad * image; }
  BLUROPS_DEVICE float out(float value) const { return value * (1.f / grad) * (1.f / image); }
};

// Two products as halves, or what that loses of them.
template <bool kLow>
BLUROPS_DEVICE uint32_t pack_products(float first, float second) {
  if (kLow) first -= halved(first), second -= halved(second);
  return gpu::pack_halves(first, second);
}

}  // namespace blurops::cuda
