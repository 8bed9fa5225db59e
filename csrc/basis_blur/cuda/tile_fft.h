// SPDX-License-Identifier: BSD-3-Clause
// Transforms of a square tile of kT x kT complex numbers by the threads of a block.
//
// An axis of kT = 8 kFirst positions is transformed in two stages, of kFirst and of 8 points
// (Cooley and Tukey, 1965), each in place: a thread reads its numbers and writes there. Frequency
// k1 + kFirst k2 ends at position 8 k1 + k2. Spectra stay in that order, because they are only ever
// multiplied with each other, and the inverse takes the stages back in reverse.
//
// The tile lies in shared memory as lines, a line being a column of the image: the first index is
// the place in the image's row, so that neighbouring threads read and write neighbouring pixels.
// Its odd pitch keeps them in different banks along either axis.
#pragma once

#include "basis_blur/cuda/layout.h"

namespace blurops::cuda {

template <int kT>
struct Tile {
  static constexpr int kLast = 8, kFirst = kT / kLast;
  static constexpr int kPoints = kT * kT;
  static constexpr int kPitch = kT + 1;
  static constexpr int kThreads = kT == 64 ? 256 : 512;
  static constexpr int kWays = kThreads / kT;            // threads that share a place of a line
  static constexpr int kVectors = kFirst / kWays;        // of 8 points of the spectrum, of a thread
  static constexpr int kRounds = kT * kLast / kThreads;  // of kFirst points, of a thread
  static_assert(kFirst % kWays == 0 && kLast % kWays == 0, "threads share the work evenly");

