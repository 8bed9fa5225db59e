# SPDX-License-Identifier: BSD-3-Clause
"""Approximate inverses of blurs, as operators."""

import math
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields.motion_bank import interpolate_motion, linear_motion_bank
from blurops.operators import MotionBlur, NUConv, Operator, UniformBlur
from blurops.operators.operator import check_operator
from blurops.ops.basis_blur.shapes import sharp_size
from blurops.solvers.inverse_filters import inverse_filters


def inverse_blur(
    operator: Operator,
    *,
    size: int = 31,
    ridge: float = 1e-2,
    analysis: Tensor | Sequence[Tensor] | None = None,
    penalty: float = 0.0,
    method: str = "exact",
    grid: int | None = None,
    max_length: int | None = None,
    mode: str = "softmax",
    boundary: str = "zeros",
    cache: bool | str | os.PathLike[str] = False,
    progress: bool = False,
) -> tuple[Operator, ...]:
    """Approximate inverses D_i of a blur, for :func:`irc` and :func:`admm_irc`.

    A uniform blur is inverted by the :func:`inverse_filters` of its kernel. A `MotionBlur` is
    inverted at each pixel by the mix of four inverse filters of a bank of straight motions
    (Eboli et al., section 2.2): those of the bank's entries around the pixel's own motion, with the
    weights of :func:`interpolate_motion`. Only entries that occur are computed. A `NUConv` whose
    bank holds blur kernels is inverted by the inverse filters of these, mixed alike.

    Args:
        operator: a `UniformBlur`, `MotionBlur` or `NUConv` with a bank (F, K, K).
        size, ridge, analysis, penalty, method, grid, cache, progress: as in
            :func:`inverse_filters`. Filters about twice as wide as the kernel, which is what the
            authors' code takes, miss a little of the solution for good. `size=97, ridge=3e-3,
            method="fft", grid=257` is made in milliseconds and leaves next to nothing of that, for
            kernels of up to 25 pixels.
        max_length: of the bank of straight motions, odd; longer motions count as this long.
            Default: the longest there is, rounded up.
        mode: of :func:`interpolate_motion`.
        boundary: what the inverse filters take for the residual beyond the image. `"zeros"`, which
            says that nothing is known there, restores borders better than the blur's own boundary.

    Returns:
        D_0 and one operator per analysis filter. For a blur with boundary "valid", they take
        residuals of the observed size (D_0) and of the sharp size (the others) to the sharp size.

    Raises:
        TypeError, ValueError: an argument does not fit, or there is no inverse for the operator.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.tensor([[0.2, 0.6, 0.2]]), boundary="circular")
        >>> (inverse,) = blurops.inverse_blur(blur, boundary="circular", ridge=1e-6)
        >>> x = torch.rand(1, 1, 6, 40)
        >>> bool(torch.allclose(inverse @ (blur @ x), x, atol=1e-3))
        True
    """
    name = "inverse_blur"
    check_operator(name, operator)
    _check.choice(name, "boundary", boundary, tuple(b for b in _check.BOUNDARIES if b != "valid"))
    filters = {"size": size, "ridge": ridge, "analysis": analysis, "penalty": penalty,
               "method": method, "grid": grid, "cache": cache, "progress": progress}  # fmt: skip
    options = {key: operator.options[key] for key in ("method", "precision", "backend")
               } if hasattr(operator, "options") else {}  # fmt: skip
    options["boundary"] = boundary
    if isinstance(operator, UniformBlur):
        bank = inverse_filters(operator.kernels[:, 0], **filters)
        found = [UniformBlur(bank[:, i : i + 1], **options) for i in range(bank.shape[1])]
        sides = operator.kernels.shape[-2:]
    elif isinstance(operator, MotionBlur):
        found, sides = _of_motions(operator, max_length, mode, filters, options)
    elif isinstance(operator, NUConv) and operator.bank.ndim == 3:
        sides = operator.bank.shape[-2:]
        bank = inverse_filters(operator.bank, **filters)
        maps = _sharp_maps(operator, sides, operator.index, operator.weight)
        found = _gathered(bank, *maps, options)
    else:
        wanted = "be a UniformBlur, a MotionBlur or a NUConv with a bank (F, K, K)"
        raise TypeError(message(name, "operator", wanted, type(operator).__name__))
    if operator.boundary == "valid":
        found[0] = ZeroPadded(found[0], sides)
    return tuple(found)


