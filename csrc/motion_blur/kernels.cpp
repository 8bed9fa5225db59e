// SPDX-License-Identifier: BSD-3-Clause
// The units of motion blur, compiled once per instruction set (BLUROPS_ISA names it).
//
// A vector of neighbouring pixels takes the offsets of its window one after the other. Each pixel
// has its own line, so each offset has a vector of weights, a few operations on the planes of
// MotionPlan; what is known of all lines together (Bound) leaves out the offsets far from them and
// tells where no line has ended yet. The adjoint gathers too, from the pixels that spread: their
// lines are read at the offset.
#include "common/number.h"
#include "motion_blur/lines.h"

namespace blurops {
namespace {

// Channels that share a pass over the weights.
constexpr int kChannelGroup = 4;

int64_t map_of(const MotionPlan& plan, int64_t n) { return plan.maps_batched ? n : 0; }

// The sharp pixels that row y of the blurred image is at, for offset (0, 0).
template <typename A>
const A* sharp_row(const MotionPlan& plan, int64_t n, int64_t c, int64_t y) {
  const MotionBlur& p = plan.problem;
  return static_cast<const A*>(plan.extended) + (n * p.channels + c) * plan.plane +
         (y + p.reach) * plan.pitch + p.reach;
}

// Unit (map, y): fills the planes of a row, and the bounds of its vectors.
template <typename T>
void lines_unit(const MotionPlan& plan, int64_t unit, void*) {
  using A = typename Compute<T>::type;
  const MotionBlur& p = plan.problem;
  const int64_t map = unit / p.out_height, y = unit % p.out_height;
  const int64_t pitch = plan.line_pitch;
  const int64_t size = p.out_height * p.out_width;
  const T* length =
      static_cast<const T*>(plan.length) + (p.length_batched ? map * size : 0) + y * p.out_width;
  const T* angle =
      static_cast<const T*>(plan.angle) + (p.angle_batched ? map * size : 0) + y * p.out_width;
  A* planes = line_row<A>(plan, map, y);
  // Where there are no pixels: a motion that is none.
  for (int64_t k = 0; k < kLinePlanes; ++k) {
    for (int64_t x = 0; x < pitch; ++x) planes[k * pitch + x] = A(k == kCos ? 1 : 0);
  }
  A* row = planes + plan.pad;
  for (int64_t x = 0; x < p.out_width; ++x) {
    const Motion<A> motion = motion_of<A>(load(length[x]), load(angle[x]), plan.derivative);
    row[kCos * pitch + x] = motion.cos;
    row[kCosLo * pitch + x] = motion.cos_lo;
    row[kSin * pitch + x] = motion.sin;
    row[kSinLo * pitch + x] = motion.sin_lo;
    row[kHalf * pitch + x] = motion.half;
    row[kLimit * pitch + x] = motion.limit;
  }
  A* bounds = bounds_row<A>(plan.bounds, plan, map, y);
  for (int64_t b = 0; b < plan.blocks; ++b, bounds += kBounds) {
    constexpr A kFar = A(1e9);
    A found[kBounds] = {kFar, -kFar, 0, -1, -1, kFar};
    for (int64_t i = 0; i < Simd<A>::kLanes; ++i) {
      const int64_t x = b * Simd<A>::kLanes + i - plan.pad;
      if (x < 0 || x >= p.out_width) continue;
      const Extent<A> extent =
          extent_of(row[kCos * pitch + x] + row[kCosLo * pitch + x],
                    row[kSin * pitch + x] + row[kSinLo * pitch + x], row[kHalf * pitch + x],
                    plan.derivative, static_cast<A>(p.reach));
      found[kCotLow] = smaller(found[kCotLow], extent.cot);
      found[kCotHigh] = larger(found[kCotHigh], extent.cot);
      found[kSpread] = larger(found[kSpread], extent.spread);
      found[kReachX] = larger(found[kReachX], extent.right);
      found[kReachY] = larger(found[kReachY], extent.down);
      found[kLimitLow] = smaller(found[kLimitLow], row[kLimit * pitch + x]);
    }
    for (int k = 0; k < kBounds; ++k) bounds[k] = found[k];
  }
}

// Unit (map, y): for every vector of an adjoint's results, the bounds of all that it may look at.
template <typename T>
void windows_unit(const MotionPlan& plan, int64_t unit, void*) {
  using A = typename Compute<T>::type;
  const MotionBlur& p = plan.problem;
  const int64_t map = unit / p.out_height, y = unit % p.out_height;
  const A* bounds = bounds_row<A>(plan.bounds, plan, map, y);
  A* windows = bounds_row<A>(plan.windows, plan, map, y);
  const int64_t wide = plan.pad / Simd<A>::kLanes + 1;
  for (int64_t b = 0; b < plan.blocks; ++b) {
    A* to = windows + b * kBounds;
    for (int k = 0; k < kBounds; ++k) to[k] = bounds[b * kBounds + k];
    for (int64_t i = b + 1; i < smaller(b + wide, plan.blocks); ++i) {
      const A* from = bounds + i * kBounds;
      for (int k = 0; k < kBounds; ++k) {
        to[k] = k == kCotLow || k == kLimitLow ? smaller(to[k], from[k]) : larger(to[k], from[k]);
      }
    }
  }
}

// Calls visit(q, p, inner) for the offsets that may have weight; inner: no line has ended there.
template <bool kSegment, typename A, typename Visit>
inline __attribute__((always_inline)) void for_offsets(const A* bound, const Visit& visit) {
  const int64_t down = static_cast<int64_t>(bound[kReachY]);
  for (int64_t q = -down; q <= down; ++q) {
    const Columns columns = columns_at(bound, q);
    const int64_t inner = inner_columns(bound, q);
    int64_t p = columns.first;
    for (; p <= columns.last && p < -inner; ++p) visit(q, p, Number<0>());
    for (; p <= columns.last && p <= inner; ++p) visit(q, p, Number<1>());
    for (; p <= columns.last; ++p) visit(q, p, Number<0>());
  }
}

// The weight of an offset.
template <bool kSegment, bool kInner, typename A>
inline __attribute__((always_inline)) typename Simd<A>::Vec weigh(const Line<A>& line, int64_t q,
                                                                  int64_t p) {
  const A down = static_cast<A>(q), right = static_cast<A>(p);
  if (kInner) return weight_of<Vectors<A>>(magnitude_of(line.across(down, right), A(0)));
  return weight_of<Vectors<A>>(place<kSegment>(line, down, right).distance);
}

// Channels c .. c + kCount - 1 of row y, a vector at a time.
template <int kCount, bool kSegment, typename T>
void blur_channels(const MotionPlan& plan, int64_t n, int64_t c, int64_t y) {
  using A = typename Compute<T>::type;
  using V = Simd<A>;
  const MotionBlur& p = plan.problem;
  const A* planes = line_row<A>(plan, map_of(plan, n), y);
  const A* bounds = bounds_row<A>(plan.bounds, plan, map_of(plan, n), y);
  const A* image = sharp_row<A>(plan, n, c, y);
  T* out = static_cast<T*>(plan.out) + ((n * p.channels + c) * p.out_height + y) * p.out_width;
  const int64_t plane = p.out_height * p.out_width;
  for (int64_t x = 0; x < p.out_width; x += V::kLanes) {
    const int64_t at = plan.pad + x;
    const Line<A> line(planes + at, plan.line_pitch);
    typename V::Vec total = {}, sums[kCount] = {};
    for_offsets<kSegment>(
        bounds + at / V::kLanes * kBounds,
        [&](int64_t q, int64_t offset, auto inner) __attribute__((always_inline)) {
          const auto weight = weigh<kSegment, decltype(inner)::value == 1>(line, q, offset);
          total += weight;
          const A* source = image + q * plan.pitch + offset + x;
#pragma GCC unroll 4
          for (int i = 0; i < kCount; ++i) sums[i] += weight * V::read(source + i * plan.plane);
        });
    const int64_t inside = smaller<int64_t>(V::kLanes, p.out_width - x);
    for (int i = 0; i < kCount; ++i) {
      const auto mean = sums[i] / total;
      for (int64_t lane = 0; lane < inside; ++lane) store(mean[lane], out + i * plane + x + lane);
    }
  }
}

// Unit (n, y): one row of the blurred image.
template <typename T>
void blur_unit(const MotionPlan& plan, int64_t unit, void*) {
  const MotionBlur& p = plan.problem;
  const int64_t n = unit / p.out_height, y = unit % p.out_height;
  for (int64_t c = 0; c < p.channels; c += kChannelGroup) {
    with_number<kChannelGroup>(p.channels - c, [&](auto number) {
      constexpr int kCount = decltype(number)::value;
      auto* row = p.segment ? blur_channels<kCount, true, T> : blur_channels<kCount, false, T>;
      row(plan, n, c, y);
    });
  }
}

// Unit (map, y): 1 / sum of the weights of a row of pixels.
template <bool kSegment, typename A>
void norms_row(const MotionPlan& plan, int64_t map, int64_t y) {
  using V = Simd<A>;
  A* planes = line_row<A>(plan, map, y);
  const A* bounds = bounds_row<A>(plan.bounds, plan, map, y);
  for (int64_t x = 0; x < plan.problem.out_width; x += V::kLanes) {
    const int64_t at = plan.pad + x;
    const Line<A> line(planes + at, plan.line_pitch);
    typename V::Vec total = {};
    for_offsets<kSegment>(
        bounds + at / V::kLanes * kBounds,
        [&](int64_t q, int64_t offset, auto inner) __attribute__((always_inline)) {
          total += weigh<kSegment, decltype(inner)::value == 1>(line, q, offset);
        });
    V::write(planes + kNorm * plan.line_pitch + at, A(1) / total);
  }
}

template <typename T>
void norms_unit(const MotionPlan& plan, int64_t unit, void*) {
  using A = typename Compute<T>::type;
  const int64_t map = unit / plan.problem.out_height, y = unit % plan.problem.out_height;
  auto* row = plan.problem.segment ? norms_row<true, A> : norms_row<false, A>;
  row(plan, map, y);
}

// Unit (n, y): what a row spreads, divided by the sums of weights; zero outside the maps.
template <typename T>
void divide_unit(const MotionPlan& plan, int64_t unit, void*) {
  using A = typename Compute<T>::type;
  const MotionBlur& p = plan.problem;
  const int64_t n = unit / p.out_height, y = unit % p.out_height;
  const A* norms = line_row<A>(plan, map_of(plan, n), y) + kNorm * plan.line_pitch + plan.pad;
  for (int64_t c = 0; c < p.channels; ++c) {
    const int64_t row = (n * p.channels + c) * p.out_height + y;
    const T* from = static_cast<const T*>(plan.first) + row * p.out_width;
    A* to = static_cast<A*>(plan.divided) + row * plan.line_pitch;
    for (int64_t x = 0; x < plan.line_pitch; ++x) to[x] = A(0);
    for (int64_t x = 0; x < p.out_width; ++x) to[plan.pad + x] = load(from[x]) * norms[x];
  }
}

// sums += what extended row u of channels c .. c + kCount - 1 gets, gathered from the pixels that
// spread to it.
template <int kCount, bool kSegment, typename A>
void gather_row(const MotionPlan& plan, int64_t n, int64_t c, int64_t u, A* sums) {
  using V = Simd<A>;
  const MotionBlur& p = plan.problem;
  const int64_t map = map_of(plan, n), reach = p.reach;
  const A* divided =
      static_cast<const A*>(plan.divided) + (n * p.channels + c) * p.out_height * plan.line_pitch;
  const int64_t columns = p.out_width + 2 * reach;
  // Extended column e gets from blurred pixel e - reach - p: the pixels of a vector of results lie
  // in columns e .. e + pad + lanes of the planes, which is what its window bounds.
  for (int64_t e = 0; e < columns; e += V::kLanes) {
    typename V::Vec totals[kCount] = {};
    for (int64_t q = -reach; q <= reach; ++q) {
      const int64_t y = u - reach - q;
      if (y < 0 || y >= p.out_height) continue;
      const A* bound = bounds_row<A>(plan.windows, plan, map, y) + e / V::kLanes * kBounds;
      if (static_cast<A>(q) > bound[kReachY] || static_cast<A>(-q) > bound[kReachY]) continue;
      const A* planes = line_row<A>(plan, map, y) + plan.pad - reach + e;
      const A* values = divided + y * plan.line_pitch + plan.pad - reach + e;
      const Columns range = columns_at(bound, q);
      const int64_t inner = inner_columns(bound, q);
      for (int64_t offset = range.first; offset <= range.last; ++offset) {
        const Line<A> line(planes - offset, plan.line_pitch);
        const bool inside = offset >= -inner && offset <= inner;
        const auto weight = inside ? weigh<kSegment, true>(line, q, offset)
                                   : weigh<kSegment, false>(line, q, offset);
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          totals[i] += weight * V::read(values - offset + i * p.out_height * plan.line_pitch);
        }
      }
    }
    for (int i = 0; i < kCount; ++i) {
      A* to = sums + i * plan.line_pitch + e;
      V::write(to, V::read(to) + totals[i]);
    }
  }
}

// Unit (n, q): one row of the sharp image, folded from every extended row that reads it.
template <typename T>
void adjoint_unit(const MotionPlan& plan, int64_t unit, void* scratch) {
  using A = typename Compute<T>::type;
  const MotionBlur& p = plan.problem;
  const int64_t n = unit / p.height, q = unit % p.height;
  A* sums = static_cast<A*>(scratch);
  A* folded = sums + kChannelGroup * plan.line_pitch;
  for (int64_t c = 0; c < p.channels; c += kChannelGroup) {
    for (int64_t i = 0; i < kChannelGroup * plan.line_pitch; ++i) sums[i] = A(0);
    for (int64_t i = plan.source_begin[q]; i < plan.source_begin[q + 1]; ++i) {
      with_number<kChannelGroup>(p.channels - c, [&](auto number) {
        constexpr int kCount = decltype(number)::value;
        auto* row = p.segment ? gather_row<kCount, true, A> : gather_row<kCount, false, A>;
        row(plan, n, c, plan.sources[i], sums);
      });
    }
    for (int64_t i = 0; i < smaller<int64_t>(kChannelGroup, p.channels - c); ++i) {
      for (int64_t x = 0; x < p.width; ++x) folded[x] = A(0);
      for (int64_t u = 0; u < p.out_width + 2 * p.reach; ++u) {
        const int64_t column = plan.column_map[u];
        if (column >= 0) folded[column] += sums[i * plan.line_pitch + u];
      }
      T* to = static_cast<T*>(plan.out) + ((n * p.channels + c + i) * p.height + q) * p.width;
      for (int64_t x = 0; x < p.width; ++x) store(folded[x], to + x);
    }
  }
}

// What a vector of pixels sums for its gradient by length or angle: the derivatives of the weights,
// and these times what they weigh.
template <typename A>
struct Slopes {
  using Vec = typename Simd<A>::Vec;
  Vec change = {}, moved = {};

