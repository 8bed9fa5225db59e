# SPDX-License-Identifier: BSD-3-Clause
"""IRC-Net: the stages of ADMM with residual compensation as a network."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels.irc.shrink import ShrinkCurves, SoftThresholds
from blurmodels.pretrained import Pretrained
from blurops import (
    MotionBlur,
    UniformBlur,
    difference_filters,
    interpolate_motion,
    inverse_filters,
    linear_motion_bank,
    nu_conv,
)

SHARING = ("step", "stage", "all")
SHRINKS = ("curve", "soft")
COMBINE = ("filters", "outputs")
_KINDS = 3  # of inverse filters: of the blur, and of two differences


class IRCNet(Pretrained, nn.Module):
    """Restores an image whose every pixel has moved along a known straight line.

    `stages` stages of ADMM for `1/2 ||H x - y||^2 + weight sum_i |k_i * x|`, k_i the horizontal
    and the vertical difference (Eboli, Sun and Ponce, "Neural Embedding of an Iterative
    Deconvolution Algorithm for Motion Blur Estimation and Removal", section 3.2). A stage shrinks
    `k_i * x + b_i` to z_i, makes `inner` steps of compensation

        x <- x + D_0 (y - H x) + sum_i D_i (z_i - b_i - k_i * x)

    and adds `rate_i (k_i * x - z_i)` to the multipliers b_i. D_i filters each pixel with the four
    inverse filters around its motion, out of a bank, by the weights of `interpolate_motion`.
    Learned are the bank, the shrinking, and the rates. Untrained, it is `admm_irc` with
    `weight=threshold * penalty`.

    Args:
        stages, inner: the paper has 5 and 2.
        max_length: of the bank of straight motions, odd, and the longest motion that is accepted;
            35 is the paper's, with 511 entries.
        size: side of the inverse filters, odd.
        sharing: which banks are one: `"step"` has one per stage and step, `"stage"` one per stage,
            `"all"` one in all. The paper does not say; the authors' later code has one per step.
        shrink: `"curve"`, through 101 control points, or `"soft"`, a threshold; each per stage and
            difference.
        threshold: of shrinking, at first.
        knot_step: between control points; see :class:`ShrinkCurves`.
        penalty: rho, at first; it is part of the bank from then on.
        ridge, method, grid: of `inverse_filters`.
        mode: of `interpolate_motion`.
        boundary: of H and the differences, any of blurops'. The residual beyond the image is 0 for
            the D_i, as in `inverse_blur`. With `"valid"` nothing is assumed beyond the border; the
            image is restored there too, and cut off in the end.
        caps: of `motion_blur`.
        bank: (F, 3, size, size), to start from. Default: `inverse_filters` of the whole bank, which
            takes minutes with method "exact" and max_length 35.
        cache, progress: of `inverse_filters`.

    Raises:
        ValueError: an argument is not as above.

    Note:
        A pass keeps a handful of images per step for the backward, and nothing that grows with the
        taps of filters.

    Example:
        >>> network = IRCNet(2, 1, max_length=3, size=7)
        >>> length, angle = torch.full((1, 20, 24), 2.5), torch.zeros(1, 20, 24)
        >>> network(torch.rand(2, 3, 20, 24), length, angle).shape
        torch.Size([2, 3, 20, 24])
    """

    name = "irc.IRCNet"

    def __init__(
        self,
        stages: int = 5,
        inner: int = 2,
        *,
        max_length: int = 35,
        size: int = 31,
        sharing: str = "step",
        shrink: str = "curve",
        threshold: float = 3e-3,
        knot_step: float | None = None,
        penalty: float = 8.1e-3,
        ridge: float = 1e-2,
        method: str = "exact",
        grid: int | None = None,
        mode: str = "softmax",
        boundary: str = "replicate",
        caps: str = "fspecial",
        bank: Tensor | None = None,
        cache: bool | str | os.PathLike[str] = False,
        progress: bool = False,
    ) -> None:
        super().__init__()
        _check_choices(sharing=sharing, shrink=shrink)
        _check_positive(stages=stages, inner=inner, threshold=threshold, penalty=penalty)
        # What builds this network again around other weights.
        self.architecture = {
            "stages": stages, "inner": inner, "max_length": max_length, "size": size,
            "sharing": sharing, "shrink": shrink, "threshold": threshold, "knot_step": knot_step,
            "penalty": penalty, "ridge": ridge, "method": method, "grid": grid, "mode": mode,
            "boundary": boundary, "caps": caps,
        }  # fmt: skip
        self.stages, self.inner, self.max_length, self.mode = stages, inner, max_length, mode
        self.boundary, self.caps = boundary, caps
        wanted = (1 + 15 * (max_length - 1), _KINDS, size, size)
        if bank is None:
            bank = inverse_filters(
                linear_motion_bank(max_length), size=size, ridge=ridge,
                analysis=difference_filters(), penalty=penalty, method=method, grid=grid,
                cache=cache, progress=progress,
            )  # fmt: skip
        elif tuple(bank.shape) != wanted:
            raise ValueError(f"IRCNet: bank must be {wanted}, got {tuple(bank.shape)}")
        self._steps = {"step": stages * inner, "stage": stages, "all": 1}[sharing]
        self.bank = nn.Parameter(bank.detach().float().repeat(self._steps, 1, 1, 1, 1))
        if shrink == "curve":
            self.shrink = ShrinkCurves(stages, _KINDS - 1, threshold, knot_step)
        else:
            self.shrink = SoftThresholds(stages, _KINDS - 1, threshold)
        self.rate = nn.Parameter(torch.ones(stages, _KINDS - 1))

    def forward(
        self,
        observed: Tensor,
        length: Tensor,
        angle: Tensor,
        *,
        combine: str = "filters",
        blur_motion: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The restored image.

        Args:
            observed: (N, C, H, W) linear light. Channels share motions and weights.
            length: (N or 1, H, W) pixels, from 1 (no motion) to `max_length`.
            angle: (N or 1, H, W) radians, counter-clockwise with y upwards.
            combine: `"filters"` mixes the four inverse filters of a pixel. `"outputs"` restores
                with each of the four and averages the results by the same weights (the reading of
                the paper's figure 4), in four times the time.
            blur_motion: length and angle for H alone. Default: the same.

        Returns:
            (N, C, H, W), not clamped.

        Raises:
            TypeError, ValueError: an argument is not as above.

        Note:
            Gradients reach the observation, the weights of the network, and the motion: through
            the weights of interpolation, and through H.
        """
        if combine not in COMBINE:
            raise ValueError(
                f"IRCNet: combine must be one of {', '.join(COMBINE)}, got {combine!r}"
            )
        check_motion("IRCNet", observed, length, angle, self.max_length)
        margin = (self.max_length - 1) // 2 if self.boundary == "valid" else 0
        line = (length, angle) if blur_motion is None else blur_motion
        blur = MotionBlur(*line, caps=self.caps, margin=margin, boundary=self.boundary)
        maps = [
            functional.pad(m[:, None], (margin,) * 4, mode="replicate")[:, 0]
            for m in (length, angle)
        ]
        index, weight = interpolate_motion(*maps, max_length=self.max_length, mode=self.mode)
        if combine == "filters":
            image = self._restore(observed, blur, index, weight, margin)
        else:
            image = sum(
                share * self._restore(observed, blur, each, torch.ones_like(share), margin)
                for each, share in zip(index.split(1, 1), weight.split(1, 1), strict=True)
            )
        height, width = observed.shape[-2:]
        return image[..., margin : margin + height, margin : margin + width]

    def _restore(
        self, observed: Tensor, blur: MotionBlur, index: Tensor, weight: Tensor, margin: int
    ) -> Tensor:
        """The stages, on an image that is larger than the observation by a margin all around."""
        beyond = "replicate" if self.boundary == "valid" else self.boundary
        kernels = difference_filters(observed.dtype)
        filters = [UniformBlur(k.to(observed.device), boundary=beyond) for k in kernels]
        index, weight = (_each_channel(m, observed) for m in (index, weight))
        frame = (margin,) * 4
        image = functional.pad(observed, frame, mode="replicate")
        filtered = [k.forward(image) for k in filters]
        multipliers = [torch.zeros_like(each) for each in filtered]
        # At once: each one's gradient by itself would be as large as that of all.
        banks = self.bank.to(observed.dtype).unbind()
        for stage in range(self.stages):
            split = [
                self.shrink(each + b, stage, i)
                for i, (each, b) in enumerate(zip(filtered, multipliers, strict=True))
            ]
            targets = [z - b for z, b in zip(split, multipliers, strict=True)]
            for step in range(self.inner):
                rest = functional.pad(observed - blur.forward(image), frame)
                rests = [rest, *(t - each for t, each in zip(targets, filtered, strict=True))]
                image = image + _corrected(rests, banks[self._place(stage, step)], index, weight)
                filtered = [k.forward(image) for k in filters]
            if stage + 1 < self.stages:
                multipliers = [
                    b + self.rate[stage, i].to(b.dtype) * (filtered[i] - split[i])
                    for i, b in enumerate(multipliers)
                ]
        return image

    def _place(self, stage: int, step: int) -> int:
        """Which of the banks is a step's."""
        number = stage * self.inner + step
        return number * self._steps // (self.stages * self.inner)

    @classmethod
    def described(cls, architecture: Mapping[str, Any]) -> "IRCNet":
        """The network of such arguments on the meta device, to be given weights."""
        side, longest = (architecture[key] for key in ("size", "max_length"))
        # Takes no memory, and saves the making of filters that are about to be replaced.
        bank = torch.empty(1 + 15 * (longest - 1), _KINDS, side, side, device="meta")
        with torch.device("meta"):
            return cls(**architecture, bank=bank)


def check_motion(
    name: str, observed: Tensor, length: Tensor, angle: Tensor, max_length: int
) -> None:
    """Raises unless motions belong to an image, and to a bank."""
    if observed.ndim != 4:
        raise ValueError(f"{name}: observed must be (N, C, H, W), got {tuple(observed.shape)}")
    count, _, height, width = observed.shape
    for argument, given in (("length", length), ("angle", angle)):
        if given.ndim != 3 or given.shape[0] not in (1, count):
            raise ValueError(
                f"{name}: {argument} must be ({count} or 1, {height}, {width}),"
                f" got {tuple(given.shape)}"
            )
        if tuple(given.shape[1:]) != (height, width):
            raise ValueError(
                f"{name}: {argument} must have the size of observed, {height} x {width},"
                f" got {given.shape[1]} x {given.shape[2]}"
            )
    longest = float(length.detach().max())
    if longest > max_length:
        raise ValueError(
            f"{name}: length must be at most {max_length} pixels, the longest motion of the bank,"
            f" got {longest:g}"
        )


def _each_channel(maps: Tensor, observed: Tensor) -> Tensor:
    """Maps for a batch into which the channels have gone."""
    if maps.shape[0] == 1:
        return maps
    return maps.repeat_interleave(observed.shape[1], dim=0)


def _corrected(rests: list[Tensor], bank: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """`sum_i D_i r_i` of (N, C, H, W) residuals r_i."""
    stacked = torch.stack(rests, dim=2).flatten(0, 1)
    return nu_conv(stacked, bank, index, weight, boundary="zeros").view(rests[0].shape)


def _check_choices(**given: str) -> None:
    for name, choices in (("sharing", SHARING), ("shrink", SHRINKS)):
        if given[name] not in choices:
            raise ValueError(
                f"IRCNet: {name} must be one of {', '.join(choices)}, got {given[name]!r}"
            )


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"IRCNet: {name} must be positive, got {value}")
