// SPDX-License-Identifier: BSD-3-Clause
// One tile: its working memory, and what is copied into and out of it. Included by tiles.cpp alone,
// once per instruction set.
#pragma once

#include <cstring>
#include <type_traits>

#include "basis_blur/tiles.h"
#include "tile_fft/lengths.h"

namespace blurops {
namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <typename A>
TileTransform<A> transform_of(const TilePlan& plan) {
  return {length_of<A>(plan.problem.tiling.height), length_of<A>(plan.problem.tiling.width)};
}

// A tile's blurred pixels, and the rest of what they are made of.
struct Tile {
  int64_t n, y, x;        // first blurred pixel
  int64_t rows, columns;  // blurred pixels, fewer at the last border
  Tile() = default;
  Tile(const TilePlan& plan, int64_t sample, int64_t tile)
      : n(sample),
        y(tile / plan.tiles_across * plan.rows),
        x(tile % plan.tiles_across * plan.columns),
        rows(smaller(plan.rows, plan.problem.out_height - y)),
        columns(smaller(plan.columns, plan.problem.out_width - x)) {}
};

// The tiles of a unit, TilePlan::together of them or, at the end of a sample or of a group, fewer.
struct TileSet {
  int64_t count = 0;
  int64_t index[2];              // places in the plan
  bool mixed[2] = {true, true};  // whether the mixing is anything but zero

  TileSet(const TilePlan& plan, int64_t unit) {
    const int64_t all = plan.group ? plan.group_size : plan.tiles_down * plan.tiles_across;
    const int64_t units = (all + plan.together - 1) / plan.together;
    const int64_t begin = unit % units * plan.together;
    for (int64_t i = begin; i < smaller(begin + plan.together, all); ++i) {
      index[count] = plan.group ? plan.group[i] : i;
      tiles_[count] = Tile(plan, unit / units, index[count]);
      ++count;
    }
  }

  const Tile& operator[](int64_t i) const { return tiles_[i]; }

  // The first tile, as large as the largest.
  Tile extent() const {
    Tile tile = tiles_[0];
    if (count == 2) {
      tile.rows = tile.rows < tiles_[1].rows ? tiles_[1].rows : tile.rows;
      tile.columns = tile.columns < tiles_[1].columns ? tiles_[1].columns : tile.columns;
    }
    return tile;
  }

 private:
  Tile tiles_[2];
};

// The channels of a group, ascending, that something is done for.
class Channels {
 public:
  void clear() { count_ = 0; }
  void add(int64_t channel) { list_[count_++] = channel; }
  void fill(int64_t count) {
    for (count_ = 0; count_ < count; ++count_) list_[count_] = count_;
  }

  int64_t count() const { return count_; }
  const int64_t* begin() const { return list_; }
  const int64_t* end() const { return list_ + count_; }
  bool has(int64_t channel) const {
    for (int64_t c : *this) {
      if (c == channel) return true;
    }
    return false;
  }

 private:
  int64_t list_[kMaxChannelGroup], count_ = 0;
};

// Added to a plane, in bytes: a load that follows a store to an address equal modulo 4096 waits for
// it, and mixing and sums are read and written at the same place of planes side by side.
constexpr int64_t kSkew = 320;

// The working memory of one thread, carved from one block. Planes of pixels have rows of `stride`.
template <typename A>
struct TileScratch {
  TileTransform<A> transform;
  int64_t spectrum;  // elements of one
  int64_t stride;    // of a row of blurred pixels, whole vectors
  int64_t plane;     // tile height x stride and more: rows beyond the tile's pixels stay zero
  int64_t sums_count;

  A* half;      // between the two passes of a transform
  A* work;      // a column of pairs
  A* window;    // (2, height, width) of one tile
  A* spectra;   // (channel group, parts, spectrum): of the image
  A* adjoint;   // (channel group, parts, spectrum): the adjoint's sums
  A* mixing;    // (2, plane)
  A* pixels;    // (channel group, plane): y, or grad
  A* sums;      // (sums_count, plane): blurred channels, or gradients of mixing
  A* products;  // (pair group, parts, spectrum): the kernel gradient's sums
  A* paired;    // (parts, spectrum): F of a pair made anew

