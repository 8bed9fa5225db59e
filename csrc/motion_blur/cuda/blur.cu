// SPDX-License-Identifier: BSD-3-Clause
#include "motion_blur/cuda/blur.h"
#include "motion_blur/cuda/cuda.h"

namespace blurops {
namespace {

using namespace cuda;

int64_t channel_groups(const MotionBlur& p) { return gpu::ceil_div(p.channels, kMotionChannels); }

void blur(gpu::Queue& queue, const MotionBlur& p, const void* image, const void* length,
          const void* angle, void* out) {
  const Maps maps{p, length, angle, false};
  const float* sharp = queue.floats(image, p.count * p.channels * p.height * p.width);
  queue.items(blur_pixels, p.count * channel_groups(p) * maps.pixels(),
              MotionArgs{maps, sharp, nullptr, out});
}

void adjoint(gpu::Queue& queue, const MotionBlur& p, const void* image, const void* length,
             const void* angle, void* out) {
  const Maps maps{p, length, angle, false};
  const int64_t lines = (maps.batched() ? p.count : 1) * maps.pixels();
  const float* values = queue.floats(image, p.count * p.channels * maps.pixels());
  float* planes = queue.take<float>(lines * kSpreadPlanes);
  uint32_t* reach = queue.take<uint32_t>(1);
  queue.zero(reach, sizeof(uint32_t));
  queue.items(draw_lines, lines, SpreadLinesArgs{maps, planes, reach});
  queue.items(gather_lines, p.count * channel_groups(p) * p.height * p.width,
              SpreadArgsOfMotion{maps, planes, reach, values, out});
}

template <bool kAngle>
void gradient(gpu::Queue& queue, const MotionBlur& p, const void* grad, const void* image,
              const void* length, const void* angle, void* out) {
  const Maps maps{p, length, angle, true};
  const float* sharp = queue.floats(image, p.count * p.channels * p.height * p.width);
  const float* given = queue.floats(grad, p.count * p.channels * maps.pixels());
  const bool batched = kAngle ? p.angle_batched : p.length_batched;
  queue.items(slope_pixels<kAngle>, (batched ? p.count : 1) * maps.pixels(),
              MotionArgs{maps, sharp, given, out});
}

}  // namespace

// Each launcher twice: the bytes it needs, and itself.
int64_t motion_blur_cuda_bytes(const MotionBlur& problem) {
  gpu::Queue queue("motion_blur_cuda", problem.dtype, true);
  blur(queue, problem, nullptr, nullptr, nullptr, nullptr);
  return queue.bytes();
}
void motion_blur_cuda(const MotionBlur& problem, const void* image, const void* length,
                      const void* angle, void* out, void* workspace, void* stream) {
  gpu::Queue queue("motion_blur_cuda", problem.dtype, false, workspace, stream);
  blur(queue, problem, image, length, angle, out);
}

int64_t motion_blur_adjoint_cuda_bytes(const MotionBlur& problem) {
  gpu::Queue queue("motion_blur_adjoint_cuda", problem.dtype, true);
  adjoint(queue, problem, nullptr, nullptr, nullptr, nullptr);
  return queue.bytes();
}
void motion_blur_adjoint_cuda(const MotionBlur& problem, const void* image, const void* length,
                              const void* angle, void* out, void* workspace, void* stream) {
  gpu::Queue queue("motion_blur_adjoint_cuda", problem.dtype, false, workspace, stream);
  adjoint(queue, problem, image, length, angle, out);
}

#define BLUROPS_GRADIENT(name, by_angle)                                                        \
  int64_t name##_bytes(const MotionBlur& problem) {                                             \
    gpu::Queue queue(#name, problem.dtype, true);                                               \
    gradient<by_angle>(queue, problem, nullptr, nullptr, nullptr, nullptr, nullptr);            \
    return queue.bytes();                                                                       \
  }                                                                                             \
  void name(const MotionBlur& problem, const void* grad, const void* image, const void* length, \
            const void* angle, void* out, void* workspace, void* stream) {                      \
    gpu::Queue queue(#name, problem.dtype, false, workspace, stream);                           \
    gradient<by_angle>(queue, problem, grad, image, length, angle, out);                        \
  }
BLUROPS_GRADIENT(motion_blur_grad_length_cuda, false)
BLUROPS_GRADIENT(motion_blur_grad_angle_cuda, true)
#undef BLUROPS_GRADIENT

}  // namespace blurops
