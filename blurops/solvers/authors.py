# SPDX-License-Identifier: BSD-3-Clause
"""What the released code of Carbajal et al. does otherwise than their paper.

Written from the arithmetic of github.com/GuillermoCarbajal/NonUniformBlurKernelEstimation, so that
published results can be reproduced. Everything here works on image values, before gamma is undone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Sobel's taps make the divergence of unit slopes 8 times the true one. It is at most 8 + 4 sqrt(2),
# from four edge and four corner neighbours, so that the divisor stays positive below 0.073.
SOBEL8_TV_LIMIT = 0.06
_FLAT = 1e-9


def _sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Left minus right and top minus bottom, 3x3 Sobel, zeros outside, no normalisation."""
    padded = F.pad(image, (1, 1, 1, 1))
    columns = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    rows = padded[..., :, :-2] + 2 * padded[..., :, 1:-1] + padded[..., :, 2:]
    return columns[..., :-2] - columns[..., 2:], rows[..., :-2, :] - rows[..., 2:, :]


def sobel8_divisor(values: Tensor, tv: float) -> Tensor:
    """``1 - tv * 8 div(grad u / |grad u|)``, and a unit slope of 1e-9 where the image is flat."""
    across, down = _sobel(values)
    square = across * across + down * down
    sloped = square >= _FLAT * _FLAT
    length = torch.where(sloped, square, 1).sqrt()
    across = torch.where(sloped, across / length, _FLAT)
    down = torch.where(sloped, down / length, _FLAT)
    return 1 - tv * (_sobel(across)[0] + _sobel(down)[1])


def undamaged(reliable: Tensor, kernels: Tensor) -> Tensor:
    """``z`` as the authors dilate it: one support for the whole image.

    0 at a pixel when set S shows at any offset where the sum of the basis kernels exceeds a quarter
    of its maximum; what lies outside the image is not in S.
    """
    total = kernels.sum(dim=1, keepdim=True)  # (N or 1, 1, Kh, Kw)
    support = (total > 0.25 * total.amax(dim=(-2, -1), keepdim=True)).to(reliable.dtype)
    count = reliable.shape[0]
    damaged = (reliable < 1).to(reliable.dtype).transpose(0, 1)  # (C, N, H, W)
    weight = support.expand(count, -1, -1, -1)
    radius = (kernels.shape[-2] // 2, kernels.shape[-1] // 2)
    hits = F.conv2d(damaged, weight, padding=radius, groups=count).transpose(0, 1)
    return (hits < 0.5).to(reliable.dtype)
