// SPDX-License-Identifier: BSD-3-Clause
// What the launchers share: the sizes that kernels see, the workspace, packing, and the choice of
// an instance.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "basis_blur/basis_blur.h"
#include "basis_blur/cuda/layout.h"
#include "gpu/workspace.h"

// The instances: taps_class of the kernels' width, from and to. Tests compile fewer.
#ifndef BLUROPS_CUDA_FIRST
#define BLUROPS_CUDA_FIRST 1
#define BLUROPS_CUDA_LAST 10
#endif

namespace blurops::cuda {

using gpu::Workspace;

struct Plan {
  const char* launcher;
  Sizes sizes;
  int basis, steps, taps, kernel_samples, mixing_samples;
  bool high;

  Plan(const char* name, const Problem& p, bool high_precision)
      : launcher(name), basis(static_cast<int>(p.basis)), high(high_precision) {
    const int listed = listed_bases(basis, high);
    steps = listed <= kBases ? 1 : 2;
    taps = taps_class(static_cast<int>(p.kernel_width));
    kernel_samples = p.kernels_batched ? static_cast<int>(p.count) : 1;
    mixing_samples = p.mixing_batched ? static_cast<int>(p.count) : 1;
    const auto narrow = [](int64_t size) { return static_cast<int>(size); };
    sizes = {narrow(p.count),
             narrow(p.channels),
             narrow(p.height),
             narrow(p.width),
             narrow(p.out_height),
             narrow(p.out_width),
             narrow(p.kernel_height),
             narrow(p.kernel_width),
             narrow(p.anchor_y),
             narrow(p.anchor_x),
             p.boundary,
             p.dtype,
             ceil_div(listed, kBases * steps),
             ceil_div(narrow(p.out_width), kStrip),
             ceil_div(narrow(p.channels), channels_of_block())};
  }

  int channels_of_block() const { return sizes.channels == 1 && taps <= kWidestOfOne ? 1 : 3; }
};

// The packed operands within a workspace, and the kernels that write them.
struct Operands {
  uint4* mixing;
  float* pixel_scale;
  uint4* kernels;
  float* kernel_scale;
  int64_t mixing_stride, pixel_stride, kernels_stride;  // of a sample

  Operands(const Plan& plan, Workspace& workspace) {
    const Sizes& s = plan.sizes;
    const int64_t lines = int64_t{s.out_height} * s.strips;
    mixing_stride = s.groups * lines * mixing_vectors(plan.steps);
    pixel_stride = lines * kStrip;
    kernels_stride = int64_t{s.groups} * s.kernel_height * kernel_vectors(plan.taps, plan.steps);
    mixing = workspace.take<uint4>(plan.mixing_samples * mixing_stride);
    pixel_scale = workspace.take<float>(plan.mixing_samples * pixel_stride);
    kernels = workspace.take<uint4>(plan.kernel_samples * kernels_stride);
    kernel_scale = workspace.take<float>(plan.kernel_samples);
  }

  Packed packed(const Plan& plan) const {
    const bool own_mixing = plan.mixing_samples > 1, own_kernels = plan.kernel_samples > 1;
    return {mixing,
            pixel_scale,
            kernels,
            kernel_scale,
            own_mixing ? mixing_stride : 0,
            own_mixing ? pixel_stride : 0,
            own_kernels ? kernels_stride : 0,
            own_kernels ? 1 : 0};
  }
};

// Calls visit with a value of the storage type.
template <typename Visit>
void with_storage(DType dtype, const Visit& visit) {
  if (dtype == DType::kFloat32) return visit(float{});
  if (dtype == DType::kFloat16) return visit(Half{});
  if (dtype == DType::kBFloat16) return visit(BFloat16{});
  throw std::invalid_argument("the CUDA kernels take float32, float16 and bfloat16 only");
}

// Runs a kernel with one thread per item.
template <typename Args>
void launch_each(const Plan& plan, void (*kernel)(Args, int64_t), int64_t items, void* stream,
                 const Args& args) {
  const int64_t blocks = (items + kPackThreads - 1) / kPackThreads;
  gpu::launch(plan.launcher, kernel, blocks, kPackThreads, 0, stream, args, items);
}

// Queues the packing of both operands (pack.cu).
void pack(const Plan& plan, const Operands& to, const void* kernels, const void* mixing,
          void* stream);

// The same for the gradients (pack_gradients.h): kernels as pack_taps wants them, at one scale for
// all samples if their results are summed,
void pack_taps(const Plan& plan, bool high, bool one_scale, const void* kernels, uint4* to,
               float* scale, int64_t stride, void* stream);
// mixing as pack_pixels does,
void pack_pixels(const Plan& plan, bool high, const void* mixing, uint4* to, float* pixel_scale,
                 void* stream);
// and the largest magnitudes of two tensors, as bits.
void find_largest(const Plan& plan, DType first_dtype, const void* first, int64_t first_count,
                  DType second_dtype, const void* second, int64_t second_count, uint32_t* largest,
                  void* stream);

// Calls visit with the instance of a plan, (taps, steps, channels of a block) as constants, from
// kFirst on.
template <int kFirst, int... kInstances, typename Visit>
void with_instance(const Plan& plan, std::integer_sequence<int, kInstances...>,
                   const Visit& visit) {
  const auto channels = [&](auto taps, auto steps) {
    if constexpr (decltype(taps)::value <= kWidestOfOne) {
      if (plan.channels_of_block() == 1) {
        return visit(taps, steps, std::integral_constant<int, 1>{});
      }
    }
    visit(taps, steps, std::integral_constant<int, 3>{});
  };
  const auto steps = [&](auto taps) {
    if (plan.steps == 1) return channels(taps, std::integral_constant<int, 1>{});
    channels(taps, std::integral_constant<int, 2>{});
  };
  const bool found = ((plan.taps == kFirst + kInstances &&
                       (steps(std::integral_constant<int, kFirst + kInstances>{}), true)) ||
                      ...);
  if (!found) throw std::invalid_argument("the kernels are too wide for the CUDA kernels");
}

// Of the classes from kFrom to kTo that are compiled.
template <int kFrom = 1, int kTo = BLUROPS_CUDA_LAST, typename Visit>
void with_instance(const Plan& plan, const Visit& visit) {
  constexpr int kFirst = kFrom > BLUROPS_CUDA_FIRST ? kFrom : BLUROPS_CUDA_FIRST;
  constexpr int kLast = kTo < BLUROPS_CUDA_LAST ? kTo : BLUROPS_CUDA_LAST;
  constexpr int kInstances = kLast < kFirst ? 0 : kLast - kFirst + 1;
  with_instance<kFirst>(plan, std::make_integer_sequence<int, kInstances>{}, visit);
}

}  // namespace blurops::cuda
