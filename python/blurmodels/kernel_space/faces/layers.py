# SPDX-License-Identifier: BSD-3-Clause
"""What both generators are made of."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
_EPSILON = 1e-8


def normalised(x: Tensor) -> Tensor:
    """Each vector along axis 1 divided by its root mean square."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + _EPSILON)


class EqualLinear(nn.Module):
    """A linear layer whose weights all have deviation 1, scaled when used.

    `y = gain rate / sqrt(inputs) W x + rate b`: Karras, Aila, Laine, Lehtinen, "Progressive Growing
    of GANs", ICLR 2018, section 4.1; `rate` is the factor by which it learns slower than others.
    """

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = 1.0, rate: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))
        self.scale, self.rate = gain * rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return functional.linear(x, self.weight * self.scale, self.bias * self.rate)


def filter_planes(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Every channel convolved with the same kernel (Kh, Kw), turned; borders are zeros."""
    weight = kernel.flip(0, 1).expand(x.shape[1], 1, -1, -1)
    return functional.conv2d(x, weight, padding=padding, groups=x.shape[1])
