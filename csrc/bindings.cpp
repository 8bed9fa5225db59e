// SPDX-License-Identifier: BSD-3-Clause
// The module blurops._C: one definition per launcher. Tensors come as addresses; the Python side
// has checked them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "basis_blur/basis_blur.h"
#include "common/isa.h"
#if defined(BLUROPS_CUDA)
#include "common/cuda_device.h"
#endif

namespace py = pybind11;

namespace {

using Launcher = void (*)(const blurops::Problem&, const void*, const void*, const void*, void*,
                          int);

const void* input(uintptr_t address) { return reinterpret_cast<const void*>(address); }
void* output(uintptr_t address) { return reinterpret_cast<void*>(address); }

void define_family(py::module_& module, const char* name, Launcher launcher) {
  module.def(name, [launcher](int dtype, int boundary, int64_t count, int64_t channels,
                              int64_t basis, int64_t height, int64_t width, int64_t out_height,
                              int64_t out_width, int64_t kernel_height, int64_t kernel_width,
                              bool kernels_batched, bool mixing_batched, uintptr_t first,
                              uintptr_t second, uintptr_t third, uintptr_t out, int threads) {
    const blurops::Problem problem{static_cast<blurops::DType>(dtype),
                                   static_cast<blurops::Boundary>(boundary),
                                   count,
                                   channels,
                                   basis,
                                   height,
                                   width,
                                   out_height,
                                   out_width,
                                   kernel_height,
                                   kernel_width,
                                   kernels_batched,
                                   mixing_batched};
    py::gil_scoped_release release;
    launcher(problem, input(first), input(second), input(third), output(out), threads);
  });
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  define_family(module, "basis_blur_cpu", blurops::basis_blur_cpu);
  define_family(module, "basis_blur_adjoint_cpu", blurops::basis_blur_adjoint_cpu);
  define_family(module, "basis_blur_grad_kernels_cpu", blurops::basis_blur_grad_kernels_cpu);
  define_family(module, "basis_blur_grad_mixing_cpu", blurops::basis_blur_grad_mixing_cpu);

  module.def("isa", [] { return blurops::isa_name(blurops::active_isa()); });
  module.def("available_isas", &blurops::available_isas);
  module.def("force_isa", &blurops::force_isa);

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
