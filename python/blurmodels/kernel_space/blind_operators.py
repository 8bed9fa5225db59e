# SPDX-License-Identifier: BSD-3-Clause
"""The blur operators that blind deblurring can fit: explicit kernels, or the network F.

Each is a module: `forward(sharp)` blurs an image that reaches `margin` pixels beyond the photograph
on every side, and `kernel()` is what the loss takes the norm of.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import blurops
from blurmodels.basis_kernels.blind_steps import centred
from blurmodels.kernel_space.priors import ImageDIP, KernelDIP, draw_noise, jittered

# A tap that the level before had at zero starts from this, and may grow again.
_LEAST_TAP = 2e-4
# Pixels per cell of the mixing, and what a coefficient has at least where it starts.
_CELL, _LEAST_MIXING = 4, 0.05
# How unlike the kernels of the places start, in their logits.
_UNLIKE = 0.05


class UniformKernel(nn.Module):
    """One kernel for the whole image, a softmax over its taps: not negative, of unit sum.

    The blur has boundary "valid": the sharp image is K - 1 pixels larger than the photograph, and
    nothing is assumed about what lies beyond the edge.

    Args:
        side: K, odd.
        start: (1, 1, K', K') kernel to start from, resized and centred; flat by default.
    """

    def __init__(self, side: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.margin = side // 2
        self.logits = nn.Parameter(_logits(side, start))

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Parameters and their learning rates."""
        return [{"params": [self.logits], "lr": rate}]

    def kernel(self) -> Tensor:
        """(1, 1, K, K)."""
        return self.logits.flatten(2).softmax(2).view_as(self.logits)

    def field(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Kernels and mixing of a photograph of that size."""
        return self.kernel(), self.logits.new_ones(1, 1, *size)

    def forward(self, sharp: Tensor) -> Tensor:
        """(1, C, H + K - 1, W + K - 1) to (1, C, H, W)."""
        size = (sharp.shape[2] - 2 * self.margin, sharp.shape[3] - 2 * self.margin)
        return blurops.basis_blur(sharp, *self.field(size), boundary="valid")


class BasisKernels(nn.Module):
    """A few kernels that every pixel mixes; a small prior network predicts the mixing.

    The coefficients are a softmax over B of what interpolation between places on a grid gives, one
    kernel a place, plus the network's output on cells of 4 pixels, which is zero at first.

    Args:
        side: K, odd.
        size: (H, W) of the photograph.
        grid: places down and across; B is their product.
        generator: of the network's noise and of the kernels' first differences.
        start: (1, B or 1, K', K') kernels to start from.
    """

    def __init__(
        self,
        side: int,
        size: tuple[int, int],
        grid: tuple[int, int],
        generator: torch.Generator,
        start: Tensor | None = None,
    ) -> None:
        super().__init__()
        count = grid[0] * grid[1]
        self.margin, self.size = side // 2, size
        logits = _logits(side, start).expand(1, count, side, side)
        noise = torch.randn(logits.shape, generator=generator)
        self.logits = nn.Parameter(logits + _UNLIKE * noise)
        cells = tuple(max(16, round(length / _CELL)) for length in size)
        between = (_between_places(*grid, cells) + _LEAST_MIXING).log()
        self.register_buffer("between", between)
        self.register_buffer("noise", 10 * draw_noise(8, cells, generator))
        self.network = nn.Sequential(
            nn.Conv2d(8, 16, 3, padding=1), nn.LeakyReLU(0.2),
            nn.AvgPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Upsample(cells, mode="bilinear"), nn.Conv2d(16, count, 3, padding=1),
        )  # fmt: skip
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)

    def follow(self, coarser: "BasisKernels") -> None:
        """Takes over the mixing of a coarser level."""
        self.network.load_state_dict(coarser.network.state_dict())
        size = self.noise.shape[2:]
        self.noise.copy_(functional.interpolate(coarser.noise, size, mode="bilinear"))

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Parameters and their learning rates; the network's is a tenth."""
        network = {"params": list(self.network.parameters()), "lr": rate / 10}
        return [{"params": [self.logits], "lr": rate}, network]

    def kernel(self) -> Tensor:
        """(1, B, K, K)."""
        return self.logits.flatten(2).softmax(2).view_as(self.logits)

    def mixing(self) -> Tensor:
        """(1, B, H, W)."""
        logits = self.between + self.network(self.noise)
        return functional.interpolate(logits, self.size, mode="bilinear").softmax(1)

    def field(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Kernels and mixing."""
        return self.kernel(), self.mixing()

    def forward(self, sharp: Tensor) -> Tensor:
        """(1, C, H + K - 1, W + K - 1) to (1, C, H, W)."""
        return blurops.basis_blur(sharp, self.kernel(), self.mixing(), boundary="valid")


class EncodedKernel(nn.Module):
    """F with a latent kernel, free or under `KernelDIP`.

    Args:
        apply_blur: F, (1, 3, H, W) and k to (1, 3, H, W); its own parameters are not touched.
        size: (H, W), multiples of `multiple`.
        prior: makes k from noise; None optimises k itself.
        latent: (1, D, h, w) where k starts without a prior.
        generator: of the noise.
        multiple: pixels per place of k.
    """

    margin = 0

    def __init__(
        self,
        apply_blur: Callable[[Tensor, Tensor], Tensor],
        size: tuple[int, int],
        generator: torch.Generator,
        *,
        prior: KernelDIP | None = None,
        latent: Tensor | None = None,
    ) -> None:
        super().__init__()
        # In a tuple: a module's attribute would make F's parameters ours.
        self._family = (apply_blur,)
        self.prior, self.generator = prior, generator
        if prior is not None:
            quarter = (size[0] // 4, size[1] // 4)
            self.register_buffer("noise", draw_noise(prior.noise_channels, quarter, generator))
        else:
            self.latent = nn.Parameter(latent.clone())
        self._k: Tensor | None = None

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Parameters and their learning rates."""
        return [{"params": list(self.parameters()), "lr": rate}]

    def kernel(self) -> Tensor:
        """K of the last `forward`, or a new one."""
        if self._k is None:
            self._k = self._draw()
        return self._k

    def _draw(self) -> Tensor:
        return (
            self.latent if self.prior is None else self.prior(jittered(self.noise, self.generator))
        )

    def renew(self) -> None:
        """Draws new noise and starts the prior, or the latent k, anew."""
        self._k = None
        if self.prior is None:
            with torch.no_grad():
                self.latent.copy_(torch.randn(self.latent.shape, generator=self.generator))
            return
        size = tuple(self.noise.shape[2:])
        self.noise.copy_(draw_noise(self.prior.noise_channels, size, self.generator))
        seed = int(torch.randint(1 << 30, (), generator=self.generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in self.prior.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()

    def forward(self, sharp: Tensor) -> Tensor:
        """(1, 3, H, W) to (1, 3, H, W)."""
        self._k = self._draw()
        return self._family[0](sharp, self._k)


def image_prior(channels: int, width: int, seed: int) -> ImageDIP:
    """A narrow `ImageDIP` for explicit kernels, from its own stream of random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = ImageDIP(8, channels, width=width, skip=4, scales=4, non_local=None)
    return prior.to(memory_format=torch.channels_last)


def _logits(side: int, start: Tensor | None) -> Tensor:
    if start is None:
        return torch.zeros(1, 1, side, side)
    resized = functional.interpolate(start, [side, side], mode="bilinear", antialias=True)
    resized = centred(resized / resized.sum((2, 3), keepdim=True))
    return (resized + _LEAST_TAP).log()


def _between_places(rows: int, columns: int, size: tuple[int, ...]) -> Tensor:
    """(1, rows * columns, H, W) coefficients of linear interpolation between places on a grid."""

    def along(count: int, length: int) -> Tensor:
        at = ((torch.arange(length) + 0.5) / length * count - 0.5).clamp(0, count - 1)
        return (1 - (at - torch.arange(count)[:, None]).abs()).clamp(min=0)

    weights = torch.einsum("ah,bw->abhw", along(rows, size[0]), along(columns, size[1]))
    return weights.flatten(0, 1)[None].contiguous()
