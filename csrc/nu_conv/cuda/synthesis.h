// SPDX-License-Identifier: BSD-3-Clause
// NU-Conv on tensor cores, for tiles of pixels that pick few filters between them: the filters of a
// tile are listed, and take the place of the bases of basis_blur/cuda/blur.h, whose scheme this is.
// A tile that picks more is left to gather.h.
#pragma once

#include "basis_blur/cuda/blur.h"
#include "basis_blur/cuda/pack.h"
#include "nu_conv/cuda/fields.h"

namespace blurops::cuda {

constexpr int kListedGroup = 2 * kBases;         // filters in one sweep over the taps
constexpr int kMostListed = 3 * kListedGroup;    // of a tile; beyond, gathering is as fast
constexpr int64_t kMostFilters = 4096;           // of a bank
constexpr int kTileVectors = mixing_vectors(2);  // of a row of a tile's coefficients

struct SynthesisArgs {
  Sizes sizes;
  Fields fields;  // index and rounded weights
  Crowds crowds;
  const void* image;
  void* out;
  const uint16_t* bank;       // (bank channels, Kh, 8 kJ, F)
  const float* scales;        // of the filters
  const float* pixel_scales;  // (samples, out_height, out_width)
  int band;                   // kernel rows that are worked on between two fills of shared memory
  int words;                  // of the mask: 32 filters each
};

// What a block keeps of its tile in shared memory.
struct Listed {
  uint4* mixing;   // (rows, kTileVectors)
  int* list;       // (kMostListed): filters in use, -1 beyond the last
  uint32_t* mask;  // (words): which filters are in use
  int* before;     // (words): how many are before a word's

  BLUROPS_HD static int64_t bytes(int rows, int words) {
    return int64_t{16} * rows * kTileVectors + int64_t{4} * (kMostListed + 2 * words);
  }
  BLUROPS_DEVICE Listed(int rows, int words)
      : mixing(reinterpret_cast<uint4*>(gpu::shared_memory())),
        list(reinterpret_cast<int*>(mixing + rows * kTileVectors)),
        mask(reinterpret_cast<uint32_t*>(list + kMostListed)),
        before(reinterpret_cast<int*>(mask + words)) {}

  // What follows it, 16-byte aligned for an even number of words.
  BLUROPS_DEVICE void* rest(int words) const { return before + words; }
};

// Shared memory of a block.
template <int kJ>
struct Shelf : Listed {
  uint4* ring;  // (2, kernel_vectors)
  float* window;

  BLUROPS_HD static int64_t bytes(int channels, int band, int words) {
    return Listed::bytes(kBlurRows, words) + int64_t{16} * 2 * kernel_vectors(kJ, 2) +
           int64_t{4} * channels * (kBlurRows + band - 1) * blur_pitch(kJ);
  }
  BLUROPS_DEVICE explicit Shelf(int words) : Listed(kBlurRows, words) {
    ring = static_cast<uint4*>(rest(words));
    window = reinterpret_cast<float*>(ring + 2 * kernel_vectors(kJ, 2));
  }
};

// The two neighbouring pixels whose coefficients a thread writes.
struct OwnPair {
  int row, pair;
  int64_t n, pixel;
  bool there[2];

