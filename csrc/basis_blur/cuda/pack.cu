// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/pack_gradients.h"
#include "basis_blur/cuda/plan.h"

namespace blurops::cuda {

void pack(const Plan& plan, const Operands& to, const void* kernels, const void* mixing,
          void* stream) {
  const Sizes& s = plan.sizes;
  const PackKernelsArgs kernels_args{kernels,         reinterpret_cast<uint16_t*>(to.kernels),
                                     to.kernel_scale, plan.basis,
                                     s.kernel_height, s.kernel_width,
                                     s.groups,        plan.steps,
                                     plan.taps,       plan.high};
  const PackMixingArgs mixing_args{s,          mixing,     to.mixing, to.pixel_scale,
                                   plan.basis, plan.steps, plan.high};
  gpu::fill_zero(plan.launcher, to.kernels, plan.kernel_samples * to.kernels_stride * 16, stream);
  with_storage(s.dtype, [&](auto storage) {
    using T = decltype(storage);
    constexpr int64_t kShared = int64_t{kPackThreads} * 12;
    gpu::launch(plan.launcher, scale_kernels<T>, plan.kernel_samples, kPackThreads, kShared, stream,
                kernels_args);
    gpu::launch(plan.launcher, pack_kernels<T>, int64_t{plan.kernel_samples} * plan.basis,
                kPackThreads, kShared, stream, kernels_args);
    const int64_t pairs = int64_t{plan.mixing_samples} * s.out_height * s.strips * (kStrip / 2);
    launch_each(plan, pack_mixing<T>, pairs, stream, mixing_args);
  });
}

void pack_taps(const Plan& plan, bool high, bool one_scale, const void* kernels, uint4* to,
               float* scale, int64_t stride, void* stream) {
  const Sizes& s = plan.sizes;
  const PackKernelsArgs args{kernels,         reinterpret_cast<uint16_t*>(to),
                             scale,           plan.basis,
                             s.kernel_height, s.kernel_width,
                             s.groups,        plan.steps,
                             plan.taps,       high};
  // As one sample with all the bases.
  PackKernelsArgs scaled = args;
  if (one_scale) scaled.basis *= plan.kernel_samples;
  gpu::fill_zero(plan.launcher, to, plan.kernel_samples * stride * 16, stream);
  with_storage(s.dtype, [&](auto storage) {
    using T = decltype(storage);
    constexpr int64_t kShared = int64_t{kPackThreads} * 12;
    gpu::launch(plan.launcher, scale_kernels<T>, one_scale ? 1 : plan.kernel_samples, kPackThreads,
                kShared, stream, scaled);
    gpu::launch(plan.launcher, pack_taps<T>, int64_t{plan.kernel_samples} * plan.basis,
                kPackThreads, kShared, stream, PackTapsArgs{args, one_scale});
  });
}

void pack_pixels(const Plan& plan, bool high, const void* mixing, uint4* to, float* pixel_scale,
                 void* stream) {
  const Sizes& s = plan.sizes;
  const PackMixingArgs args{s, mixing, to, pixel_scale, plan.basis, plan.steps, high};
  const int64_t pairs = int64_t{plan.mixing_samples} * s.out_height * s.strips * (kStrip / 2);
  with_storage(s.dtype, [&](auto storage) {
    launch_each(plan, pack_pixels<decltype(storage)>, pairs, stream, args);
  });
}

void find_largest(const Plan& plan, DType first_dtype, const void* first, int64_t first_count,
                  DType second_dtype, const void* second, int64_t second_count, uint32_t* largest,
                  void* stream) {
  gpu::fill_zero(plan.launcher, largest, 2 * sizeof(uint32_t), stream);
  const auto find = [&](DType dtype, const void* values, int64_t count, uint32_t* to) {
    with_storage(dtype, [&](auto storage) {
      const int64_t threads = (count + kValuesOfThread - 1) / kValuesOfThread;
      launch_each(plan, find_largest<decltype(storage)>, threads, stream,
                  LargestArgs{values, count, to});
    });
  };
  find(first_dtype, first, first_count, largest);
  find(second_dtype, second, second_count, largest + 1);
}

}  // namespace blurops::cuda
