// SPDX-License-Identifier: BSD-3-Clause
// The functions of csrc/gpu/device.h on the host. One block at a time; its threads are fibers that
// run until they have to wait for each other. What a GPU leaves to chance is chosen by Settings:
// the order of the threads, and whether an asynchronous copy lands at once or as late as its wait
// allows. Shared memory starts as NaN, and shadow.h looks for accesses that no barrier orders.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "gpu/fibers.h"
#include "gpu/shadow.h"

#define BLUROPS_DEVICE inline
#define BLUROPS_KERNEL(threads, blocks) inline void
#define BLUROPS_UNROLL
#define BLUROPS_ROLLED

struct uint2 {
  uint32_t x, y;
};
struct uint4 {
  uint32_t x, y, z, w;
};
struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};

namespace blurops::gpu {

inline int thread_index() { return emulation::block().current; }
inline int64_t block_index() { return emulation::block().index; }
inline unsigned char* shared_memory() { return emulation::block().shared(); }

template <typename T>
T read(const T* shared) {
  T value;
  if (emulation::block().shadow.read(shared, sizeof(T))) {
    std::memcpy(&value, shared, sizeof value);
  } else {
    std::memset(&value, 0xff, sizeof value);
  }
  return value;
}
template <typename T>
void write(T* shared, T value) {
  if (emulation::block().shadow.write(shared, sizeof(T))) {
    std::memcpy(static_cast<void*>(shared), &value, sizeof value);
  }
}

inline void set_bits(uint32_t* shared, uint32_t bits) {
  if (emulation::block().shadow.set(shared)) *shared |= bits;
}

inline void barrier() { emulation::block().barrier(); }
inline void warp_barrier() {
  const int warp = thread_index() / 32;
  emulation::block().meet("warp_barrier", nullptr, 0, [warp](emulation::Meeting&) {
    emulation::block().shadow.warp_ordered(warp);
  });
}

inline void keep_order() {}

inline float shuffle_xor(float value, int mask) {
  const unsigned char* result = emulation::block().meet(
      "shuffle_xor", &value, sizeof value, [mask](emulation::Meeting& meeting) {
        for (int lane = 0; lane < 32; ++lane) {
          std::memcpy(meeting.results[lane], meeting.operands[lane ^ mask], sizeof(float));
        }
      });
  std::memcpy(&value, result, sizeof value);
  return value;
}

inline uint32_t ballot(bool yes) {
  const uint32_t mine = yes;
  uint32_t bits;
  const unsigned char* result =
      emulation::block().meet("ballot", &mine, sizeof mine, [](emulation::Meeting& meeting) {
        uint32_t all = 0;
        for (int lane = 0; lane < 32; ++lane) all |= meeting.operands[lane][0] ? 1u << lane : 0u;
        for (int lane = 0; lane < 32; ++lane) std::memcpy(meeting.results[lane], &all, sizeof all);
      });
  std::memcpy(&bits, result, sizeof bits);
  return bits;
}
inline int count_bits(uint32_t bits) { return __builtin_popcount(bits); }

inline void copy_async(bool wanted, void* shared, const void* global, bool there) {
  if (wanted) emulation::block().copy(shared, global, there);
}
inline void commit_copies() { emulation::block().commit(); }
template <int kPending>
void wait_copies() {
  emulation::block().wait(kPending);
}

inline float half_value(uint32_t bits) {
  const uint16_t low = static_cast<uint16_t>(bits);
  _Float16 half;
  std::memcpy(&half, &low, sizeof half);
  return static_cast<float>(half);
}

inline uint32_t pack_halves(float low, float high) {
  const _Float16 halves[2] = {static_cast<_Float16>(low), static_cast<_Float16>(high)};
  uint32_t packed;
  std::memcpy(&packed, halves, sizeof packed);
  return packed;
}

struct MmaOperands {
  uint32_t a[4], b[2];
};

// Cuts a sum to float towards zero: nearer to the hardware than rounding.
inline float truncated(double sum) {
  const float rounded = static_cast<float>(sum);
  const bool outward = std::fabs(static_cast<double>(rounded)) > std::fabs(sum);
  return outward ? std::nextafter(rounded, 0.f) : rounded;
}

// The product of the fragments of all lanes; lane = 4 g + t, as in the PTX manual.
inline void mma_products(emulation::Meeting& meeting) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane >> 2, t = lane & 3;
    MmaOperands of;
    std::memcpy(&of, meeting.operands[lane], sizeof of);
    for (int e = 0; e < 2; ++e) {
      for (int r = 0; r < 4; ++r) {
        a[g + 8 * (r & 1)][2 * t + e + 8 * (r >> 1)] = half_value(of.a[r] >> 16 * e);
      }
      for (int r = 0; r < 2; ++r) b[2 * t + e + 8 * r][g] = half_value(of.b[r] >> 16 * e);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane >> 2, t = lane & 3;
    float products[4];
    for (int r = 0; r < 4; ++r) {
      double sum = 0;
      for (int k = 0; k < 16; ++k) {
        sum += static_cast<double>(a[g + 8 * (r >> 1)][k]) * b[k][2 * t + (r & 1)];
      }
      products[r] = truncated(sum);
    }
    std::memcpy(meeting.results[lane], products, sizeof products);
  }
}

inline void mma_first(float (&d)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  const MmaOperands mine{{a.x, a.y, a.z, a.w}, {b0, b1}};
  std::memcpy(d, emulation::block().meet("mma", &mine, sizeof mine, mma_products), sizeof d);
}
inline void mma_next(float (&d)[4], const uint4& a, uint32_t b0, uint32_t b1) {
  float product[4];
  mma_first(product, a, b0, b1);
  for (int r = 0; r < 4; ++r) d[r] = truncated(static_cast<double>(d[r]) + product[r]);
}

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
inline float exponential(float x) { return std::exp(x); }
inline float log_of_one_plus(float x) { return std::log1p(x); }
inline float2 root_of_unity(int k, int n) {
  const double turn = 2.0 * 3.14159265358979323846 * k / n;
  return {static_cast<float>(std::cos(turn)), static_cast<float>(std::sin(turn))};
}
inline void raise_to(uint32_t* global, uint32_t value) {
  if (value > *global) *global = value;
}

template <typename... Params, typename... Args>
void launch(const char*, void (*kernel)(Params...), int64_t blocks, int threads,
            int64_t shared_bytes, void*, const Args&... args) {
  emulation::run(blocks, threads, shared_bytes, [&] { kernel(args...); });
}

inline void fill_zero(const char*, void* memory, int64_t bytes, void*) {
  std::memset(memory, 0, static_cast<size_t>(bytes));
}

}  // namespace blurops::gpu
