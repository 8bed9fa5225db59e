// SPDX-License-Identifier: BSD-3-Clause
// How the tile method cuts a problem on the GPU, and what its kernels read and write.
//
// A tile of the blurred image has `rows` x `columns` pixels and is made from windows of kT x kT
// pixels of the sharp image (overlap-save). Kernels larger than a window's margin are cut into
// parts with a window each, whose products are summed as spectra. Bases a, b come in pairs: image
// and kernels are real, so one transform with k_a - i k_b serves two.
#pragma once

#include "basis_blur/cuda/tile_fft.h"
#include "common/convert.h"

namespace blurops::cuda {

struct TileSizes {
  int count, channels, basis, pairs;
  int height, width, out_height, out_width;
  int kernel_height, kernel_width, anchor_y, anchor_x;
  Boundary boundary;
  DType dtype;
  bool own_kernels, own_mixing;  // of each sample
  int rows, columns;             // of the blurred image in a tile
  int tiles_down, tiles_across;
  int part_height, part_width, parts_down, parts_across;

  BLUROPS_HD int extended_height() const { return out_height + kernel_height - 1; }
  BLUROPS_HD int extended_width() const { return out_width + kernel_width - 1; }
  BLUROPS_HD int parts() const { return parts_down * parts_across; }
  BLUROPS_HD int64_t tiles() const { return int64_t{tiles_down} * tiles_across; }
  BLUROPS_HD int64_t works() const { return count * tiles() * channels; }
  BLUROPS_HD int64_t filters() const { return int64_t{pairs} * parts(); }  // of a sample
};

// A tile of one channel; channels run fastest, so that neighbours read the same mixing.
struct Spot {
  int sample, channel, top, left;

  BLUROPS_DEVICE Spot(const TileSizes& s, int64_t work)
      : channel(static_cast<int>(work % s.channels)) {
    const int64_t tile = work / s.channels;
    place(s, tile % s.tiles());
    sample = static_cast<int>(tile / s.tiles());
  }
  BLUROPS_DEVICE Spot(const TileSizes& s, int64_t tile, int of_sample, int of_channel)
      : sample(of_sample), channel(of_channel) {
    place(s, tile);
  }

  // Whether the tile has this pixel, and the blurred image too.
  BLUROPS_DEVICE bool has(const TileSizes& s, int y, int x) const {
    return y < s.rows && x < s.columns && top + y < s.out_height && left + x < s.out_width;
  }
  // Where it lies in an image of the blurred size.
  BLUROPS_DEVICE int64_t pixel(const TileSizes& s, int y, int x) const {
    return int64_t{top + y} * s.out_width + left + x;
  }
  BLUROPS_DEVICE int64_t plane(const TileSizes& s) const {
    return (int64_t{sample} * s.channels + channel) * s.out_height * s.out_width;
  }

 private:
  BLUROPS_DEVICE void place(const TileSizes& s, int64_t tile) {
    top = static_cast<int>(tile / s.tiles_across) * s.rows;
    left = static_cast<int>(tile % s.tiles_across) * s.columns;
  }
};

BLUROPS_DEVICE float load_at(const void* memory, DType dtype, int64_t index) {
  if (dtype == DType::kFloat32) return load(static_cast<const float*>(memory)[index]);
  if (dtype == DType::kFloat16) return load(static_cast<const Half*>(memory)[index]);
  return load(static_cast<const BFloat16*>(memory)[index]);
}
BLUROPS_DEVICE void store_at(float value, void* memory, DType dtype, int64_t index) {
  if (dtype == DType::kFloat32) return store(value, static_cast<float*>(memory) + index);
  if (dtype == DType::kFloat16) return store(value, static_cast<Half*>(memory) + index);
  store(value, static_cast<BFloat16*>(memory) + index);
}

// The coefficients of a pair of bases; the last pair's second may not exist.
struct PairOfMaps {
  const void* mixing;
  DType dtype;
  int64_t first, second;  // where their planes start

