# SPDX-License-Identifier: BSD-3-Clause
"""StyleGAN2: a latent vector scales the weights of each convolution, which are then normalised.

Karras, Laittinen, Aittala, Hellsten, Lehtinen, Aila, "Analyzing and Improving the Image Quality of
StyleGAN", CVPR 2020, with the names and shapes of rosinality's weights, which Tran et al. load.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels.kernel_space.faces.generator import FaceGenerator
from blurmodels.kernel_space.faces.layers import SLOPE, EqualLinear, filter_planes, normalised

_DEPTH, _RATE, _GAIN = 8, 0.01, math.sqrt(2)
_EPSILON = 1e-8


class _Normalise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return normalised(x)


class _Dense(EqualLinear):
    def forward(self, x: Tensor) -> Tensor:
        return _GAIN * functional.leaky_relu(super().forward(x), SLOPE)


class _Kernel(nn.Module):
    """The kernel [1, 3, 3, 1] x [1, 3, 3, 1] with the sum 4, for what was doubled by zeros."""

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row))


class _Modulated(nn.Module):
    """A convolution whose weights a latent vector scales (the paper's equations 1 and 3).

    `w' = s_i w`, `w'' = w' / sqrt(sum_ik w'^2 + 1e-8)`. The input is scaled by s instead of the
    weights and the output by the root, so that all pictures of a batch share one convolution.
    """

    def __init__(
        self, width: int, inputs: int, outputs: int, side: int, *, up: bool = False,
        demodulate: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, side, side))
        if up:
            self.blur = _Kernel()
        self.modulation = EqualLinear(width, inputs, bias=1.0)
        self.scale, self.up, self.demodulate = 1 / math.sqrt(inputs * side**2), up, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.modulation(w), self.weight[0] * self.scale
        x = x * style[:, :, None, None]
        if self.up:
            y = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        else:
            y = functional.conv2d(x, weight, padding=weight.shape[2] // 2)
        if self.demodulate:
            power = style.square() @ weight.square().sum((2, 3)).T
            y = y * torch.rsqrt(power + _EPSILON)[:, :, None, None]
        return filter_planes(y, self.blur.kernel, padding=1) if self.up else y


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class _Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class _Layer(nn.Module):
    def __init__(self, width: int, inputs: int, outputs: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = _Modulated(width, inputs, outputs, 3, up=up)
        self.noise = _Noise()
        self.activate = _Bias(outputs)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        x = self.conv(x, w) + self.noise.weight * noise
        return _GAIN * functional.leaky_relu(x + self.activate.bias[:, None, None], SLOPE)


class _ToRGB(nn.Module):
    """The picture of one side, added to the coarser one at twice its size."""

    def __init__(self, width: int, inputs: int, *, up: bool = True) -> None:
        super().__init__()
        if up:
            self.upsample = _Kernel()
        self.conv = _Modulated(width, inputs, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, w: Tensor, coarse: Tensor | None = None) -> Tensor:
        y = self.conv(x, w) + self.bias
        if coarse is None:
            return y
        kernel = self.upsample.kernel.expand(3, 1, -1, -1)
        return y + functional.conv_transpose2d(coarse, kernel, stride=2, padding=1, groups=3)


class _Input(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class StyleGAN2(FaceGenerator):
    """The generator of Karras et al. 2020, for weights with the names of rosinality's program.

    With the defaults 135 tensors: 110 are learned, 30,034,338 numbers, 12 are blur kernels, and 13
    maps of noise that `synthesis` does not use, as it gets its own.

    Args:
        size: side of the pictures in pixels, a power of two.
        width: numbers of one latent vector.
        channels: of the feature maps of side 4, 8, ..., size; by default min(512, 32768 / side).

    Raises:
        ValueError: an argument is not as above.

    Example:
        >>> generator = StyleGAN2(16, 8, (6, 4, 4))
        >>> noise = [torch.randn(1, 1, *shape) for shape in generator.noise_shapes]
        >>> tuple(generator(torch.randn(2, 8), noise).shape), len(noise)
        ((2, 3, 16, 16), 5)
    """

    name = "kernel_space.StyleGAN2"
    mapping_part = "style"

    def __init__(
        self, size: int = 256, width: int = 512, channels: Sequence[int] | None = None
    ) -> None:
        super().__init__(size, width, channels, 32768)
        dense = (_Dense(width, width, rate=_RATE) for _ in range(_DEPTH))
        self.style = nn.Sequential(_Normalise(), *dense)
        first = self.channels[0]
        self.input = _Input(first)
        self.conv1 = _Layer(width, first, first)
        self.to_rgb1 = _ToRGB(width, first, up=False)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for inputs, outputs in pairwise(self.channels):
            self.convs.append(_Layer(width, inputs, outputs, up=True))
            self.convs.append(_Layer(width, outputs, outputs))
            self.to_rgbs.append(_ToRGB(width, outputs))
        self.noises = nn.Module()
        for i, shape in enumerate(self.noise_shapes):
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, *shape))

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """One map of side 4, two of each side 8, ..., size: (h, w) of each."""
        sides = [4 << (layer + 1) // 2 for layer in range(self.layers - 1)]
        return [(side, side) for side in sides]

    @classmethod
    def inferred(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that a state dict shows; whatever is missing is taken as published."""

        def channels(name: str, usual: int) -> int:
            tensor = tensors.get(f"{name}.activate.bias")
            return usual if tensor is None or tensor.ndim == 0 else max(1, tensor.shape[0])

        levels = len({n.split(".")[1] for n in tensors if n.startswith("to_rgbs.")}) or 6
        names = ["conv1", *(f"convs.{2 * level + 1}" for level in range(levels))]
        first = tensors.get("style.1.weight")
        return {
            "size": 4 << levels,
            "width": first.shape[0] if first is not None and first.ndim else 512,
            "channels": [
                channels(name, min(512, 32768 // (4 << level))) for level, name in enumerate(names)
            ],
        }

    def _synthesise(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        x = self.input.input.expand(len(w), -1, -1, -1)
        x = self.conv1(x, w[:, 0], noise[0])
        picture = self.to_rgb1(x, w[:, 1])
        # Its vector serves a side's picture and the first layer of the next side.
        for level, to_rgb in enumerate(self.to_rgbs):
            i = 2 * level + 1
            x = self.convs[i - 1](x, w[:, i], noise[i])
            x = self.convs[i](x, w[:, i + 1], noise[i + 1])
            picture = to_rgb(x, w[:, i + 2], picture)
        return picture
