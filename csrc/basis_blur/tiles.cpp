// SPDX-License-Identifier: BSD-3-Clause
// The family by transforms of tiles in cache; basis_blur/tiles.h has the method. Compiled once per
// instruction set.
#include "basis_blur/tiles.h"

#include "basis_blur/tile_passes.h"

namespace blurops {
namespace {

// Tiles whose products are summed as float spectra before they move to double.
constexpr int64_t kTilesPerFlush = 32;

template <typename T>
void blur_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  using V = Simd<A>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const Tile tile(plan, unit / tiles, unit % tiles);
  const A *first = s.mixing, *second = s.mixing + s.plane;
  for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
    const int64_t count = smaller(plan.channel_group, p.channels - c0);
    load_spectra<T>(plan, tile, plan.first, c0, count, s);
    clear(s.sums, count * s.plane);
    for (int64_t pair = 0; pair < plan.pairs && s.live_count > 0; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, tile.rows, s)) continue;
      const A* kernels = pair_spectrum(plan, s, tile.n, pair);
      auto fetch = prefetch_after<T>(plan, tile, pair, s.live_count * s.transform.blocks());
      for (int64_t j = 0; j < s.live_count; ++j) {
        const int64_t c = s.live[j];
        A* sums = s.sums + c * s.plane;
        respond(plan, tile, s.spectra + c * plan.parts * s.spectrum, kernels, s, fetch,
                [=](int64_t i, auto value) {
                  V::write(sums + i, V::read(sums + i) + V::read(first + i) * value.re +
                                         V::read(second + i) * value.im);
                });
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      const A* sums = s.sums + c * s.plane;
      if (plan.epilogue) {
        for (int64_t y = 0; y < tile.rows; ++y) {
          plan.epilogue->row(plan.epilogue->context, tile.n, c0 + c, tile.y + y, tile.x,
                             tile.columns, sums + y * s.stride);
        }
      } else {
        const int64_t plane = (tile.n * p.channels + c0 + c) * p.out_height * p.out_width;
        store_plane(plan, tile, s.stride, sums, static_cast<T*>(plan.out) + plane);
      }
    }
  }
}

template <typename T>
void adjoint_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const Tile tile(plan, unit / tiles, unit % tiles);
  const int64_t height = s.transform.y.size, parts = plan.parts, spectrum = s.spectrum;
  for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
    const int64_t count = smaller(plan.channel_group, p.channels - c0);
    load_pixels<T>(plan, tile, plan.first, c0, count, height, s);
    clear(s.spectra, count * parts * spectrum);
    for (int64_t pair = 0; pair < plan.pairs && s.live_count > 0; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, height, s)) continue;
      const A* kernels = pair_spectrum(plan, s, tile.n, pair);
      auto fetch =
          prefetch_after<T>(plan, tile, pair, s.live_count * s.stride / s.transform.kLanes);
      for (int64_t j = 0; j < s.live_count; ++j) {
        const int64_t c = s.live[j];
        A* sums = s.spectra + c * parts * spectrum;
        transform_mixed(plan, tile, s.pixels + c * s.plane, s, fetch, [=](int64_t i, auto value) {
          const auto f = read_pair(kernels + i);
          auto sum = read_pair(sums + i);
          sum.re += value.re * f.re + value.im * f.im;
          sum.im += value.im * f.re - value.re * f.im;
          write_pair(sums + i, sum);
        });
      }
    }
    for (int64_t j = 0; j < s.live_count; ++j) {
      const int64_t c = s.live[j];
      A* target =
          static_cast<A*>(plan.target) + (tile.n * p.channels + c0 + c) * p.height * p.width;
      for (int64_t part = 0; part < parts; ++part) {
        fold(plan, tile, s.spectra + (c * parts + part) * spectrum, part, target, s);
      }
    }
  }
}

