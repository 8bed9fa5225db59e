# SPDX-License-Identifier: BSD-3-Clause
"""The definition in plain torch. In float64 it is the truth that every other backend is compared with.

One basis kernel at a time, so that nothing of size B*C*H*W is held; samples of the batch become the groups of a
convolution, so that each may have its own kernels. ``method="fft"`` is handed to :mod:`.fft`.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from blurops._boundary import fold, pad
from blurops.ops.basis_blur import fft

# Above this many taps the spectra win on every CPU tried (python -m benchmarks.crossover prints the measurement).
_FFT_FROM_TAPS = 225


def supports(args: tuple, options: dict) -> str | None:
    """The reference serves every call."""
    return None


def working(tensor: Tensor) -> Tensor:
    """Half types are storage: compute in float32."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _uses_fft(method: str, kernel_size: Sequence[int]) -> bool:
    return method == "fft" or (method == "auto" and kernel_size[0] * kernel_size[1] >= _FFT_FROM_TAPS)


def _grouped(convolve: Callable[..., Tensor], image: Tensor, kernel: Tensor) -> Tensor:
    """Apply kernel n, of (N or 1, Kh, Kw), to every channel of sample n of ``image`` (N, C, H, W)."""
    count = image.shape[0]
    weight = kernel.expand(count, -1, -1).unsqueeze(1)  # (N, 1, Kh, Kw)
    return convolve(image.transpose(0, 1), weight, groups=count).transpose(0, 1)


def basis_blur(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """``sum_b mixing_b * (kernels_b correlated with image)``."""
    if image.numel() == 0:
        size = mixing.shape[-2:]
        return image.new_zeros(*image.shape[:2], *size)
    x, k, m = working(image), working(kernels), working(mixing)
    size = kernels.shape[-2:]
    padded = pad(x, (size[0] // 2, size[1] // 2), boundary)
    if _uses_fft(method, size):
        return fft.blur(padded, k, m).to(image.dtype)
    out = x.new_zeros(*x.shape[:2], *m.shape[-2:])
    for b in range(k.shape[1]):
        out += m[:, b : b + 1] * _grouped(F.conv2d, padded, k[:, b])
    return out.to(image.dtype)


def basis_blur_adjoint(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """``fold(sum_b kernels_b convolved with (mixing_b * image))``."""
    y, k, m = working(image), working(kernels), working(mixing)
    size = kernels.shape[-2:]
    extended = y.new_zeros(
        *y.shape[:2], y.shape[-2] + size[0] - 1, y.shape[-1] + size[1] - 1
    )
    if image.numel() > 0 and _uses_fft(method, size):
        extended = fft.adjoint(y, k, m)
    elif image.numel() > 0:
        for b in range(k.shape[1]):
            extended += _grouped(F.conv_transpose2d, m[:, b : b + 1] * y, k[:, b])
    return fold(extended, (size[0] // 2, size[1] // 2), boundary).to(image.dtype).contiguous()


def basis_blur_grad_kernels(
    grad: Tensor,
    image: Tensor,
    mixing: Tensor,
    kernel_size: Sequence[int],
    shared: bool,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """``sum_p sum_c mixing_b[p] grad_c[p] image_c[p + d]``."""
    count, channels = image.shape[:2]
    shape = (1 if shared else count, mixing.shape[1], *kernel_size)
    if grad.numel() == 0:
        return grad.new_zeros(shape)
    g, x, m = working(grad), working(image), working(mixing)
    padded = pad(x, (kernel_size[0] // 2, kernel_size[1] // 2), boundary)
    if _uses_fft(method, kernel_size):
        return fft.grad_kernels(g, padded, m, kernel_size, shared).to(grad.dtype)
    planes = padded.reshape(1, count * channels, *padded.shape[-2:])
    maps = []
    for b in range(m.shape[1]):
        weight = (m[:, b : b + 1] * g).reshape(count * channels, 1, *g.shape[-2:])
        taps = F.conv2d(planes, weight, groups=count * channels)
        taps = taps.reshape(count, channels, *kernel_size).sum(1)
        maps.append(taps.sum(0, keepdim=True) if shared else taps)
    return torch.stack(maps, 1).to(grad.dtype)


def basis_blur_grad_mixing(
    grad: Tensor,
    image: Tensor,
    kernels: Tensor,
    shared: bool,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """``sum_c grad_c[p] (kernels_b correlated with image_c)[p]``."""
    count = image.shape[0]
    shape = (1 if shared else count, kernels.shape[1], *grad.shape[-2:])
    if grad.numel() == 0:
        return grad.new_zeros(shape)
    g, x, k = working(grad), working(image), working(kernels)
    size = kernels.shape[-2:]
    padded = pad(x, (size[0] // 2, size[1] // 2), boundary)
    if _uses_fft(method, size):
        return fft.grad_mixing(g, padded, k, shared).to(grad.dtype)
    out = g.new_zeros(shape)
    for b in range(k.shape[1]):
        taps = (g * _grouped(F.conv2d, padded, k[:, b])).sum(1)
        out[:, b] = taps.sum(0, keepdim=True) if shared else taps
    return out.to(grad.dtype)