  BLUROPS_DEVICE PairOfMaps(const TileSizes& s, const void* maps, int sample, int pair)
      : mixing(maps), dtype(s.dtype) {
    const int64_t plane = int64_t{s.out_height} * s.out_width;
    first = (int64_t{s.own_mixing ? sample : 0} * s.basis + 2 * pair) * plane;
    second = 2 * pair + 1 < s.basis ? first + plane : -1;
  }
  BLUROPS_DEVICE float2 at(int64_t pixel) const {
    return {load_at(mixing, dtype, first + pixel),
            second < 0 ? 0.f : load_at(mixing, dtype, second + pixel)};
  }
};

// The pixels of the sharp image that one part's window of a tile covers.
template <int kT>
BLUROPS_DEVICE void fill_window(const Passes<kT>& passes, const TileSizes& s, const void* image,
                                const Spot& spot, int part) {
  using Of = Tile<kT>;
  gpu::barrier();
  const int top = spot.top + part / s.parts_across * s.part_height;
  const int x = passes.thread % kT;
  const int u = spot.left + part % s.parts_across * s.part_width + x;
  const int column = u < s.extended_width() ? map_index(u - s.anchor_x, s.width, s.boundary) : -1;
  const int64_t plane = (int64_t{spot.sample} * s.channels + spot.channel) * s.height;
  BLUROPS_ROLLED
  for (int y = passes.thread / kT; y < kT; y += Of::kWays) {
    const int v = top + y;
    const int row = v < s.extended_height() ? map_index(v - s.anchor_y, s.height, s.boundary) : -1;
    const bool there = row >= 0 && column >= 0;
    const float value = there ? load_at(image, s.dtype, (plane + row) * s.width + column) : 0.f;
    gpu::write(passes.tile + x * Of::kPitch + y, float2{value, 0.f});
  }
  gpu::barrier();
}

// A tile of an image of the blurred size times a pair's coefficients, with zeros below it.
template <int kT>
BLUROPS_DEVICE void fill_products(const Passes<kT>& passes, const TileSizes& s, const void* image,
                                  const PairOfMaps& maps, const Spot& spot) {
  using Of = Tile<kT>;
  gpu::barrier();
  const int x = passes.thread % kT;
  BLUROPS_ROLLED
  for (int y = passes.thread / kT; y < kT && x < s.columns; y += Of::kWays) {
    float2 value{0.f, 0.f};
    if (spot.has(s, y, x)) {
      const int64_t pixel = spot.pixel(s, y, x);
      value = scaled(maps.at(pixel), load_at(image, s.dtype, spot.plane(s) + pixel));
    }
    gpu::write(passes.tile + x * Of::kPitch + y, value);
  }
  gpu::barrier();
}

// The spectra of all parts' windows. What a thread writes here, it alone reads again.
template <int kT>
BLUROPS_DEVICE void transform_windows(const Passes<kT>& passes, const TileSizes& s,
                                      const void* image, const Spot& spot, float2* windows) {
  BLUROPS_ROLLED
  for (int part = 0; part < s.parts(); ++part) {
    fill_window(passes, s, image, spot, part);
    passes.forward_lines(kT);
    float2* to = windows + int64_t{part} * Tile<kT>::kPoints;
    passes.forward_across(kT, [&](int u, const float2(&r)[8]) {
      BLUROPS_UNROLL
      for (int k = 0; k < 8; ++k) to[passes.at(u, k)] = r[k];
    });
  }
}

// Vector u of the spectrum of the responses to a pair of kernels, summed over the parts.
template <int kT>
BLUROPS_DEVICE void multiply_parts(const Passes<kT>& passes, const TileSizes& s,
                                   const float2* windows, const float2* filters, int u,
                                   float2 (&r)[8]) {
  BLUROPS_UNROLL
  for (int k = 0; k < 8; ++k) r[k] = {0.f, 0.f};
  BLUROPS_ROLLED
  for (int part = 0; part < s.parts(); ++part) {
    const int64_t from = int64_t{part} * Tile<kT>::kPoints;
    BLUROPS_UNROLL
    for (int k = 0; k < 8; ++k) {
      const int at = passes.at(u, k);
      r[k] = add_product(windows[from + at], filters[from + at], r[k]);
    }
  }
}

struct FilterArgs {
  TileSizes sizes;
  const float2* roots;
  const void* kernels;  // (1 or count, basis, kernel_height, kernel_width)
  float2* filters;      // (1 or count, pairs, parts, kPoints)
};

// One pair's spectrum for one part: conj(FFT(k_a - i k_b)), scaled for the inverse.
template <int kT>
BLUROPS_KERNEL(Tile<kT>::kThreads, 1)
transform_kernels(const FilterArgs args) {
  using Of = Tile<kT>;
  const TileSizes& s = args.sizes;
  const Passes<kT> passes(args.roots, gpu::thread_index());
  const int part = static_cast<int>(gpu::block_index() % s.parts());
  const int pair = static_cast<int>(gpu::block_index() / s.parts() % s.pairs);
  const int64_t sample = gpu::block_index() / s.filters();
  const int top = part / s.parts_across * s.part_height;
  const int left = part % s.parts_across * s.part_width;
  const int64_t taps = int64_t{s.kernel_height} * s.kernel_width;
  const int64_t first = (sample * s.basis + 2 * pair) * taps;
  const int x = passes.thread % kT;
  BLUROPS_ROLLED
  for (int y = passes.thread / kT; y < kT && x < s.part_width; y += Of::kWays) {
    const bool there = y < s.part_height && top + y < s.kernel_height && left + x < s.kernel_width;
    const int64_t tap = first + int64_t{top + y} * s.kernel_width + left + x;
    const bool second = there && 2 * pair + 1 < s.basis;
    gpu::write(passes.tile + x * Of::kPitch + y,
               float2{there ? load_at(args.kernels, s.dtype, tap) : 0.f,
                      second ? -load_at(args.kernels, s.dtype, tap + taps) : 0.f});
  }
  gpu::barrier();
  passes.forward_lines(s.part_width);
  float2* to = args.filters + gpu::block_index() * Of::kPoints;
  passes.forward_across(s.part_width, [&](int u, const float2(&r)[8]) {
    BLUROPS_UNROLL
    for (int k = 0; k < 8; ++k) to[passes.at(u, k)] = scaled(conjugate(r[k]), 1.f / Of::kPoints);
  });
}

// exp(2 pi i k / kT)
template <int kT>
BLUROPS_KERNEL(kT, 1)
write_roots(float2* roots) {
  roots[gpu::thread_index()] = gpu::root_of_unity(gpu::thread_index(), kT);
}

}  // namespace blurops::cuda
