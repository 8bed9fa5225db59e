// SPDX-License-Identifier: BSD-3-Clause
// Kernels and mixing coefficients become half operands in the order of layout.h. They carry 11
// bits; powers of two keep them in range, and each pixel's coefficients keep their sum, as each
// kernel does: what rounding took is given to the member of smallest magnitude, whose steps are the
// finest. Errors then weigh the differences between kernels, and no longer their mean.
//
// At high precision every number is split in two halves, high + low, and the product of the sums
// is made of the three parts that matter by listing the bases three times:
// (high, low, high) of the mixing with (high, high, low) of the kernels.
#pragma once

#include "basis_blur/cuda/layout.h"
#include "common/convert.h"

namespace blurops::cuda {

// 2^shift that brings `largest` into [2^target, 2^(target + 1)); 1 for zero and what is not finite.
BLUROPS_DEVICE float scale_to(float largest, int target) {
  const int exponent = static_cast<int>(gpu::bits_of(largest) >> 23 & 255u);
  if (exponent == 0 || exponent == 255) return 1.f;
  const int shift = target + 127 - exponent;
  // The reciprocal must be a normal number too.
  return gpu::float_of(static_cast<uint32_t>((shift < 126 ? shift : 126) + 127) << 23);
}

// The magnitude's bits, which order as the magnitudes do.
BLUROPS_DEVICE uint32_t magnitude(float value) { return gpu::bits_of(value) & 0x7fffffffu; }

BLUROPS_DEVICE uint32_t to_half(float value) { return gpu::pack_halves(value, 0.f) & 0xffffu; }
BLUROPS_DEVICE float halved(float value) { return gpu::half_value(to_half(value)); }

// What rounding a set of numbers took, and which of them is to have it.
struct Remainder {
  float lost = 0;
  uint32_t smallest = 0xffffffffu;  // magnitude of the smallest that is not zero
  int taker = -1;

  BLUROPS_DEVICE void add(float value, int index) {
    lost += value - halved(value);
    const uint32_t size = magnitude(value);
    if (size > 0 && size < smallest) smallest = size, taker = index;
  }
};

struct PackMixingArgs {
  Sizes sizes;
  const void* mixing;  // (samples, basis, out_height, out_width)
  uint4* packed;
  float* pixel_scale;
  int basis, steps;
  bool high;
};

// How one pixel's coefficients are rounded.
struct PixelCoefficients {
  float scale;
  Remainder remainder;
};

template <typename T>
BLUROPS_DEVICE PixelCoefficients survey_pixel(const T* mixing, int64_t plane, int basis,
                                              bool high) {
  uint32_t largest = 0;
  for (int b = 0; b < basis; ++b) {
    const uint32_t size = magnitude(load(mixing[b * plane]));
    largest = size > largest ? size : largest;
  }
  PixelCoefficients pixel{scale_to(gpu::float_of(largest), 0), {}};
  for (int b = 0; b < basis && !high; ++b) {
    pixel.remainder.add(load(mixing[b * plane]) * pixel.scale, b);
  }
  return pixel;
}

// What stands for `entry` of the listed bases, before it is rounded.
template <typename T>
BLUROPS_DEVICE float pixel_operand(const T* mixing, int64_t plane, int basis,
                                   const PixelCoefficients& pixel, int entry, bool high) {
  if (entry >= listed_bases(basis, high)) return 0.f;
  const float value = load(mixing[entry % basis * plane]) * pixel.scale;
  if (high) return entry / basis == 1 ? value - halved(value) : value;
  return entry == pixel.remainder.taker ? halved(value) + pixel.remainder.lost : value;
}

// Two neighbours in a row of a strip: where they lie, and their operands.
template <typename T>
struct PairOfPixels {
  const PackMixingArgs& args;
  int pair, strip;
  int64_t sample, y, plane;
  PixelCoefficients pixels[2];
  const T* from[2];
  bool there[2];

  BLUROPS_DEVICE PairOfPixels(const PackMixingArgs& of, int64_t index) : args(of) {
    const Sizes& s = args.sizes;
    pair = static_cast<int>(index % (kStrip / 2));
    strip = static_cast<int>(index / (kStrip / 2) % s.strips);
    const int64_t line = index / (kStrip / 2) / s.strips;  // of all samples
    sample = line / s.out_height;
    y = line % s.out_height;
    plane = int64_t{s.out_height} * s.out_width;
    const T* mixing = static_cast<const T*>(args.mixing) + sample * args.basis * plane;
    BLUROPS_UNROLL
    for (int u = 0; u < 2; ++u) {
      const int x = strip * kStrip + 2 * pair + u;
      there[u] = x < s.out_width;
      from[u] = mixing + y * s.out_width + (there[u] ? x : 0);
      pixels[u] = survey_pixel(from[u], plane, args.basis, args.high);
      args.pixel_scale[line * s.strips * kStrip + x] = 1.f / pixels[u].scale;
    }
  }