  // The pairs of bases that a tile mixes.
  BasisPair* pairs;
  int64_t pair_count = 0;

  // The channels of a group that are not zero all over the tile; the others are skipped.
  Channels live;

  TileScratch(const TilePlan& plan, void* memory)
      : transform(transform_of<A>(plan)), memory_(static_cast<char*>(memory)) {
    constexpr int64_t kLanes = Simd<A>::kLanes;
    const int64_t group = plan.channel_group;
    spectrum = transform.elements();
    stride = (plan.columns + kLanes - 1) / kLanes * kLanes;
    plane = transform.y.size * stride + kSkew / int64_t{sizeof(A)};
    sums_count = group > plan.problem.basis + 1 ? group : plan.problem.basis + 1;
    half = take(spectrum);
    work = take(work_elements(transform));
    window = take(spectrum);
    spectra = take(group * plan.parts * spectrum);
    // The adjoint alone has no spectra of an image.
    adjoint = plan.image && plan.target ? take(group * plan.parts * spectrum) : spectra;
    mixing = take(2 * plane);
    // Two at least, and evenly many sums, for planes that share transforms.
    pixels = take((group > 2 ? group : 2) * plane);
    const int64_t planes = (plan.together * group + 1) / 2 * 2;
    sums = take((plan.keeps_all_bases ? sums_count : planes) * plane);
    products = take(plan.pair_group * plan.parts * spectrum);
    paired = take(plan.own_index ? plan.parts * spectrum : 0);
    pairs = reinterpret_cast<BasisPair*>(
        take(plan.pairs * int64_t{sizeof(BasisPair)} / int64_t{sizeof(A)}));
  }

  size_t bytes() const { return size_; }

 private:
  char* memory_;
  size_t size_ = 0;

  A* take(int64_t elements) {
    const size_t begin = size_;
    size_ += (elements * sizeof(A) + 63) / 64 * 64;
    return memory_ ? reinterpret_cast<A*>(memory_ + begin) : nullptr;
  }
};

template <typename A>
void clear(A* values, int64_t count) {
  std::memset(values, 0, count * sizeof(A));
}

template <typename A, typename T>
BLUROPS_INLINE typename Simd<A>::Vec load_vector(const T* from) {
  if constexpr (std::is_same_v<A, T>) {
    return Simd<A>::read(from);
  } else {
    alignas(kVectorBytes) A values[Simd<A>::kLanes];
    for (int i = 0; i < Simd<A>::kLanes; ++i) values[i] = load(from[i]);
    return Simd<A>::read(values);
  }
}

// Collects whether any of the values it has seen is not zero; a NaN is not.
template <typename A>
struct Seen {
  using Bits = typename Index<A>::Vec;
  Bits bits = {};

  BLUROPS_INLINE void add(typename Simd<A>::Vec value) { bits |= reinterpret_cast<Bits>(value); }

