// SPDX-License-Identifier: BSD-3-Clause
#include "basis_blur/cuda/pack.h"
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

}  // namespace blurops::cuda