class ZeroPadded(Operator):
    """An operator on images that lack a border, for which it takes zeros.

    Args:
        operator: on images with the border.
        sides: (Kh, Kw), of whose halves the border is wide.
    """

    def __init__(self, operator: Operator, sides: Sequence[int]) -> None:
        self.operator, self.sides = operator, tuple(sides)

    def padded(self, x: Tensor) -> Tensor:
        """The image with the border of zeros."""
        down, right = (side // 2 for side in self.sides)
        return F.pad(x, (right, right, down, down))

    def forward(self, x: Tensor) -> Tensor:
        """The operator's result, of its larger size."""
        return self.operator.forward(self.padded(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """The transpose: the middle of the operator's."""
        down, right = (side // 2 for side in self.sides)
        whole = self.operator.adjoint(y)
        return whole[..., down : whole.shape[-2] - down, right : whole.shape[-1] - right]

    def to(self, *args: Any, **options: Any) -> Operator:
        """The same with the operator's tensors moved or cast."""
        return ZeroPadded(self.operator.to(*args, **options), self.sides)

    @property
    def dtype(self) -> torch.dtype:
        """The operator's."""
        return self.operator.dtype

    @property
    def device(self) -> torch.device:
        """The operator's."""
        return self.operator.device


def neighbours(name: str, inverses: Sequence[Operator]) -> list[tuple[Tensor, list[Operator]]]:
    """The weights and the inverses of each of the J neighbours that NU-Conv inverses mix."""
    inner = [each.operator if isinstance(each, ZeroPadded) else each for each in inverses]
    if not all(isinstance(each, NUConv) for each in inner):
        got = ", ".join(type(each).__name__ for each in inner)
        raise ValueError(message(name, "inverse", "be NUConv for combine 'outputs'", got))
    split = []
    for j in range(inner[0].index.shape[1]):
        some: list[Operator] = []
        for each, outer in zip(inner, inverses, strict=True):
            weight = torch.ones_like(each.weight[:, j : j + 1])
            index = each.index[:, j : j + 1].contiguous()
            alone = NUConv(each.bank, index, weight, **each.options)
            some.append(ZeroPadded(alone, outer.sides) if isinstance(outer, ZeroPadded) else alone)
        split.append((inner[0].weight[:, j : j + 1], some))
    return split


def _of_motions(
    operator: MotionBlur, max_length: int | None, mode: str, filters: dict, options: dict
) -> tuple[list[Operator], tuple[int, int]]:
    """Inverses of a motion blur by the filters of the bank's entries that occur."""
    length, angle = operator.length.detach(), operator.angle.detach()
    if max_length is None:
        max_length = max(3, 2 * math.ceil((float(length.max()) - 1) / 2) + 1)
    size = tuple(length.shape[-2:])
    count = max(length.shape[0], angle.shape[0])
    sharp = operator.adjoint(length.new_zeros(count, 1, *size)).shape[-2:]
    sides = tuple(s - n + 1 for s, n in zip(sharp, size, strict=True))
    length, angle = _sharp_maps(operator, sides, length[:, None], angle[:, None])
    index, weight = interpolate_motion(length[:, 0], angle[:, 0], max_length=max_length, mode=mode)
    kernels = linear_motion_bank(max_length)
    used, places = torch.unique(index, return_inverse=True)
    bank = inverse_filters(kernels[used.long().cpu()], **filters)
    bank = bank.to(dtype=operator.dtype, device=operator.device)
    return _gathered(bank, places.to(torch.int32), weight, options), sides


def _sharp_maps(operator: Operator, sides: Sequence[int], *maps: Tensor) -> tuple[Tensor, ...]:
    """Maps of the blurred size, replicated outwards to the sharp size."""
    if operator.boundary != "valid":
        return maps
    height, width = sharp_size(maps[0].shape[-2:], sides, "valid")
    down, right = (height - maps[0].shape[-2]) // 2, (width - maps[0].shape[-1]) // 2
    pad = (right, right, down, down)
    # Replication wants floating point; float64 holds every int32.
    return tuple(F.pad(m.double(), pad, mode="replicate").to(m.dtype) for m in maps)


def _gathered(bank: Tensor, index: Tensor, weight: Tensor, options: dict) -> list[Operator]:
    """One NU-Conv per kind of filter in a bank (F, 1 + n, S, S)."""
    return [
        NUConv(bank[:, i].contiguous(), index.contiguous(), weight.contiguous(), **options)
        for i in range(bank.shape[1])
    ]