  // Twice the bits drop the sign of a zero.
  bool any() const {
    bool found = false;
    for (int i = 0; i < Simd<A>::kLanes; ++i) found |= bits[i] + bits[i] != 0;
    return found;
  }
};

// The part of the extended image that one part of the kernels sees from a tile, (height, width);
// zero beyond it. Returns whether anything is not zero.
template <typename T, typename A>
bool load_window(const TilePlan& plan, const Tile& tile, const T* image, int64_t part,
                 const TileTransform<A>& t, A* window) {
  const int64_t width = plan.problem.width;
  const int64_t parts_across = plan.problem.tiling.parts_across;
  const int64_t top = tile.y + part / parts_across * plan.part_height;
  const int64_t left = tile.x + part % parts_across * plan.part_width;
  const int64_t rows = smaller(tile.rows + plan.part_height - 1, plan.extended_rows - top);
  const int64_t columns = smaller(tile.columns + plan.part_width - 1, plan.extended_columns - left);
  const int64_t* map = plan.column_map + left;
  // The maps are monotonous inside the image, so its two ends tell whether a stretch is plain.
  const bool plain = columns > 0 && map[0] >= 0 && map[columns - 1] - map[0] == columns - 1;
  Seen<A> seen;
  for (int64_t u = 0; u < t.y.size; ++u) {
    A* to = window + u * t.x.size;
    const int64_t row = u < rows ? plan.row_map[top + u] : -1;
    int64_t end = 0;
    if (row >= 0) {
      const T* from = image + row * width;
      end = columns > 0 ? columns : 0;
      if (plain) {
        from += map[0];
        for (int64_t v = 0; v < end; ++v) to[v] = load(from[v]);
      } else {
        for (int64_t v = 0; v < end; ++v) to[v] = map[v] < 0 ? A(0) : A(load(from[map[v]]));
      }
    }
    clear(to + end, t.x.size - end);
    for (int64_t v = 0; v < t.x.size; v += t.kLanes) seen.add(Simd<A>::read(to + v));
  }
  return seen.any();
}

// The vector of a row's last columns, zero beyond them.
template <typename A, typename T>
BLUROPS_INLINE typename Simd<A>::Vec load_rest(const T* from, int64_t x, int64_t columns) {
  alignas(kVectorBytes) A rest[Simd<A>::kLanes] = {};
  for (int64_t i = 0; x + i < columns && i < Simd<A>::kLanes; ++i) rest[i] = load(from[x + i]);
  return Simd<A>::read(rest);
}

// One plane of blurred size, at a tile. Whole vectors: zero beyond the tile's columns and, up to
// `height`, its rows. Returns whether anything is not zero.
template <typename T, typename A>
bool load_plane(const TilePlan& plan, const Tile& tile, const T* from, int64_t stride,
                int64_t height, A* to) {
  using V = Simd<A>;
  const int64_t width = plan.problem.out_width;
  const int64_t whole = tile.columns / V::kLanes * V::kLanes;
  from += tile.y * width + tile.x;
  Seen<A> seen;
  for (int64_t y = 0; y < tile.rows; ++y, from += width, to += stride) {
    for (int64_t x = 0; x < whole; x += V::kLanes) {
      const auto value = load_vector<A>(from + x);
      V::write(to + x, value);
      seen.add(value);
    }
    for (int64_t x = whole; x < stride; x += V::kLanes) {
      const auto rest = load_rest<A>(from, x, tile.columns);
      V::write(to + x, rest);
      seen.add(rest);
    }
  }
  clear(to, (height - tile.rows) * stride);
  return seen.any();
}

// Whether any of some neighbouring elements is not zero.
template <typename A, typename T>
bool any_of(const T* from, int64_t count) {
  using V = Simd<A>;
  Seen<A> seen;
  int64_t x = 0;
  for (; x + V::kLanes <= count; x += V::kLanes) seen.add(load_vector<A>(from + x));
  if (x < count) seen.add(load_rest<A>(from, x, count));
  return seen.any();
}

template <typename T>
const T* plane_of(const void* tensor, int64_t n, int64_t index, int64_t count, int64_t size) {
  return static_cast<const T*>(tensor) + (n * count + index) * size;
}

// The element of a map of the picks at a tile's first pixel.
template <typename T>
const T* pick_of(const TilePlan& plan, const Tile& tile, const void* maps, bool batched,
                 int64_t j) {
  const Problem& p = plan.problem;
  return plane_of<T>(maps, batched ? tile.n : 0, j, plan.picks->picked,
                     p.out_height * p.out_width) +
         tile.y * p.out_width + tile.x;
}

// The mixing coefficients that picks give a pair of bases at a tile, as load_plane leaves them.
template <typename T, typename A>
void gather_planes(const TilePlan& plan, const Tile& tile, BasisPair pair, int64_t height,
                   TileScratch<A>& s) {
  const Picks& picks = *plan.picks;
  const int64_t width = plan.problem.out_width;
  // A basis that there is not is picked by nobody.
  const int32_t a = static_cast<int32_t>(pair.first), b = static_cast<int32_t>(pair.second);
  A *first = s.mixing, *second = s.mixing + s.plane;
  clear(first, height * s.stride);
  clear(second, height * s.stride);
  for (int64_t j = 0; j < picks.picked; ++j) {
    const int32_t* index = pick_of<int32_t>(plan, tile, picks.index, picks.index_batched, j);
    const T* weight = pick_of<T>(plan, tile, picks.weight, picks.weight_batched, j);
    for (int64_t y = 0; y < tile.rows; ++y, index += width, weight += width) {
      A *to_first = first + y * s.stride, *to_second = second + y * s.stride;
      for (int64_t x = 0; x < tile.columns; ++x) {
        const A value = load(weight[x]);
        to_first[x] += index[x] == a ? value : A(0);
        to_second[x] += index[x] == b ? value : A(0);
      }
    }
  }
}

// The mixing coefficients of a pair of bases at a tile. Returns whether any is not zero; of picks
// it is only asked for pairs that are.
template <typename T, typename A>
bool load_mixing(const TilePlan& plan, const Tile& tile, BasisPair pair, int64_t height,
                 TileScratch<A>& s) {
  if (plan.picks) {
    gather_planes<T>(plan, tile, pair, height, s);
    return true;
  }
  const Problem& p = plan.problem;
  const int64_t n = p.mixing_batched ? tile.n : 0, size = p.out_height * p.out_width;
  bool any = false;
  for (int64_t i = 0; i < 2; ++i) {
    A* to = s.mixing + i * s.plane;
    const int64_t b = i == 0 ? pair.first : pair.second;
    if (b != BasisPair::kNone) {
      const T* from = plane_of<T>(plan.mixing, n, b, p.basis, size);
      any |= load_plane(plan, tile, from, s.stride, height, to);
    } else {
      clear(to, height * s.stride);
    }
  }
  return any;
}

// Fetches the mixing coefficients of a pair a few lines at a time, while the pair before it is
// computed: their short rows, far apart in memory, would otherwise be waited for.
class Prefetch {
 public:
  Prefetch() = default;

