// SPDX-License-Identifier: BSD-3-Clause
// The units of NU-Conv, compiled once per instruction set (BLUROPS_ISA names it).
//
// Pixels are taken one by one and vectors run along the taps: J multiply-adds make a vector of the
// pixel's own taps, C use it, and no tap is ever stored. Neighbours need not share filters, so a
// random index map costs as much as a smooth one, but for the caches.
#include "nu_conv/pixel.h"

namespace blurops {
namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <typename A>
void clear(A* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = A(0);
}

// The index and weight maps at row y of sample n: map j at `plane` times j.
template <typename T>
struct Row {
  const int32_t* index;
  const T* weight;
  int64_t plane;

  Row(const NuConvPlan& plan, int64_t n, int64_t y) {
    const NuConv& p = plan.problem;
    plane = p.out_height * p.out_width;
    const int64_t at = y * p.out_width, maps = p.picked * plane;
    index = plan.index + (p.index_batched ? n : 0) * maps + at;
    weight = static_cast<const T*>(plan.weight) + (p.weight_batched ? n : 0) * maps + at;
  }
};

template <typename A>
int64_t filter_stride(const NuConvPlan& plan) {
  return plan.problem.kernel_height * plan.row.stride();
}

// Filters j0 .. of pixel x, for channel c of the bank; without weights for the gradient by them.
template <bool kWeights, typename T, typename A>
inline __attribute__((always_inline)) void pick(const NuConvPlan& plan, const Row<T>& row,
                                                int64_t j0, int64_t count, int64_t x, int64_t c,
                                                Picked<A>* picked) {
  const int64_t stride = filter_stride<A>(plan), channels = plan.problem.bank_channels();
  const A* bank = static_cast<const A*>(plan.bank);
  for (int64_t j = 0; j < count; ++j) {
    const int64_t at = (j0 + j) * row.plane + x;
    picked->filters[j] = bank + (row.index[at] * channels + c) * stride;
    if (kWeights) picked->weights[j] = load(row.weight[at]);
  }
}

template <typename T, typename A>
const A* window_of(const NuConvPlan& plan, int64_t n, int64_t c, int64_t y) {
  return static_cast<const A*>(plan.extended) + (n * plan.problem.channels + c) * plan.plane +
         y * plan.pitch;
}

// Channels c0 .. c0 + kCount - 1 of one row, all by the same filters.
template <int kCount, typename T>
void conv_channels(const NuConvPlan& plan, int64_t n, int64_t c0, int64_t y, T* out) {
  using A = typename Compute<T>::type;
  const NuConv& p = plan.problem;
  const Row<T> row(plan, n, y);
  const A* image = window_of<T, A>(plan, n, c0, y);
  Picked<A> picked;
  for (int64_t x = 0; x < p.out_width; ++x) {
    typename Simd<A>::Vec sums[kCount] = {};
    for (int64_t j = 0; j < p.picked; j += kPickedGroup) {
      with_number<kPickedGroup>(p.picked - j, [&](auto number) __attribute__((always_inline)) {
        constexpr int kPicked = decltype(number)::value;
        pick<true>(plan, row, j, kPicked, x, 0, &picked);
        gather<kPicked, kCount>(plan, picked, image + x, sums);
      });
    }
    for (int c = 0; c < kCount; ++c) {
      store(sum_lanes<A>(sums[c], plan.row.live()), out + c * row.plane + x);
    }
  }
}

// One row by filters that each channel has its own of, summed over the channels.
template <typename T>
void conv_own(const NuConvPlan& plan, int64_t n, int64_t y, T* out) {
  using A = typename Compute<T>::type;
  const NuConv& p = plan.problem;
  const Row<T> row(plan, n, y);
  const A* image = window_of<T, A>(plan, n, 0, y);
  Picked<A> picked;
  for (int64_t x = 0; x < p.out_width; ++x) {
    typename Simd<A>::Vec sum = {};
    for (int64_t c = 0; c < p.channels; ++c) {
      for (int64_t j = 0; j < p.picked; j += kPickedGroup) {
        with_number<kPickedGroup>(p.picked - j, [&](auto number) __attribute__((always_inline)) {
          constexpr int kPicked = decltype(number)::value;
          pick<true>(plan, row, j, kPicked, x, c, &picked);
          gather<kPicked, 1>(plan, picked, image + c * plan.plane + x, &sum);
        });
      }
    }
    store(sum_lanes<A>(sum, plan.row.live()), out + x);
  }
}

// Unit (n, y): one row of the filtered image.
template <typename T>
void conv_unit(const NuConvPlan& plan, int64_t unit, void*) {
  const NuConv& p = plan.problem;
  const int64_t n = unit / p.out_height, y = unit % p.out_height;
  T* out = static_cast<T*>(plan.out) + (n * p.out_channels() * p.out_height + y) * p.out_width;
  if (p.own) return conv_own<T>(plan, n, y, out);
  for (int64_t c = 0; c < p.channels; c += kChannelGroup) {
    with_number<kChannelGroup>(p.channels - c, [&](auto number) {
      constexpr int kCount = decltype(number)::value;
      conv_channels<kCount>(plan, n, c, y, out + c * p.out_height * p.out_width);
    });
  }
}

// Row y of the filtered image, spread by channel c of the bank from kCount channels to as many,
// which begin at `to`.
template <int kCount, bool kMasked, typename T, typename A>
void spread_row(const NuConvPlan& plan, const T* from, int64_t n, int64_t c, int64_t y,
                const Target* targets, int64_t count, A* to) {
  const NuConv& p = plan.problem;
  const Row<T> row(plan, n, y);
  Picked<A> picked;
  for (int64_t x = 0; x < p.out_width; ++x) {
    A values[kCount];
    for (int i = 0; i < kCount; ++i) values[i] = load(from[i * row.plane + x]);
    for (int64_t j = 0; j < p.picked; j += kPickedGroup) {
      with_number<kPickedGroup>(p.picked - j, [&](auto number) __attribute__((always_inline)) {
        constexpr int kPicked = decltype(number)::value;
        pick<true>(plan, row, j, kPicked, x, c, &picked);
        spread<kPicked, kCount, kMasked>(plan, picked, values, targets, count, to + x,
                                         plan.rows * plan.spread_pitch);
      });
    }
  }
}

// Row y of the filtered image, spread to the rows of `targets` of every channel.
template <typename T, typename A>
void spread_channels(const NuConvPlan& plan, int64_t n, int64_t y, const Target* targets,
                     int64_t count, A* sums) {
  const NuConv& p = plan.problem;
  const int64_t plane = p.out_height * p.out_width, channel = plan.rows * plan.spread_pitch;
  const bool masked = plan.row.taps % plan.row.lanes != 0;
  const T* from =
      static_cast<const T*>(plan.first) + n * p.out_channels() * plane + y * p.out_width;
  if (p.own) {
    for (int64_t c = 0; c < p.channels; ++c) {
      auto* row = masked ? spread_row<1, true, T, A> : spread_row<1, false, T, A>;
      row(plan, from, n, c, y, targets, count, sums + c * channel);
    }
    return;
  }
  for (int64_t c = 0; c < p.channels; c += kChannelGroup) {
    with_number<kChannelGroup>(p.channels - c, [&](auto number) {
      constexpr int kCount = decltype(number)::value;
      auto* row = masked ? spread_row<kCount, true, T, A> : spread_row<kCount, false, T, A>;
      row(plan, from + c * plane, n, 0, y, targets, count, sums + c * channel);
    });
  }
}

// Unit (n, block): `rows` rows of the sharp image. Every filtered row that reaches them spreads to
// them, pixel by pixel: neighbouring pixels write to overlapping vectors, but only once a whole
// filter has passed.
template <typename T>
void adjoint_unit(const NuConvPlan& plan, int64_t unit, void* scratch) {
  using A = typename Compute<T>::type;
  const NuConv& p = plan.problem;
  const int64_t blocks = (p.height + plan.rows - 1) / plan.rows;
  const int64_t n = unit / blocks, top = unit % blocks * plan.rows;
  const int64_t bottom = smaller(top + plan.rows, p.height);
  const int64_t channel = plan.rows * plan.spread_pitch;
  A* sums = static_cast<A*>(scratch);
  A* folded = sums + p.channels * channel;
  Target* targets = reinterpret_cast<Target*>(folded + (p.width + 1) / 2 * 2);
  clear(sums, p.channels * channel);
  for (int64_t y = 0; y < p.out_height; ++y) {
    int64_t count = 0;
    for (int64_t q = top; q < bottom; ++q) {
      for (int64_t i = plan.source_begin[q]; i < plan.source_begin[q + 1]; ++i) {
        const int64_t dy = plan.sources[i] - y;
        if (dy >= 0 && dy < p.kernel_height) targets[count++] = {q - top, dy};
      }
    }
    if (count > 0) spread_channels<T>(plan, n, y, targets, count, sums);
  }
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t q = top; q < bottom; ++q) {
      const A* sum = sums + c * channel + (q - top) * plan.spread_pitch;
      clear(folded, p.width);
      for (int64_t u = 0; u < p.out_width + p.kernel_width - 1; ++u) {
        const int64_t column = plan.column_map[u];
        if (column >= 0) folded[column] += sum[u];
      }
      T* to = static_cast<T*>(plan.out) + ((n * p.channels + c) * p.height + q) * p.width;
      for (int64_t x = 0; x < p.width; ++x) store(folded[x], to + x);
    }
  }
}

