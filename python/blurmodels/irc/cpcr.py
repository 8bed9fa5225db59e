# SPDX-License-Identifier: BSD-3-Clause
"""The networks of Eboli, Sun and Ponce's later paper, which read its published weights.

"End-to-end Interpretable Learning of Non-blind Image Deblurring" (ECCV 2020): half-quadratic
splitting in which small networks denoise the gradients and combine the compensated residuals. With
y the observation, H the blur, k_1 and k_2 the horizontal and vertical difference, D_i inverse
filters, x = y at first, each of the stages computes

    z_1 = denoise(k_1 * x),   z_2 = denoise((k_2 * x)^T)^T
    twice:   x <- x + pool(D_0 (y - H x), D_1 (z_1 - k_1 * x), D_2 (z_2 - k_2 * x))

Everything is correlated, and the nearest pixel continues an image beyond its border. A network sees
one channel at a time. As in the released code, no gradient passes from a stage to the one before:
each stage has a loss of its own.
"""

import itertools
import os
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels.pretrained import Pretrained
from blurops import (
    Operator,
    UniformBlur,
    inverse_filters,
    linear_motion_bank,
    motion_blur,
    nu_conv,
)
from blurops.fields import motion_labels

_SIDE, _RIDGE = 31, 1e-2  # of the inverse filters, in the released code
_DIFFERENCES = 5  # side of the difference filters, which are mostly zeros


