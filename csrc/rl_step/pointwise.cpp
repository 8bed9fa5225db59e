// SPDX-License-Identifier: BSD-3-Clause
// The passes of a Richardson-Lucy update, compiled once per instruction set (BLUROPS_ISA names it).
// rl_step.h says what each computes.
#include "rl_step/pointwise.h"

#include "rl_step/bright.h"
#include "rl_step/lines.h"
#include "rl_step/response.h"

namespace blurops {
namespace {

// Where a row of channel c starts in images of one set (N, C, H, W) and of both (N, 2C, H, W).
struct Row {
  int64_t one, both, second;

  Row(const RlStep& step, int64_t n, int64_t c, int64_t y, int64_t height, int64_t width) {
    const int64_t sets = step.lost ? 2 : 1;
    one = ((n * step.channels + c) * height + y) * width;
    both = ((n * sets * step.channels + c) * height + y) * width;
    second = both + step.channels * height * width;
  }
};

// A block of rows of one sample.
struct Block {
  int64_t n, begin, end;

  Block(int64_t unit, int64_t height) {
    const int64_t blocks = (height + kRlRows - 1) / kRlRows;
    n = unit / blocks;
    begin = unit % blocks * kRlRows;
    end = smaller(begin + kRlRows, height);
  }
};

template <typename A>
const A* at(const void* image, int64_t offset) {
  return static_cast<const A*>(image) + offset;
}
template <typename A>
A* at(void* image, int64_t offset) {
  return static_cast<A*>(image) + offset;
}

template <typename A>
void clean_row(const void* context, int64_t n, int64_t c, int64_t y, int64_t x, int64_t count,
               const void* values) {
  const RlStep& step = *static_cast<const RlStep*>(context);
  const A* share = static_cast<const A*>(values);
  A* clean = at<A>(step.clean, Row(step, n, c, y, step.out_height, step.out_width).one + x);
  for (int64_t i = 0; i < count; ++i) clean[i] = share[i] <= A(step.lost_share) ? A(1) : A(0);
}

// What a blurred pixel's data mean, from W = (H U)[p]: r, s and s without the mask.
template <typename A>
struct Trust {
  typename Simd<A>::Vec response, weight, slope;
};

template <typename A>
Trust<A> trust_in(const RlStep& step, typename Simd<A>::Vec light, const A* mask, int64_t x,
                  int64_t count) {
  using Vec = typename Simd<A>::Vec;
  Vec response = light, slope = Vec{} + A(1);
  if (step.saturated) {
    const Response<A> sensor = respond<A>(light, A(step.a), A(step.level));
    response = sensor.value;
    slope = sensor.slope;
  }
  return {response, mask ? slope * read(mask + x, count) : slope, slope};
}

// V s / (r + eps) + 1 - s
template <typename A>
typename Simd<A>::Vec ratio(const RlStep& step, typename Simd<A>::Vec observed,
                            typename Simd<A>::Vec response, typename Simd<A>::Vec weight) {
  return observed * weight / (non_negative(response) + A(step.eps)) + (A(1) - weight);
}

template <typename A>
const A* mask_row(const RlStep& step, int64_t n, int64_t c, int64_t y) {
  if (!step.mask) return nullptr;
  return at<A>(step.mask, n * step.mask_stride + c * step.mask_channel_stride + y * step.out_width);
}

template <typename A>
void ratios_row(const void* context, int64_t n, int64_t c, int64_t y, int64_t x0, int64_t length,
                const void* values) {
  using Vec = typename Simd<A>::Vec;
  const RlStep& step = *static_cast<const RlStep*>(context);
  const Row row(step, n, c, y, step.out_height, step.out_width);
  const A* mask = mask_row<A>(step, n, c, y);
  for (int64_t i = 0; i < length; i += Simd<A>::kLanes) {
    const int64_t count = smaller(Simd<A>::kLanes, length - i), x = x0 + i;
    const Vec blurred = read(static_cast<const A*>(values) + i, count);
    if (step.blurred) write(at<A>(step.blurred, row.one + x), blurred, count);
    const Trust<A> trust = trust_in(step, non_negative(blurred), mask, x, count);
    const Vec observed = read(at<A>(step.observed, row.one + x), count);
    const Vec all = ratio<A>(step, observed, trust.response, trust.weight);
    if (!step.clean) {
      write(at<A>(step.ratios, row.both + x), all, count);
      continue;
    }
    const Vec clean = read(at<A>(step.clean, row.one + x), count);
    const Vec careful = ratio<A>(step, observed, trust.response, trust.weight * clean);
    write(at<A>(step.ratios, row.both + x), careful, count);
    // Exactly zero on clean data, whatever the two roundings.
    write(at<A>(step.ratios, row.second + x), clean == 1 ? Vec{} : all - careful, count);
  }
}

// F = max(correction, 0) / H^T 1, or 1 for pixels that no data see.
template <typename A>
typename Simd<A>::Vec factor_of(const RlStep& step, typename Simd<A>::Vec correction,
                                typename Simd<A>::Vec sum) {
  using Vec = typename Simd<A>::Vec;
  const auto seen = sum > A(step.smallest_sum);
  return seen ? non_negative(correction) / (seen ? sum : Vec{} + A(1)) : Vec{} + A(1);
}

// The factors of both sets and of their mix; of one set when there is one.
template <typename A>
struct Factors {
  typename Simd<A>::Vec correction, second_correction, lost;
  typename Simd<A>::Vec reliable, bright, mixed;
};

template <typename A>
Factors<A> factors_at(const RlStep& step, const Row& row, typename Simd<A>::Vec sum, int64_t x,
                      int64_t count) {
  Factors<A> result;
  result.correction = read(at<A>(step.corrections, row.both + x), count);
  result.reliable = factor_of<A>(step, result.correction, sum);
  result.mixed = result.reliable;
  if (!step.lost) return result;
  result.second_correction =
      result.correction + read(at<A>(step.corrections, row.second + x), count);
  result.lost = read(at<A>(step.lost, row.one + x), count);
  result.bright = factor_of<A>(step, result.second_correction, sum);
  result.mixed = (A(1) - result.lost) * result.reliable + result.lost * result.bright;
  return result;
}

template <typename A>
const A* sums_row(const RlStep& step, int64_t n, int64_t y) {
  return at<A>(step.column_sums, n * step.sums_stride + y * step.width);
}

template <typename A>
void update(const RlStep& step, int64_t unit, void* out, void* scratch) {
  using Vec = typename Simd<A>::Vec;
  const Block block(unit, step.height);
  Lines<A> lines(scratch, step.width);
  for (int64_t c = 0; c < step.channels; ++c) {
    const A* plane = at<A>(step.estimate, Row(step, block.n, c, 0, step.height, step.width).one);
    Divisor<A> divisor(step, plane, block.begin, lines);
    for (int64_t y = block.begin; y < block.end; ++y) {
      divisor.next_row(y);
      const Row row(step, block.n, c, y, step.height, step.width);
      const A* sums = sums_row<A>(step, block.n, y);
      for (int64_t x = 0; x < step.width; x += Simd<A>::kLanes) {
        const int64_t count = smaller(Simd<A>::kLanes, step.width - x);
        const Vec estimate = read(plane + y * step.width + x, count);
        const Factors<A> factors = factors_at<A>(step, row, read(sums + x, count), x, count);
        write(at<A>(out, row.one + x), estimate * factors.mixed / divisor.at(x, count), count);
      }
    }
  }
}

// The derivative of F by its correction: nothing where the clamp or the lack of data cuts it off.
template <typename A>
typename Simd<A>::Vec through_factor(const RlStep& step, typename Simd<A>::Vec grad,
                                     typename Simd<A>::Vec correction, typename Simd<A>::Vec sum) {
  using Vec = typename Simd<A>::Vec;
  const auto seen = sum > A(step.smallest_sum);
  const Vec passed = seen ? grad / (seen ? sum : Vec{} + A(1)) : Vec{};
  return correction < 0 ? Vec{} : passed;
}

template <typename A>
void grad_update(const RlStep& step, int64_t unit, void* scratch) {
  using Vec = typename Simd<A>::Vec;
  const Block block(unit, step.height);
  Lines<A> lines(scratch, step.width);
  for (int64_t c = 0; c < step.channels; ++c) {
    const A* plane = at<A>(step.estimate, Row(step, block.n, c, 0, step.height, step.width).one);
    Divisor<A> divisor(step, plane, block.begin, lines);
    for (int64_t y = block.begin; y < block.end; ++y) {
      divisor.next_row(y);
      const Row row(step, block.n, c, y, step.height, step.width);
      const A* sums = sums_row<A>(step, block.n, y);
      A* grad_sums = at<A>(step.grad_sums, (block.n * step.height + y) * step.width);
      for (int64_t x = 0; x < step.width; x += Simd<A>::kLanes) {
        const int64_t count = smaller(Simd<A>::kLanes, step.width - x);
        const Vec sum = read(sums + x, count), term = divisor.at(x, count);
        const Vec estimate = read(plane + y * step.width + x, count);
        const Factors<A> factors = factors_at<A>(step, row, sum, x, count);
        const Vec grad = read(at<A>(step.grad, row.one + x), count) / term;
        write(at<A>(step.grad_estimate, row.one + x), grad * factors.mixed, count);
        if (step.grad_divergence) {
          write(at<A>(step.grad_divergence, row.one + x),
                A(step.tv) * grad * estimate * factors.mixed / term, count);
        }
        const Vec by_factor = grad * estimate;
        const Vec by_reliable = step.lost ? by_factor * (A(1) - factors.lost) : by_factor;
        Vec first = through_factor<A>(step, by_reliable, factors.correction, sum);
        Vec by_sum = -first * factors.reliable;
        if (step.lost) {
          const Vec second =
              through_factor<A>(step, by_factor * factors.lost, factors.second_correction, sum);
          by_sum -= second * factors.bright;
          first += second;  // the first correction is part of both
          write(at<A>(step.grad_corrections, row.second + x), second, count);
        }
        write(at<A>(step.grad_corrections, row.both + x), first, count);
        write(grad_sums + x, c == 0 ? by_sum : read(grad_sums + x, count) + by_sum, count);
      }
    }
  }
}

// The derivative by the forward differences of row y, of what grad_divergence holds by the
// divergence of their directions.
template <typename A>
void grad_slopes_of_row(const RlStep& step, const A* plane, const A* grad_plane, int64_t y,
                        A* extended, A* grad_extended, A* across, A* down) {
  using Vec = typename Simd<A>::Vec;
  const A* row = plane + y * step.width;
  const A* grad_row = grad_plane + y * step.width;
  const int64_t below = y + 1 < step.height ? step.width : 0;
  extend(row, step.width, extended);
  extend(grad_row, step.width, grad_extended);
  for (int64_t x = 0; x < step.width; x += Simd<A>::kLanes) {
    const int64_t count = smaller(Simd<A>::kLanes, step.width - x);
    const Slope<A> slope = slope_at(extended, row + below, x, count);
    const Vec grad = read(grad_extended + x, count);
    const Vec by_across = grad - read(grad_extended + x + 1, count);
    const Vec by_down = grad - read(grad_row + below + x, count);
    // Only what turns the direction counts, and the less the longer the slope.
    const auto sloped = slope.length > A(0);
    const Vec turn =
        (slope.down * by_across - slope.across * by_down) / (sloped ? slope.length : Vec{} + A(1));
    write(across + x, slope.down * turn, count);
    write(down + x, -slope.across * turn, count);
  }
}

template <typename A>
void grad_tv(const RlStep& step, int64_t unit, void* scratch) {
  using Vec = typename Simd<A>::Vec;
  const Block block(unit, step.height);
  Lines<A> lines(scratch, step.width);
  A *extended = lines.line[0], *grad_extended = lines.line[1], *across = lines.line[2];
  for (int64_t c = 0; c < step.channels; ++c) {
    const int64_t start = Row(step, block.n, c, 0, step.height, step.width).one;
    const A* plane = at<A>(step.estimate, start);
    const A* grad = at<A>(step.grad_divergence, start);
    A *down = lines.line[3], *before = lines.line[4];
    clear(down, step.width);
    if (block.begin > 0) {
      grad_slopes_of_row(step, plane, grad, block.begin - 1, extended, grad_extended, across, down);
    }
    for (int64_t y = block.begin; y < block.end; ++y) {
      A* const free = before;
      before = down;
      down = free;
      grad_slopes_of_row(step, plane, grad, y, extended, grad_extended, across, down);
      A* to = at<A>(step.grad_estimate, start + y * step.width);
      for (int64_t x = 0; x < step.width; x += Simd<A>::kLanes) {
        const int64_t count = smaller(Simd<A>::kLanes, step.width - x);
        const Vec spread = read(across + x - 1, count) - read(across + x, count) +
                           read(before + x, count) - read(down + x, count);
        write(to + x, read(to + x, count) + spread, count);
      }
    }
  }
}

template <typename A>
void grad_ratios(const RlStep& step, int64_t unit, void*) {
  using Vec = typename Simd<A>::Vec;
  const Block block(unit, step.out_height);
  for (int64_t c = 0; c < step.channels; ++c) {
    for (int64_t y = block.begin; y < block.end; ++y) {
      const Row row(step, block.n, c, y, step.out_height, step.out_width);
      const A* mask = mask_row<A>(step, block.n, c, y);
      for (int64_t x = 0; x < step.out_width; x += Simd<A>::kLanes) {
        const int64_t count = smaller(Simd<A>::kLanes, step.out_width - x);
        const Vec blurred = read(at<A>(step.blurred, row.one + x), count);
        const Trust<A> trust = trust_in(step, non_negative(blurred), mask, x, count);
        const Vec divisor = non_negative(trust.response) + A(step.eps);
        const Vec quotient = read(at<A>(step.observed, row.one + x), count) / divisor;
        // By s, apart from the factor V / (r + eps) - 1, of both ratios together.
        Vec grad = read(at<A>(step.grad_ratios, row.both + x), count);
        if (step.clean) {
          const Vec bright = read(at<A>(step.grad_ratios, row.second + x), count);
          grad = (grad - bright) * read(at<A>(step.clean, row.one + x), count) + bright;
        }
        const Vec by_weight = grad * (quotient - A(1));
        const Vec by_observed = grad * trust.weight / divisor;
        const Vec by_response = trust.response < 0 ? Vec{} : -by_observed * quotient;
        Vec by_light = by_response;
        if (step.saturated) {
          const Vec by_slope = mask ? by_weight * read(mask + x, count) : by_weight;
          by_light = trust.slope * (by_response - by_slope * A(step.a) * (A(1) - trust.slope));
        }
        write(at<A>(step.grad_observed, row.one + x), by_observed, count);
        write(at<A>(step.grad_blurred, row.one + x), blurred < 0 ? Vec{} : by_light, count);
        if (step.grad_mask) {
          write(at<A>(step.grad_mask, row.one + x), by_weight * trust.slope, count);
        }
      }
    }
  }
}

template <typename A>
bool any_bright(const RlStep& step, const RlBrightness& how, int64_t unit) {
  const Block block(unit, step.height);
  for (int64_t c = 0; c < step.channels; ++c) {
    const int64_t row = Row(step, block.n, c, block.begin, step.height, step.width).one;
    if (reaches(at<A>(step.estimate, row), (block.end - block.begin) * step.width,
                A(how.threshold))) {
      return true;
    }
  }
  return false;
}

template <typename A>
void lost(const RlStep& step, const RlBrightness& how, int64_t unit, void* scratch) {
  const Block block(unit, step.height);
  for (int64_t c = 0; c < step.channels; ++c) {
    const int64_t plane = Row(step, block.n, c, 0, step.height, step.width).one;
    lost_rows(at<A>(step.estimate, plane), step.height, step.width, block.begin, block.end, how,
              at<A>(how.lost, plane), static_cast<uint8_t*>(scratch));
  }
}

size_t scratch_bytes(int64_t width) {
  const int64_t lines = Lines<double>::kCount * Lines<double>::stride(width) * sizeof(double);
  return larger(lines, bright_bytes(width));
}

}  // namespace

#define BLUROPS_JOIN_(a, b) a##b
#define BLUROPS_JOIN(a, b) BLUROPS_JOIN_(a, b)

const RlKernels& BLUROPS_JOIN(rl_kernels_, BLUROPS_ISA)() {
  static const RlKernels kernels = {
      scratch_bytes,
      {any_bright<float>, any_bright<double>},
      {lost<float>, lost<double>},
      {update<float>, update<double>},
      {grad_update<float>, grad_update<double>},
      {grad_tv<float>, grad_tv<double>},
      {grad_ratios<float>, grad_ratios<double>},
      {clean_row<float>, clean_row<double>},
      {ratios_row<float>, ratios_row<double>},
  };
  return kernels;
}

}  // namespace blurops
