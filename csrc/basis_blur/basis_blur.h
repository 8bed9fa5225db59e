// SPDX-License-Identifier: BSD-3-Clause
// The basis-mixed family on raw memory: (H x)[p] = sum_b m_b[p] sum_d k_b[d] x[p + d], Carbajal et
// al., eq. 2.
#pragma once

#include <array>
#include <vector>

#include "common/boundary.h"
#include "common/dtype.h"

namespace blurops {

// How the tile method cuts a problem; no tiles mean the direct method. Sizes are those of
// tile_lengths(), and a part of the kernel must be smaller than a tile.
struct Tiling {
  int64_t height, width;             // of a tile, the lengths of its transforms; 0: direct
  int64_t parts_down, parts_across;  // the kernels are cut into this many parts
};

// The lengths of transforms that exist.
std::vector<int> tile_lengths();

struct Problem {
  DType dtype;
  Boundary boundary;
  int64_t count;          // N
  int64_t channels;       // C
  int64_t basis;          // B
  int64_t height, width;  // of the sharp image, (N, C, height, width)
  int64_t out_height,
      out_width;  // of the blurred image and the mixing, (N, C, out_height, out_width)
  int64_t kernel_height, kernel_width;
  int64_t anchor_y, anchor_x;  // tap d reads the sharp pixel p + d - anchor
  bool kernels_batched;        // kernels are (N, B, Kh, Kw), else (1, B, Kh, Kw)
  bool mixing_batched;         // mixing is (N, B, out_height, out_width), else (1, ...)
  Tiling tiling;
};

// The smallest rectangle that holds every tap that is not zero of `count` contiguous kernels: top,
// bottom, left, right, the ends excluded; bottom is 0 where all taps are zero.
std::array<int64_t, 4> kernel_support(DType dtype, int64_t count, int64_t height, int64_t width,
                                      const void* kernels);

// Takes finished values of the blurred image in place of its storage: `count` values (double when
// the images are, else float) of sample n, channel c, row y, columns x .. x + count - 1. Called
// once for every pixel, from several threads at once.
struct Epilogue {
  void (*row)(const void* context, int64_t n, int64_t c, int64_t y, int64_t x, int64_t count,
              const void* values);
  const void* context;
};

// All tensors are contiguous and of problem.dtype. The result does not depend on the number of
// threads.

// image (N, C, height, width), kernels, mixing -> out (N, C, out_height, out_width), or what the
// epilogue makes of it
void basis_blur_cpu(const Problem& problem, const void* image, const void* kernels,
                    const void* mixing, void* out, int threads, const Epilogue* epilogue = nullptr);

// image (N, C, out_height, out_width), kernels, mixing -> out (N, C, height, width)
void basis_blur_adjoint_cpu(const Problem& problem, const void* image, const void* kernels,
                            const void* mixing, void* out, int threads);

// grad (N, C, out_height, out_width), image (N, C, height, width), mixing -> out, shaped as the
// kernels; summed over the batch when the kernels are not batched
void basis_blur_grad_kernels_cpu(const Problem& problem, const void* grad, const void* image,
                                 const void* mixing, void* out, int threads);

// grad (N, C, out_height, out_width), image (N, C, height, width), kernels -> out, shaped as the
// mixing; summed over the batch when the mixing is not batched
void basis_blur_grad_mixing_cpu(const Problem& problem, const void* grad, const void* image,
                                const void* kernels, void* out, int threads);

// All of these derivatives of a blur, or those whose output is not null: by the adjoint the
// image's.
void basis_blur_backward_cpu(const Problem& problem, const void* grad, const void* image,
                             const void* kernels, const void* mixing, void* grad_image,
                             void* grad_kernels, void* grad_mixing, int threads);

}  // namespace blurops