  BLUROPS_DEVICE OwnPair(const Sizes& s, const Part& part)
      : row(gpu::thread_index() / 32), pair(gpu::thread_index() % 32), n(part.sample) {
    const int y = part.tile * kBlurRows + row, x = part.strip * kStrip + 2 * pair;
    pixel = int64_t{y} * s.out_width + x;
    there[0] = y < s.out_height && x < s.out_width;
    there[1] = y < s.out_height && x + 1 < s.out_width;
  }
};

// Lists the filters that the tile picks; returns how many, which may be more than are listed.
BLUROPS_DEVICE int list_filters(const SynthesisArgs& args, const Part& part, const Listed& shelf) {
  const Fields& f = args.fields;
  const int thread = gpu::thread_index();
  for (int i = thread; i < args.words; i += kBlurThreads) gpu::write(shelf.mask + i, 0u);
  for (int i = thread; i < kMostListed; i += kBlurThreads) gpu::write(shelf.list + i, -1);
  gpu::barrier();
  const OwnPair own(args.sizes, part);
  for (int u = 0; u < 2; ++u) {
    for (int64_t j = 0; j < f.problem.picked && own.there[u]; ++j) {
      const int filter = f.filter(own.n, j, own.pixel + u);
      if (f.coefficient(own.n, j, own.pixel + u) == 0) continue;
      gpu::set_bits(shelf.mask + filter / 32, 1u << filter % 32);
    }
  }
  gpu::barrier();
  int count = 0;
  for (int word = 0; word < args.words; ++word) {
    const uint32_t bits = gpu::read(shelf.mask + word);
    if (word % kBlurThreads == thread) {
      gpu::write(shelf.before + word, count);
      int at = count;
      for (int i = 0; i < 32; ++i) {
        if ((bits >> i & 1u) == 0) continue;
        if (at < kMostListed) gpu::write(shelf.list + at, 32 * word + i);
        ++at;
      }
    }
    count += gpu::count_bits(bits);
  }
  gpu::barrier();
  return count;
}

// The coefficients of the tile for one group of listed filters, as blur.h wants them.
BLUROPS_DEVICE void write_mixing(const SynthesisArgs& args, const Part& part, const Listed& shelf,
                                 int group) {
  const Fields& f = args.fields;
  const OwnPair own(args.sizes, part);
  uint4* row = shelf.mixing + own.row * kTileVectors;
  for (int i = 0; i < 8; ++i) gpu::write(row + mixing_vector(own.pair, i / 4, 2, i % 4), uint4{});
  const int64_t sample = f.problem.weight_batched ? own.n : 0;
  for (int u = 0; u < 2; ++u) {
    if (!own.there[u]) continue;
    const float scale = args.pixel_scales[sample * f.pixels() + own.pixel + u];
    for (int64_t j = 0; j < f.problem.picked; ++j) {
      const float weight = f.coefficient(own.n, j, own.pixel + u);
      if (weight == 0) continue;
      const int filter = f.filter(own.n, j, own.pixel + u);
      const uint32_t below = (1u << filter % 32) - 1;
      const int place = gpu::read(shelf.before + filter / 32) +
                        gpu::count_bits(gpu::read(shelf.mask + filter / 32) & below) -
                        group * kListedGroup;
      if (place < 0 || place >= kListedGroup) continue;
      // As pack_mixing: four entries of two pixels in a vector.
      const int t = place / 8, step = place % 8 / 4, entry = place % 4;
      uint32_t* word = reinterpret_cast<uint32_t*>(row + mixing_vector(own.pair, step, 2, t)) +
                       entry / 2 * 2 + u;
      const uint32_t half = to_half(weight * args.scales[filter] * scale);
      gpu::write(word, gpu::read(word) | half << 16 * (entry % 2));
    }
  }
}

// One vector of a row of the listed filters' taps.
template <int kJ>
BLUROPS_DEVICE uint4 fetch_taps(const SynthesisArgs& args, const int* list, int vector, int channel,
                                int dy, int group) {
  const int lane = vector % 32, row = channel * args.sizes.kernel_height + dy;
  const uint16_t* taps = args.bank + int64_t{row * 8 * kJ + vector / 32 * 8 + lane / 4} *
                                         static_cast<int>(args.fields.problem.filters);
  const uint4* listed = reinterpret_cast<const uint4*>(list + group * kListedGroup);
  uint32_t words[4];
  BLUROPS_UNROLL
  for (int i = 0; i < 2; ++i) {
    const uint4 four = gpu::read(listed + lane % 4 * 2 + i);
    const auto tap = [&](uint32_t filter) {
      return static_cast<int>(filter) < 0 ? 0u : uint32_t{taps[filter]};
    };
    words[2 * i] = tap(four.x) | tap(four.y) << 16;
    words[2 * i + 1] = tap(four.z) | tap(four.w) << 16;
  }
  return {words[0], words[1], words[2], words[3]};
}

// A thread's vector of a row for the ring; nothing for threads beyond the last.
template <int kJ>
BLUROPS_DEVICE uint4 fetch_row(const SynthesisArgs& args, int channel, int dy, int group) {
  const int thread = gpu::thread_index();
  if (thread >= kernel_vectors(kJ, 2)) return {};
  return fetch_taps<kJ>(args, Shelf<kJ>(args.words).list, thread, channel, dy, group);
}

// The kernel rows of a band, of one group of listed filters, in one channel of the bank. Where the
// block and its memory are is worked out here and not by the caller, as in blur.h.
template <int kJ, int kC>
BLUROPS_DEVICE void synthesise_group(float (&sums)[kC][kRun], const SynthesisArgs& args, int band,
                                     int steps, int group, int channel) {
  constexpr int kPitch = blur_pitch(kJ), kVectors = kernel_vectors(kJ, 2);
  static_assert(kVectors <= kBlurThreads, "a thread fetches one vector of a row at most");
  const int thread = gpu::thread_index();
  const Shelf<kJ> shelf(args.words);
  write_mixing(args, part_of<kC>(args.sizes, args.crowds.tiles), shelf, group);
  const auto put = [&](int step, const uint4& taps) {
    const int i = gpu::thread_index();
    if (i < kVectors) gpu::write(Shelf<kJ>(args.words).ring + step % 2 * kVectors + i, taps);
  };
  put(0, fetch_row<kJ>(args, channel, band, group));
  gpu::barrier();
  const Place place(thread);
  uint4 mixing[kPairs][2];
  const RunOfMixing<2> of(place.run, place.t);
  BLUROPS_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    BLUROPS_UNROLL
    for (int step = 0; step < 2; ++step) {
      mixing[i][step] = gpu::read(shelf.mixing + place.row * kTileVectors + of.vector(i, step));
    }
  }
  const float* values =
      shelf.window + place.row * kPitch + place.run * kRun + place.t * Taps<kJ>::kStride;
  const int plane = (kBlurRows + args.band - 1) * kPitch;
  BLUROPS_ROLLED
  for (int step = 0; step < steps; ++step) {
    // One row more than there are steps is fetched, and not used.
    const int next_row = step + 1 < steps ? band + step + 1 : 0;
    const uint4 next = fetch_row<kJ>(args, channel, next_row, group);
    blur_row<kJ, 2, kC>(sums, mixing, Shelf<kJ>(args.words).ring + step % 2 * kVectors, values,
                        plane, place.lane);
    values += kPitch;
    // Into the place of the row before this one, which every warp has left behind.
    put(step + 1, next);
    gpu::barrier();
  }
}