// totals[j] += what filter j of channel c of the bank adds to the gradient at pixel x.
template <int kCount, typename T, typename A>
inline __attribute__((always_inline)) void weigh(const NuConvPlan& plan, const Row<T>& row,
                                                 int64_t x, int64_t c, const A* image,
                                                 const A* values, A* totals) {
  Picked<A> picked;
  for (int64_t j = 0; j < plan.problem.picked; j += kPickedGroup) {
    with_number<kPickedGroup>(plan.problem.picked - j,
                              [&](auto number) __attribute__((always_inline)) {
                                constexpr int kPicked = decltype(number)::value;
                                typename Simd<A>::Vec sums[kPicked] = {};
                                pick<false>(plan, row, j, kPicked, x, c, &picked);
                                correlate<kPicked, kCount>(plan, picked, image + x, values, sums);
                                for (int i = 0; i < kPicked; ++i)
                                  totals[j + i] += sum_lanes<A>(sums[i], plan.row.live());
                              });
  }
}

// Unit (n or 0, y): one row of the gradient by the weights, summed over the batch where shared.
template <typename T>
void grad_weight_unit(const NuConvPlan& plan, int64_t unit, void* scratch) {
  using A = typename Compute<T>::type;
  const NuConv& p = plan.problem;
  const int64_t sample = unit / p.out_height, y = unit % p.out_height;
  const int64_t begin = p.weight_batched ? sample : 0;
  const int64_t end = p.weight_batched ? sample + 1 : p.count;
  const int64_t plane = p.out_height * p.out_width;
  A* totals = static_cast<A*>(scratch);
  T* out = static_cast<T*>(plan.out) + (sample * p.picked * p.out_height + y) * p.out_width;
  for (int64_t x = 0; x < p.out_width; ++x) {
    clear(totals, p.picked);
    for (int64_t n = begin; n < end; ++n) {
      const Row<T> row(plan, n, y);
      const T* grad =
          static_cast<const T*>(plan.first) + n * p.out_channels() * plane + y * p.out_width + x;
      for (int64_t c = 0; c < p.channels; c += p.own ? 1 : kChannelGroup) {
        const A* image = window_of<T, A>(plan, n, c, y);
        with_number<kChannelGroup>(
            p.own ? 1 : p.channels - c, [&](auto number) __attribute__((always_inline)) {
              constexpr int kCount = decltype(number)::value;
              A values[kCount];
              for (int i = 0; i < kCount; ++i) values[i] = load(grad[p.own ? 0 : (c + i) * plane]);
              weigh<kCount>(plan, row, x, p.own ? c : 0, image, values, totals);
            });
      }
    }
    for (int64_t j = 0; j < p.picked; ++j) store(totals[j], out + j * plane + x);
  }
}