class _Denoiser(nn.Module):
    """Six convolutions with reflected borders."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 64, 64, 64, 64, 64, 1)
        self.conv = nn.ModuleList(
            nn.Conv2d(i, o, 5 if level == 0 else 3)
            for level, (i, o) in enumerate(itertools.pairwise(widths))
        )

    def forward(self, x: Tensor) -> Tensor:
        for level, layer in enumerate(self.conv):
            x = layer(functional.pad(x, (layer.kernel_size[0] // 2,) * 4, mode="reflect"))
            if level < len(self.conv) - 1:
                x = functional.relu(x)
        return x


class _Pooling(nn.Module):
    """Six convolutions that make one correction of three."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 32, 32, 32, 32, 1)
        for level, (i, o) in enumerate(itertools.pairwise(widths), start=1):
            self.add_module(f"conv{level}", nn.Conv2d(i, o, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        for level in range(1, 6):
            x = functional.elu(self.get_submodule(f"conv{level}")(x))
        return self.conv6(x)


class _Network(Pretrained, nn.Module):
    """What the two networks share: the stages, and weights files."""

    def __init__(self, stages: int, inner: int) -> None:
        super().__init__()
        for name, value in (("stages", stages), ("inner", inner)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{type(self).__name__}: {name} must be a positive integer, got {value!r}"
                )
        self.stages, self.inner = stages, inner
        filters = torch.zeros(2, 1, _DIFFERENCES, _DIFFERENCES)
        middle = _DIFFERENCES // 2
        filters[:, 0, middle, middle] = 1
        filters[0, 0, middle, middle - 1] = -1
        filters[1, 0, middle - 1, middle] = -1
        self.weight = nn.Parameter(filters, requires_grad=False)
        self.denoiser = nn.ModuleList(_Denoiser() for _ in range(stages))
        self.pooling = nn.ModuleList(_Pooling() for _ in range(stages * inner))

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments that build it."""
        return {"stages": self.stages, "inner": self.inner}

    def _restore(self, observed: Tensor, residual: Any) -> list[Tensor]:
        """The estimate of each stage; `residual` makes D_0 (y - H x) of x, (N, C, H, W) both."""
        shape = observed.shape
        filters = self.weight.detach()
        inverses = inverse_filters(filters[:, 0].cpu(), size=_SIDE, ridge=_RIDGE).to(filters)
        planes = observed.reshape(-1, 1, *shape[2:])

        def correlate(x: Tensor, kernel: Tensor) -> Tensor:
            padding = (kernel.shape[-1] // 2,) * 4
            return functional.conv2d(functional.pad(x, padding, mode="replicate"), kernel[None])

        x, found = planes, []
        for stage in range(self.stages):
            x = x.detach()
            across, down = (correlate(x, kernel) for kernel in filters)
            wanted = (
                self.denoiser[stage](across),
                self.denoiser[stage](down.transpose(-1, -2)).transpose(-1, -2),
            )
            for step in range(self.inner):
                parts = [residual(x.reshape(shape)).reshape(planes.shape)]
                parts += [
                    correlate(z - correlate(x, kernel), inverse)
                    for z, kernel, inverse in zip(wanted, filters, inverses, strict=True)
                ]
                x = x + self.pooling[stage * self.inner + step](torch.cat(parts, dim=1))
            found.append(x.reshape(shape))
        return found

    def _check(self, observed: Any) -> None:
        name = type(self).__name__
        if not isinstance(observed, Tensor) or observed.dtype != self.weight.dtype:
            got = observed.dtype if isinstance(observed, Tensor) else type(observed).__name__
            raise TypeError(f"{name}: observed must be a {self.weight.dtype} tensor, got {got}")
        least = _DIFFERENCES // 2 + 1  # reflection by two pixels
        if observed.ndim != 4 or min(observed.shape[2:]) < least:
            raise ValueError(
                f"{name}: observed must be (N, C, H, W) with sides of at least {least},"
                f" got {tuple(observed.shape)}"
            )

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str]) -> Self:
        """The network of a weights file, as `Pretrained.from_pretrained` reads it.

        The authors' files are such as `lchqs_out_05_in_02_sigma_2.55.pt`;
        `blurmodels.checkpoints.write_pickled(path, network.state_dict())` writes their kind.
        """
        network = super().from_pretrained(path)
        network._freeze()
        return network

    def _freeze(self) -> None:
        self.weight.requires_grad_(False)

    @classmethod
    def inferred(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Numbers of stages and steps, as far as a state dict shows them."""

        def count(name: str, usual: int) -> int:
            parts = {key.split(".")[1] for key in tensors if key.startswith(f"{name}.")}
            return len(parts) or usual

        stages = count("denoiser", 5)
        return {"stages": stages, "inner": max(1, count("pooling", 2 * stages) // stages)}


class LCHQS(_Network):
    """Takes away a blur that is the same at every pixel (see the module's equations).

    Layers and their names are those of the published weights: with the defaults 181 tensors,
    1,131,585 numbers, of which the 50 of the difference filters are not learned.

    Args:
        stages: of half-quadratic splitting.
        inner: steps of compensation in each.

    Raises:
        ValueError: an argument is no positive integer.

    Example:
        >>> network = LCHQS(stages=1, inner=1)
        >>> kernel = torch.full((1, 5), 0.2)
        >>> network(torch.rand(1, 3, 20, 24), kernel).shape
        torch.Size([1, 3, 20, 24])
    """

    name = "irc.LCHQS"

    def __init__(self, stages: int = 5, inner: int = 2) -> None:
        super().__init__(stages, inner)

    def forward(self, observed: Tensor, kernel: Tensor, inverse: Tensor | None = None) -> Tensor:
        """The restored image, (N, C, H, W), not clamped.

        Args:
            observed: (N, C, H, W) in [0, 1], float32, sides of at least 3.
            kernel: (Kh, Kw) or (N or 1, 1, Kh, Kw), odd sides, correlation orientation.
            inverse: its inverse filter, in the same layout. Default: `blurops.inverse_filters` with
                ridge 0.01 and side 2 K + 1, as the released demonstration has it.

        Raises:
            TypeError, ValueError: an argument is not as above.
        """
        return self.estimates(observed, kernel, inverse)[-1]

    def estimates(
        self, observed: Tensor, kernel: Tensor, inverse: Tensor | None = None
    ) -> list[Tensor]:
        """What each stage gives, (N, C, H, W) each; arguments as of `forward`."""
        self._check(observed)
        blur = UniformBlur(kernel, boundary="replicate")
        if inverse is None:
            kernels = blur.kernels[:, 0]
            size = 2 * max(kernels.shape[-2:]) + 1
            inverse = inverse_filters(kernels, size=size, ridge=_RIDGE)
        back: Operator = UniformBlur(inverse, boundary="replicate")
        return self._restore(observed, lambda x: back.forward(observed - blur.forward(x)))


class NULCHQS(_Network):
    """Takes away straight motion that differs at each pixel (see the module's equations).

    H is `motion_blur`, D_0 applies at each pixel the bank's inverse filter of the motion nearest to
    its own. Layers and their names are those of the published weights: with the defaults 183
    tensors, 1,478,867 numbers.

    Args:
        stages: of half-quadratic splitting.
        inner: steps of compensation in each.
        max_length: of the bank's motions, pixels; the published bank has 25.

    Note:
        The bank's bias is in the published files and nothing uses it. The released CUDA code draws
        the ends of oblique lines differently (its rule has a sign error); the inverse filters that
        it ships belong to the kernels that this network applies. It also computes no gradient by
        the bank; this network does.

    Raises:
        ValueError: stages or inner is no positive integer, or max_length is not odd.

    Example:
        >>> network = NULCHQS(stages=1, inner=1, max_length=3)
        >>> length, angle = torch.full((1, 20, 24), 3.0), torch.zeros(1, 20, 24)
        >>> network(torch.rand(1, 3, 20, 24), length, angle).shape
        torch.Size([1, 3, 20, 24])
    """

    name = "irc.NULCHQS"

    def __init__(self, stages: int = 5, inner: int = 2, *, max_length: int = 25) -> None:
        super().__init__(stages, inner)
        self.max_length = max_length
        self.inv_nu_conv = _Bank(max_length)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments that build it."""
        return {**super().architecture, "max_length": self.max_length}

    def forward(self, observed: Tensor, length: Tensor, angle: Tensor) -> Tensor:
        """The restored image, (N, C, H, W), not clamped.

        Args:
            observed: (N, C, H, W) in [0, 1], float32, sides of at least 3.
            length: (N or 1, H, W) pixels, from 1 to `max_length`.
            angle: (N or 1, H, W) radians, counter-clockwise with y upwards.

        Raises:
            TypeError, ValueError: an argument is not as above.
        """
        return self.estimates(observed, length, angle)[-1]

    def estimates(self, observed: Tensor, length: Tensor, angle: Tensor) -> list[Tensor]:
        """What each stage gives, (N, C, H, W) each; arguments as of `forward`."""
        self._check(observed)
        longest = float(length.max()) if isinstance(length, Tensor) and length.numel() else 0.0
        if longest > self.max_length:
            raise ValueError(
                f"NULCHQS: length must be at most {self.max_length}, the longest motion of the"
                f" network's bank, got {longest:g}"
            )
        index = motion_labels(length, angle, max_length=self.max_length)[:, None]
        weight = torch.ones_like(index, dtype=observed.dtype)
        bank = self.inv_nu_conv.weight[:, 0]

        def residual(x: Tensor) -> Tensor:
            rest = observed - motion_blur(x, length, angle, boundary="replicate")
            return nu_conv(rest, bank, index, weight, boundary="replicate")

        return self._restore(observed, residual)

    def _freeze(self) -> None:
        super()._freeze()
        self.inv_nu_conv.bias.requires_grad_(False)

    @classmethod
    def inferred(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """As of the other network, and the longest motion, by the number of filters."""
        bank = tensors.get("inv_nu_conv.weight")
        # 1 + 15 (K - 1) filters for motions of up to K pixels.
        filters = 361 if bank is None or bank.ndim == 0 else len(bank)
        return {**super().inferred(tensors), "max_length": (filters - 1) // 15 + 1}


class _Bank(nn.Module):
    """The inverse filters of the bank of straight motions."""

    def __init__(self, max_length: int) -> None:
        super().__init__()
        # Below `torch.device("meta")` weights are about to come from a file.
        kernels = linear_motion_bank(max_length)
        on_meta = torch.empty(0).is_meta
        filters = (
            torch.empty(len(kernels), 1, _SIDE, _SIDE)
            if on_meta
            else inverse_filters(kernels, size=_SIDE, ridge=_RIDGE)
        )
        self.weight = nn.Parameter(filters)
        self.bias = nn.Parameter(torch.zeros(len(filters)), requires_grad=False)
