# SPDX-License-Identifier: BSD-3-Clause
"""The family by spectra, on the extended image: ``method="fft"`` of the torch path.

The image is transformed once; kernels and their responses pass through in chunks of :data:`_CHUNK`
bases, so that no more than a few B-slices exist at a time. A valid correlation needs no zero
padding beyond the extended image: position ``p + d`` never leaves it, so what the circular
transform wraps around is cropped away. Spectra are conjugated at once: the lazy form is never
resolved inside an op that a compiled program calls.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

_CHUNK = 2


def _fast_length(length: int) -> int:
    """The smallest 2^a 3^b 5^c that is at least ``length``."""
    best = 1 << max(length - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = three << max(-(-length // three) - 1, 0).bit_length()
            best = min(best, two)
            three *= 3
        five *= 5
    return best


def _lengths(size: Sequence[int]) -> tuple[int, int]:
    return _fast_length(size[0]), _fast_length(size[1])


def _chunks(basis: int) -> Iterator[slice]:
    return (slice(b, b + _CHUNK) for b in range(0, basis, _CHUNK))


def blur(padded: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """(N, C, P, Q) extended image -> (N, C, H, W)."""
    lengths, (height, width) = _lengths(padded.shape[-2:]), mixing.shape[-2:]
    spectrum = rfft2(padded, lengths).unsqueeze(1)  # (N, 1, C, ., .)
    out = padded.new_zeros(*padded.shape[:2], height, width)
    for part in _chunks(kernels.shape[1]):
        factor = rfft2(kernels[:, part], lengths).conj_physical().unsqueeze(2)
        response = irfft2(spectrum * factor, lengths)[..., :height, :width]
        out += (mixing[:, part].unsqueeze(2) * response).sum(1)
    return out


def adjoint(image: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H+Kh-1, W+Kw-1), not yet folded; products are summed as spectra."""
    height, width = image.shape[-2] + kernels.shape[-2] - 1, image.shape[-1] + kernels.shape[-1] - 1
    lengths = _lengths((height, width))
    total: Tensor | float = 0.0
    for part in _chunks(kernels.shape[1]):
        factor = rfft2(kernels[:, part], lengths).unsqueeze(2)
        weighted = rfft2(mixing[:, part].unsqueeze(2) * image.unsqueeze(1), lengths)
        total = total + (weighted * factor).sum(1)
    return irfft2(total, lengths)[..., :height, :width]


def grad_kernels(
    grad: Tensor, padded: Tensor, mixing: Tensor, kernel_size: Sequence[int], shared: bool
) -> Tensor:
    """(N, C, H, W) and the extended image -> (N or 1, B, Kh, Kw)."""
    lengths = _lengths(padded.shape[-2:])
    spectrum = rfft2(padded, lengths).unsqueeze(1)
    parts = []
    for part in _chunks(mixing.shape[1]):
        weighted = rfft2(mixing[:, part].unsqueeze(2) * grad.unsqueeze(1), lengths)
        product = (spectrum * weighted.conj_physical()).sum(2)
        if shared:
            product = product.sum(0, keepdim=True)
        parts.append(irfft2(product, lengths)[..., : kernel_size[0], : kernel_size[1]])
    return torch.cat(parts, 1)


def grad_mixing(grad: Tensor, padded: Tensor, kernels: Tensor, shared: bool) -> Tensor:
    """(N, C, H, W) and the extended image -> (N or 1, B, H, W)."""
    lengths, (height, width) = _lengths(padded.shape[-2:]), grad.shape[-2:]
    spectrum = rfft2(padded, lengths).unsqueeze(1)
    parts = []
    for part in _chunks(kernels.shape[1]):
        factor = rfft2(kernels[:, part], lengths).conj_physical().unsqueeze(2)
        response = irfft2(spectrum * factor, lengths)[..., :height, :width]
        taps = (grad.unsqueeze(1) * response).sum(2)
        parts.append(taps.sum(0, keepdim=True) if shared else taps)
    return torch.cat(parts, 1)