  // In `steps` calls of step().
  template <typename T>
  Prefetch(const TilePlan& plan, const Tile& tile, const T* mixing, BasisPair pair, int64_t steps)
      : rows_(tile.rows),
        planes_(pair.second == BasisPair::kNone ? 1 : 2),
        bytes_(tile.columns * int64_t{sizeof(T)}),
        stride_(plan.problem.out_width * int64_t{sizeof(T)}) {
    const Problem& p = plan.problem;
    plane_ = p.out_height * stride_ * (pair.second - pair.first);
    from_ =
        reinterpret_cast<const char*>(plane_of<T>(mixing, p.mixing_batched ? tile.n : 0, pair.first,
                                                  p.basis, p.out_height * p.out_width) +
                                      tile.y * p.out_width + tile.x);
    each_ = (planes_ * rows_ + steps - 1) / steps;
  }

  void step() {
    const int64_t end = smaller(done_ + each_, planes_ * rows_);
    for (; done_ < end; ++done_) {
      const char* row = from_ + done_ / rows_ * plane_ + done_ % rows_ * stride_;
      for (int64_t i = 0; i < bytes_; i += 64) __builtin_prefetch(row + i, 0, 2);
    }
  }

 private:
  const char* from_ = nullptr;
  int64_t rows_ = 1, planes_ = 0, bytes_ = 0, stride_ = 0, plane_ = 0, each_ = 0, done_ = 0;
};

}  // namespace
}  // namespace blurops
