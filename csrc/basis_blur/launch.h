// SPDX-License-Identifier: BSD-3-Clause
// What the launchers of both methods share, and the tile method's own (tile_launch.cpp).
#pragma once

#include <vector>

#include "basis_blur/basis_blur.h"
#include "basis_blur/tiles.h"

namespace blurops {

// The source of every extended row and column: out + K - 1 of each, or -1 where there is nothing.
struct IndexMaps {
  std::vector<int64_t> rows, columns;

  explicit IndexMaps(const Problem& p)
      : rows(extended(p.out_height + p.kernel_height - 1, p.anchor_y, p.height, p.boundary)),
        columns(extended(p.out_width + p.kernel_width - 1, p.anchor_x, p.width, p.boundary)) {}

 private:
  static std::vector<int64_t> extended(int64_t length, int64_t anchor, int64_t size,
                                       Boundary boundary) {
    std::vector<int64_t> map(length);
    for (int64_t u = 0; u < length; ++u) map[u] = map_index(u - anchor, size, boundary);
    return map;
  }
};

void tile_blur(const Problem& problem, const void* image, const void* kernels, const void* mixing,
               void* out, int threads, const Epilogue* epilogue);
void tile_adjoint(const Problem& problem, const void* image, const void* kernels,
                  const void* mixing, void* out, int threads);
// The same where pixels pick bases. False, and nothing done, beyond the picks' budget, or where the
// kernels' spectra would take too much memory.
bool tile_blur_picked(const Problem& problem, const void* image, const void* kernels,
                      const Picks& picks, void* out, int threads);
bool tile_adjoint_picked(const Problem& problem, const void* image, const void* kernels,
                         const Picks& picks, void* out, int threads);
// Of the weights, which a batch does not share; also false where a tile's channels come in groups.
bool tile_grad_weight_picked(const Problem& problem, const void* grad, const void* image,
                             const void* kernels, const Picks& picks, void* out, int threads);
void tile_grad_kernels(const Problem& problem, const void* grad, const void* image,
                       const void* mixing, void* out, int threads);
void tile_grad_mixing(const Problem& problem, const void* grad, const void* image,
                      const void* kernels, void* out, int threads);
// False, and nothing done, where one sweep cannot hold what the gradients need together.
bool tile_backward(const Problem& problem, const void* grad, const void* image, const void* kernels,
                   const void* mixing, void* grad_image, void* grad_kernels, void* grad_mixing,
                   int threads);

// Calls visit(pointer) with the storage type of `dtype`.
template <typename Visit>
void with_type(DType dtype, void* memory, const Visit& visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(static_cast<float*>(memory));
    case DType::kFloat64:
      return visit(static_cast<double*>(memory));
    case DType::kFloat16:
      return visit(static_cast<Half*>(memory));
    case DType::kBFloat16:
      return visit(static_cast<BFloat16*>(memory));
  }
}

// out[i] = sum over chunks of partial[chunk][i], in order.
void sum_partials(const std::vector<double>& partial, int64_t chunks, DType dtype, void* out);

}  // namespace blurops
