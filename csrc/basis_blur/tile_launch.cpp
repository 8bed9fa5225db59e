// SPDX-License-Identifier: BSD-3-Clause
// Launchers of the tile method: the plan, its memory, and the order of the tiles.
#include <algorithm>
#include <optional>
#include <vector>

#include "basis_blur/launch.h"
#include "basis_blur/tile_target.h"
#include "basis_blur/tiles.h"
#include "common/convert.h"
#include "common/isa.h"
#include "common/parallel.h"
#include "tile_fft/factors.h"

namespace blurops {
namespace {

// Spectra of channels that one thread holds at a time, in bytes.
constexpr int64_t kChannelBytes = int64_t{4} << 20;
// Sums of the kernel gradient that one thread holds at a time, in bytes.
constexpr int64_t kProductBytes = int64_t{4} << 20;
// The same in the fused backward, which cannot take the pairs in groups: the tile's other gradients
// would be computed again for each; beyond it, one gradient after the other is quicker. 25 bases in
// tiles of 192 x 192 floats fit.
constexpr int64_t kFusedProductBytes = int64_t{4} << 20;
// Spectra of single kernels, which pairs made anew are made of, in bytes.
constexpr int64_t kOwnBytes = int64_t{16} << 20;
// The same of a bank that pixels pick from, which may hold hundreds.
constexpr int64_t kBankBytes = int64_t{64} << 20;
// Units that keep the usual number of threads busy.
constexpr int64_t kBusyUnits = 8;
// Partial sums of the kernel gradient, in bytes, whatever the number of threads.
constexpr int64_t kPartialBytes = int64_t{6} << 20;

const TileKernels& kernels_for(Isa isa) {
#if defined(BLUROPS_X86)
  if (isa == Isa::kAvx512) return tile_kernels_avx512();
  if (isa == Isa::kAvx2) return tile_kernels_avx2();
#endif
  return tile_kernels_baseline();
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

size_t size_of(DType dtype) {
  if (dtype == DType::kFloat64) return sizeof(double);
  return dtype == DType::kFloat32 ? sizeof(float) : sizeof(Half);
}

int code(const Problem& problem) { return static_cast<int>(problem.dtype); }

// Everything a call needs beside its tensors, and the plan that points into it.
struct TileLaunch {
  TilePlan plan{};
  const TileKernels& kernels = kernels_for(active_isa());
  IndexMaps maps;
  AlignedBytes spectra, own;
  std::vector<uint8_t> active;
  std::vector<int64_t> own_index;
  std::vector<BasisPair> owners;

  explicit TileLaunch(const Problem& p) : maps(p) {
    plan.problem = p;
    plan.row_map = maps.rows.data();
    plan.column_map = maps.columns.data();
    plan.extended_rows = static_cast<int64_t>(maps.rows.size());
    plan.extended_columns = static_cast<int64_t>(maps.columns.size());
    plan.part_height = ceil_div(p.kernel_height, p.tiling.parts_down);
    plan.part_width = ceil_div(p.kernel_width, p.tiling.parts_across);
    plan.parts = p.tiling.parts_down * p.tiling.parts_across;
    plan.rows = p.tiling.height - plan.part_height + 1;
    plan.columns = p.tiling.width - plan.part_width + 1;
    plan.tiles_down = ceil_div(p.out_height, plan.rows);
    plan.tiles_across = ceil_div(p.out_width, plan.columns);
    plan.pairs = ceil_div(p.basis, 2);
    const int64_t bytes = kernels.spectrum_bytes(plan) * plan.parts;
    plan.channel_group = std::clamp<int64_t>(kChannelBytes / bytes, 1,
                                             std::clamp<int64_t>(p.channels, 1, kMaxChannelGroup));
  }

  int64_t tiles() const { return plan.tiles_down * plan.tiles_across; }

  int64_t samples_of_kernels() const {
    return plan.problem.kernels_batched ? plan.problem.count : 1;
  }

  // The kernels' spectra, shared by all threads.
  void transform_kernels(const void* from, int threads) {
    plan.kernels = from;
    if (plan.picks) {
      own = transform(owners, threads);
      plan.own = own.get();
      return;
    }
    std::vector<BasisPair> pairs;
    for (int64_t b = 0; b < plan.problem.basis; b += 2) {
      pairs.push_back({b, b + 1 < plan.problem.basis ? b + 1 : BasisPair::kNone});
    }
    spectra = transform(pairs, threads);
    plan.spectra = spectra.get();
    // The last of an odd number of bases is on its own already.
    if (plan.own_index && plan.problem.basis > 1) own = transform(owners, threads);
    plan.own = own.get();
  }

  // Looks which bases the tiles mix, and which of these need spectra of their own.
  void look_at_mixing(int threads) {
    const Problem& p = plan.problem;
    const int64_t samples = p.mixing_batched ? p.count : 1;
    active.resize(samples * tiles() * p.basis);
    plan.active = active.data();
    if (plan.picks) {
      run(kernels.picked[code(p)], samples * tiles(), threads);
    } else {
      run(kernels.mixed[code(p)], samples * plan.tiles_down * p.basis, threads);
    }
    std::vector<char> wanted(p.basis, 0);
    for (auto tile = active.begin(); tile != active.end(); tile += p.basis) {
      if (pairing_of(&*tile, p.basis, !plan.picks, true) == Pairing::kNeighbours) continue;
      for (int64_t b = 0; b < p.basis; ++b) wanted[b] |= tile[b] != 0;
    }
    own_index.assign(p.basis, -1);
    for (int64_t b = 0; b < p.basis; ++b) {
      if (!wanted[b]) continue;
      own_index[b] = static_cast<int64_t>(owners.size());
      owners.push_back({b, BasisPair::kNone});
    }
    plan.owners = static_cast<int64_t>(owners.size());
    const int64_t bytes = samples_of_kernels() * plan.owners * plan.parts;
    if (plan.owners > 0 && bytes * kernels.spectrum_bytes(plan) <= own_bytes()) {
      plan.own_index = own_index.data();
    }
    // Planes that share transforms in a tile must be all of its channels.
    const bool odd = p.channels % 2 == 1 && plan.channel_group == p.channels;
    if (p.basis == 1 && odd && plan.own_index && !plan.picks) plan.together = 2;
  }

  int64_t own_bytes() const { return plan.picks ? kBankBytes : kOwnBytes; }

  // Whether the picks leave few enough bases to each tile, after look_at_mixing.
  bool within_budget() const {
    const Problem& p = plan.problem;
    int64_t transforms = plan.owners;
    for (auto tile = active.begin(); tile != active.end(); tile += p.basis) {
      const int64_t bases = std::count(tile, tile + p.basis, uint8_t{1});
      transforms += bases == 1 ? ceil_div(p.channels, 2) : ceil_div(bases, 2) * p.channels;
    }
    const bool repeated = !p.mixing_batched;
    const double all = static_cast<double>(transforms) * (repeated ? p.count : 1);
    return all <= plan.picks->budget && (plan.owners == 0 || plan.own_index);
  }

  void run(TileUnit unit, int64_t units, int threads) const {
    const Workers workers(threads_for(units, threads), kernels.scratch_bytes(plan));
    run(workers, unit, units);
  }

  AlignedBytes transform(const std::vector<BasisPair>& bases, int threads) {
    plan.made = bases.data();
    plan.made_count = static_cast<int64_t>(bases.size());
    const int64_t units = samples_of_kernels() * plan.made_count * plan.parts;
    AlignedBytes made = allocate(units * kernels.spectrum_bytes(plan));
    plan.making = made.get();
    run(kernels.spectra[code(plan.problem)], units, threads);
    return made;
  }

  void run(const Workers& workers, TileUnit unit, int64_t units) const {
    workers.run(units, [&](int64_t i, void* scratch) { unit(plan, i, scratch); });
  }

  static int threads_for(int64_t units, int threads) {
    return static_cast<int>(std::clamp<int64_t>(threads, 1, std::max<int64_t>(units, 1)));
  }
};

// Every tile of the blurred image, once the plan knows what is mixed.
void blur_tiles(TileLaunch& launch, const void* image, const void* kernels, void* out,
                int threads) {
  const Problem& p = launch.plan.problem;
  launch.plan.first = image;
  launch.plan.out = out;
  prefer_large_pages(out, p.count * p.channels * p.out_height * p.out_width * size_of(p.dtype));
  launch.transform_kernels(kernels, threads);
  const int64_t units = p.count * ceil_div(launch.tiles(), launch.plan.together);
  launch.run(launch.kernels.blur[code(p)], units, threads);
}

// The adjoint's tiles, group by group.
void fold_tiles(TileLaunch& launch, const void* image, const void* kernels, void* out,
                int threads) {
  TilePlan& plan = launch.plan;
  const Problem& problem = plan.problem;
  plan.first = image;
  launch.transform_kernels(kernels, threads);
  const Target target(problem, out);
  plan.target = target.memory();
  const auto groups = tile_groups(plan, launch.maps);
  int64_t largest = 0;
  for (const auto& group : groups) {
    largest = std::max(largest, ceil_div(static_cast<int64_t>(group.size()), plan.together));
  }
  // Large kernels leave few tiles to a group: their channels are units of their own then.
  if (plan.together == 1 && problem.count * largest < kBusyUnits) {
    plan.channel_group = 1;
    plan.turns = std::max<int64_t>(problem.channels, 1);
  }
  const Workers workers(TileLaunch::threads_for(problem.count * largest * plan.turns, threads),
                        launch.kernels.scratch_bytes(plan));
  for (const auto& group : groups) {
    plan.group = group.data();
    plan.group_size = static_cast<int64_t>(group.size());
    const int64_t sets = ceil_div(plan.group_size, plan.together);
    launch.run(workers, launch.kernels.adjoint[code(problem)], problem.count * sets * plan.turns);
  }
  target.finish();
}

// The partial sums of the kernels' gradient, for at most `wanted` chunks.
std::vector<double> partial_sums(TilePlan& plan, int64_t wanted) {
  const Problem& p = plan.problem;
  const int64_t samples = p.kernels_batched ? p.count : 1;
  const int64_t taps = samples * p.basis * p.kernel_height * p.kernel_width;
  const int64_t fitting = std::max<int64_t>(kPartialBytes / (taps * int64_t{sizeof(double)}), 1);
  plan.chunks = std::min({wanted, int64_t{64}, fitting});
  return std::vector<double>(plan.chunks * taps, 0.0);
}

void prefer_large_pages_for_mixing(const Problem& p, void* out) {
  prefer_large_pages(out, (p.mixing_batched ? p.count : 1) * p.basis * p.out_height * p.out_width *
                              size_of(p.dtype));
}

// Whether a tile can be done with at once: all its channels are held together, its gradient by the
// mixing is that of one sample, and the products of all pairs are held together.
bool fits_one_sweep(const TileLaunch& launch, bool by_kernels, bool by_mixing) {
  const TilePlan& plan = launch.plan;
  const Problem& p = plan.problem;
  const int64_t products = plan.pairs * plan.parts * launch.kernels.spectrum_bytes(plan);
  return plan.channel_group == p.channels && !(by_mixing && !p.mixing_batched && p.count > 1) &&
         !(by_kernels && products > kFusedProductBytes);
}

}  // namespace

std::vector<int> tile_lengths() {
  std::vector<int> lengths;
  for (const Factors& f : kFactors) lengths.push_back(f.radix1 * f.radix2);
  return lengths;
}

void tile_blur(const Problem& problem, const void* image, const void* kernels, const void* mixing,
               void* out, int threads, const Epilogue* epilogue) {
  TileLaunch launch(problem);
  launch.plan.mixing = mixing;
  launch.plan.epilogue = epilogue;
  launch.look_at_mixing(threads);
  blur_tiles(launch, image, kernels, out, threads);
}

bool tile_blur_picked(const Problem& problem, const void* image, const void* kernels,
                      const Picks& picks, void* out, int threads) {
  TileLaunch launch(problem);
  launch.plan.picks = &picks;
  launch.look_at_mixing(threads);
  if (!launch.within_budget()) return false;
  blur_tiles(launch, image, kernels, out, threads);
  return true;
}

void tile_adjoint(const Problem& problem, const void* image, const void* kernels,
                  const void* mixing, void* out, int threads) {
  TileLaunch launch(problem);
  launch.plan.mixing = mixing;
  launch.look_at_mixing(threads);
  fold_tiles(launch, image, kernels, out, threads);
}

bool tile_adjoint_picked(const Problem& problem, const void* image, const void* kernels,
                         const Picks& picks, void* out, int threads) {
  TileLaunch launch(problem);
  launch.plan.picks = &picks;
  launch.look_at_mixing(threads);
  if (!launch.within_budget()) return false;
  fold_tiles(launch, image, kernels, out, threads);
  return true;
}

bool tile_grad_weight_picked(const Problem& problem, const void* grad, const void* image,
                             const void* kernels, const Picks& picks, void* out, int threads) {
  TileLaunch launch(problem);
  TilePlan& plan = launch.plan;
  plan.picks = &picks;
  if (plan.channel_group < problem.channels) return false;
  launch.look_at_mixing(threads);
  if (!launch.within_budget()) return false;
  plan.first = grad;
  plan.image = image;
  plan.out = out;
  launch.transform_kernels(kernels, threads);
  launch.run(launch.kernels.grad_weight[code(problem)], problem.count * launch.tiles(), threads);
  return true;
}

void tile_grad_kernels(const Problem& problem, const void* grad, const void* image,
                       const void* mixing, void* out, int threads) {
  TileLaunch launch(problem);
  TilePlan& plan = launch.plan;
  plan.first = grad;
  plan.image = image;
  plan.mixing = mixing;
  plan.pair_group = std::clamp<int64_t>(
      kProductBytes / (launch.kernels.spectrum_bytes(plan) * plan.parts), 1, plan.pairs);
  const int64_t groups = ceil_div(plan.pairs, plan.pair_group);
  const int64_t samples = problem.kernels_batched ? problem.count : 1;
  const int64_t total = (problem.kernels_batched ? 1 : problem.count) * launch.tiles();
  // A function of the shapes alone, so that the order of summation does not depend on the threads;
  // enough chunks for many threads, and enough tiles in each that inverting its sums costs little.
  auto partial = partial_sums(plan, std::max(total / 8, std::min<int64_t>(total, 4)));
  plan.partial = partial.data();
  launch.run(launch.kernels.grad_kernels[code(problem)], samples * groups * plan.chunks, threads);
  sum_partials(partial, plan.chunks, problem.dtype, out);
}

void tile_grad_mixing(const Problem& problem, const void* grad, const void* image,
                      const void* kernels, void* out, int threads) {
  TileLaunch launch(problem);
  TilePlan& plan = launch.plan;
  plan.first = grad;
  plan.image = image;
  plan.out = out;
  prefer_large_pages_for_mixing(problem, out);
  plan.keeps_all_bases =
      plan.channel_group < problem.channels || (!problem.mixing_batched && problem.count > 1);
  launch.transform_kernels(kernels, threads);
  const int64_t samples = problem.mixing_batched ? problem.count : 1;
  launch.run(launch.kernels.grad_mixing[code(problem)], samples * launch.tiles(), threads);
}

bool tile_backward(const Problem& problem, const void* grad, const void* image, const void* kernels,
                   const void* mixing, void* grad_image, void* grad_kernels, void* grad_mixing,
                   int threads) {
  TileLaunch launch(problem);
  TilePlan& plan = launch.plan;
  if (!fits_one_sweep(launch, grad_kernels, grad_mixing)) return false;
  plan.first = grad;
  plan.image = image;
  plan.mixing = mixing;
  plan.out = grad_mixing;
  if (grad_mixing) prefer_large_pages_for_mixing(problem, grad_mixing);
  std::optional<Target> target;
  if (grad_image) plan.target = target.emplace(problem, grad_image).memory();
  const auto groups = tile_groups(plan, launch.maps);
  int64_t largest = 0;
  for (const auto& group : groups) largest = std::max<int64_t>(largest, group.size());
  const int64_t samples = problem.kernels_batched ? problem.count : 1;
  const int64_t total = problem.count / samples * largest;
  plan.chunks = total;
  std::vector<double> partial;
  if (grad_kernels) {
    plan.pair_group = plan.pairs;
    // As in tile_grad_kernels; a multiple of four, because no thread goes on to the next group
    // before all have done this one. The groups add to the same partial sums, in turn.
    partial = partial_sums(plan, std::max(total / 16 * 4, std::min<int64_t>(total, 4)));
    plan.partial = partial.data();
  }
  launch.transform_kernels(kernels, threads);
  const int64_t units = samples * plan.chunks;
  const Workers workers(TileLaunch::threads_for(units, threads),
                        launch.kernels.scratch_bytes(plan));
  for (const auto& group : groups) {
    plan.group = group.data();
    plan.group_size = static_cast<int64_t>(group.size());
    launch.run(workers, launch.kernels.backward[code(problem)], units);
  }
  if (target) target->finish();
  if (grad_kernels) sum_partials(partial, plan.chunks, problem.dtype, grad_kernels);
  return true;
}

}  // namespace blurops
