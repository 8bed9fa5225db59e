// SPDX-License-Identifier: BSD-3-Clause
// The module blurops._C: one definition per launcher. Tensors come as addresses; the Python side
// has checked them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <type_traits>

#include "basis_blur/basis_blur.h"
#include "common/isa.h"
#include "common/peak.h"
#include "motion_blur/motion_blur.h"
#include "nu_conv/nu_conv.h"
#include "rl_step/rl_step.h"
#if defined(BLUROPS_CUDA)
#include "basis_blur/cuda/cuda.h"
#include "common/cuda_device.h"
#include "motion_blur/cuda/cuda.h"
#include "nu_conv/cuda/cuda.h"
#include "rl_step/cuda.h"
#endif

namespace py = pybind11;

namespace {

// The numbers of Problem from `count` on, in its order, then those of Tiling.
using Sizes = std::array<int64_t, 17>;

blurops::Problem problem_of(int dtype, int boundary, const Sizes& s) {
  return {static_cast<blurops::DType>(dtype),
          static_cast<blurops::Boundary>(boundary),
          s[0],
          s[1],
          s[2],
          s[3],
          s[4],
          s[5],
          s[6],
          s[7],
          s[8],
          s[9],
          s[10],
          s[11] != 0,
          s[12] != 0,
          {s[13], s[14], s[15], s[16]}};
}

// How an argument of a launcher comes from Python: addresses as integers.
template <typename T>
struct FromPython {
  using type = T;
  static T convert(type value) { return value; }
};
template <typename T>
struct FromPython<T*> {
  using type = uintptr_t;
  static T* convert(type address) { return reinterpret_cast<T*>(address); }
};
// Structs that have a class in Python.
template <typename T>
struct FromPython<const T&> {
  using type = const T&;
  static const T& convert(type value) { return value; }
};

template <typename Result, typename... Args>
void define(py::module_& module, const char* name, Result (*launcher)(Args...)) {
  module.def(name, [launcher](typename FromPython<Args>::type... args) {
    py::gil_scoped_release release;
    return launcher(FromPython<Args>::convert(args)...);
  });
}

// A launcher that takes a Problem, which comes as its numbers.
template <typename Result, typename... Args>
void define(py::module_& module, const char* name,
            Result (*launcher)(const blurops::Problem&, Args...)) {
  module.def(name, [launcher](int dtype, int boundary, const Sizes& sizes,
                              typename FromPython<Args>::type... args) {
    const blurops::Problem problem = problem_of(dtype, boundary, sizes);
    py::gil_scoped_release release;
    return launcher(problem, FromPython<Args>::convert(args)...);
  });
}

void basis_blur(const blurops::Problem& problem, const void* image, const void* kernels,
                const void* mixing, void* out, int threads) {
  blurops::basis_blur_cpu(problem, image, kernels, mixing, out, threads);
}

template <typename Struct, typename T>
void field(py::class_<Struct>& type, const char* name, T Struct::* member) {
  if constexpr (std::is_pointer_v<T>) {
    type.def_property(name, nullptr, [member](Struct& self, uintptr_t address) {
      self.*member = reinterpret_cast<T>(address);
    });
  } else if constexpr (std::is_enum_v<T>) {
    type.def_property(name, nullptr,
                      [member](Struct& self, int code) { self.*member = static_cast<T>(code); });
  } else {
    type.def_readwrite(name, member);
  }
}

void define_rl_step(py::module_& module) {
  using blurops::RlStep;
  py::class_<RlStep> step(module, "RlStep");
  step.def(py::init([] { return RlStep{}; }));
#define BLUROPS_FIELD(name) field(step, #name, &RlStep::name)
  BLUROPS_FIELD(dtype);
  BLUROPS_FIELD(count);
  BLUROPS_FIELD(channels);
  BLUROPS_FIELD(height);
  BLUROPS_FIELD(width);
  BLUROPS_FIELD(out_height);
  BLUROPS_FIELD(out_width);
  BLUROPS_FIELD(saturated);
  BLUROPS_FIELD(a);
  BLUROPS_FIELD(level);
  BLUROPS_FIELD(eps);
  BLUROPS_FIELD(tv);
  BLUROPS_FIELD(smallest_sum);
  BLUROPS_FIELD(lost_share);
  BLUROPS_FIELD(sums_stride);
  BLUROPS_FIELD(mask_stride);
  BLUROPS_FIELD(mask_channel_stride);
  BLUROPS_FIELD(estimate);
  BLUROPS_FIELD(observed);
  BLUROPS_FIELD(column_sums);
  BLUROPS_FIELD(mask);
  BLUROPS_FIELD(lost);
  BLUROPS_FIELD(clean);
  BLUROPS_FIELD(blurred);
  BLUROPS_FIELD(ratios);
  BLUROPS_FIELD(corrections);
  BLUROPS_FIELD(grad);
  BLUROPS_FIELD(grad_corrections);
  BLUROPS_FIELD(grad_estimate);
  BLUROPS_FIELD(grad_sums);
  BLUROPS_FIELD(grad_divergence);
  BLUROPS_FIELD(grad_ratios);
  BLUROPS_FIELD(grad_blurred);
  BLUROPS_FIELD(grad_observed);
  BLUROPS_FIELD(grad_mask);
#undef BLUROPS_FIELD
  define(module, "rl_lost_cpu", blurops::rl_lost_cpu);
  define(module, "rl_clean_cpu", blurops::rl_clean_cpu);
  define(module, "rl_ratios_cpu", blurops::rl_ratios_cpu);
  define(module, "rl_ratios_of_cpu", blurops::rl_ratios_of_cpu);
  define(module, "rl_update_cpu", blurops::rl_update_cpu);
  define(module, "rl_grad_update_cpu", blurops::rl_grad_update_cpu);
  define(module, "rl_grad_ratios_cpu", blurops::rl_grad_ratios_cpu);
}

void define_nu_conv(py::module_& module) {
  using blurops::NuConv;
  py::class_<NuConv> problem(module, "NuConv");
  problem.def(py::init([] { return NuConv{}; }));
#define BLUROPS_FIELD(name) field(problem, #name, &NuConv::name)
  BLUROPS_FIELD(dtype);
  BLUROPS_FIELD(boundary);
  BLUROPS_FIELD(count);
  BLUROPS_FIELD(channels);
  BLUROPS_FIELD(filters);
  BLUROPS_FIELD(picked);
  BLUROPS_FIELD(height);
  BLUROPS_FIELD(width);
  BLUROPS_FIELD(out_height);
  BLUROPS_FIELD(out_width);
  BLUROPS_FIELD(kernel_height);
  BLUROPS_FIELD(kernel_width);
  BLUROPS_FIELD(anchor_y);
  BLUROPS_FIELD(anchor_x);
  BLUROPS_FIELD(own);
  BLUROPS_FIELD(index_batched);
  BLUROPS_FIELD(weight_batched);
  BLUROPS_FIELD(tile_height);
  BLUROPS_FIELD(tile_width);
  BLUROPS_FIELD(parts_down);
  BLUROPS_FIELD(parts_across);
  BLUROPS_FIELD(budget);
#undef BLUROPS_FIELD
  define(module, "nu_conv_cpu", blurops::nu_conv_cpu);
  define(module, "nu_conv_adjoint_cpu", blurops::nu_conv_adjoint_cpu);
  define(module, "nu_conv_grad_bank_cpu", blurops::nu_conv_grad_bank_cpu);
  define(module, "nu_conv_grad_weight_cpu", blurops::nu_conv_grad_weight_cpu);
}

void define_motion_blur(py::module_& module) {
  using blurops::MotionBlur;
  py::class_<MotionBlur> problem(module, "MotionBlur");
  problem.def(py::init([] { return MotionBlur{}; }));
#define BLUROPS_FIELD(name) field(problem, #name, &MotionBlur::name)
  BLUROPS_FIELD(dtype);
  BLUROPS_FIELD(boundary);
  BLUROPS_FIELD(count);
  BLUROPS_FIELD(channels);
  BLUROPS_FIELD(height);
  BLUROPS_FIELD(width);
  BLUROPS_FIELD(out_height);
  BLUROPS_FIELD(out_width);
  BLUROPS_FIELD(margin_y);
  BLUROPS_FIELD(margin_x);
  BLUROPS_FIELD(reach);
  BLUROPS_FIELD(segment);
  BLUROPS_FIELD(length_batched);
  BLUROPS_FIELD(angle_batched);
#undef BLUROPS_FIELD
  define(module, "motion_blur_cpu", blurops::motion_blur_cpu);
  define(module, "motion_blur_adjoint_cpu", blurops::motion_blur_adjoint_cpu);
  define(module, "motion_blur_grad_length_cpu", blurops::motion_blur_grad_length_cpu);
  define(module, "motion_blur_grad_angle_cpu", blurops::motion_blur_grad_angle_cpu);
  define(module, "motion_blur_backward_cpu", blurops::motion_blur_backward_cpu);
}

#if defined(BLUROPS_CUDA)
void define_cuda(py::module_& module) {
  define(module, "widest_kernel_cuda", blurops::widest_kernel_cuda);
  define(module, "basis_blur_cuda_bytes", blurops::basis_blur_cuda_bytes);
  define(module, "basis_blur_cuda", blurops::basis_blur_cuda);
  define(module, "basis_blur_adjoint_cuda_bytes", blurops::basis_blur_adjoint_cuda_bytes);
  define(module, "basis_blur_adjoint_cuda", blurops::basis_blur_adjoint_cuda);
  define(module, "basis_blur_grad_kernels_cuda_bytes", blurops::basis_blur_grad_kernels_cuda_bytes);
  define(module, "basis_blur_grad_kernels_cuda", blurops::basis_blur_grad_kernels_cuda);
  define(module, "basis_blur_grad_mixing_cuda_bytes", blurops::basis_blur_grad_mixing_cuda_bytes);
  define(module, "basis_blur_grad_mixing_cuda", blurops::basis_blur_grad_mixing_cuda);
  define(module, "rl_ratios_cuda", blurops::rl_ratios_cuda);
#define BLUROPS_MEMBER(name)                                       \
  define(module, #name "_cuda_bytes", blurops::name##_cuda_bytes); \
  define(module, #name "_cuda", blurops::name##_cuda)
  BLUROPS_MEMBER(nu_conv);
  BLUROPS_MEMBER(nu_conv_adjoint);
  BLUROPS_MEMBER(nu_conv_grad_bank);
  BLUROPS_MEMBER(nu_conv_grad_weight);
  BLUROPS_MEMBER(motion_blur);
  BLUROPS_MEMBER(motion_blur_adjoint);
  BLUROPS_MEMBER(motion_blur_grad_length);
  BLUROPS_MEMBER(motion_blur_grad_angle);
#undef BLUROPS_MEMBER
}
#endif

}  // namespace

PYBIND11_MODULE(_C, module) {
  define(module, "basis_blur_cpu", basis_blur);
  define(module, "basis_blur_adjoint_cpu", blurops::basis_blur_adjoint_cpu);
  define(module, "basis_blur_grad_kernels_cpu", blurops::basis_blur_grad_kernels_cpu);
  define(module, "basis_blur_grad_mixing_cpu", blurops::basis_blur_grad_mixing_cpu);
  define(module, "basis_blur_backward_cpu", blurops::basis_blur_backward_cpu);
  define_rl_step(module);
  define_nu_conv(module);
  define_motion_blur(module);

#if defined(BLUROPS_CUDA)
  define_cuda(module);
#endif

  module.def("tile_lengths", &blurops::tile_lengths);
  module.def("kernel_support",
             [](int dtype, int64_t count, int64_t height, int64_t width, uintptr_t kernels) {
               return blurops::kernel_support(static_cast<blurops::DType>(dtype), count, height,
                                              width, reinterpret_cast<const void*>(kernels));
             });

  module.def("isa", [] { return blurops::isa_name(blurops::active_isa()); });
  module.def("available_isas", &blurops::available_isas);
  module.def("force_isa", &blurops::force_isa);

  // The yardsticks of benchmarks/: operations and bytes per second.
  module.def("peak_flops", &blurops::peak_flops, py::call_guard<py::gil_scoped_release>());
  module.def("peak_bandwidth", &blurops::peak_bandwidth, py::call_guard<py::gil_scoped_release>());

  // (available, device name or reason), or None in a build without CUDA.
  module.def("cuda_status", []() -> py::object {
#if defined(BLUROPS_CUDA)
    const blurops::CudaStatus status = blurops::cuda_status();
    return py::make_tuple(status.available, status.text);
#else
    return py::none();
#endif
  });
}
