// SPDX-License-Identifier: BSD-3-Clause
// NU-Conv on raw memory: out[p] = sum_j weight_j[p] sum_u bank[index_j[p], u] image[p + u], Eboli,
// Sun and Ponce, eq. 17.
#pragma once

#include "common/boundary.h"
#include "common/dtype.h"

namespace blurops {

struct NuConv {
  DType dtype;
  Boundary boundary;
  int64_t count;                  // N
  int64_t channels;               // C of the sharp image
  int64_t filters, picked;        // F, J
  int64_t height, width;          // of the sharp image, (N, C, height, width)
  int64_t out_height, out_width;  // of the filtered one, and of index and weight
  int64_t kernel_height, kernel_width;
  int64_t anchor_y, anchor_x;  // tap u reads the sharp pixel p + u - anchor
  bool own;                    // bank (F, C, Kh, Kw), summed over the channels; else (F, Kh, Kw)
  bool index_batched;          // index is (N, J, out_height, out_width), else (1, ...)
  bool weight_batched;         // likewise
  // Of the method by tiles, for a bank (F, Kh, Kw): the tiles, or none, and how many transforms a
  // call may spend on them before it sums over the taps instead.
  int64_t tile_height, tile_width, parts_down, parts_across;
  double budget;

  BLUROPS_HD int64_t out_channels() const { return own ? 1 : channels; }
  BLUROPS_HD int64_t bank_channels() const { return own ? channels : 1; }
};

// All tensors are contiguous and of problem.dtype, the index int32 and inside the bank. The result
// does not depend on the number of threads.

// image (N, C, height, width), bank, index, weight -> out (N, out channels, out_height, out_width)
void nu_conv_cpu(const NuConv& problem, const void* image, const void* bank, const void* index,
                 const void* weight, void* out, int threads);

// image (N, out channels, out_height, out_width), bank, index, weight -> out (N, C, height, width)
void nu_conv_adjoint_cpu(const NuConv& problem, const void* image, const void* bank,
                         const void* index, const void* weight, void* out, int threads);

// grad (N, out channels, out_height, out_width), image (N, C, height, width), index, weight -> out,
// shaped as the bank
void nu_conv_grad_bank_cpu(const NuConv& problem, const void* grad, const void* image,
                           const void* index, const void* weight, void* out, int threads);

// grad (N, out channels, out_height, out_width), image (N, C, height, width), bank, index -> out,
// shaped as the weight; summed over the batch when that is not batched
void nu_conv_grad_weight_cpu(const NuConv& problem, const void* grad, const void* image,
                             const void* bank, const void* index, void* out, int threads);

}  // namespace blurops