// Adds the four threads' runs of taps, takes the pixels' scales out, and stores.
template <int kC>
BLUROPS_DEVICE void store_sums(float (&sums)[kC][kRun], const SynthesisArgs& args) {
  const Fields& f = args.fields;
  const Part part = part_of<kC>(args.sizes, args.crowds.tiles);
  const NuConv& p = f.problem;
  const Place place(gpu::thread_index());
  const int y = part.tile * kBlurRows + place.row, x = part.strip * kStrip + place.run * kRun;
  const int64_t pixel = int64_t{y} * p.out_width + x;
  const float* scales =
      args.pixel_scales + (p.weight_batched ? part.sample : 0) * f.pixels() + pixel;
  BLUROPS_UNROLL
  for (int c = 0; c < kC; ++c) {
    const int64_t channel = part.sample * p.out_channels() + part.first_channel + c;
    BLUROPS_UNROLL
    for (int i = 0; i < kRun; ++i) {
      float sum = sums[c][i];
      sum += gpu::shuffle_xor(sum, 1);
      sum += gpu::shuffle_xor(sum, 2);
      const bool mine = i / 2 == place.t && y < p.out_height && x + i < p.out_width;
      if (!mine || c >= part.channels) continue;
      gpu::store_as(p.dtype, sum / scales[i], args.out, channel * f.pixels() + pixel + i);
    }
  }
}

// Lists the tile's filters, and leaves it to gather.h if there are too many: then -1, else groups.
template <int kC>
BLUROPS_DEVICE int begin_tile(const SynthesisArgs& args, const Listed& shelf) {
  const Part part = part_of<kC>(args.sizes, args.crowds.tiles);
  const int count = list_filters(args, part, shelf);
  const bool crowded = count > kMostListed;
  if (gpu::thread_index() == 0) {
    const int64_t tile = int64_t{part.sample} * args.crowds.tiles + part.tile;
    args.crowds.crowded[tile * args.crowds.strips + part.strip] = crowded ? 1 : 0;
  }
  return crowded ? -1 : ceil_div(count, kListedGroup);
}

// One tile of the filtered image, up to kC channels of it.
template <int kJ, int kC>
BLUROPS_KERNEL(kBlurThreads, 2)
synthesise_tile(const SynthesisArgs args) {
  const int groups = begin_tile<kC>(args, Shelf<kJ>(args.words));
  if (groups < 0) return;
  float sums[kC][kRun] = {};
  // With filters for each channel, one pass for each, all into one sum.
  const int passes = groups == 0 ? 0 : args.fields.problem.own ? args.sizes.channels : 1;
  BLUROPS_ROLLED
  for (int pass = 0; pass < passes; ++pass) {
    BLUROPS_ROLLED
    for (int band = 0; band < args.sizes.kernel_height; band += args.band) {
      const int left = args.sizes.kernel_height - band;
      const int steps = left < args.band ? left : args.band;
      Part source = part_of<kC>(args.sizes, args.crowds.tiles);
      source.first_channel += pass;
      fill_window<blur_pitch(kJ), kC>(Shelf<kJ>(args.words).window,
                                      (kBlurRows + args.band - 1) * blur_pitch(kJ), args.image,
                                      args.sizes, source, band, kBlurRows + steps - 1);
      BLUROPS_ROLLED
      for (int group = 0; group < groups; ++group) {
        synthesise_group<kJ, kC>(sums, args, band, steps, group, pass);
      }
    }
  }
  store_sums(sums, args);
}

}  // namespace blurops::cuda
