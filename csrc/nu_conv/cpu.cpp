// SPDX-License-Identifier: BSD-3-Clause
// The launchers of NU-Conv on the CPU: the extended image, the packed bank, threads. The arithmetic
// is in kernels.cpp.
#include <algorithm>
#include <vector>

#include "basis_blur/launch.h"
#include "common/extended.h"
#include "common/isa.h"
#include "nu_conv/plan.h"

namespace blurops {
namespace {

const NuConvKernels& kernels_for(Isa isa) {
#if defined(BLUROPS_X86)
  if (isa == Isa::kAvx512) return nu_conv_kernels_avx512();
  if (isa == Isa::kAvx2) return nu_conv_kernels_avx2();
#endif
  return nu_conv_kernels_baseline();
}

// Below this many multiply-adds a further thread costs more to wake than it saves.
constexpr int64_t kWorkPerThread = int64_t{1} << 19;

// Sums of an adjoint's block of rows stay in the second-level cache.
constexpr int64_t kBlockBytes = int64_t{1} << 18;
constexpr int64_t kMostRows = 16;

int64_t element(DType dtype) { return dtype == DType::kFloat64 ? 8 : 4; }

struct Launch {
  const NuConvKernels& kernels = kernels_for(active_isa());
  NuConvPlan plan{};
  std::vector<int64_t> row_map, column_map;
  Extended extended;
  AlignedBytes bank;
  int threads;

  Launch(const NuConv& p, int threads, bool overlapping) : threads(threads) {
    plan.problem = p;
    plan.row = {p.kernel_width, kernels.lanes[code()], overlapping};
    row_map = extended_map(p.out_height + p.kernel_height - 1, p.anchor_y, p.height, p.boundary);
    column_map = extended_map(p.out_width + p.kernel_width - 1, p.anchor_x, p.width, p.boundary);
    plan.column_map = column_map.data();
  }

  int code() const { return static_cast<int>(plan.problem.dtype); }

  void extend(const void* image) {
    const NuConv& p = plan.problem;
    extended.fill(p.dtype, image, p.count * p.channels, p.height, p.width, row_map, column_map,
                  plan.row.lanes, useful(p.count * p.channels * p.height));
    plan.extended = extended.values();
    plan.pitch = extended.pitch;
    plan.plane = extended.plane;
  }

  template <typename T>
  void pack_as(const T* from) {
    using A = typename Compute<T>::type;
    const NuConv& p = plan.problem;
    const TapRow& r = plan.row;
    const int64_t rows = p.filters * p.bank_channels() * p.kernel_height;
    bank = allocate(rows * r.stride() * sizeof(A));
    A* to = reinterpret_cast<A*>(bank.get());
    plan.bank = to;
    for (int64_t i = 0; i < rows; ++i, to += r.stride(), from += r.taps) {
      std::fill(to, to + r.stride(), A(0));
      for (int64_t v = 0; v < r.vectors(); ++v) {
        for (int64_t lane = r.fresh(v); lane < r.end(v); ++lane) {
          to[v * r.lanes + lane] = load(from[r.first(v) + lane]);
        }
      }
    }
  }

  void pack(const void* from) {
    with_type(plan.problem.dtype, const_cast<void*>(from),
              [&](const auto* typed) { pack_as(typed); });
  }

  int useful(int64_t units) const {
    const NuConv& p = plan.problem;
    const int64_t work = p.count * p.out_height * p.out_width * p.kernel_height * p.kernel_width *
                         (p.picked + p.channels);
    const int64_t most = std::min(units, 1 + work / kWorkPerThread);
    return static_cast<int>(std::clamp<int64_t>(threads, 1, std::max<int64_t>(most, 1)));
  }

