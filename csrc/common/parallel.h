// SPDX-License-Identifier: BSD-3-Clause
// Working memory and threads of the CPU launchers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace blurops {

struct AlignedDelete {
  void operator()(char* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using AlignedBytes = std::unique_ptr<char[], AlignedDelete>;

inline AlignedBytes allocate(size_t bytes) {
  return AlignedBytes(static_cast<char*>(::operator new[](bytes, std::align_val_t{64})));
}

// Asks for large pages under an output about to be written for the first time: touching 100 MB page
// by page takes as long as computing it. Only advice, and only for what is large.
inline void prefer_large_pages(void* memory, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = 4096, kLarge = uintptr_t{8} << 20;
  if (bytes < kLarge) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / kPage * kPage;
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)bytes;
#endif
}

// Scratch memory for each thread of a launch; allocated before the threads start, because an
// exception must not leave a parallel region.
class Workers {
 public:
  Workers(int threads, size_t scratch_bytes)
      : threads_(threads),
        stride_((scratch_bytes + 63) / 64 * 64),
        scratch_(allocate(stride_ * threads)) {}

  // Calls work(unit, scratch) once for every unit, in any order.
  template <typename Work>
  void run(int64_t units, const Work& work) const {
    const int threads =
        static_cast<int>(std::clamp<int64_t>(units, 1, static_cast<int64_t>(threads_)));
#pragma omp parallel num_threads(threads)
    {
#if defined(_OPENMP)
      char* own = scratch_.get() + stride_ * omp_get_thread_num();
#else
      char* own = scratch_.get();
#endif
#pragma omp for schedule(dynamic)
      for (int64_t unit = 0; unit < units; ++unit) work(unit, own);
    }
  }

 private:
  int threads_;
  size_t stride_;
  AlignedBytes scratch_;
};

}  // namespace blurops
