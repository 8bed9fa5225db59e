// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the kernels on the GPU: grad_kernels_b[d] = sum_p m_b[p] S[p, d]. The sum runs
// over pixels: the warps of a block walk down a strip of the blurred image, each for its own kernel
// row, and leave the sums of their chunk of rows; sum_chunks adds the chunks in a fixed order.
#pragma once

#include "basis_blur/cuda/adjoint.h"
#include "basis_blur/cuda/pack_gradients.h"

namespace blurops::cuda {

constexpr int kTapRows = 8;  // kernel rows of a block, one for each warp
constexpr int kTapThreads = 32 * kTapRows;
constexpr int kImageRing = 16;  // rows of the image in shared memory
static_assert(kImageRing >= kTapRows + kStages, "rows in use, on their way, and one warp behind");

// Columns of the image that a strip and its taps meet, whole vectors of them.
BLUROPS_HD constexpr int reach_pitch(int j) { return kStrip + 8 * j; }

constexpr int64_t grad_kernels_shared_bytes(int j, int steps, int channels) {
  return int64_t{16} * kStages * mixing_vectors(steps) +
         int64_t{4} * channels * (kStages * kStrip + kImageRing * reach_pitch(j));
}

struct GradKernelsArgs {
  Sizes sizes;
  const float* lines;     // of prepare_lines: the gradient of the blurred image
  const float* reaches;   // (count, channels, extended_height, strips, reach_pitch), the image
  const uint4* mixing;    // of pack_pixels
  int64_t mixing_stride;  // of a sample, 0 when shared
  float* partial;         // (count, strips, chunks, groups, extended kernel rows, 16 steps, 8 j)
  int chunks, chunk_rows, row_groups;
  bool high;
};

struct ReachArgs {
  Sizes sizes;
  const void* image;
  float* reaches;
  int pitch;
};

// The image around each strip, borders included: what rows of the ring are copied from.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
prepare_reaches(const ReachArgs args, int64_t values) {
  const Sizes& s = args.sizes;
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index >= values) return;
  const int column = static_cast<int>(index % args.pitch);
  const int64_t piece = index / args.pitch, row = piece / s.strips;
  const int u = static_cast<int>(piece % s.strips) * kStrip + column;
  const int v = static_cast<int>(row % s.extended_height());
  const int64_t channel = row / s.extended_height();
  const int x = u < s.extended_width() ? map_index(u - s.anchor_x, s.width, s.boundary) : -1;
  const int y = map_index(v - s.anchor_y, s.height, s.boundary);
  const T* image = static_cast<const T*>(args.image);
  const bool there = x >= 0 && y >= 0;
  args.reaches[index] = there ? load(image[(channel * s.height + y) * s.width + x]) : 0.f;
}

// The gradient's values brought into range, once and not for every tap.
BLUROPS_KERNEL(kPackThreads, 1)
scale_lines(float* lines, const uint32_t* largest, int64_t values) {
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index < values) lines[index] = ProductScale(largest).in(lines[index]);
}

template <int kJ, int kSteps>
using TapSums = float[kSteps][kJ][4];

// What a block works on: kernel rows from 8 row_group on, a chunk of rows of a strip, a sample.
struct Chunk {
  int row_group, chunk, strip, group, sample;

  BLUROPS_DEVICE explicit Chunk(const GradKernelsArgs& args) {
    int64_t rest = gpu::block_index();
    const auto next = [&](int count) {
      const int index = static_cast<int>(rest % count);
      rest /= count;
      return index;
    };
    row_group = next(args.row_groups);
    group = next(args.sizes.groups);
    chunk = next(args.chunks);
    strip = next(args.sizes.strips);
    sample = static_cast<int>(rest);
  }
};

// The rings: mixing and gradient rows, which all warps use at once, and rows of the image, of which
// each warp uses the one that its kernel row meets.
template <int kJ, int kSteps, int kC>
struct TapRings {
  static constexpr int kMixing = mixing_vectors(kSteps), kPitch = reach_pitch(kJ);
  static constexpr int kReachVectors = kC * kPitch / 4, kLineVectors = kC * kStrip / 4;

  uint4* mixing;
  float *lines, *reaches;

  BLUROPS_DEVICE TapRings() {
    mixing = reinterpret_cast<uint4*>(gpu::shared_memory());
    lines = reinterpret_cast<float*>(mixing + kStages * kMixing);
    reaches = lines + kStages * kC * kStrip;
  }
  BLUROPS_DEVICE static unsigned stage(int row) { return static_cast<unsigned>(row) % kStages; }
  BLUROPS_DEVICE static unsigned place(int row) { return static_cast<unsigned>(row) % kImageRing; }

