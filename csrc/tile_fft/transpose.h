// SPDX-License-Identifier: BSD-3-Clause
// Columns of a matrix as vectors: cells of 16 or 32 bytes are gathered from as many rows as a
// vector holds cells, and turned in place. Shuffles within 16 bytes are the cheapest; cells of 32
// need one more for each vector, and half as many accesses to memory.
#pragma once

#include <cstring>
#include <utility>

#include "common/simd.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define BLUROPS_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif

namespace blurops {
namespace {

template <typename A, int kBytes>
struct Cells {
  using Vec = typename Simd<A>::Vec;
  static constexpr int kLanes = Simd<A>::kLanes;
  static constexpr int kCell = kBytes / sizeof(A);  // lanes of a cell
  static constexpr int kCells = kLanes / kCell;     // of a vector

  // The cells at from, from + stride, ... side by side, and back.
  static inline __attribute__((always_inline)) Vec gather(const A* from, int64_t stride) {
#if defined(BLUROPS_SHUFFLE)
    return Piece<kLanes>::gather(from, stride);
#else
    Vec vector;
    for (int i = 0; i < kCells; ++i) {
      std::memcpy(reinterpret_cast<char*>(&vector) + kBytes * i, from + i * stride, kBytes);
    }
    return vector;
#endif
  }

  static inline __attribute__((always_inline)) void scatter(Vec vector, A* to, int64_t stride) {
#if defined(BLUROPS_SHUFFLE)
    Piece<kLanes>::scatter(vector, to, stride);
#else
    for (int i = 0; i < kCells; ++i) {
      std::memcpy(to + i * stride, reinterpret_cast<const char*>(&vector) + kBytes * i, kBytes);
    }
#endif
  }

  // Transposes the square of lanes that kCell vectors have in each cell.
  static inline __attribute__((always_inline)) void turn(Vec* rows) {
    if constexpr (kCell == 2 * kUnit) {
#pragma GCC unroll 4
      for (int k = 0; k < kUnit; ++k) interleave<kUnit, kCell>(rows[k], rows[k + kUnit]);
    }
#pragma GCC unroll 2
    for (int k = 0; k < kCell; k += kUnit) turn_units(rows + k);
  }

 private:
  static constexpr int kUnit = 16 / sizeof(A);  // lanes of 16 bytes

  // The same of every unit of the cells.
  static inline __attribute__((always_inline)) void turn_units(Vec* rows) {
    interleave<1>(rows[0], rows[1]);
    if constexpr (kUnit == 4) {
      interleave<1>(rows[2], rows[3]);
      interleave<2>(rows[0], rows[2]);
      interleave<2>(rows[1], rows[3]);
      std::swap(rows[1], rows[2]);
    }
  }

#if defined(BLUROPS_SHUFFLE)
  template <int kWidth>
  struct Piece {
    typedef A Vec __attribute__((vector_size(kWidth * sizeof(A))));
    typedef A Unaligned
        __attribute__((vector_size(kWidth * sizeof(A)), aligned(alignof(A)), may_alias));

    static inline __attribute__((always_inline)) Vec gather(const A* from, int64_t stride) {
      if constexpr (kWidth == kCell) {
        return *reinterpret_cast<const Unaligned*>(from);
      } else {
        using Half = Piece<kWidth / 2>;
        return join(Half::gather(from, stride),
                    Half::gather(from + kWidth / 2 / kCell * stride, stride),
                    std::make_index_sequence<kWidth>());
      }
    }

    static inline __attribute__((always_inline)) void scatter(Vec v, A* to, int64_t stride) {
      if constexpr (kWidth == kCell) {
        *reinterpret_cast<Unaligned*>(to) = v;
      } else {
        using Half = Piece<kWidth / 2>;
        constexpr int kHalf = kWidth / 2;
        Half::scatter(part<Half, 0>(v, std::make_index_sequence<kHalf>()), to, stride);
        Half::scatter(part<Half, kHalf>(v, std::make_index_sequence<kHalf>()),
                      to + kHalf / kCell * stride, stride);
      }
    }

    template <typename Half, int kFirst, size_t... i>
    static inline __attribute__((always_inline)) typename Half::Vec part(
        Vec v, std::index_sequence<i...>) {
      return BLUROPS_SHUFFLE(v, v, (kFirst + i)...);
    }

    template <typename Half, size_t... i>
    static inline __attribute__((always_inline)) Vec join(Half low, Half high,
                                                          std::index_sequence<i...>) {
      return BLUROPS_SHUFFLE(low, high, i...);
    }
  };
#endif

  // Groups of kGroup lanes of a and b in turn: those of the low halves of every kSpan lanes become
  // a, those of the high halves b.
  template <int kGroup, int kSpan = kUnit>
  static inline __attribute__((always_inline)) void interleave(Vec& a, Vec& b) {
    const Vec low = half<kGroup, kSpan, 0>(a, b, std::make_index_sequence<kLanes>());
    b = half<kGroup, kSpan, 1>(a, b, std::make_index_sequence<kLanes>());
    a = low;
  }

  template <int kGroup, int kSpan, int kHigh, size_t... i>
  static inline __attribute__((always_inline)) Vec half(Vec a, Vec b, std::index_sequence<i...>) {
#if defined(BLUROPS_SHUFFLE)
    return BLUROPS_SHUFFLE(a, b, source<kGroup, kSpan, kHigh>(i)...);
#else
    typedef typename Index<A>::Vec Mask;
    return __builtin_shuffle(a, b, Mask{source<kGroup, kSpan, kHigh>(i)...});
#endif
  }

  // Where lane i of interleave() comes from, b's lanes counted after a's.
  template <int kGroup, int kSpan, int kHigh>
  static constexpr int source(int i) {
    const int lane = i % kSpan;
    return i - lane + kHigh * kSpan / 2 + lane / (2 * kGroup) * kGroup + i % kGroup +
           (i / kGroup % 2 ? kLanes : 0);
  }
};

// Rows 0 .. kCell - 1 of the transpose: to[k][i] = from[i * stride + k] for lanes i.
template <typename Cells, typename A>
inline __attribute__((always_inline)) void read_transposed(const A* from, int64_t stride,
                                                           typename Simd<A>::Vec* to) {
  constexpr int kCell = Cells::kCell;
#pragma GCC unroll 8
  for (int k = 0; k < kCell; ++k) to[k] = Cells::gather(from + k * stride, kCell * stride);
  Cells::turn(to);
}

// The other way: to[i * stride + k] = from[k][i].
template <typename Cells, typename A>
inline __attribute__((always_inline)) void write_transposed(typename Simd<A>::Vec* from, A* to,
                                                            int64_t stride) {
  constexpr int kCell = Cells::kCell;
  Cells::turn(from);
#pragma GCC unroll 8
  for (int k = 0; k < kCell; ++k) Cells::scatter(from[k], to + k * stride, kCell * stride);
}

}  // namespace
}  // namespace blurops