  void run(NuConvUnit unit, int64_t units, size_t scratch) const {
    Workers(useful(units), scratch).run(units, [&](int64_t i, void* memory) {
      unit(plan, i, memory);
    });
  }
};

// The same as basis-mixed blur whose bases are the filters.
Problem mixed_problem(const NuConv& p) {
  return {p.dtype,
          p.boundary,
          p.count,
          p.channels,
          p.filters,
          p.height,
          p.width,
          p.out_height,
          p.out_width,
          p.kernel_height,
          p.kernel_width,
          p.anchor_y,
          p.anchor_x,
          false,
          p.index_batched || p.weight_batched,
          {p.tile_height, p.tile_width, p.parts_down, p.parts_across}};
}

Picks picks_of(const NuConv& p, const void* index, const void* weight) {
  return {p.picked, static_cast<const int32_t*>(index), weight, p.index_batched, p.weight_batched,
          p.budget};
}

}  // namespace

void nu_conv_cpu(const NuConv& problem, const void* image, const void* bank, const void* index,
                 const void* weight, void* out, int threads) {
  if (problem.tile_height > 0 && tile_blur_picked(mixed_problem(problem), image, bank,
                                                  picks_of(problem, index, weight), out, threads)) {
    return;
  }
  Launch launch(problem, threads, true);
  launch.extend(image);
  launch.pack(bank);
  launch.plan.index = static_cast<const int32_t*>(index);
  launch.plan.weight = weight;
  launch.plan.out = out;
  launch.run(launch.kernels.conv[launch.code()], problem.count * problem.out_height, 0);
}

void nu_conv_adjoint_cpu(const NuConv& problem, const void* image, const void* bank,
                         const void* index, const void* weight, void* out, int threads) {
  if (problem.tile_height > 0 &&
      tile_adjoint_picked(mixed_problem(problem), image, bank, picks_of(problem, index, weight),
                          out, threads)) {
    return;
  }
  Launch launch(problem, threads, false);
  launch.pack(bank);
  NuConvPlan& plan = launch.plan;
  plan.first = image;
  plan.index = static_cast<const int32_t*>(index);
  plan.weight = weight;
  plan.out = out;
  const Readers readers(launch.row_map, problem.height);
  plan.source_begin = readers.begin.data();
  plan.sources = readers.positions.data();
  const int64_t columns = static_cast<int64_t>(launch.column_map.size());
  plan.spread_pitch = (columns + plan.row.lanes + 15) / 16 * 16;
  const int64_t bytes = problem.channels * plan.spread_pitch * element(problem.dtype);
  plan.rows = std::clamp<int64_t>(kBlockBytes / bytes, 1, std::min(kMostRows, problem.height));
  // The block's sums, a folded row, and a target for each extended row that reads the block.
  const size_t scratch = plan.rows * bytes + (problem.width + 2) * element(problem.dtype) +
                         2 * sizeof(int64_t) * readers.positions.size();
  const int64_t blocks = (problem.height + plan.rows - 1) / plan.rows;
  launch.run(launch.kernels.adjoint[launch.code()], problem.count * blocks, scratch);
}

void nu_conv_grad_bank_cpu(const NuConv& problem, const void* grad, const void* image,
                           const void* index, const void* weight, void* out, int threads) {
  Launch launch(problem, threads, true);
  launch.extend(image);
  NuConvPlan& plan = launch.plan;
  plan.first = grad;
  plan.index = static_cast<const int32_t*>(index);
  plan.weight = weight;
  // Enough units for any sensible number of threads, and a function of the shapes alone, so that
  // the order of summation does not depend on the threads.
  constexpr int64_t kUnits = 32;
  const int64_t groups = (problem.kernel_height + kBankRows - 1) / kBankRows;
  const int64_t rows = problem.count * problem.out_height;
  plan.chunks = std::clamp<int64_t>(kUnits / groups, 1, rows);
  const int64_t kernels = problem.filters * problem.bank_channels();
  std::vector<double> partial(plan.chunks * kernels * problem.kernel_height * problem.kernel_width,
                              0.0);
  plan.partial = partial.data();
  const size_t scratch =
      (kernels * kBankRows * plan.row.stride() + problem.out_channels()) * element(problem.dtype);
  launch.run(launch.kernels.grad_bank[launch.code()], groups * plan.chunks, scratch);
  sum_partials(partial, plan.chunks, problem.dtype, out);
}

void nu_conv_grad_weight_cpu(const NuConv& problem, const void* grad, const void* image,
                             const void* bank, const void* index, void* out, int threads) {
  if (problem.tile_height > 0 && (problem.weight_batched || problem.count == 1) &&
      tile_grad_weight_picked(mixed_problem(problem), grad, image, bank,
                              picks_of(problem, index, nullptr), out, threads)) {
    return;
  }
  Launch launch(problem, threads, true);
  launch.extend(image);
  launch.pack(bank);
  launch.plan.first = grad;
  launch.plan.index = static_cast<const int32_t*>(index);
  launch.plan.out = out;
  const int64_t samples = problem.weight_batched ? problem.count : 1;
  launch.run(launch.kernels.grad_weight[launch.code()], samples * problem.out_height,
             problem.picked * element(problem.dtype));
}

}  // namespace blurops
