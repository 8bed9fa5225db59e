// SPDX-License-Identifier: BSD-3-Clause
// Launchers of the tile method: the plan, its memory, and the order of the tiles.
#include <algorithm>
#include <cstring>
#include <vector>

#include "basis_blur/launch.h"
#include "basis_blur/tiles.h"
#include "common/convert.h"
#include "common/isa.h"
#include "common/parallel.h"
#include "tile_fft/factors.h"

namespace blurops {
namespace {

// Spectra of channels that one thread holds at a time, in bytes.
constexpr int64_t kChannelBytes = int64_t{4} << 20;
// Sums of the kernel gradient that one thread holds at a time, in bytes.
constexpr int64_t kProductBytes = int64_t{4} << 20;
// Partial sums of the kernel gradient, in bytes.
constexpr int64_t kPartialBytes = int64_t{16} << 20;

const TileKernels& kernels_for(Isa isa) {
#if defined(BLUROPS_X86)
  if (isa == Isa::kAvx512) return tile_kernels_avx512();
  if (isa == Isa::kAvx2) return tile_kernels_avx2();
#endif
  return tile_kernels_baseline();
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

size_t size_of(DType dtype) {
  if (dtype == DType::kFloat64) return sizeof(double);
  return dtype == DType::kFloat32 ? sizeof(float) : sizeof(Half);
}

int code(const Problem& problem) { return static_cast<int>(problem.dtype); }

// Everything a call needs beside its tensors, and the plan that points into it.
struct TileLaunch {
  TilePlan plan{};
  const TileKernels& kernels = kernels_for(active_isa());
  IndexMaps maps;
  AlignedBytes spectra;

  explicit TileLaunch(const Problem& p) : maps(p) {
    plan.problem = p;
    plan.row_map = maps.rows.data();
    plan.column_map = maps.columns.data();
    plan.extended_rows = static_cast<int64_t>(maps.rows.size());
    plan.extended_columns = static_cast<int64_t>(maps.columns.size());
    plan.part_height = ceil_div(p.kernel_height, p.tiling.parts_down);
    plan.part_width = ceil_div(p.kernel_width, p.tiling.parts_across);
    plan.parts = p.tiling.parts_down * p.tiling.parts_across;
    plan.rows = p.tiling.height - plan.part_height + 1;
    plan.columns = p.tiling.width - plan.part_width + 1;
    plan.tiles_down = ceil_div(p.out_height, plan.rows);
    plan.tiles_across = ceil_div(p.out_width, plan.columns);
    plan.pairs = ceil_div(p.basis, 2);
    const int64_t bytes = kernels.spectrum_bytes(plan) * plan.parts;
    plan.channel_group =
        std::clamp<int64_t>(kChannelBytes / bytes, 1, std::max<int64_t>(p.channels, 1));
  }

  int64_t tiles() const { return plan.tiles_down * plan.tiles_across; }

  // The kernels' spectra, shared by all threads.
  void transform_kernels(const void* from, int threads) {
    const Problem& p = plan.problem;
    const int64_t units = (p.kernels_batched ? p.count : 1) * plan.pairs * plan.parts;
    spectra = allocate(units * kernels.spectrum_bytes(plan));
    plan.kernels = from;
    plan.spectra = spectra.get();
    run(kernels.spectra[code(p)], units, threads);
  }

  void run(TileUnit unit, int64_t units, int threads) const {
    const Workers workers(threads_for(units, threads), kernels.scratch_bytes(plan));
    run(workers, unit, units);
  }

  void run(const Workers& workers, TileUnit unit, int64_t units) const {
    workers.run(units, [&](int64_t i, void* scratch) { unit(plan, i, scratch); });
  }

  static int threads_for(int64_t units, int threads) {
    return static_cast<int>(std::clamp<int64_t>(threads, 1, std::max<int64_t>(units, 1)));
  }
};

// Tiles along one axis in groups whose members write to different rows (or columns) of the image, so
// that a group's tiles can be added at the same time, and the groups one after the other in the same
// order every time. `map` says where an extended row lands.
std::vector<std::vector<int64_t>> disjoint_groups(const std::vector<int64_t>& map, int64_t size,
                                                  int64_t tiles, int64_t step, int64_t reach) {
  std::vector<std::vector<int64_t>> groups;
  std::vector<std::vector<char>> taken;
  const int64_t length = static_cast<int64_t>(map.size());
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const auto begin = map.begin() + tile * step;
    const auto end = map.begin() + std::min(tile * step + reach, length);
    size_t group = 0;
    const auto is_taken = [&](int64_t row) { return row >= 0 && taken[group][row]; };
    while (group < groups.size() && std::any_of(begin, end, is_taken)) ++group;
    if (group == groups.size()) {
      groups.emplace_back();
      taken.emplace_back(size, 0);
    }
    groups[group].push_back(tile);
    for (auto row = begin; row != end; ++row) {
      if (*row >= 0) taken[group][*row] = 1;
    }
  }
  return groups;
}

void round_to(DType dtype, const float* from, int64_t count, void* out) {
  with_type(dtype, out, [&](auto* to) {
    for (int64_t i = 0; i < count; ++i) store(from[i], to + i);
  });
}

}  // namespace

std::vector<int> tile_lengths() {
  std::vector<int> lengths;
  for (const Factors& f : kFactors) lengths.push_back(f.radix1 * f.radix2);
  return lengths;
}

void tile_blur(const Problem& problem, const void* image, const void* kernels, const void* mixing,
               void* out, int threads, const Epilogue* epilogue) {
  TileLaunch launch(problem);
  launch.plan.first = image;
  launch.plan.mixing = mixing;
  launch.plan.out = out;
  launch.plan.epilogue = epilogue;
  prefer_large_pages(out, problem.count * problem.channels * problem.out_height *
                              problem.out_width * size_of(problem.dtype));
  launch.transform_kernels(kernels, threads);
  launch.run(launch.kernels.blur[code(problem)], problem.count * launch.tiles(), threads);
}

void tile_adjoint(const Problem& problem, const void* image, const void* kernels,
                  const void* mixing, void* out, int threads) {
  TileLaunch launch(problem);
  launch.plan.first = image;
  launch.plan.mixing = mixing;
  launch.transform_kernels(kernels, threads);
  // Half types are summed in one float copy of the result.
  const int64_t elements = problem.count * problem.channels * problem.height * problem.width;
  const bool half = problem.dtype != DType::kFloat32 && problem.dtype != DType::kFloat64;
  const size_t element = problem.dtype == DType::kFloat64 ? sizeof(double) : sizeof(float);
  AlignedBytes sums;
  if (half) sums = allocate(elements * element);
  launch.plan.target = half ? sums.get() : out;
  prefer_large_pages(launch.plan.target, elements * element);
  std::memset(launch.plan.target, 0, elements * element);

  const TilePlan& plan = launch.plan;
  const auto down = disjoint_groups(launch.maps.rows, problem.height, plan.tiles_down, plan.rows,
                                    plan.rows + problem.kernel_height - 1);
  const auto across =
      disjoint_groups(launch.maps.columns, problem.width, plan.tiles_across, plan.columns,
                      plan.columns + problem.kernel_width - 1);
  const Workers workers(TileLaunch::threads_for(problem.count * launch.tiles(), threads),
                        launch.kernels.scratch_bytes(plan));
  const TileUnit tile = launch.kernels.adjoint[code(problem)];
  for (const auto& rows : down) {
    for (const auto& columns : across) {
      const int64_t wide = static_cast<int64_t>(columns.size());
      const int64_t each = wide * static_cast<int64_t>(rows.size());
      workers.run(problem.count * each, [&](int64_t i, void* scratch) {
        const int64_t in_sample = rows[i % each / wide] * plan.tiles_across + columns[i % wide];
        tile(plan, i / each * launch.tiles() + in_sample, scratch);
      });
    }
  }
  if (half) round_to(problem.dtype, reinterpret_cast<float*>(sums.get()), elements, out);
}

void tile_grad_kernels(const Problem& problem, const void* grad, const void* image,
                       const void* mixing, void* out, int threads) {
  TileLaunch launch(problem);
  TilePlan& plan = launch.plan;
  plan.first = grad;
  plan.image = image;
  plan.mixing = mixing;
  plan.pair_group = std::clamp<int64_t>(
      kProductBytes / (launch.kernels.spectrum_bytes(plan) * plan.parts), 1, plan.pairs);
  const int64_t groups = ceil_div(plan.pairs, plan.pair_group);
  const int64_t samples = problem.kernels_batched ? problem.count : 1;
  const int64_t total = (problem.kernels_batched ? 1 : problem.count) * launch.tiles();
  const int64_t taps =
      samples * problem.basis * problem.kernel_height * problem.kernel_width;
  // A function of the shapes alone, so that the order of summation does not depend on the threads;
  // enough chunks for many threads, and enough tiles in each that inverting its sums costs little.
  const int64_t fitting = std::max<int64_t>(kPartialBytes / (taps * int64_t{sizeof(double)}), 1);
  plan.chunks = std::min({std::max(total / 8, std::min<int64_t>(total, 4)), int64_t{64}, fitting});
  std::vector<double> partial(plan.chunks * taps, 0.0);
  plan.partial = partial.data();
  launch.run(launch.kernels.grad_kernels[code(problem)], samples * groups * plan.chunks, threads);
  sum_partials(partial, plan.chunks, problem.dtype, out);
}

void tile_grad_mixing(const Problem& problem, const void* grad, const void* image,
                      const void* kernels, void* out, int threads) {
  TileLaunch launch(problem);
  TilePlan& plan = launch.plan;
  plan.first = grad;
  plan.image = image;
  plan.out = out;
  prefer_large_pages(out, (problem.mixing_batched ? problem.count : 1) * problem.basis *
                              problem.out_height * problem.out_width * size_of(problem.dtype));
  plan.keeps_all_bases = plan.channel_group < problem.channels ||
                         (!problem.mixing_batched && problem.count > 1);
  launch.transform_kernels(kernels, threads);
  const int64_t samples = problem.mixing_batched ? problem.count : 1;
  launch.run(launch.kernels.grad_mixing[code(problem)], samples * launch.tiles(), threads);
}

}  // namespace blurops
