# SPDX-License-Identifier: BSD-3-Clause
"""The definition in plain torch: in float64, the truth that other backends are held to.

One sample and a chunk of basis kernels at a time, so that nothing of size B*C*H*W is held.
``method="fft"`` is handed to :mod:`.fft`.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from blurops._boundary import fold, pad
from blurops.ops.basis_blur import fft

_CHUNK = 8

# From about 17x17 taps on, spectra beat torch's own direct convolution on the CPUs tried.
_FFT_FROM_TAPS = 17 * 17


def supports(args: tuple, options: dict) -> str | None:
    """The reference serves every call."""
    return None


def working(tensor: Tensor) -> Tensor:
    """Half types are storage: compute in float32."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _uses_fft(method: str, kernel_size: Sequence[int]) -> bool:
    return method == "fft" or (
        method == "auto" and kernel_size[0] * kernel_size[1] >= _FFT_FROM_TAPS
    )


def _samples(count: int, *tensors: Tensor) -> Iterator[tuple[int, list[Tensor]]]:
    """Sample n of each tensor; a leading 1 serves them all."""
    for n in range(count):
        yield n, [t[n if t.shape[0] > 1 else 0] for t in tensors]


def _chunks(basis: int) -> Iterator[slice]:
    return (slice(b, b + _CHUNK) for b in range(0, basis, _CHUNK))


def basis_blur(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """``sum_b mixing_b * (kernels_b correlated with image)``."""
    x, k, m = working(image), working(kernels), working(mixing)
    size = kernels.shape[-2:]
    out = x.new_zeros(*x.shape[:2], *m.shape[-2:])
    if out.numel() == 0:
        return out.to(image.dtype)
    padded = pad(x, (size[0] // 2, size[1] // 2), boundary)
    if _uses_fft(method, size):
        return fft.blur(padded, k, m).to(image.dtype)
    for n, (xn, kn, mn) in _samples(len(x), padded, k, m):
        for part in _chunks(len(kn)):
            response = F.conv2d(xn.unsqueeze(1), kn[part].unsqueeze(1))  # (C, part, H, W)
            out[n] += (mn[part] * response).sum(1)
    return out.to(image.dtype)


def basis_blur_adjoint(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """``fold(sum_b kernels_b convolved with (mixing_b * image))``."""
    y, k, m = working(image), working(kernels), working(mixing)
    size = kernels.shape[-2:]
    extended = y.new_zeros(*y.shape[:2], y.shape[-2] + size[0] - 1, y.shape[-1] + size[1] - 1)
    if image.numel() > 0 and _uses_fft(method, size):
        extended = fft.adjoint(y, k, m)
    elif image.numel() > 0:
        for n, (yn, kn, mn) in _samples(len(y), y, k, m):
            for part in _chunks(len(kn)):
                weighted = mn[part] * yn.unsqueeze(1)  # (C, part, H, W)
                extended[n] += F.conv_transpose2d(weighted, kn[part].unsqueeze(1)).squeeze(1)
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
    g, x, m = working(grad), working(image), working(mixing)
    out = g.new_zeros(1 if shared else len(g), m.shape[1], *kernel_size)
    if g.numel() == 0:
        return out.to(grad.dtype)
    padded = pad(x, (kernel_size[0] // 2, kernel_size[1] // 2), boundary)
    if _uses_fft(method, kernel_size):
        return fft.grad_kernels(g, padded, m, kernel_size, shared).to(grad.dtype)
    for n, (gn, xn, mn) in _samples(len(g), g, padded, m):
        for part in _chunks(len(mn)):
            weight = mn[part].unsqueeze(1) * gn  # (part, C, H, W)
            out[0 if shared else n, part] += F.conv2d(xn.unsqueeze(0), weight)[0]
    return out.to(grad.dtype)


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
    g, x, k = working(grad), working(image), working(kernels)
    size = kernels.shape[-2:]
    out = g.new_zeros(1 if shared else len(g), k.shape[1], *g.shape[-2:])
    if g.numel() == 0:
        return out.to(grad.dtype)
    padded = pad(x, (size[0] // 2, size[1] // 2), boundary)
    if _uses_fft(method, size):
        return fft.grad_mixing(g, padded, k, shared).to(grad.dtype)
    for n, (gn, xn, kn) in _samples(len(g), g, padded, k):
        for part in _chunks(len(kn)):
            response = F.conv2d(xn.unsqueeze(1), kn[part].unsqueeze(1))  # (C, part, H, W)
            out[0 if shared else n, part] += (gn.unsqueeze(1) * response).sum(0)
    return out.to(grad.dtype)
