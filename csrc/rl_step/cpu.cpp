// SPDX-License-Identifier: BSD-3-Clause
// Launchers of the Richardson-Lucy update on the CPU: threads and their memory. The arithmetic is
// in pointwise.cpp.
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "common/isa.h"
#include "common/parallel.h"
#include "rl_step/pointwise.h"

namespace blurops {
namespace {

const RlKernels& kernels_for(Isa isa) {
#if defined(BLUROPS_X86)
  if (isa == Isa::kAvx512) return rl_kernels_avx512();
  if (isa == Isa::kAvx2) return rl_kernels_avx2();
#endif
  return rl_kernels_baseline();
}

const RlKernels& kernels() { return kernels_for(active_isa()); }

int code(const RlStep& step) { return static_cast<int>(step.dtype); }

// Below this many pixels a further thread costs more to wake than it saves.
constexpr int64_t kPixelsPerThread = int64_t{1} << 16;

// Calls run(unit, scratch) for every block of rows of images of this size.
template <typename Run>
void for_blocks(const RlStep& step, int64_t height, int64_t width, int threads, const Run& run) {
  const int64_t units = step.count * ((height + kRlRows - 1) / kRlRows);
  const int64_t pixels = step.count * step.channels * height * width;
  const int64_t useful = std::min(units, 1 + pixels / kPixelsPerThread);
  threads = static_cast<int>(std::clamp<int64_t>(threads, 1, std::max<int64_t>(useful, 1)));
  Workers(threads, kernels().scratch_bytes(width)).run(units, run);
}

}  // namespace

bool rl_lost_cpu(const RlStep& step, double threshold, bool erode, bool smooth, void* lost,
                 int threads) {
  const RlKernels& use = kernels();
  const RlBrightness how{threshold, erode, smooth, lost};
  std::atomic<bool> any{false};
  for_blocks(step, step.height, step.width, threads, [&](int64_t unit, char*) {
    if (!any.load(std::memory_order_relaxed) && use.any_bright[code(step)](step, how, unit)) {
      any.store(true, std::memory_order_relaxed);
    }
  });
  if (!any.load()) return false;
  for_blocks(step, step.height, step.width, threads,
             [&](int64_t unit, char* scratch) { use.lost[code(step)](step, how, unit, scratch); });
  return true;
}

void rl_clean_cpu(const Problem& problem, const RlStep& step, const void* basis, const void* mixing,
                  int threads) {
  const Epilogue epilogue{kernels().clean[code(step)], &step};
  basis_blur_cpu(problem, step.lost, basis, mixing, nullptr, threads, &epilogue);
}

void rl_ratios_cpu(const Problem& problem, const RlStep& step, const void* basis,
                   const void* mixing, int threads) {
  const Epilogue epilogue{kernels().ratios[code(step)], &step};
  basis_blur_cpu(problem, step.estimate, basis, mixing, nullptr, threads, &epilogue);
}

void rl_ratios_of_cpu(const RlStep& step, const void* blurred, int threads) {
  const auto ratios = kernels().ratios[code(step)];
  const int64_t height = step.out_height, width = step.out_width;
  const int64_t row_bytes =
      width * (step.dtype == DType::kFloat64 ? sizeof(double) : sizeof(float));
  const int64_t blocks = (height + kRlRows - 1) / kRlRows;
  for_blocks(step, height, width, threads, [&](int64_t unit, char*) {
    const int64_t n = unit / blocks, begin = unit % blocks * kRlRows;
    const int64_t end = std::min(begin + kRlRows, height);
    for (int64_t c = 0; c < step.channels; ++c) {
      for (int64_t y = begin; y < end; ++y) {
        const int64_t row = (n * step.channels + c) * height + y;
        ratios(&step, n, c, y, 0, width, static_cast<const char*>(blurred) + row * row_bytes);
      }
    }
  });
}

void rl_update_cpu(const RlStep& step, void* out, int threads) {
  const RlKernels& use = kernels();
  for_blocks(step, step.height, step.width, threads, [&](int64_t unit, char* scratch) {
    use.update[code(step)](step, unit, out, scratch);
  });
}

void rl_grad_update_cpu(const RlStep& step, int threads) {
  const RlKernels& use = kernels();
  for_blocks(step, step.height, step.width, threads, [&](int64_t unit, char* scratch) {
    use.grad_update[code(step)](step, unit, scratch);
  });
  if (!step.grad_divergence) return;
  // A second pass: a pixel of U turns slopes whose divergence other pixels hold.
  for_blocks(step, step.height, step.width, threads,
             [&](int64_t unit, char* scratch) { use.grad_tv[code(step)](step, unit, scratch); });
}

void rl_grad_ratios_cpu(const RlStep& step, int threads) {
  const RlKernels& use = kernels();
  for_blocks(step, step.out_height, step.out_width, threads, [&](int64_t unit, char* scratch) {
    use.grad_ratios[code(step)](step, unit, scratch);
  });
}

}  // namespace blurops