  // Row v of the extended image; nothing beyond its end.
  BLUROPS_DEVICE void fetch_reach(const GradKernelsArgs& args, const Chunk& at, int first, int v,
                                  bool wanted, int thread) const {
    const Sizes& s = args.sizes;
    BLUROPS_UNROLL
    for (int start = 0; start < kReachVectors; start += kTapThreads) {
      const int i = start + kTapThreads - 1 - thread, c = i / (kPitch / 4),
                x = i % (kPitch / 4) * 4;
      const bool there = c < kC && first + c < s.channels && v < s.extended_height();
      const int64_t channel = int64_t{at.sample} * s.channels + first + (there ? c : 0);
      const int64_t row = channel * s.extended_height() + (there ? v : 0);
      gpu::copy_async(wanted && c < kC, reaches + (place(v) * kC + c) * kPitch + x,
                      args.reaches + (row * s.strips + at.strip) * kPitch + x, there);
    }
  }

  // Row y of the blurred image's gradient and of the mixing.
  BLUROPS_DEVICE void fetch_row(const GradKernelsArgs& args, const Chunk& at, int first, int y,
                                int set, bool wanted, int thread) const {
    const Sizes& s = args.sizes;
    const int line = wanted ? y : 0;
    const int64_t row = (int64_t{set} * s.groups + at.group) * s.out_height + line;
    const uint4* from =
        args.mixing + at.sample * args.mixing_stride + (row * s.strips + at.strip) * kMixing;
    gpu::copy_async(wanted && thread < kMixing, mixing + stage(y) * kMixing + thread, from + thread,
                    true);
    const int i = kTapThreads - 1 - thread, c = i / (kStrip / 4), x = i % (kStrip / 4) * 4;
    const bool there = c < kC && first + c < s.channels;
    const int64_t channel = int64_t{at.sample} * s.channels + first + (there ? c : 0);
    gpu::copy_async(
        wanted && c < kC, lines + (stage(y) * kC + c) * kStrip + x,
        args.lines + ((channel * s.out_height + line) * s.strips + at.strip) * kStrip + x, there);
  }
};

// Half a strip of one row: S of the thread's 8 pixels and kJ taps, times the mixing. Products are
// chained over the 32 pixels alone: tensor cores truncate.
template <int kJ, int kSteps, int kC, bool kLow>
BLUROPS_DEVICE void grad_kernels_half(TapSums<kJ, kSteps>& sums, const uint4* mixing,
                                      const float* line, const float* reach, int lane) {
  constexpr int kPitch = reach_pitch(kJ);
  const int t = lane % 4, g = lane / 4;
  float products[kJ][kRun] = {};
  BLUROPS_UNROLL
  for (int c = 0; c < kC; ++c) {
    float held[kRun + kJ - 1];
    BLUROPS_UNROLL
    for (int i = 0; i < kRun + kJ - 1; ++i) {
      held[i] = gpu::read(reach + c * kPitch + t * kRun + g * kJ + i);
    }
    BLUROPS_UNROLL
    for (int i = 0; i < kRun; ++i) {
      const float grad = gpu::read(line + c * kStrip + t * kRun + i);
      BLUROPS_UNROLL
      for (int j = 0; j < kJ; ++j) {
        products[j][i] = gpu::multiply_add(grad, held[i + j], products[j][i]);
      }
    }
  }
  BLUROPS_UNROLL
  for (int tile = 0; tile < kSteps; ++tile) {
    const uint4 first = gpu::read(mixing + 2 * tile * 32 + lane);
    const uint4 second = gpu::read(mixing + (2 * tile + 1) * 32 + lane);
    BLUROPS_UNROLL
    for (int j = 0; j < kJ; ++j) {
      const float* s = products[j];
      float sum[4];
      gpu::mma_first(sum, first, pack_products<kLow>(s[0], s[1]), pack_products<kLow>(s[2], s[3]));
      gpu::mma_next(sum, second, pack_products<kLow>(s[4], s[5]), pack_products<kLow>(s[6], s[7]));
      BLUROPS_UNROLL
      for (int i = 0; i < 4; ++i) sums[tile][j][i] += sum[i];
    }
  }
}

