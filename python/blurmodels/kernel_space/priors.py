# SPDX-License-Identifier: BSD-3-Clause
"""The deep image priors of Tran et al.: networks that turn fixed noise into an image or a latent k.

After Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", CVPR 2018. Built as the authors' code builds
them, state_dict names included, where that differs from the paper: padding by zeros where their
option file says "reflect", and uniform noise times 0.1 where the paper says normal.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels.evaluation._errors import message

# Of the noise, and of what is added to it at every step.
NOISE, JITTER = 0.1, 0.001
_SLOPE = 0.2


def draw_noise(channels: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(1, channels, H, W), uniform in [0, 0.1): what a prior turns into an image."""
    return NOISE * torch.rand(1, channels, *size, generator=generator)


def jittered(noise: Tensor, generator: torch.Generator) -> Tensor:
    """The noise with 0.001 times standard normal noise added, as at every step."""
    return noise + JITTER * torch.randn(noise.shape, generator=generator).to(noise)


def _numbered(*modules: nn.Module) -> nn.Sequential:
    """A Sequential whose children count from 1, as the published module names do."""
    return nn.Sequential(OrderedDict((str(i), module) for i, module in enumerate(modules, 1)))


def _conv(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, side, stride, padding=side // 2))


def _block(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
    """Convolution, normalisation by the image's own statistics, leaky ReLU."""
    return [
        _conv(inputs, outputs, side, stride),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(_SLOPE, inplace=True),
    ]


class NonLocal(nn.Module):
    """Every place plus a mean of all others, `x + W(theta(x) phi(x)' g(x) / N)`, without softmax.

    Wang, Girshick, Gupta, He, "Non-local Neural Networks", the dot product; phi and g are pooled by
    2, N is the number of their places. W ends in a normalisation that starts from zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.g = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.MaxPool2d(2))
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.W[1].weight)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), sides of at least 2, to the same."""
        theta, phi, g = (part(x).flatten(2) for part in (self.theta, self.phi, self.g))
        # (theta' phi / N) g', in the order that is linear in the number of places.
        mixed = torch.bmm(torch.bmm(g, phi.transpose(1, 2)), theta) / phi.shape[2]
        return x + self.W(mixed.unflatten(2, x.shape[2:]))


class _Beside(nn.Module):
    """Both branches of a scale, concatenated, centre-cropped to the smaller."""

    def __init__(self, skip: nn.Module, deeper: nn.Module) -> None:
        super().__init__()
        self.add_module("0", skip)
        self.add_module("1", deeper)

    def forward(self, x: Tensor) -> Tensor:
        both = [branch(x) for branch in self.children()]
        size = [min(part.shape[axis] for part in both) for axis in (2, 3)]
        return torch.cat([_central(part, size) for part in both], dim=1)


def _central(x: Tensor, size: list[int]) -> Tensor:
    top, left = ((x.shape[axis] - size[axis - 2]) // 2 for axis in (2, 3))
    return x[..., top : top + size[0], left : left + size[1]]


class _Doubling(torch.autograd.Function):
    """Bilinear interpolation to twice the size, with a backward quicker than torch's own.

    On the CPU torch scatters each gradient to four places of the input, one by one. Along one axis
    it is a sum of slices: each input has weights 1/4, 3/4, 3/4, 1/4 in the four outputs around it,
    and the outermost one the whole of the outermost output.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bilinear")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Half types are slow to add up, and coarse; autograd brings the result back to the input's.
        wide = torch.promote_types(gradient.dtype, torch.float32)
        return _halved(_halved(gradient.to(wide), 2), 3)


def _halved(gradient: Tensor, axis: int) -> Tensor:
    even, odd = (gradient[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
    most = even.shape[axis] - 1
    whole = (even + odd) * 0.75
    whole.narrow(axis, 1, most).add_(odd.narrow(axis, 0, most), alpha=0.25)
    whole.narrow(axis, 0, most).add_(even.narrow(axis, 1, most), alpha=0.25)
    whole.narrow(axis, 0, 1).add_(even.narrow(axis, 0, 1), alpha=0.25)
    whole.narrow(axis, most, 1).add_(odd.narrow(axis, most, 1), alpha=0.25)
    return whole


class Doubled(nn.Module):
    """`nn.Upsample(scale_factor=2, mode="bilinear")`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 2 H, 2 W)."""
        return _Doubling.apply(x)


class ImageDIP(nn.Module):
    """Turns noise into an image in (0, 1): the encoder-decoder with skips of Tran et al.

    With the defaults, 241 tensors of which the normalisations' buffers are a part, and 2,365,779
    parameters. It stays in training mode: the normalisations use the image's own statistics.

    Args:
        noise_channels: of the input.
        image_channels: of the output.
        width: channels going down and up.
        skip: channels of a skip branch.
        scales: how often the size is halved.
        non_local: the scale from which on a `NonLocal` block stands in the deeper branch; None for
            none.

    Example:
        >>> prior = ImageDIP()
        >>> len(prior.state_dict()), sum(p.numel() for p in prior.parameters())
        (241, 2365779)
        >>> prior = ImageDIP(image_channels=1, width=8, skip=4, scales=3, non_local=None)
        >>> prior(torch.rand(1, 8, 37, 50)).shape
        torch.Size([1, 1, 37, 50])
    """

    def __init__(
        self,
        noise_channels: int = 8,
        image_channels: int = 3,
        *,
        width: int = 128,
        skip: int = 16,
        scales: int = 5,
        non_local: int | None = 2,
    ) -> None:
        super().__init__()
        self.noise_channels, self.scales = noise_channels, scales

        def scale(level: int, inputs: int) -> list[nn.Module]:
            deeper = _block(inputs, width, 3, stride=2)
            if non_local is not None and level >= non_local:
                deeper.append(NonLocal(width))
            deeper += _block(width, width, 3)
            if level + 1 < scales:
                deeper.append(_numbered(*scale(level + 1, width)))
            deeper.append(Doubled())
            beside = _Beside(_numbered(*_block(inputs, skip, 1)), _numbered(*deeper))
            up = [*_block(skip + width, width, 3), *_block(width, width, 1)]
            return [beside, nn.BatchNorm2d(skip + width), *up]

        last = [_conv(width, image_channels, 1), nn.Sigmoid()]
        self.model = _numbered(*scale(0, noise_channels), *last)

    def forward(self, noise: Tensor) -> Tensor:
        """(N, noise_channels, H, W) to (N, image_channels, H, W).

        Raises:
            ValueError: the noise is too small for the prior's scales.
        """
        # The innermost scale needs more than one place for its statistics.
        least = 2**self.scales + 1
        if min(noise.shape[2:]) < least:
            text = f"have sides of at least {least} pixels"
            raise ValueError(message("ImageDIP", "noise", text, tuple(noise.shape[2:])))
        return self.model(noise)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.Identity(), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.Identity(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class KernelDIP(nn.Module):
    """Turns noise (1, 64, H/4, W/4) into a latent kernel k (1, 512, H/128, W/128) of F.

    With the defaults 36 tensors and 34,787,264 parameters. The authors' noise is 64 x 64 whatever
    the image; for other sizes than 256 x 256 the latent kernel that F needs is of another size, and
    so is the noise.

    Args:
        noise_channels: of the input.
        kernel_dim: channels of k.
        blocks: residual blocks.

    Example:
        >>> prior = KernelDIP(4, 16, blocks=1)
        >>> prior(torch.rand(1, 4, 64, 96)).shape
        torch.Size([1, 16, 2, 3])
    """

    def __init__(self, noise_channels: int = 64, kernel_dim: int = 512, blocks: int = 6) -> None:
        super().__init__()
        self.noise_channels = noise_channels
        widths = [min(64 * 2**level, kernel_dim) for level in range(4)]
        widths += [kernel_dim, kernel_dim]
        first = nn.Conv2d(noise_channels, widths[0], 7)
        parts: list[nn.Module] = [nn.ReflectionPad2d(3), first, nn.Identity(), nn.ReLU()]
        for inputs, outputs in pairwise(widths):
            conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
            parts += [conv, nn.Identity(), nn.ReLU()]
        parts += [_ResidualBlock(kernel_dim) for _ in range(blocks)]
        self.model = nn.Sequential(*parts)

    def forward(self, noise: Tensor) -> Tensor:
        """(N, noise_channels, h, w), sides of at least 33, to (N, kernel_dim, h/32, w/32).

        Raises:
            ValueError: the noise is too small.
        """
        if min(noise.shape[2:]) < 33:
            text = "have sides of at least 33 (an image of 129 pixels)"
            raise ValueError(message("KernelDIP", "noise", text, tuple(noise.shape[2:])))
        return self.model(noise)