// The sums of one unit of the gradient by the bank: (F, bank channels, kBankRows, row.stride()).
template <typename A>
int64_t bank_sums(const NuConvPlan& plan) {
  return plan.problem.filters * plan.problem.bank_channels() * kBankRows * plan.row.stride();
}

// Move the sums to the chunk's partial sums, in double, and start over.
template <typename A>
void flush_bank(const NuConvPlan& plan, int64_t chunk, int64_t top, int64_t rows, A* sums) {
  const NuConv& p = plan.problem;
  const TapRow& r = plan.row;
  const int64_t kernels = p.filters * p.bank_channels();
  double* partial = plan.partial + chunk * kernels * p.kernel_height * p.kernel_width;
  for (int64_t k = 0; k < kernels; ++k) {
    for (int64_t dy = 0; dy < rows; ++dy) {
      const A* from = sums + (k * kBankRows + dy) * r.stride();
      double* to = partial + (k * p.kernel_height + top + dy) * p.kernel_width;
      for (int64_t v = 0; v < r.vectors(); ++v) {
        for (int64_t i = r.fresh(v); i < r.end(v); ++i) {
          to[r.first(v) + i] += from[v * r.lanes + i];
        }
      }
    }
  }
  clear(sums, bank_sums<A>(plan));
}