template <typename T>
void grad_mixing_tile(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  using V = Simd<A>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t tiles = plan.tiles_down * plan.tiles_across, size = p.out_height * p.out_width;
  const int64_t begin = p.mixing_batched ? unit / tiles : 0;
  const int64_t end = p.mixing_batched ? begin + 1 : p.count;
  T* out = static_cast<T*>(plan.out) + begin * p.basis * size;
  Prefetch<T> nothing;
  // The sums of a pair are complete after its last channel, unless channels or samples come in
  // groups.
  const int64_t kept = plan.keeps_all_bases ? p.basis + 1 : 2;
  clear(s.sums, kept * s.plane);
  for (int64_t n = begin; n < end; ++n) {
    const Tile tile(plan, n, unit % tiles);
    for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
      const int64_t count = smaller(plan.channel_group, p.channels - c0);
      load_pixels<T>(plan, tile, plan.first, c0, count, tile.rows, s);
      load_spectra<T>(plan, tile, plan.image, c0, count, s);
      const bool last = n + 1 == end && c0 + count == p.channels;
      for (int64_t pair = 0; pair < plan.pairs; ++pair) {
        A* first = s.sums + (plan.keeps_all_bases ? 2 * pair : 0) * s.plane;
        A* second = first + s.plane;
        const A* kernels = pair_spectrum(plan, s, n, pair);
        for (int64_t j = 0; j < s.live_count; ++j) {
          const int64_t c = s.live[j];
          const A* pixels = s.pixels + c * s.plane;
          respond(plan, tile, s.spectra + c * plan.parts * s.spectrum, kernels, s, nothing,
                  [=](int64_t i, auto value) {
                    const auto g = V::read(pixels + i);
                    V::write(first + i, V::read(first + i) + g * value.re);
                    V::write(second + i, V::read(second + i) + g * value.im);
                  });
        }
        if (!last) continue;
        store_plane(plan, tile, s.stride, first, out + 2 * pair * size);
        if (2 * pair + 1 < p.basis) {
          store_plane(plan, tile, s.stride, second, out + (2 * pair + 1) * size);
        }
        if (!plan.keeps_all_bases) clear(s.sums, 2 * s.plane);
      }
    }
  }
}

// The sums of one pair become taps, added to its partial sums in double.
template <typename A>
void flush_pair(const TilePlan& plan, int64_t pair, A* products, double* partial,
                TileScratch<A>& s) {
  using V = Simd<A>;
  const Problem& p = plan.problem;
  const TileTransform<A>& t = s.transform;
  const int64_t width = t.x.size;
  A *first = s.window, *second = s.window + t.y.size * width;
  const double scale = 1.0 / (static_cast<double>(t.y.size) * width);
  for (int64_t part = 0; part < plan.parts; ++part) {
    A* sums = products + part * s.spectrum;
    for (int b = 0; b < t.blocks(); ++b) {
      inverse_rows(t, b, static_cast<int>(plan.part_width), s.half, s.work,
                   [=](int64_t i) { return read_pair(sums + i); });
    }
    for (int x0 = 0; x0 < plan.part_width; x0 += t.kLanes) {
      inverse_columns(t, x0, s.half, s.work, [=](int y, auto value) {
        V::write(first + y * width + x0, value.re);
        V::write(second + y * width + x0, value.im);
      });
    }
    const int64_t top = part / p.tiling.parts_across * plan.part_height;
    const int64_t left = part % p.tiling.parts_across * plan.part_width;
    for (int64_t dy = 0; dy < smaller(plan.part_height, p.kernel_height - top); ++dy) {
      for (int64_t dx = 0; dx < smaller(plan.part_width, p.kernel_width - left); ++dx) {
        double* to = partial + (2 * pair * p.kernel_height + top + dy) * p.kernel_width + left + dx;
        *to += scale * first[dy * width + dx];
        if (2 * pair + 1 < p.basis) {
          to[p.kernel_height * p.kernel_width] -= scale * second[dy * width + dx];
        }
      }
    }
  }
  clear(products, plan.parts * s.spectrum);
}

// Add the products of one tile to the sums of pairs begin .. end - 1.
template <typename T, typename A>
void add_products(const TilePlan& plan, const Tile& tile, int64_t begin, int64_t end,
                  TileScratch<A>& s) {
  const Problem& p = plan.problem;
  const int64_t height = s.transform.y.size, parts = plan.parts, spectrum = s.spectrum;
  for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
    const int64_t count = smaller(plan.channel_group, p.channels - c0);
    load_pixels<T>(plan, tile, plan.first, c0, count, height, s);
    load_spectra<T>(plan, tile, plan.image, c0, count, s);
    for (int64_t pair = begin; pair < end && s.live_count > 0; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, height, s)) continue;
      A* sums = s.products + (pair - begin) * parts * spectrum;
      auto fetch =
          prefetch_after<T>(plan, tile, pair, s.live_count * s.stride / s.transform.kLanes);
      for (int64_t j = 0; j < s.live_count; ++j) {
        const int64_t c = s.live[j];
        const A* image = s.spectra + c * parts * spectrum;
        transform_mixed(plan, tile, s.pixels + c * s.plane, s, fetch, [=](int64_t i, auto value) {
          const auto x = read_pair(image + i);
          auto sum = read_pair(sums + i);
          sum.re += value.re * x.re + value.im * x.im;
          sum.im += value.re * x.im - value.im * x.re;
          write_pair(sums + i, sum);
        });
      }
    }
  }
}

