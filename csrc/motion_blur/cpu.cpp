// SPDX-License-Identifier: BSD-3-Clause
// The launchers of motion blur on the CPU: the extended image, the planes of the lines, threads.
// The arithmetic is in kernels.cpp.
#include <algorithm>
#include <vector>

#include "common/extended.h"
#include "common/isa.h"
#include "motion_blur/plan.h"

namespace blurops {
namespace {

const MotionKernels& kernels_for(Isa isa) {
#if defined(BLUROPS_X86)
  if (isa == Isa::kAvx512) return motion_kernels_avx512();
  if (isa == Isa::kAvx2) return motion_kernels_avx2();
#endif
  return motion_kernels_baseline();
}

using MotionUnits = MotionUnit (MotionKernels::*)[kDTypeCount];

// Below this many pixels a further thread costs more to wake than it saves.
constexpr int64_t kPixelsPerThread = int64_t{1} << 12;

struct Launch {
  const MotionKernels& kernels = kernels_for(active_isa());
  MotionPlan plan{};
  std::vector<int64_t> row_map, column_map;
  Extended extended;
  AlignedBytes lines, bounds, windows, divided;
  int threads;

  Launch(const MotionBlur& p, const void* length, const void* angle, void* out, bool derivative,
         int given)
      : row_map(
            extended_map(p.out_height + 2 * p.reach, p.reach - p.margin_y, p.height, p.boundary)),
        column_map(
            extended_map(p.out_width + 2 * p.reach, p.reach - p.margin_x, p.width, p.boundary)) {
    const int64_t pixels = p.count * p.out_height * p.out_width;
    const int64_t useful = std::min(p.out_height * p.count, 1 + pixels / kPixelsPerThread);
    threads = static_cast<int>(std::clamp<int64_t>(given, 1, useful));
    plan.problem = p;
    plan.derivative = derivative;
    plan.maps_batched = p.length_batched || p.angle_batched;
    plan.length = length;
    plan.angle = angle;
    plan.out = out;
  }

  int code() const { return static_cast<int>(plan.problem.dtype); }
  int64_t lanes() const { return kernels.lanes[code()]; }
  int64_t element() const { return plan.problem.dtype == DType::kFloat64 ? 8 : 4; }
  int64_t maps() const { return plan.maps_batched ? plan.problem.count : 1; }

  void extend(const void* image) {
    const MotionBlur& p = plan.problem;
    extended.fill(p.dtype, image, p.count * p.channels, p.height, p.width, row_map, column_map,
                  lanes(), threads);
    plan.extended = extended.values();
    plan.pitch = extended.pitch;
    plan.plane = extended.plane;
  }

  // Fills the planes, with at least `pad` columns before the maps and as many behind.
  void make_lines(int64_t pad) {
    const MotionBlur& p = plan.problem;
    plan.pad = (pad + lanes() - 1) / lanes() * lanes();
    plan.blocks = (plan.pad * 2 + p.out_width) / lanes() + 2;
    plan.line_pitch = plan.blocks * lanes();
    const int64_t rows = maps() * p.out_height;
    lines = allocate(rows * kLinePlanes * plan.line_pitch * element());
    bounds = allocate(rows * plan.blocks * kBounds * element());
    plan.lines = lines.get();
    plan.bounds = bounds.get();
    run(kernels.lines, rows, 0);
  }

  void run(const MotionUnit* unit, int64_t units, size_t scratch) const {
    MotionUnit chosen = unit[code()];
    Workers(threads, scratch).run(units, [&](int64_t i, void* memory) { chosen(plan, i, memory); });
  }
};

void gradient(const MotionBlur& problem, MotionUnits units, bool batched, const void* grad,
              const void* image, const void* length, const void* angle, void* out, void* by_angle,
              int threads) {
  Launch launch(problem, length, angle, out, true, threads);
  launch.extend(image);
  launch.make_lines(0);
  launch.plan.first = grad;
  launch.plan.by_angle = by_angle;
  const size_t scratch = problem.channels * launch.lanes() * launch.element();
  launch.run(launch.kernels.*units, (batched ? problem.count : 1) * problem.out_height, scratch);
}

}  // namespace

void motion_blur_cpu(const MotionBlur& problem, const void* image, const void* length,
                     const void* angle, void* out, int threads) {
  Launch launch(problem, length, angle, out, false, threads);
  launch.extend(image);
  launch.make_lines(0);
  launch.run(launch.kernels.blur, problem.count * problem.out_height, 0);
}

void motion_blur_adjoint_cpu(const MotionBlur& problem, const void* image, const void* length,
                             const void* angle, void* out, int threads) {
  Launch launch(problem, length, angle, out, false, threads);
  MotionPlan& plan = launch.plan;
  launch.make_lines(2 * problem.reach);
  const int64_t rows = launch.maps() * problem.out_height;
  launch.windows = allocate(rows * plan.blocks * kBounds * launch.element());
  plan.windows = launch.windows.get();
  launch.run(launch.kernels.windows, rows, 0);
  launch.run(launch.kernels.norms, rows, 0);
  launch.divided = allocate(problem.count * problem.channels * problem.out_height *
                            plan.line_pitch * launch.element());
  plan.divided = launch.divided.get();
  plan.first = image;
  launch.run(launch.kernels.divide, problem.count * problem.out_height, 0);
  const Readers readers(launch.row_map, problem.height);
  plan.source_begin = readers.begin.data();
  plan.sources = readers.positions.data();
  plan.column_map = launch.column_map.data();
  constexpr int64_t kRows = 4;  // kChannelGroup of kernels.cpp
  launch.run(launch.kernels.adjoint, problem.count * problem.height,
             (kRows * plan.line_pitch + problem.width) * launch.element());
}

void motion_blur_grad_length_cpu(const MotionBlur& problem, const void* grad, const void* image,
                                 const void* length, const void* angle, void* out, int threads) {
  gradient(problem, &MotionKernels::grad_length, problem.length_batched, grad, image, length, angle,
           out, nullptr, threads);
}

void motion_blur_grad_angle_cpu(const MotionBlur& problem, const void* grad, const void* image,
                                const void* length, const void* angle, void* out, int threads) {
  gradient(problem, &MotionKernels::grad_angle, problem.angle_batched, grad, image, length, angle,
           out, nullptr, threads);
}

void motion_blur_backward_cpu(const MotionBlur& problem, const void* grad, const void* image,
                              const void* length, const void* angle, void* by_length,
                              void* by_angle, int threads) {
  gradient(problem, &MotionKernels::grad_both, problem.length_batched, grad, image, length, angle,
           by_length, by_angle, threads);
}

}  // namespace blurops
