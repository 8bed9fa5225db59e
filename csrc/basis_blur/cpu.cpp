// SPDX-License-Identifier: BSD-3-Clause
// The launchers of the basis-mixed family on the CPU, which follow the tiling that the caller
// chose, and those of the direct method: index maps, packed kernels, threads. The arithmetic of the
// direct method is in direct.cpp.
#include <algorithm>
#include <vector>

#include "basis_blur/direct.h"
#include "basis_blur/launch.h"
#include "common/convert.h"
#include "common/isa.h"
#include "common/parallel.h"

namespace blurops {
namespace {

const DirectKernels& kernels_for(Isa isa) {
#if defined(BLUROPS_X86)
  if (isa == Isa::kAvx512) return direct_kernels_avx512();
  if (isa == Isa::kAvx2) return direct_kernels_avx2();
#endif
  return direct_kernels_baseline();
}

// Below this many multiply-adds a further thread costs more to wake than it saves.
constexpr int64_t kWorkPerThread = int64_t{1} << 19;

int64_t multiply_adds(const Problem& p) {
  return p.count * p.out_height * p.out_width * p.kernel_height * p.kernel_width *
         (p.basis + p.channels);
}

// Everything a call needs beside its tensors, and the plan that points into it.
struct Launch {
  DirectPlan plan{};
  const DirectKernels& kernels = kernels_for(active_isa());
  IndexMaps maps;
  std::vector<int64_t> source_begin, sources;
  AlignedBytes packed;
  std::vector<double> partial;

  explicit Launch(const Problem& problem) : maps(problem) {
    plan.problem = problem;
    plan.row_map = maps.rows.data();
    plan.column_map = maps.columns.data();
    plan.first_column = problem.anchor_x;
  }

  // For every image row, the extended rows that read it, in ascending order.
  void find_sources() {
    const int64_t height = plan.problem.height;
    source_begin.assign(height + 1, 0);
    for (int64_t row : maps.rows) {
      if (row >= 0) ++source_begin[row + 1];
    }
    for (int64_t q = 0; q < height; ++q) source_begin[q + 1] += source_begin[q];
    sources.resize(source_begin[height]);
    std::vector<int64_t> next(source_begin.begin(), source_begin.end() - 1);
    for (size_t u = 0; u < maps.rows.size(); ++u) {
      const int64_t row = maps.rows[u];
      if (row >= 0) sources[next[row]++] = static_cast<int64_t>(u);
    }
    plan.source_begin = source_begin.data();
    plan.sources = sources.data();
  }

  // Convert the kernels to the compute type, one block per (sample, kernel row): (row / group,
  // depth, group) with group = kernels.rows, zero-filled. Rows are taps and depth is bases, or the
  // other way round.
  template <typename T>
  void pack_as(const T* from, bool taps_are_rows) {
    using A = typename Compute<T>::type;
    const Problem& p = plan.problem;
    const int64_t group = kernels.rows;
    const int64_t rows = taps_are_rows ? p.kernel_width : p.basis;
    const int64_t depth = taps_are_rows ? p.basis : p.kernel_width;
    const int64_t samples = p.kernels_batched ? p.count : 1;
    plan.packed_stride = (rows + group - 1) / group * group * depth;
    const int64_t elements = samples * p.kernel_height * plan.packed_stride;
    packed = allocate(elements * sizeof(A));
    A* to = reinterpret_cast<A*>(packed.get());
    std::fill(to, to + elements, A(0));
    for (int64_t n = 0; n < samples; ++n) {
      for (int64_t b = 0; b < p.basis; ++b) {
        for (int64_t dy = 0; dy < p.kernel_height; ++dy) {
          const T* source = from + ((n * p.basis + b) * p.kernel_height + dy) * p.kernel_width;
          A* block = to + (n * p.kernel_height + dy) * plan.packed_stride;
          for (int64_t dx = 0; dx < p.kernel_width; ++dx) {
            const int64_t row = taps_are_rows ? dx : b, j = taps_are_rows ? b : dx;
            block[(row / group * depth + j) * group + row % group] = load(source[dx]);
          }
        }
      }
    }
    plan.packed_kernels = to;
  }

  void pack(const void* from, bool taps_are_rows) {
    with_type(plan.problem.dtype, const_cast<void*>(from),
              [&](const auto* typed) { pack_as(typed, taps_are_rows); });
  }

