# SPDX-License-Identifier: BSD-3-Clause
"""The weights of a straight motion at every pixel, one offset at a time, in plain torch.

At the offset of p pixels to the right and q down, a motion of the given length and angle (counter-
clockwise, with y upwards) has the weight ``max(0, 1 - d)``. With ``half = (length - 1) / 2`` and
the coordinates ``u = p cos - q sin`` along the line and ``v = q cos + p sin`` across it, ``d`` is
``|v|`` beside the line and ``hypot(v, |u| - half)`` at its caps. The caps begin at ``p^2 + q^2 >=
half^2`` for "fspecial", MATLAB's rule, and at ``|u| > half`` for "segment", where d is the distance
to the segment.

A length or angle that is NaN or infinite is no motion: its pixel weighs itself with NaN, and no
other. So it is NaN when blurred, and the transpose brings its NaN to its own place alone.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor


class Lines:
    """The motions of all pixels, (N or 1, H, W).

    Args:
        length: at least 1; less is taken for 1. Values need not be finite.
        angle: radians. Values need not be finite.
        caps: "fspecial" or "segment".
        room: how far motions may reach each way, or ``None``; longer ones are shortened.
        derivative: prepare for :meth:`slope` rather than for :meth:`weight` alone.
    """

    def __init__(
        self,
        length: Tensor,
        angle: Tensor,
        caps: str,
        room: int | None,
        *,
        derivative: bool = False,
    ) -> None:
        self._missing = ~(length.isfinite() & angle.isfinite())
        length = torch.where(self._missing, 1.0, length)
        length = length.clamp(min=1, max=None if room is None else 2 * room + 1)
        self.half = (length - 1) / 2
        angle = torch.where(self._missing, 0.0, angle)
        cos, sin = angle.cos(), angle.sin()
        if not derivative:
            # Turned to the right, a motion of length 1 has its neighbours at a distance of exactly
            # 1: it changes nothing, not even by rounding.
            still = self.half == 0
            cos, sin = torch.where(still, 1.0, cos), torch.where(still, 0.0, sin)
        self.cos, self.sin = cos, sin
        self._fspecial = caps == "fspecial"
        # By the derivative from the right, pixels at a distance of exactly 1 count already.
        extra = 1 if derivative else 0
        self.reach = tuple(self._reach(part, extra, room) for part in (sin, cos))

    def _reach(self, part: Tensor, extra: int, room: int | None) -> int:
        if self.half.numel() == 0:
            return 0
        farthest = (self.half * part.abs()).max()
        steps = int(farthest.floor()) + 1 if extra else int(farthest.ceil())
        return steps if room is None else min(steps, room)

    def offsets(self) -> Iterator[tuple[int, int]]:
        """(q, p) of every offset that may have weight: rows down, columns to the right."""
        down, right = self.reach
        return ((q, p) for q in range(-down, down + 1) for p in range(-right, right + 1))

    def _place(self, q: int, p: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """u, v, how far beyond the end, whether at a cap, and the distance."""
        along, across = p * self.cos - q * self.sin, q * self.cos + p * self.sin
        beyond = along.abs() - self.half
        cap = self.half * self.half <= p * p + q * q if self._fspecial else beyond > 0
        distance = torch.where(cap, torch.hypot(across, beyond), across.abs())
        return along, across, beyond, cap, distance

    def _weigh(self, q: int, p: int, distance: Tensor) -> Tensor:
        weight = (1 - distance).clamp(min=0)
        return torch.where(self._missing, math.nan, weight) if q == p == 0 else weight

    def weight(self, q: int, p: int) -> Tensor:
        """The weight at an offset, not normalised."""
        return self._weigh(q, p, self._place(q, p)[-1])

    def divisor(self, total: Tensor) -> Tensor:
        """The sum of weights; 1 where that is NaN, which is left to the pixel's own weight."""
        return torch.where(self._missing, 1.0, total)

    def slope(self, q: int, p: int, by: str) -> tuple[Tensor, Tensor]:
        """The weight at an offset, and its derivative by "length" or "angle".

        Zero on the line itself, where the weight has a ridge. At the edge of the weights, the
        derivative by length is the one from the right: a motion of length 1 can grow.
        """
        along, across, beyond, cap, distance = self._place(q, p)
        divisor = torch.where(distance > 0, distance, 1.0)
        if by == "length":
            edge = 1 + 16 * torch.finfo(distance.dtype).eps
            slope = torch.where(cap & (distance <= edge), beyond / (2 * divisor), 0.0)
        else:
            side = -across * along.sign() * self.half / divisor
            slope = torch.where(cap, side, -across.sign() * along)
            slope = torch.where(distance < 1, slope, 0.0)
        return self._weigh(q, p, distance), torch.where(self._missing, 0.0, slope)
