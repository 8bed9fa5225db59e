# SPDX-License-Identifier: BSD-3-Clause
"""Small problems for the linear solvers, and dense matrices of operators."""

import math

import torch

from blurops import UniformBlur


def picture(*shape, seed=0):
    """Edges and gradients in [0, 1], float64."""
    generator = torch.Generator().manual_seed(seed)
    height, width = shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    checks = ((y // 6 + x // 8) % 2).double()
    tilt = torch.rand(*shape[:-2], 1, 1, generator=generator, dtype=torch.float64)
    return 0.15 + 0.5 * checks + 0.2 * tilt * (x / width) + 0.1 * (y / height)


def kernel(height, width, seed=0):
    """A random kernel with unit sum, heaviest near the middle, symmetric in no way."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(height, width, generator=generator, dtype=torch.float64)
    weights[height // 2, width // 2] += height * width / 3
    return weights / weights.sum()


def noisy(image, sigma, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return image + sigma * torch.randn(image.shape, generator=generator, dtype=image.dtype)


def random_blur(boundary="reflect", sides=(5, 3), seed=0):
    return UniformBlur(kernel(*sides, seed=seed), boundary=boundary)


def matrix(operator, size):
    """(pixels out, pixels in) of an operator on one channel."""
    count = math.prod(size)
    unit = torch.eye(count, dtype=torch.float64).view(count, 1, *size)
    return torch.stack([operator.forward(each[None]).flatten() for each in unit], dim=1)


def psnr(image, truth):
    return -10 * math.log10(float(((image - truth) ** 2).mean()))