  BLUROPS_DEVICE float operand(int u, int entry) const {
    if (!there[u]) return 0.f;
    return pixel_operand(from[u], plane, args.basis, pixels[u], entry, args.high);
  }
};

// One pair of pixels.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
pack_mixing(const PackMixingArgs args, int64_t pairs) {
  const Sizes& s = args.sizes;
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index >= pairs) return;
  const PairOfPixels<T> two(args, index);
  const auto words = [&](int u, int entry) {
    return gpu::pack_halves(two.operand(u, entry), two.operand(u, entry + 1));
  };
  for (int group = 0; group < s.groups; ++group) {
    const int64_t row = (two.sample * s.groups + group) * s.out_height + two.y;
    uint4* to = args.packed + (row * s.strips + two.strip) * mixing_vectors(args.steps);
    for (int step = 0; step < args.steps; ++step) {
      for (int t = 0; t < 4; ++t) {
        const int entry = group * kBases * args.steps + first_base(step, args.steps, t);
        to[mixing_vector(two.pair, step, args.steps, t)] = {
            words(0, entry), words(1, entry), words(0, entry + 2), words(1, entry + 2)};
      }
    }
  }
}

struct PackKernelsArgs {
  const void* kernels;  // (samples, basis, height, width)
  uint16_t* packed;     // zeros; (samples, groups, height, j, 32 lanes, 4 steps)
  float* scale;
  int basis, height, width, groups, steps, j;
  bool high;
};

// The smallest and the sum over the block, in an order of their own; every thread gets them.
BLUROPS_DEVICE Remainder over_block(const Remainder& mine) {
  auto* lost = reinterpret_cast<float*>(gpu::shared_memory());
  auto* smallest = reinterpret_cast<uint32_t*>(lost + kPackThreads);
  auto* taker = reinterpret_cast<int*>(smallest + kPackThreads);
  const int thread = gpu::thread_index();
  gpu::write(lost + thread, mine.lost);
  gpu::write(smallest + thread, mine.smallest);
  gpu::write(taker + thread, mine.taker);
  gpu::barrier();
  Remainder all;
  for (int i = 0; i < kPackThreads; ++i) {
    all.lost += gpu::read(lost + i);
    const uint32_t size = gpu::read(smallest + i);
    const int index = gpu::read(taker + i);
    if (size < all.smallest || (size == all.smallest && index < all.taker)) {
      all.smallest = size, all.taker = index;
    }
  }
  return all;
}

// One sample's scale, from the largest of all its taps.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
scale_kernels(const PackKernelsArgs args) {
  auto* largest = reinterpret_cast<uint32_t*>(gpu::shared_memory());
  const int64_t sample = gpu::block_index();
  const int64_t taps = int64_t{args.basis} * args.height * args.width;
  const T* from = static_cast<const T*>(args.kernels) + sample * taps;
  uint32_t mine = 0;
  for (int64_t i = gpu::thread_index(); i < taps; i += kPackThreads) {
    const uint32_t size = magnitude(load(from[i]));
    mine = size > mine ? size : mine;
  }
  gpu::write(largest + gpu::thread_index(), mine);
  gpu::barrier();
  if (gpu::thread_index() > 0) return;
  for (int i = 1; i < kPackThreads; ++i) {
    const uint32_t other = gpu::read(largest + i);
    mine = other > mine ? other : mine;
  }
  // Halves below 2^-14 lose bits: the largest tap stands well above, and well below 2^16.
  args.scale[sample] = 1.f / scale_to(gpu::float_of(mine), 13);
}

// Where a tap of a basis lies among the halves of its sample.
BLUROPS_DEVICE int64_t kernel_half(const PackKernelsArgs& args, int entry, int dy, int dx) {
  const int stride = 2 * args.j - 1;
  const int owner = dx / stride < 3 ? dx / stride : 3, slot = dx - owner * stride;
  const int column = 2 * owner + slot % 2;  // of product slot / 2
  const int width = 4 * args.steps;         // bases of a thread
  const int t = entry % (4 * width) / width, group = entry / (4 * width);
  const int64_t row = int64_t{group} * args.height + dy;
  return ((row * args.j + slot / 2) * 32 + 4 * column + t) * width + entry % width;
}

// One kernel of one sample.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
pack_kernels(const PackKernelsArgs args) {
  const int64_t sample = gpu::block_index() / args.basis;
  const int basis = static_cast<int>(gpu::block_index() % args.basis);
  const int taps = args.height * args.width;
  const T* from = static_cast<const T*>(args.kernels) + gpu::block_index() * taps;
  const float scale = 1.f / args.scale[sample];
  Remainder remainder;
  for (int i = gpu::thread_index(); i < taps && !args.high; i += kPackThreads) {
    remainder.add(load(from[i]) * scale, i);
  }
  if (!args.high) remainder = over_block(remainder);

  uint16_t* to =
      args.packed + sample * args.groups * args.height * kernel_vectors(args.j, args.steps) * 8;
  for (int i = gpu::thread_index(); i < taps; i += kPackThreads) {
    const float value = load(from[i]) * scale;
    const auto put = [&](int entry, float operand) {
      to[kernel_half(args, entry, i / args.width, i % args.width)] =
          static_cast<uint16_t>(to_half(operand));
    };
    if (args.high) {
      put(basis, value);
      put(args.basis + basis, value);
      put(2 * args.basis + basis, value - halved(value));
    } else {
      put(basis, i == remainder.taker ? halved(value) + remainder.lost : value);
    }
  }
}

}  // namespace blurops::cuda