  void add(Vec slope, Vec product) {
    change += slope;
    moved += slope * product;
  }
  Vec gradient(Vec mean, Vec total) const { return (moved - change * mean / total) / total; }
};

// Adds one vector of the gradients by length and angle, of sample n.
template <bool kLength, bool kAngle, bool kSegment, typename T, typename A>
void add_gradients(const MotionPlan& plan, int64_t n, int64_t y, int64_t x, const A* grads,
                   typename Simd<A>::Vec* by_length, typename Simd<A>::Vec* by_angle) {
  using V = Simd<A>;
  const MotionBlur& p = plan.problem;
  const int64_t at = plan.pad + x, map = map_of(plan, n);
  const Line<A> line(line_row<A>(plan, map, y) + at, plan.line_pitch);
  const A* bound = bounds_row<A>(plan.bounds, plan, map, y) + at / V::kLanes * kBounds;
  const A* image = sharp_row<A>(plan, n, 0, y) + x;
  typename V::Vec total = {}, mean = {};
  Slopes<A> length, angle;
  for_offsets<kSegment>(
      bound, [&](int64_t q, int64_t offset, auto inner) __attribute__((always_inline)) {
        constexpr bool kInner = decltype(inner)::value == 1;
        const A down = static_cast<A>(q), right = static_cast<A>(offset);
        PlaceOf<Vectors<A>> where;
        if (kInner) {
          where.across = line.across(down, right);
          where.along = line.along(down, right);
          where.distance = magnitude_of(where.across, A(0));
        } else {
          where = place<kSegment>(line, down, right);
        }
        const auto weight = weight_of<Vectors<A>>(where.distance);
        const A* source = image + q * plan.pitch + offset;
        auto product = V::read(grads) * V::read(source);
        for (int64_t c = 1; c < p.channels; ++c) {
          product += V::read(grads + c * V::kLanes) * V::read(source + c * plan.plane);
        }
        total += weight;
        mean += weight * product;
        // Within a line no weight depends on its length.
        if (kLength && !kInner) length.add(slope_of<false, kInner>(where, line), product);
        if (kAngle) angle.add(slope_of<true, kInner>(where, line), product);
      });
  if (kLength) *by_length += length.gradient(mean, total);
  if (kAngle) *by_angle += angle.gradient(mean, total);
}

// Unit (n or 0, y): one row of the gradients, summed over the batch where the maps are shared.
template <bool kLength, bool kAngle, typename T>
void gradient_unit(const MotionPlan& plan, int64_t unit, void* scratch) {
  using A = typename Compute<T>::type;
  using V = Simd<A>;
  const MotionBlur& p = plan.problem;
  const bool batched = kLength ? p.length_batched : p.angle_batched;
  const int64_t sample = unit / p.out_height, y = unit % p.out_height;
  const int64_t begin = batched ? sample : 0, end = batched ? sample + 1 : p.count;
  const int64_t plane = p.out_height * p.out_width;
  A* grads = static_cast<A*>(scratch);
  const int64_t row = (sample * p.out_height + y) * p.out_width;
  T* lengths = static_cast<T*>(plan.out) + row;
  T* angles = kLength && kAngle ? static_cast<T*>(plan.by_angle) + row : lengths;
  for (int64_t x = 0; x < p.out_width; x += V::kLanes) {
    const int64_t inside = smaller<int64_t>(V::kLanes, p.out_width - x);
    typename V::Vec by_length = {}, by_angle = {};
    for (int64_t n = begin; n < end; ++n) {
      const T* from =
          static_cast<const T*>(plan.first) + n * p.channels * plane + y * p.out_width + x;
      for (int64_t c = 0; c < p.channels; ++c) {
        for (int64_t i = 0; i < V::kLanes; ++i) {
          grads[c * V::kLanes + i] = i < inside ? A(load(from[c * plane + i])) : A(0);
        }
      }
      auto* add = p.segment ? add_gradients<kLength, kAngle, true, T, A>
                            : add_gradients<kLength, kAngle, false, T, A>;
      add(plan, n, y, x, grads, &by_length, &by_angle);
    }
    for (int64_t i = 0; kLength && i < inside; ++i) store(by_length[i], lengths + x + i);
    for (int64_t i = 0; kAngle && i < inside; ++i) store(by_angle[i], angles + x + i);
  }
}

template <typename T>
void grad_length_unit(const MotionPlan& plan, int64_t unit, void* scratch) {
  gradient_unit<true, false, T>(plan, unit, scratch);
}
template <typename T>
void grad_angle_unit(const MotionPlan& plan, int64_t unit, void* scratch) {
  gradient_unit<false, true, T>(plan, unit, scratch);
}
template <typename T>
void grad_both_unit(const MotionPlan& plan, int64_t unit, void* scratch) {
  gradient_unit<true, true, T>(plan, unit, scratch);
}

}  // namespace

#define BLUROPS_JOIN_(a, b) a##b
#define BLUROPS_JOIN(a, b) BLUROPS_JOIN_(a, b)
#define BLUROPS_EACH(unit) {unit<float>, unit<double>, unit<Half>, unit<BFloat16>}

const MotionKernels& BLUROPS_JOIN(motion_kernels_, BLUROPS_ISA)() {
  constexpr int kFloats = Simd<float>::kLanes;
  static const MotionKernels kernels = {
      {kFloats, Simd<double>::kLanes, kFloats, kFloats},
      BLUROPS_EACH(lines_unit),
      BLUROPS_EACH(windows_unit),
      BLUROPS_EACH(norms_unit),
      BLUROPS_EACH(blur_unit),
      BLUROPS_EACH(divide_unit),
      BLUROPS_EACH(adjoint_unit),
      BLUROPS_EACH(grad_length_unit),
      BLUROPS_EACH(grad_angle_unit),
      BLUROPS_EACH(grad_both_unit),
  };
  return kernels;
}

}  // namespace blurops
