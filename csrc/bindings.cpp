// SPDX-License-Identifier: BSD-3-Clause
// The module blurops._C: one definition per launcher. Tensors come as addresses; the Python side
// has checked them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "basis_blur/basis_blur.h"
#include "common/isa.h"
#include "common/peak.h"
#if defined(BLUROPS_CUDA)
#include "common/cuda_device.h"
#endif

namespace py = pybind11;

namespace {

using Launcher = void (*)(const blurops::Problem&, const void*, const void*, const void*, void*,
                          int);

const void* input(uintptr_t address) { return reinterpret_cast<const void*>(address); }
void* output(uintptr_t address) { return reinterpret_cast<void*>(address); }

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

void define_family(py::module_& module, const char* name, Launcher launcher) {
  module.def(name, [launcher](int dtype, int boundary, const Sizes& sizes, uintptr_t first,
                              uintptr_t second, uintptr_t third, uintptr_t out, int threads) {
    const blurops::Problem problem = problem_of(dtype, boundary, sizes);
    py::gil_scoped_release release;
    launcher(problem, input(first), input(second), input(third), output(out), threads);
  });
}

void blur(const blurops::Problem& problem, const void* image, const void* kernels,
          const void* mixing, void* out, int threads) {
  blurops::basis_blur_cpu(problem, image, kernels, mixing, out, threads);
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  define_family(module, "basis_blur_cpu", blur);
  define_family(module, "basis_blur_adjoint_cpu", blurops::basis_blur_adjoint_cpu);
  define_family(module, "basis_blur_grad_kernels_cpu", blurops::basis_blur_grad_kernels_cpu);
  define_family(module, "basis_blur_grad_mixing_cpu", blurops::basis_blur_grad_mixing_cpu);

  module.def("tile_lengths", &blurops::tile_lengths);

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
