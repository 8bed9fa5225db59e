// SPDX-License-Identifier: BSD-3-Clause
// The family by transforms of tiles in cache; basis_blur/tiles.h has the method. Compiled once per
// instruction set.
#include "basis_blur/tiles.h"

#include "basis_blur/tile_window.h"

namespace blurops {
namespace {

template <typename T>
using ComputeOf = typename Compute<T>::type;

// Tiles whose products are summed as float spectra before they move to double.
constexpr int64_t kTilesPerFlush = 32;

template <typename A>
const A* pair_spectrum(const TilePlan& plan, const TileScratch<A>& s, int64_t n, int64_t pair) {
  const int64_t sample = plan.problem.kernels_batched ? n : 0;
  return static_cast<const A*>(plan.spectra) +
         (sample * plan.pairs + pair) * plan.parts * s.spectrum;
}

// Spectrum of a window whose lanes come from load(y, x0).
template <typename A, typename Load>
BLUROPS_INLINE void transform_window(TileScratch<A>& s, A* spectrum, Load load) {
  const TileTransform<A>& t = s.transform;
  for (int x0 = 0; x0 < t.x.size; x0 += t.kLanes) {
    forward_columns(t, x0, s.half, s.work, [=](int y) { return load(y, x0); });
  }
  for (int b = 0; b < t.blocks(); ++b) {
    forward_rows(t, b, t.x.size, s.half, s.work,
                 [=](int64_t i, auto value) { write_pair(spectrum + i, value); });
  }
}

// Spectra of channels c0 .. c0 + count - 1 as each part of the kernels sees them.
template <typename T, typename A>
void load_spectra(const TilePlan& plan, const Tile& tile, const void* image, int64_t c0,
                  int64_t count, TileScratch<A>& s) {
  using V = Simd<A>;
  const Problem& p = plan.problem;
  const A* window = s.window;
  const int64_t width = s.transform.x.size;
  for (int64_t c = 0; c < count; ++c) {
    const T* from = plane_of<T>(image, tile.n, c0 + c, p.channels, p.height * p.width);
    for (int64_t part = 0; part < plan.parts; ++part) {
      load_window(plan, tile, from, part, s.transform, s.window);
      transform_window(s, s.spectra + (c * plan.parts + part) * s.spectrum, [=](int y, int x0) {
        return Pair<typename V::Vec>{V::read(window + y * width + x0), typename V::Vec{}};
      });
    }
  }
}

// The responses of one channel to a pair of bases: store(offset in a plane, values).
template <typename A, typename Fetch, typename Store>
BLUROPS_INLINE void respond(const TilePlan& plan, const Tile& tile, const A* image,
                            const A* kernels, TileScratch<A>& s, Fetch& fetch, Store store) {
  const TileTransform<A>& t = s.transform;
  const int columns = static_cast<int>(tile.columns), rows = static_cast<int>(tile.rows);
  const int64_t stride = s.stride, spectrum = s.spectrum, parts = plan.parts;
  for (int b = 0; b < t.blocks(); ++b) {
    fetch.step();
    inverse_rows(t, b, columns, s.half, s.work, [=](int64_t i) {
      const auto x = read_pair(image + i), f = read_pair(kernels + i);
      auto sum = x;
      sum.re = x.re * f.re - x.im * f.im;
      sum.im = x.re * f.im + x.im * f.re;
      for (int64_t part = 1; part < parts; ++part) {
        const auto xp = read_pair(image + part * spectrum + i);
        const auto fp = read_pair(kernels + part * spectrum + i);
        sum.re += xp.re * fp.re - xp.im * fp.im;
        sum.im += xp.re * fp.im + xp.im * fp.re;
      }
      return sum;
    });
  }
  for (int x0 = 0; x0 < columns; x0 += t.kLanes) {
    inverse_columns(t, x0, s.half, s.work, [=](int y, auto value) {
      if (y < rows) store(y * stride + x0, value);
    });
  }
}

// Of the pair that follows, in `steps` steps.
template <typename T>
Prefetch<T> prefetch_after(const TilePlan& plan, const Tile& tile, int64_t pair, int64_t steps) {
  return pair + 1 < plan.pairs ? Prefetch<T>(plan, tile, pair + 1, steps) : Prefetch<T>();
}

template <typename T, typename A>
void store_plane(const TilePlan& plan, const Tile& tile, int64_t stride, const A* from, T* to) {
  const int64_t width = plan.problem.out_width;
  to += tile.y * width + tile.x;
  for (int64_t y = 0; y < tile.rows; ++y, from += stride, to += width) {
    for (int64_t x = 0; x < tile.columns; ++x) store(from[x], to + x);
  }
}

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
    for (int64_t pair = 0; pair < plan.pairs; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, tile.rows, s)) continue;
      const A* kernels = pair_spectrum(plan, s, tile.n, pair);
      auto fetch = prefetch_after<T>(plan, tile, pair, count * s.transform.blocks());
      for (int64_t c = 0; c < count; ++c) {
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

// store(offset, P): the spectrum of (m_a + i m_b) v over a tile, v one plane of s.pixels.
template <typename A, typename Fetch, typename Store>
BLUROPS_INLINE void transform_mixed(const Tile& tile, const A* pixels, TileScratch<A>& s,
                                    Fetch& fetch, Store store) {
  using V = Simd<A>;
  const TileTransform<A>& t = s.transform;
  const A *first = s.mixing, *second = s.mixing + s.plane;
  const int64_t stride = s.stride;
  int x0 = 0;
  for (; x0 < tile.columns; x0 += t.kLanes) {
    fetch.step();
    forward_columns(t, x0, s.half, s.work, [=](int y) {
      const int64_t i = y * stride + x0;
      const auto v = V::read(pixels + i);
      return Pair<typename V::Vec>{v * V::read(first + i), v * V::read(second + i)};
    });
  }
  for (int b = 0; b < t.blocks(); ++b) forward_rows(t, b, x0, s.half, s.work, store);
}

// Add the real part of the inverse of `sums` to the target, each value where the boundary read it.
template <typename A>
void fold(const TilePlan& plan, const Tile& tile, const A* sums, int64_t part, A* target,
          TileScratch<A>& s) {
  using V = Simd<A>;
  const TileTransform<A>& t = s.transform;
  const int64_t parts_across = plan.problem.tiling.parts_across;
  const int64_t top = tile.y + part / parts_across * plan.part_height;
  const int64_t left = tile.x + part % parts_across * plan.part_width;
  const int64_t rows = smaller(tile.rows + plan.part_height - 1, plan.extended_rows - top);
  const int64_t columns = smaller(tile.columns + plan.part_width - 1, plan.extended_columns - left);
  if (rows <= 0 || columns <= 0) return;
  A* window = s.window;
  const int64_t width = t.x.size;
  for (int b = 0; b < t.blocks(); ++b) {
    inverse_rows(t, b, static_cast<int>(columns), s.half, s.work,
                 [=](int64_t i) { return read_pair(sums + i); });
  }
  for (int x0 = 0; x0 < columns; x0 += t.kLanes) {
    inverse_columns(t, x0, s.half, s.work,
                    [=](int y, auto value) { V::write(window + y * width + x0, value.re); });
  }
  const int64_t* map = plan.column_map + left;
  const bool plain = map[0] >= 0 && map[columns - 1] - map[0] == columns - 1;
  for (int64_t u = 0; u < rows; ++u) {
    const int64_t row = plan.row_map[top + u];
    if (row < 0) continue;
    A* to = target + row * plan.problem.width;
    const A* from = window + u * width;
    if (plain) {
      to += map[0];
      for (int64_t v = 0; v < columns; ++v) to[v] += from[v];
    } else {
      for (int64_t v = 0; v < columns; ++v) {
        if (map[v] >= 0) to[map[v]] += from[v];
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
    for (int64_t c = 0; c < count; ++c) {
      const T* from =
          plane_of<T>(plan.first, tile.n, c0 + c, p.channels, p.out_height * p.out_width);
      load_plane(plan, tile, from, s.stride, height, s.pixels + c * s.plane);
    }
    clear(s.spectra, count * parts * spectrum);
    for (int64_t pair = 0; pair < plan.pairs; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, height, s)) continue;
      const A* kernels = pair_spectrum(plan, s, tile.n, pair);
      auto fetch = prefetch_after<T>(plan, tile, pair, count * s.stride / s.transform.kLanes);
      for (int64_t c = 0; c < count; ++c) {
        A* sums = s.spectra + c * parts * spectrum;
        transform_mixed(tile, s.pixels + c * s.plane, s, fetch, [=](int64_t i, auto value) {
          for (int64_t part = 0; part < parts; ++part) {
            const auto f = read_pair(kernels + part * spectrum + i);
            auto sum = read_pair(sums + part * spectrum + i);
            sum.re += value.re * f.re + value.im * f.im;
            sum.im += value.im * f.re - value.re * f.im;
            write_pair(sums + part * spectrum + i, sum);
          }
        });
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      A* target = static_cast<A*>(plan.target) +
                  (tile.n * p.channels + c0 + c) * p.height * p.width;
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
  // The sums of a pair are complete after its last channel, unless channels or samples come in groups.
  const int64_t kept = plan.keeps_all_bases ? p.basis + 1 : 2;
  clear(s.sums, kept * s.plane);
  for (int64_t n = begin; n < end; ++n) {
    const Tile tile(plan, n, unit % tiles);
    for (int64_t c0 = 0; c0 < p.channels; c0 += plan.channel_group) {
      const int64_t count = smaller(plan.channel_group, p.channels - c0);
      load_spectra<T>(plan, tile, plan.image, c0, count, s);
      for (int64_t c = 0; c < count; ++c) {
        const T* from = plane_of<T>(plan.first, n, c0 + c, p.channels, size);
        load_plane(plan, tile, from, s.stride, tile.rows, s.pixels + c * s.plane);
      }
      const bool last = n + 1 == end && c0 + count == p.channels;
      for (int64_t pair = 0; pair < plan.pairs; ++pair) {
        A* first = s.sums + (plan.keeps_all_bases ? 2 * pair : 0) * s.plane;
        A* second = first + s.plane;
        const A* kernels = pair_spectrum(plan, s, n, pair);
        for (int64_t c = 0; c < count; ++c) {
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
    load_spectra<T>(plan, tile, plan.image, c0, count, s);
    for (int64_t c = 0; c < count; ++c) {
      const T* from =
          plane_of<T>(plan.first, tile.n, c0 + c, p.channels, p.out_height * p.out_width);
      load_plane(plan, tile, from, s.stride, height, s.pixels + c * s.plane);
    }
    for (int64_t pair = begin; pair < end; ++pair) {
      if (!load_mixing<T>(plan, tile, pair, height, s)) continue;
      A* sums = s.products + (pair - begin) * parts * spectrum;
      auto fetch = prefetch_after<T>(plan, tile, pair, count * s.stride / s.transform.kLanes);
      for (int64_t c = 0; c < count; ++c) {
        const A* image = s.spectra + c * parts * spectrum;
        transform_mixed(tile, s.pixels + c * s.plane, s, fetch, [=](int64_t i, auto value) {
          for (int64_t part = 0; part < parts; ++part) {
            const auto x = read_pair(image + part * spectrum + i);
            auto sum = read_pair(sums + part * spectrum + i);
            sum.re += value.re * x.re + value.im * x.im;
            sum.im += value.re * x.im - value.im * x.re;
            write_pair(sums + part * spectrum + i, sum);
          }
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
  double* partial = plan.partial + (chunk * samples + sample) * p.basis * p.kernel_height *
                                       p.kernel_width;
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

// F of one part of a pair of kernels, scaled for the inverse: the kernels lie at negative positions,
// which turns their convolution into a correlation.
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
    const T* taps = plane_of<T>(plan.kernels, sample, 2 * pair + i, p.basis,
                                p.kernel_height * p.kernel_width);
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
