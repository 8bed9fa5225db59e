// SPDX-License-Identifier: BSD-3-Clause
// All that the GPU kernels know of the hardware. The implementation below is inline PTX for sm_80
// and later; tests define BLUROPS_EMULATE and bring one that runs on the host (tests/emulation/),
// which checks every access to shared memory. Kernels therefore touch shared memory, barriers,
// shuffles, asynchronous copies and tensor cores through these functions alone.
#pragma once

#include <cstdint>

#if defined(BLUROPS_EMULATE)
#include "gpu/emulate.h"
#else

#include <cuda_runtime.h>

#include "common/check.h"

#define BLUROPS_DEVICE __device__ __forceinline__
#define BLUROPS_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define BLUROPS_UNROLL _Pragma("unroll")
#define BLUROPS_ROLLED _Pragma("unroll 1")

namespace blurops::gpu {

// Read anew each time, so that what depends on them can be worked out again after a loop instead of
// taking registers within.
BLUROPS_DEVICE int thread_index() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}
BLUROPS_DEVICE int64_t block_index() {
  unsigned index;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(index));
  return index;
}

// The dynamic shared memory of the block, 16-byte aligned.
BLUROPS_DEVICE unsigned char* shared_memory() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return bytes;
}

// Shared memory is read and written through these.
template <typename T>
BLUROPS_DEVICE T read(const T* shared) {
  return *shared;
}
template <typename T>
BLUROPS_DEVICE void write(T* shared, T value) {
  *shared = value;
}

// Sets bits of a shared word, whoever else sets some: the order does not matter. A barrier must
// stand before they are read.
BLUROPS_DEVICE void set_bits(uint32_t* shared, uint32_t bits) { atomicOr(shared, bits); }

// All threads of the block, of the warp: what was written before is seen after.
BLUROPS_DEVICE void barrier() { __syncthreads(); }
BLUROPS_DEVICE void warp_barrier() { __syncwarp(); }

// Reads of shared memory below are not moved above, where they would take registers. It orders
// nothing that a kernel may rely on.
BLUROPS_DEVICE void keep_order() { __syncwarp(); }

// The value of lane `lane ^ mask`. Orders no memory.
BLUROPS_DEVICE float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// Bit i: whether lane i says yes. Orders no memory.
BLUROPS_DEVICE uint32_t ballot(bool yes) { return __ballot_sync(0xffffffffu, yes); }
BLUROPS_DEVICE int count_bits(uint32_t bits) { return __popc(bits); }

// Starts copying 16 aligned bytes to shared memory, if `wanted`; zeros where they are not `there`.
// They have arrived for this thread after wait_copies, for the others after a barrier besides.
BLUROPS_DEVICE void copy_async(bool wanted, void* shared, const void* global, bool there) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  // A predicate rather than a branch: this stands in the innermost loops.
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %3, 0;\n"
      "@wanted cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
      "}\n" ::"r"(address),
      "l"(global), "r"(there ? 16 : 0), "r"(static_cast<int>(wanted))
      : "memory");
}
// Ends a group of copies, which may be empty.
BLUROPS_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
// Waits until at most `kPending` groups of this thread are under way.
template <int kPending>
BLUROPS_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

// d = a b (+ d): one m16n8k16 product of half operands with float sums, fragments as in the PTX
// manual. The sums inside are truncated, not rounded: chains must be short.
BLUROPS_DEVICE void mma_first(float (&d)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};\n"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1), "f"(0.f));
}
BLUROPS_DEVICE void mma_next(float (&d)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// Two halves in one register, `low` in the low bits; rounded to nearest, ties to even.
BLUROPS_DEVICE uint32_t pack_halves(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
BLUROPS_DEVICE float half_value(uint32_t bits) {
  float value;
  asm("{.reg .b16 h, z; mov.b32 {h, z}, %1; cvt.f32.f16 %0, h;}" : "=f"(value) : "r"(bits));
  return value;
}

BLUROPS_DEVICE uint32_t bits_of(float value) { return __float_as_uint(value); }
BLUROPS_DEVICE float float_of(uint32_t bits) { return __uint_as_float(bits); }
BLUROPS_DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
BLUROPS_DEVICE float exponential(float x) { return expf(x); }
BLUROPS_DEVICE float log_of_one_plus(float x) { return log1pf(x); }
// exp(2 pi i k / n)
BLUROPS_DEVICE float2 root_of_unity(int k, int n) {
  double sine, cosine;
  sincospi(2.0 * k / n, &sine, &cosine);
  return {static_cast<float>(cosine), static_cast<float>(sine)};
}

// The largest of all values that are given: the order does not matter.
BLUROPS_DEVICE void raise_to(uint32_t* global, uint32_t value) { atomicMax(global, value); }

// Runs `kernel` on the caller's stream. A kernel's attributes are its device's.
template <typename... Params, typename... Args>
void launch(const char* launcher, void (*kernel)(Params...), int64_t blocks, int threads,
            int64_t shared_bytes, void* stream, const Args&... args) {
  constexpr int64_t kWithoutAsking = 48 << 10;
  if (blocks == 0) return;
  if (shared_bytes > kWithoutAsking) {
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               launcher);
  }
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads),
           static_cast<size_t>(shared_bytes), static_cast<cudaStream_t>(stream)>>>(args...);
  check_cuda(cudaGetLastError(), launcher);
}

inline void fill_zero(const char* launcher, void* memory, int64_t bytes, void* stream) {
  if (bytes == 0) return;
  check_cuda(
      cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), static_cast<cudaStream_t>(stream)),
      launcher);
}

}  // namespace blurops::gpu

#endif
