// SPDX-License-Identifier: BSD-3-Clause
// Where kernels are not zero.
#include <algorithm>
#include <type_traits>

#include "basis_blur/launch.h"
#include "common/convert.h"

namespace blurops {

std::array<int64_t, 4> kernel_support(DType dtype, int64_t count, int64_t height, int64_t width,
                                      const void* kernels) {
  int64_t top = height, bottom = 0, left = width, right = 0;
  with_type(dtype, const_cast<void*>(kernels), [&](const auto* taps) {
    for (int64_t row = 0; row < count * height; ++row, taps += width) {
      // Only what lies outside of what is known already can change it.
      const auto used = [&](int64_t x) { return load(taps[x]) != 0; };
      int64_t first = 0, last = width - 1;
      while (first < left && !used(first)) ++first;
      while (last >= right && !used(last)) --last;
      left = std::min(left, first);
      right = std::max(right, last + 1);
      const int64_t y = row % height;
      if (y >= top && y < bottom) continue;
      bool any = false;
      for (int64_t x = left; x < right && !any; ++x) any = used(x);
      if (!any) continue;
      top = std::min(top, y);
      bottom = std::max(bottom, y + 1);
    }
  });
  return {top, bottom, left, right};
}

}  // namespace blurops
