# SPDX-License-Identifier: BSD-3-Clause
"""A small scene to restore, and how well that went."""

import math

import torch
import torch.nn.functional as F

import blurops
from blurops import BasisBlur

VARIANTS = ("basic", "function", "masked", "combined")
GAMMA = 2.2


def scene(*, size=(30, 26), seed=0, basis=3, side=7, noise=0.002, boundary="reflect"):
    """A smooth random scene with highlights above 1, its blur, and a noisy saturated picture."""
    torch.manual_seed(seed)
    blurred = tuple(n - side + 1 for n in size) if boundary == "valid" else size
    kernels = torch.rand(1, basis, side, side) ** 6
    kernels = kernels / kernels.sum((-1, -2), keepdim=True)
    mixing = F.interpolate(torch.randn(1, basis, 4, 4), blurred, mode="bicubic").mul(3).softmax(1)
    sharp = F.interpolate(torch.rand(1, 3, 9, 8), size, mode="bilinear").clamp(0, 1) ** GAMMA
    sharp[..., 10:16, 6:12] = 4.0
    blur = BasisBlur(kernels, mixing, boundary=boundary)
    light = blurops.saturate(blur @ sharp + noise * torch.randn(1, 3, *blurred))
    return sharp, blur, light.clamp(min=0) ** (1 / GAMMA)


def psnr(image, truth):
    return -10 * math.log10(float(((image.clamp(0, 1) - truth.clamp(0, 1)) ** 2).mean()))


def assert_round_off(result, expected, iterations):
    """Each update multiplies by sums of B K^2 products, and repeats what the last one erred."""
    eps = torch.finfo(result.dtype).eps
    error = torch.linalg.vector_norm(result - expected) / torch.linalg.vector_norm(expected)
    assert float(error) <= 30 * iterations * eps
