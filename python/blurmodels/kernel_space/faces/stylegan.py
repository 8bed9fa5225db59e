# SPDX-License-Identifier: BSD-3-Clause
"""StyleGAN: each layer's features are normalised, then scaled and shifted by a latent vector.

Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks",
CVPR 2019, with the names and shapes of the weights that PULSE (Menon et al., CVPR 2020) publishes.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels.kernel_space.faces.generator import FaceGenerator
from blurmodels.kernel_space.faces.layers import SLOPE, EqualLinear, filter_planes, normalised

MAPPING, SYNTHESIS = "mapping_network", "synthesis_network"

_DEPTH, _RATE, _GAIN = 8, 0.01, math.sqrt(2)
# From this side on, the features are doubled by a transposed convolution.
_FUSED = 128


class _Mapping(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        for i in range(_DEPTH):
            self.add_module(f"dense{i}", EqualLinear(width, width, gain=_GAIN, rate=_RATE))

    def forward(self, z: Tensor) -> Tensor:
        w = normalised(z)
        for dense in self.children():
            w = functional.leaky_relu(dense(w), SLOPE)
        return w


class _Conv(nn.Module):
    """A convolution with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, side: int, gain: float = _GAIN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.padding = gain / math.sqrt(inputs * side**2), side // 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class _Blur(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        # The authors correlate, which for their kernel is the same.
        return filter_planes(x, self.kernel[0, 0].flip(0, 1), padding=1)


class _UpConv(_Conv):
    """Twice the size, convolution, blur, bias.

    At the finer sides one transposed convolution does the first two, with the sum of four shifted
    copies of the weights. As the authors have it, this turns the weights by 180 degrees against the
    coarser sides, and published weights are trained so.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)
        self.intermediate = _Blur()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if 2 * min(x.shape[2:]) >= _FUSED:
            spread = functional.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=1)
            y = functional.conv_transpose2d(x, spread.transpose(0, 1), stride=2, padding=1)
        else:
            doubled = functional.interpolate(x, scale_factor=2, mode="nearest")
            y = functional.conv2d(doubled, weight, padding=self.padding)
        return self.intermediate(y) + self.bias[:, None, None]


class _Noise(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight[:, None, None] * noise


class _Style(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.lin = EqualLinear(width, 2 * channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        scale, shift = self.lin(w)[:, :, None, None].chunk(2, dim=1)
        return x * (scale + 1) + shift


class _Epilogue(nn.Module):
    """Noise, leaky ReLU, each channel to mean 0 and deviation 1, style (the paper's AdaIN)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.noise = _Noise(channels)
        self.style_mod = _Style(width, channels)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        x = functional.leaky_relu(self.noise(x, noise), SLOPE)
        return self.style_mod(functional.instance_norm(x), w)


class _First(nn.Module):
    """The learned constant of 4 x 4 pixels, and the layers of that side."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4))
        self.bias = nn.Parameter(torch.ones(channels))
        self.epi1 = _Epilogue(width, channels)
        self.conv = _Conv(channels, channels, 3)
        self.epi2 = _Epilogue(width, channels)

    def forward(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        x = (self.const + self.bias[:, None, None]).expand(len(w), -1, -1, -1)
        x = self.epi1(x, w[:, 0], noise[0])
        return self.epi2(self.conv(x), w[:, 1], noise[1])


class _Block(nn.Module):
    """The layers of a side that is twice the one before."""

    def __init__(self, width: int, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv0_up = _UpConv(inputs, channels)
        self.epi1 = _Epilogue(width, channels)
        self.conv1 = _Conv(channels, channels, 3)
        self.epi2 = _Epilogue(width, channels)

    def forward(self, x: Tensor, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        x = self.epi1(self.conv0_up(x), w[:, 0], noise[0])
        return self.epi2(self.conv1(x), w[:, 1], noise[1])


class _Synthesis(nn.Module):
    def __init__(self, width: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.torgb = _Conv(channels[-1], 3, 1, gain=1.0)
        blocks: list[nn.Module] = [_First(width, channels[0])]
        blocks += [_Block(width, *both) for both in pairwise(channels)]
        names = [f"{4 << level}x{4 << level}" for level in range(len(channels))]
        self.blocks = nn.ModuleDict(OrderedDict(zip(names, blocks, strict=True)))

    def forward(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        first, *others = self.blocks.values()
        x = first(w[:, :2], noise[:2])
        for level, block in enumerate(others, 1):
            x = block(x, w[:, 2 * level : 2 * level + 2], noise[2 * level : 2 * level + 2])
        return self.torgb(x)


class StyleGAN(FaceGenerator):
    """The generator of Karras et al. 2019, for weights as PULSE publishes them.

    With the defaults 16 tensors of 2,101,248 numbers map, and 100 synthesise, of which 92 are
    learned, 24,110,771 numbers, and 8 are blur kernels. In a state dict their published names stand
    behind `mapping_network.` and `synthesis_network.`.

    Args:
        size: side of the pictures in pixels, a power of two.
        width: numbers of one latent vector.
        channels: of the feature maps of side 4, 8, ..., size; by default min(512, 16384 / side).

    Raises:
        ValueError: an argument is not as above.

    Example:
        >>> generator = StyleGAN(16, 8, (6, 4, 4))
        >>> noise = [torch.randn(1, 1, *shape) for shape in generator.noise_shapes]
        >>> tuple(generator(torch.randn(2, 8), noise).shape), generator.layers
        ((2, 3, 16, 16), 6)
    """

    name = "kernel_space.StyleGAN"
    mapping_part = MAPPING

    def __init__(
        self, size: int = 1024, width: int = 512, channels: Sequence[int] | None = None
    ) -> None:
        super().__init__(size, width, channels, 16384)
        self.mapping_network = _Mapping(width)
        self.synthesis_network = _Synthesis(width, self.channels)

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """Two maps of each side 4, 8, ..., size: (h, w) of each."""
        sides = [4 << layer // 2 for layer in range(self.layers)]
        return [(side, side) for side in sides]

    @classmethod
    def inferred(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that a state dict shows; whatever is missing is taken as published."""

        def rows(name: str, usual: int) -> int:
            tensor = tensors.get(name)
            return usual if tensor is None or tensor.ndim == 0 else max(1, tensor.shape[0])

        start = f"{SYNTHESIS}.blocks."
        levels = len({n.removeprefix(start).split(".")[0] for n in tensors if n.startswith(start)})
        levels = max(2, levels) if levels else 9
        sides = [4 << level for level in range(levels)]
        return {
            "size": sides[-1],
            "width": rows(f"{MAPPING}.dense0.weight", 512),
            "channels": [
                rows(f"{start}{side}x{side}.epi1.noise.weight", min(512, 16384 // side))
                for side in sides
            ],
        }

    def _synthesise(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        return self.synthesis_network(w, noise)