template <typename T>
void grad_kernels_chunk(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t tiles = plan.tiles_down * plan.tiles_across;
  const int64_t groups = (plan.pairs + plan.pair_group - 1) / plan.pair_group;
  const int64_t chunk = unit % plan.chunks, group = unit / plan.chunks % groups;
  const int64_t sample = unit / plan.chunks / groups;
  const int64_t samples = p.kernels_batched ? p.count : 1;
  const int64_t begin = group * plan.pair_group;
  const int64_t end = smaller(begin + plan.pair_group, plan.pairs);
  double* partial =
      plan.partial + (chunk * samples + sample) * p.basis * p.kernel_height * p.kernel_width;
  const int64_t total = p.kernels_batched ? tiles : p.count * tiles;
  const int64_t last = (chunk + 1) * total / plan.chunks;
  clear(s.products, (end - begin) * plan.parts * s.spectrum);
  int64_t summed = 0;
  for (int64_t i = chunk * total / plan.chunks; i < last; ++i) {
    const int64_t n = p.kernels_batched ? sample : i / tiles;
    add_products<T>(plan, Tile(plan, n, i % tiles), begin, end, s);
    if (++summed % kTilesPerFlush == 0 || i + 1 == last) {
      for (int64_t pair = begin; pair < end; ++pair) {
        flush_pair(plan, pair, s.products + (pair - begin) * plan.parts * s.spectrum, partial, s);
      }
    }
  }
}

// F of one part of a pair of kernels, scaled for the inverse: the kernels lie at negative
// positions, which turns their convolution into a correlation.
template <typename T>
void kernel_spectrum(const TilePlan& plan, int64_t unit, void* memory) {
  using A = ComputeOf<T>;
  using V = Simd<A>;
  const Problem& p = plan.problem;
  TileScratch<A> s(plan, memory);
  const int64_t part = unit % plan.parts, pair = unit / plan.parts % plan.pairs;
  const int64_t sample = unit / plan.parts / plan.pairs;
  const int64_t height = s.transform.y.size, width = s.transform.x.size;
  const A scale = A(1) / (static_cast<A>(height) * static_cast<A>(width));
  const int64_t top = part / p.tiling.parts_across * plan.part_height;
  const int64_t left = part % p.tiling.parts_across * plan.part_width;
  clear(s.window, 2 * height * width);
  for (int64_t i = 0; i < 2 && 2 * pair + i < p.basis; ++i) {
    const T* taps =
        plane_of<T>(plan.kernels, sample, 2 * pair + i, p.basis, p.kernel_height * p.kernel_width);
    A* window = s.window + i * height * width;
    for (int64_t dy = 0; dy < smaller(plan.part_height, p.kernel_height - top); ++dy) {
      const int64_t y = dy > 0 ? height - dy : 0;
      for (int64_t dx = 0; dx < smaller(plan.part_width, p.kernel_width - left); ++dx) {
        const int64_t x = dx > 0 ? width - dx : 0;
        window[y * width + x] = scale * load(taps[(top + dy) * p.kernel_width + left + dx]);
      }
    }
  }
  const A *first = s.window, *second = s.window + height * width;
  transform_window(s, static_cast<A*>(plan.spectra) + unit * s.spectrum, [=](int y, int x0) {
    return Pair<typename V::Vec>{V::read(first + y * width + x0), V::read(second + y * width + x0)};
  });
}

size_t scratch_bytes(const TilePlan& plan) {
  return plan.problem.dtype == DType::kFloat64 ? TileScratch<double>(plan, nullptr).bytes()
                                               : TileScratch<float>(plan, nullptr).bytes();
}

int64_t spectrum_bytes(const TilePlan& plan) {
  const bool wide = plan.problem.dtype == DType::kFloat64;
  return wide ? transform_of<double>(plan).elements() * int64_t{sizeof(double)}
              : transform_of<float>(plan).elements() * int64_t{sizeof(float)};
}

}  // namespace

#define BLUROPS_JOIN_(a, b) a##b
#define BLUROPS_JOIN(a, b) BLUROPS_JOIN_(a, b)

const TileKernels& BLUROPS_JOIN(tile_kernels_, BLUROPS_ISA)() {
  static const TileKernels kernels = {
      scratch_bytes,
      spectrum_bytes,
      {kernel_spectrum<float>, kernel_spectrum<double>, kernel_spectrum<Half>,
       kernel_spectrum<BFloat16>},
      {blur_tile<float>, blur_tile<double>, blur_tile<Half>, blur_tile<BFloat16>},
      {adjoint_tile<float>, adjoint_tile<double>, adjoint_tile<Half>, adjoint_tile<BFloat16>},
      {grad_kernels_chunk<float>, grad_kernels_chunk<double>, grad_kernels_chunk<Half>,
       grad_kernels_chunk<BFloat16>},
      {grad_mixing_tile<float>, grad_mixing_tile<double>, grad_mixing_tile<Half>,
       grad_mixing_tile<BFloat16>},
  };
  return kernels;
}

}  // namespace blurops