// All rows of a chunk, for channels from `first` on and one set of the mixing.
template <int kJ, int kSteps, int kC, bool kLow>
BLUROPS_DEVICE void grad_kernels_chunk(TapSums<kJ, kSteps>& sums, const GradKernelsArgs& args,
                                       int first, int set) {
  const TapRings<kJ, kSteps, kC> rings;
  const Chunk at(args);
  const int thread = gpu::thread_index(), lane = thread % 32, warp = thread / 32;
  const int top = at.chunk * args.chunk_rows, height = args.sizes.out_height;
  const int end = top + args.chunk_rows < height ? top + args.chunk_rows : height;
  const int row = at.row_group * kTapRows;  // of the kernel
  // The last warp's row of the image enters with row y; those above it are there already.
  const auto fetch = [&](int y) {
    rings.fetch_reach(args, at, first, y + row + kTapRows - 1, y < end, thread);
    rings.fetch_row(args, at, first, y, set, y < end, thread);
    gpu::commit_copies();
  };
  BLUROPS_ROLLED
  for (int i = 0; i + 1 < kTapRows; ++i) {
    rings.fetch_reach(args, at, first, top + row + i, true, thread);
  }
  BLUROPS_ROLLED
  for (int i = 0; i + 1 < kStages; ++i) fetch(top + i);
  BLUROPS_ROLLED
  for (int y = top; y < end; ++y) {
    gpu::wait_copies<kStages - 2>();
    gpu::barrier();
    const uint4* mixing = rings.mixing + rings.stage(y) * rings.kMixing;
    const float* line = rings.lines + rings.stage(y) * kC * kStrip;
    const float* reach = rings.reaches + rings.place(y + row + warp) * kC * rings.kPitch;
    BLUROPS_ROLLED
    for (int half = 0; half < 2; ++half) {
      grad_kernels_half<kJ, kSteps, kC, kLow>(sums, mixing + half * rings.kMixing / 2,
                                              line + half * kStrip / 2, reach + half * kStrip / 2,
                                              lane);
    }
    fetch(y + kStages - 1);
  }
}

template <int kJ, int kSteps, int kC>
BLUROPS_KERNEL(kTapThreads, 1)
grad_kernels_tile(const GradKernelsArgs args) {
  TapSums<kJ, kSteps> sums = {};
  BLUROPS_ROLLED
  for (int first = 0; first < args.sizes.channels; first += kC) {
    BLUROPS_ROLLED
    for (int set = 0; set < sets_of(args.high); ++set) {
      gpu::barrier();
      grad_kernels_chunk<kJ, kSteps, kC, false>(sums, args, first, set);
    }
    if (!args.high) continue;
    gpu::barrier();
    grad_kernels_chunk<kJ, kSteps, kC, true>(sums, args, first, 0);
  }
  const Chunk at(args);
  const int thread = gpu::thread_index(), t = thread % 4, g = thread % 32 / 4;
  int64_t row = (int64_t{at.sample} * args.sizes.strips + at.strip) * args.chunks + at.chunk;
  row = (row * args.sizes.groups + at.group) * args.row_groups + at.row_group;
  float* out = args.partial + (row * kTapRows + thread / 32) * (kBases * kSteps * 8 * kJ);
  BLUROPS_UNROLL
  for (int e = 0; e < kSteps * kJ * 4; ++e) {
    // Of a product: rows are bases g and g + 8, columns taps of the threads 2t and 2t + 1.
    const int tile = e / (4 * kJ), j = e / 4 % kJ, i = e % 4;
    const int basis = tile * kBases + g + i / 2 * 8, tap = (2 * t + i % 2) * kJ + j;
    out[basis * 8 * kJ + tap] = sums[tile][j][i];
  }
}

struct SumChunksArgs {
  Sizes sizes;
  const float* partial;
  const uint32_t* largest;  // of lines and image
  void* out;                // (1 or count, basis, kernel_height, kernel_width)
  int basis, steps, j, chunks, row_groups;
  bool summed;  // over the samples
};

// One tap of the result: strips and chunks of rows from the first to the last.
template <typename T>
BLUROPS_KERNEL(kPackThreads, 1)
sum_chunks(const SumChunksArgs args, int64_t taps) {
  const Sizes& s = args.sizes;
  const int64_t index = gpu::block_index() * kPackThreads + gpu::thread_index();
  if (index >= taps) return;
  const int dx = static_cast<int>(index % s.kernel_width);
  const int dy = static_cast<int>(index / s.kernel_width % s.kernel_height);
  const int64_t kernel = index / s.kernel_width / s.kernel_height;
  const int basis = static_cast<int>(kernel % args.basis), bases = kBases * args.steps;
  const int64_t sample = kernel / args.basis, pieces = int64_t{s.strips} * args.chunks;
  const int64_t first = args.summed ? 0 : sample * pieces;
  const int64_t count = args.summed ? s.count * pieces : pieces;
  const int64_t row = bases * 8 * args.j, rows = int64_t{args.row_groups} * kTapRows;
  const float* from = args.partial + ((first * s.groups + basis / bases) * rows + dy) * row +
                      basis % bases * 8 * args.j + dx;
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += from[i * s.groups * rows * row];
  store(ProductScale(args.largest).out(sum), static_cast<T*>(args.out) + index);
}

}  // namespace blurops::cuda