  void run(DirectRow row, int64_t units, int threads) {
    const int64_t useful = std::min(units, 1 + multiply_adds(plan.problem) / kWorkPerThread);
    threads = static_cast<int>(std::clamp<int64_t>(threads, 1, std::max<int64_t>(useful, 1)));
    Workers(threads, kernels.scratch_bytes(plan.problem))
        .run(units, [&](int64_t unit, void* scratch) { row(plan, unit, scratch); });
  }
};

// Enough rows of work for any sensible number of threads, and a function of the shapes alone, so
// that the order of summation does not depend on the threads.
int64_t chunks_of(const Problem& p, int64_t samples) {
  constexpr int64_t kUnits = 64;
  return std::clamp<int64_t>(kUnits / (samples * p.kernel_height), 1, p.out_height);
}

bool in_tiles(const Problem& problem) { return problem.tiling.height > 0; }

int code(const Problem& problem) { return static_cast<int>(problem.dtype); }

}  // namespace

void sum_partials(const std::vector<double>& partial, int64_t chunks, DType dtype, void* out) {
  const int64_t size = static_cast<int64_t>(partial.size()) / chunks;
  with_type(dtype, out, [&](auto* to) {
    using A = typename Compute<std::remove_pointer_t<decltype(to)>>::type;
    for (int64_t i = 0; i < size; ++i) {
      double sum = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * size + i];
      store(static_cast<A>(sum), to + i);
    }
  });
}

void basis_blur_cpu(const Problem& problem, const void* image, const void* kernels,
                    const void* mixing, void* out, int threads, const Epilogue* epilogue) {
  if (in_tiles(problem)) {
    return tile_blur(problem, image, kernels, mixing, out, threads, epilogue);
  }
  Launch launch(problem);
  launch.plan.first = image;
  launch.plan.mixing = mixing;
  launch.plan.out = out;
  launch.plan.epilogue = epilogue;
  launch.pack(kernels, true);
  launch.run(launch.kernels.blur[code(problem)], problem.count * problem.out_height, threads);
}

void basis_blur_adjoint_cpu(const Problem& problem, const void* image, const void* kernels,
                            const void* mixing, void* out, int threads) {
  if (in_tiles(problem)) return tile_adjoint(problem, image, kernels, mixing, out, threads);
  Launch launch(problem);
  launch.plan.first = image;
  launch.plan.mixing = mixing;
  launch.plan.out = out;
  launch.pack(kernels, true);
  launch.find_sources();
  launch.run(launch.kernels.adjoint[code(problem)], problem.count * problem.height, threads);
}

void basis_blur_grad_kernels_cpu(const Problem& problem, const void* grad, const void* image,
                                 const void* mixing, void* out, int threads) {
  if (in_tiles(problem)) return tile_grad_kernels(problem, grad, image, mixing, out, threads);
  Launch launch(problem);
  launch.plan.first = grad;
  launch.plan.image = image;
  launch.plan.mixing = mixing;
  const int64_t samples = problem.kernels_batched ? problem.count : 1;
  launch.plan.chunks = chunks_of(problem, samples);
  launch.partial.assign(
      launch.plan.chunks * samples * problem.basis * problem.kernel_height * problem.kernel_width,
      0.0);
  launch.plan.partial = launch.partial.data();
  launch.run(launch.kernels.grad_kernels[code(problem)],
             samples * problem.kernel_height * launch.plan.chunks, threads);
  sum_partials(launch.partial, launch.plan.chunks, problem.dtype, out);
}

void basis_blur_grad_mixing_cpu(const Problem& problem, const void* grad, const void* image,
                                const void* kernels, void* out, int threads) {
  if (in_tiles(problem)) return tile_grad_mixing(problem, grad, image, kernels, out, threads);
  Launch launch(problem);
  launch.plan.first = grad;
  launch.plan.image = image;
  launch.plan.out = out;
  launch.pack(kernels, false);
  const int64_t samples = problem.mixing_batched ? problem.count : 1;
  launch.run(launch.kernels.grad_mixing[code(problem)], samples * problem.out_height, threads);
}

void basis_blur_backward_cpu(const Problem& problem, const void* grad, const void* image,
                             const void* kernels, const void* mixing, void* grad_image,
                             void* grad_kernels, void* grad_mixing, int threads) {
  if (in_tiles(problem) && tile_backward(problem, grad, image, kernels, mixing, grad_image,
                                         grad_kernels, grad_mixing, threads)) {
    return;
  }
  if (grad_image) basis_blur_adjoint_cpu(problem, grad, kernels, mixing, grad_image, threads);
  if (grad_kernels) {
    basis_blur_grad_kernels_cpu(problem, grad, image, mixing, grad_kernels, threads);
  }
  if (grad_mixing) {
    basis_blur_grad_mixing_cpu(problem, grad, image, kernels, grad_mixing, threads);
  }
}

}  // namespace blurops