  static constexpr int64_t kSharedBytes = 8 * (kT * kPitch + kT);
};

BLUROPS_DEVICE float2 plus(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
BLUROPS_DEVICE float2 minus(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
BLUROPS_DEVICE float2 conjugate(float2 a) { return {a.x, -a.y}; }
BLUROPS_DEVICE float2 scaled(float2 a, float scale) { return {a.x * scale, a.y * scale}; }
// sum + a b
BLUROPS_DEVICE float2 add_product(float2 a, float2 b, float2 sum) {
  return {gpu::multiply_add(-a.y, b.y, gpu::multiply_add(a.x, b.x, sum.x)),
          gpu::multiply_add(a.y, b.x, gpu::multiply_add(a.x, b.y, sum.y))};
}
BLUROPS_DEVICE float2 product(float2 a, float2 b) {
  return {gpu::multiply_add(a.x, b.x, -a.y * b.y), gpu::multiply_add(a.x, b.y, a.y * b.x)};
}
// a times i^kSign
template <int kSign>
BLUROPS_DEVICE float2 turned(float2 a) {
  return kSign > 0 ? float2{-a.y, a.x} : float2{a.y, -a.x};
}

// r[k] = sum_n r[n] exp(kSign 2 pi i n k / 4), of the four numbers that are kStep apart.
template <int kSign, int kStep>
BLUROPS_DEVICE void transform4(float2* r) {
  const float2 a = plus(r[0], r[2 * kStep]), b = minus(r[0], r[2 * kStep]);
  const float2 c = plus(r[kStep], r[3 * kStep]);
  const float2 d = turned<kSign>(minus(r[kStep], r[3 * kStep]));
  r[0] = plus(a, c), r[kStep] = plus(b, d), r[2 * kStep] = minus(a, c), r[3 * kStep] = minus(b, d);
}

// a times exp(kSign 2 pi i kPart / 16)
template <int kSign, int kPart>
BLUROPS_DEVICE float2 rotated(float2 a) {
  constexpr float kDiagonal = 0.70710678118654752f;
  constexpr float kCos = 0.92387953251128676f, kSin = 0.38268343236508977f;
  static_assert(kPart < 5 || kPart == 6 || kPart == 9, "the products of 0, 1, 2, 3");
  if constexpr (kPart == 0) return a;
  if constexpr (kPart == 1) return product(a, {kCos, kSign * kSin});
  if constexpr (kPart == 2) return scaled({a.x - kSign * a.y, a.y + kSign * a.x}, kDiagonal);
  if constexpr (kPart == 3) return product(a, {kSin, kSign * kCos});
  if constexpr (kPart == 4) return turned<kSign>(a);
  if constexpr (kPart == 6) return scaled({a.x + kSign * a.y, a.y - kSign * a.x}, -kDiagonal);
  return product(a, {-kCos, -kSign * kSin});
}

// The same of 8 and of 16 points.
template <int kSign>
BLUROPS_DEVICE void transform(float2 (&r)[8]) {
  transform4<kSign, 2>(r);
  transform4<kSign, 2>(r + 1);
  const float2 even[4] = {r[0], r[2], r[4], r[6]};
  const float2 odd[4] = {r[1], rotated<kSign, 2>(r[3]), rotated<kSign, 4>(r[5]),
                         rotated<kSign, 6>(r[7])};
  BLUROPS_UNROLL
  for (int k = 0; k < 4; ++k) {
    r[k] = plus(even[k], odd[k]);
    r[k + 4] = minus(even[k], odd[k]);
  }
}

template <int kSign>
BLUROPS_DEVICE void transform(float2 (&r)[16]) {
  BLUROPS_UNROLL
  for (int n = 0; n < 4; ++n) transform4<kSign, 4>(r + n);
  r[5] = rotated<kSign, 1>(r[5]), r[6] = rotated<kSign, 2>(r[6]), r[7] = rotated<kSign, 3>(r[7]);
  r[9] = rotated<kSign, 2>(r[9]), r[10] = rotated<kSign, 4>(r[10]);
  r[11] = rotated<kSign, 6>(r[11]);
  r[13] = rotated<kSign, 3>(r[13]), r[14] = rotated<kSign, 6>(r[14]);
  r[15] = rotated<kSign, 9>(r[15]);
  BLUROPS_UNROLL
  for (int k = 0; k < 4; ++k) transform4<kSign, 1>(r + 4 * k);
  BLUROPS_UNROLL
  for (int i = 0; i < 4; ++i) {
    BLUROPS_UNROLL
    for (int j = i + 1; j < 4; ++j) {
      const float2 held = r[4 * i + j];
      r[4 * i + j] = r[4 * j + i];
      r[4 * j + i] = held;
    }
  }
}

// The passes over a tile. Each begins with what the last barrier made visible; forward_lines and
// inverse_across end with one, the passes that hand numbers to `use` do not.
template <int kT>
class Passes {
 public:
  using Of = Tile<kT>;
  static constexpr int kFirst = Of::kFirst, kLast = Of::kLast, kPitch = Of::kPitch;

  float2* tile;  // kT lines of kPitch, in shared memory
  int thread;

  BLUROPS_DEVICE Passes(const float2* roots_of_unity, int thread_index)
      : tile(reinterpret_cast<float2*>(gpu::shared_memory())),
        thread(thread_index),
        roots_(tile + kT * kPitch) {
    if (thread < kT) gpu::write(roots_ + thread, roots_of_unity[thread]);
  }

  // Where number k2 of a thread's vector u lies in a spectrum in memory.
  BLUROPS_DEVICE int at(int u, int k2) const {
    return (kLast * (thread / kT + Of::kWays * u) + k2) * kT + thread % kT;
  }

  // Every line below `count`, along itself.
  BLUROPS_DEVICE void forward_lines(int count) const {
    BLUROPS_ROLLED
    for (int i = thread; i < count * kLast; i += Of::kThreads) {
      float2* line = tile + i % count * kPitch;
      const int n2 = i / count;
      float2 r[kFirst];
      read(r, line + n2, kLast);
      transform<-1>(r);
      twist<-1>(r, n2);
      write(r, line + n2, kLast);
    }
    gpu::barrier();
    BLUROPS_ROLLED
    for (int i = thread; i < count * kFirst; i += Of::kThreads) {
      float2* part = tile + i % count * kPitch + i / count * kLast;
      float2 r[kLast];
      read(r, part, 1);
      transform<-1>(r);
      write(r, part, 1);
    }
    gpu::barrier();
  }

  // From line to line; lines from `count` on count as zeros. use(u, r) gets a vector of the
  // spectrum, which belongs at at(u, .).
  template <typename Use>
  BLUROPS_DEVICE void forward_across(int count, const Use& use) const {
    BLUROPS_ROLLED
    for (int u = 0; u < Of::kRounds; ++u) {
      const int n2 = thread / kT + Of::kWays * u;
      float2 r[kFirst];
      BLUROPS_UNROLL
      for (int n1 = 0; n1 < kFirst; ++n1) {
        const int line = kLast * n1 + n2;
        r[n1] = line < count ? gpu::read(place(line)) : float2{0, 0};
      }
      transform<-1>(r);
      twist<-1>(r, n2);
      write(r, place(n2), kLast * kPitch);
    }
    gpu::barrier();
    BLUROPS_UNROLL
    for (int u = 0; u < Of::kVectors; ++u) {
      float2 r[kLast];
      read(r, place(kLast * (thread / kT + Of::kWays * u)), kPitch);
      transform<-1>(r);
      use(u, r);
    }
  }

  // The spectrum that provide(u, r) hands out, from line to line; `keep` lines are wanted.
  template <typename Provide>
  BLUROPS_DEVICE void inverse_across(int keep, const Provide& provide) const {
    gpu::barrier();
    BLUROPS_UNROLL
    for (int u = 0; u < Of::kVectors; ++u) {
      const int k1 = thread / kT + Of::kWays * u;
      float2 r[kLast];
      provide(u, r);
      transform<1>(r);
      twist<1>(r, k1);
      write(r, place(kLast * k1), kPitch);
    }
    gpu::barrier();
    BLUROPS_ROLLED
    for (int u = 0; u < Of::kRounds; ++u) {
      const int n2 = thread / kT + Of::kWays * u;
      float2 r[kFirst];
      read(r, place(n2), kLast * kPitch);
      transform<1>(r);
      BLUROPS_UNROLL
      for (int n1 = 0; n1 < kFirst; ++n1) {
        const int line = kLast * n1 + n2;
        if (line < keep) gpu::write(place(line), r[n1]);
      }
    }
    gpu::barrier();
  }

  // Every line below `count`, along itself: use(u, line, n2, r) gets the numbers 8 n1 + n2 of it.
  template <typename Use>
  BLUROPS_DEVICE void inverse_lines(int count, const Use& use) const {
    BLUROPS_ROLLED
    for (int i = thread; i < count * kFirst; i += Of::kThreads) {
      float2* part = tile + i % count * kPitch + i / count * kLast;
      float2 r[kLast];
      read(r, part, 1);
      transform<1>(r);
      twist<1>(r, i / count);
      write(r, part, 1);
    }
    gpu::barrier();
    BLUROPS_UNROLL
    for (int u = 0; u < Of::kRounds; ++u) {
      const int i = thread + u * Of::kThreads;
      if (i >= count * kLast) continue;
      const int line = i % count, n2 = i / count;
      float2 r[kFirst];
      read(r, tile + line * kPitch + n2, kLast);
      transform<1>(r);
      use(u, line, n2, r);
    }
  }

 private:
  float2* roots_;  // exp(2 pi i k / kT), in shared memory

  BLUROPS_DEVICE float2* place(int line) const { return tile + line * kPitch + thread % kT; }

  template <int kCount>
  BLUROPS_DEVICE static void read(float2 (&r)[kCount], const float2* from, int step) {
    BLUROPS_UNROLL
    for (int n = 0; n < kCount; ++n) r[n] = gpu::read(from + n * step);
  }
  template <int kCount>
  BLUROPS_DEVICE static void write(const float2 (&r)[kCount], float2* to, int step) {
    BLUROPS_UNROLL
    for (int n = 0; n < kCount; ++n) gpu::write(to + n * step, r[n]);
  }

  // What stands between the two stages: number k is turned by k * by of the kT parts of a circle.
  template <int kSign, int kCount>
  BLUROPS_DEVICE void twist(float2 (&r)[kCount], int by) const {
    BLUROPS_UNROLL
    for (int k = 1; k < kCount; ++k) {
      const float2 root = gpu::read(roots_ + k * by);
      r[k] = product(r[k], kSign > 0 ? root : conjugate(root));
    }
  }
};

}  // namespace blurops::cuda