// sums += weight_j grad_c times the window at `image`, for filters j0 .. of pixel x and the rows of
// taps of a unit; channel c of the bank, and channels c .. c + count - 1 of the image.
template <int kPicked, typename T, typename A>
inline __attribute__((always_inline)) void add_to_bank(const NuConvPlan& plan, const Row<T>& row,
                                                       int64_t j0, int64_t x, int64_t c,
                                                       const A* values, int64_t count,
                                                       const A* image, int64_t rows, A* sums) {
  using V = Simd<A>;
  const TapRow& r = plan.row;
  const int64_t vectors = r.vectors(), last = r.first(vectors - 1);
  A* targets[kPicked];
  A weights[kPicked];
  for (int j = 0; j < kPicked; ++j) {
    const int64_t at = (j0 + j) * row.plane + x;
    const int64_t kernel = row.index[at] * plan.problem.bank_channels() + c;
    targets[j] = sums + kernel * kBankRows * r.stride();
    weights[j] = load(row.weight[at]);
  }
  for (int64_t dy = 0; dy < rows; ++dy, image += plan.pitch) {
    for (int64_t v = 0; v < vectors; ++v) {
      const A* source = image + (v + 1 < vectors ? v * V::kLanes : last);
      auto product = values[0] * V::read(source);
      for (int64_t i = 1; i < count; ++i) product += values[i] * V::read(source + i * plan.plane);
#pragma GCC unroll 4
      for (int j = 0; j < kPicked; ++j) {
        V::write(targets[j], V::read(targets[j]) + weights[j] * product);
        targets[j] += V::kLanes;
      }
    }
  }
}

// Pixels whose products are summed in float before they move to double.
constexpr int64_t kPixelsPerFlush = 1024;

// Unit (group, chunk): some rows of taps of every filter's gradient, over one chunk of the batch's
// filtered rows.
template <typename T>
void grad_bank_unit(const NuConvPlan& plan, int64_t unit, void* scratch) {
  using A = typename Compute<T>::type;
  const NuConv& p = plan.problem;
  const int64_t chunk = unit % plan.chunks, top = unit / plan.chunks * kBankRows;
  const int64_t rows = smaller(kBankRows, p.kernel_height - top);
  const int64_t all = p.count * p.out_height;
  A* sums = static_cast<A*>(scratch);
  A* values = sums + bank_sums<A>(plan);
  clear(sums, bank_sums<A>(plan));
  int64_t pixels = 0;
  for (int64_t i = all * chunk / plan.chunks; i < all * (chunk + 1) / plan.chunks; ++i) {
    const int64_t n = i / p.out_height, y = i % p.out_height;
    const Row<T> row(plan, n, y);
    const T* grad =
        static_cast<const T*>(plan.first) + n * p.out_channels() * row.plane + y * p.out_width;
    const A* image = window_of<T, A>(plan, n, 0, y + top);
    for (int64_t x = 0; x < p.out_width; ++x) {
      for (int64_t c = 0; c < p.out_channels(); ++c) values[c] = load(grad[c * row.plane + x]);
      for (int64_t c = 0; c < p.bank_channels(); ++c) {
        for (int64_t j = 0; j < p.picked; j += kPickedGroup) {
          with_number<kPickedGroup>(p.picked - j, [&](auto number) __attribute__((always_inline)) {
            constexpr int kPicked = decltype(number)::value;
            add_to_bank<kPicked>(plan, row, j, x, c, values, p.out_channels(),
                                 image + c * plan.plane + x, rows, sums);
          });
        }
      }
      if (++pixels % kPixelsPerFlush == 0) flush_bank(plan, chunk, top, rows, sums);
    }
  }
  flush_bank(plan, chunk, top, rows, sums);
}

}  // namespace

#define BLUROPS_JOIN_(a, b) a##b
#define BLUROPS_JOIN(a, b) BLUROPS_JOIN_(a, b)
#define BLUROPS_EACH(unit) {unit<float>, unit<double>, unit<Half>, unit<BFloat16>}

const NuConvKernels& BLUROPS_JOIN(nu_conv_kernels_, BLUROPS_ISA)() {
  constexpr int kFloats = Simd<float>::kLanes;
  static const NuConvKernels kernels = {
      {kFloats, Simd<double>::kLanes, kFloats, kFloats},
      BLUROPS_EACH(conv_unit),
      BLUROPS_EACH(adjoint_unit),
      BLUROPS_EACH(grad_bank_unit),
      BLUROPS_EACH(grad_weight_unit),
  };
  return kernels;
}

}  // namespace blurops
