// SPDX-License-Identifier: BSD-3-Clause
// The peak probe: threads and clock around the loops of peak.cpp.
#include <algorithm>
#include <chrono>
#include <memory>

#include "common/isa.h"
#include "common/peak.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace blurops {
namespace {

constexpr int kPasses = 7;

const PeakKernels& kernels_for(Isa isa) {
#if defined(BLUROPS_X86)
  if (isa == Isa::kAvx512) return peak_kernels_avx512();
  if (isa == Isa::kAvx2) return peak_kernels_avx2();
#endif
  return peak_kernels_baseline();
}

double now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

// work(index, count) on every thread; the seconds from the first start to the last end.
template <typename Work>
double timed(int threads, const Work& work) {
  double start = 0;
#pragma omp parallel num_threads(threads)
  {
#if defined(_OPENMP)
    const int index = omp_get_thread_num(), count = omp_get_num_threads();
#else
    const int index = 0, count = 1;
#endif
#pragma omp barrier
#pragma omp master
    start = now();
    work(index, count);
  }
  return now() - start;
}

}  // namespace

double peak_flops(double seconds, int threads) {
  const PeakKernels& kernels = kernels_for(active_isa());
  double best = 0;
  int64_t rounds = 1 << 16;
  const double end = now() + seconds;
  while (now() < end) {
    double done = 0;
    const double taken = timed(std::max(threads, 1), [&](int, int) {
      float sink = 0;
      const double own = kernels.multiply_add(rounds, &sink);
#pragma omp critical
      done += sink > 0 ? own : 0;
    });
    best = std::max(best, done / taken);
    // Long enough for the threads' start not to count, short enough to be tried several times.
    if (taken < seconds / 10) rounds *= 2;
  }
  return best;
}

double peak_bandwidth(int64_t bytes, int threads) {
  const PeakKernels& kernels = kernels_for(active_isa());
  const int64_t count = std::max<int64_t>(bytes / (3 * static_cast<int64_t>(sizeof(float))), 1);
  // Not initialised here: each thread touches its own part first.
  const std::unique_ptr<float[]> a(new float[count]), b(new float[count]), c(new float[count]);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double taken = timed(std::max(threads, 1), [&](int index, int parts) {
      const int64_t first = count * index / parts, last = count * (index + 1) / parts;
      if (pass == 0) {
        std::fill(b.get() + first, b.get() + last, 1.0f);
        std::fill(c.get() + first, c.get() + last, 2.0f);
      }
      kernels.triad(a.get() + first, b.get() + first, c.get() + first, 0.5f, last - first);
    });
    if (pass > 0) best = std::max(best, 3.0 * sizeof(float) * static_cast<double>(count) / taken);
  }
  return best;
}

}  // namespace blurops
