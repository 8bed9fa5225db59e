# SPDX-License-Identifier: BSD-3-Clause
"""Inputs of NU-Conv and motion blur for their tests, and the table of their ops."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import torch

from blurops.testing import random_tensor
from tests import backends

PATHS = ("native", "reference")
# With the one that is interpreted, for tests that make do with a few small calls.
EVERY_PATH = (*PATHS, "triton")


def require(path: str) -> str:
    """The backend of that name; skips, with the reason, one that cannot run."""
    return backends.options(path)["backend"]


class Conv(NamedTuple):
    """The sizes of one call of NU-Conv; ``own``: the bank has filters for each channel."""

    count: int
    channels: int
    height: int
    width: int
    filters: int
    picked: int
    kernel: tuple[int, int]
    own: bool = False
    index_shared: bool = True
    weight_shared: bool = True

    def allows(self, boundary: str) -> bool:
        sides = list(zip(self.kernel, (self.height, self.width), strict=True))
        if boundary == "reflect":
            return all(k // 2 < n for k, n in sides)
        return boundary != "valid" or all(k <= n for k, n in sides)

    def tensors(self, boundary: str, dtype: torch.dtype, seed: int) -> dict[str, Any]:
        n, c, h, w, f, j, (kh, kw), own, index_shared, weight_shared = self
        size = (h - kh + 1, w - kw + 1) if boundary == "valid" else (h, w)
        generator = torch.Generator().manual_seed(seed)
        batch = 1 if index_shared else n
        index = torch.randint(f, (batch, j, *size), generator=generator, dtype=torch.int32)
        shape = (f, c, kh, kw) if own else (f, kh, kw)
        return {
            "image": random_tensor((n, c, h, w), dtype, seed),
            "bank": random_tensor(shape, dtype, seed + 1),
            "index": index,
            "weight": random_tensor((1 if weight_shared else n, j, *size), dtype, seed + 2),
            "grad": random_tensor((n, 1 if own else c, *size), dtype, seed + 3),
            "bank_shape": list(shape),
            "shared": weight_shared,
        }

    def terms(self) -> int:
        """No result of forward or adjoint sums more, folds at the border included."""
        folds = (1 + self.kernel[0] // 2) * (1 + self.kernel[1] // 2)
        return self.picked * self.kernel[0] * self.kernel[1] * self.channels * folds


class Motion(NamedTuple):
    """The sizes of one call of motion blur."""

    count: int
    channels: int
    height: int
    width: int
    longest: float
    length_shared: bool = True
    angle_shared: bool = True

    @property
    def margin(self) -> int:
        return int(self.longest) // 2 + 1

    def allows(self, boundary: str) -> bool:
        return boundary != "reflect" or self.margin <= min(self.height, self.width)

    def tensors(self, boundary: str, dtype: torch.dtype, seed: int) -> dict[str, Any]:
        n, c, h, w, longest, length_shared, angle_shared = self
        generator = torch.Generator().manual_seed(seed)
        extra = 2 * self.margin if boundary == "valid" else 0
        spread = torch.rand(1 if length_shared else n, h, w, generator=generator)
        length = 1 + (longest - 1) * spread
        # Some do not move at all, and some move to the right or downwards.
        length[..., ::3, ::4] = 1
        angle = 4 * torch.rand(1 if angle_shared else n, h, w, generator=generator)
        angle[..., 1::3, 1::4] = 0
        angle[..., 2::3, 2::4] = torch.pi / 2
        return {
            "image": random_tensor((n, c, h + extra, w + extra), dtype, seed),
            "length": length.to(dtype).clamp(min=1),
            "angle": angle.to(dtype),
            "grad": random_tensor((n, c, h, w), dtype, seed + 3),
            "size": (h + extra, w + extra),
        }

    def terms(self) -> int:
        return int(2 * self.longest + 9) * self.channels


@dataclass(frozen=True)
class Case:
    """One op: its arguments by name, and those in which it is linear."""

    name: str
    kind: type
    arguments: tuple[str, ...]
    linear: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    @property
    def op(self) -> Callable[..., torch.Tensor]:
        return getattr(torch.ops.blurops, self.name)

    def args(self, shape: Conv | Motion, boundary: str, dtype: torch.dtype, seed: int) -> tuple:
        tensors = shape.tensors(boundary, dtype, seed)
        return tuple(tensors[name] for name in self.arguments)

    def positions(self) -> list[int]:
        return [self.arguments.index(name) for name in self.linear]


CONVS = (
    Case("nu_conv", Conv, ("image", "bank", "index", "weight"), ("image", "bank", "weight")),
    Case("nu_conv_adjoint", Conv, ("grad", "bank", "index", "weight"), ("grad", "bank", "weight")),
    Case(
        "nu_conv_grad_bank",
        Conv,
        ("grad", "image", "index", "weight", "bank_shape"),
        ("grad", "image", "weight"),
    ),
    Case(
        "nu_conv_grad_weight",
        Conv,
        ("grad", "image", "bank", "index", "shared"),
        ("grad", "image", "bank"),
    ),
)
MOTIONS = (
    Case("motion_blur", Motion, ("image", "length", "angle"), ("image",)),
    Case("motion_blur_adjoint", Motion, ("grad", "length", "angle", "size"), ("grad",)),
    Case(
        "motion_blur_grad_length", Motion, ("grad", "image", "length", "angle"), ("grad", "image")
    ),
    Case("motion_blur_grad_angle", Motion, ("grad", "image", "length", "angle"), ("grad", "image")),
)
CASES = CONVS + MOTIONS

# Odd and even sizes, batches with their own and with shared fields, one pixel, filters larger than
# the image, more than a vector of taps and just as many, more picked than one pass takes.
CONV_SHAPES = (
    Conv(2, 3, 6, 7, 4, 3, (3, 5), index_shared=False),
    Conv(3, 2, 9, 8, 3, 2, (5, 3), own=True, weight_shared=False),
    Conv(1, 1, 1, 1, 1, 1, (1, 1)),
    Conv(2, 2, 3, 4, 2, 4, (7, 11), index_shared=False, weight_shared=False),
    Conv(1, 5, 21, 40, 9, 6, (9, 17)),
    Conv(1, 4, 13, 37, 5, 4, (3, 35), own=True),
    Conv(0, 2, 5, 6, 2, 3, (3, 3)),
)
# A shared length with angles of its own, the reverse, one pixel, motions longer than the image.
MOTION_SHAPES = (
    Motion(2, 3, 9, 11, 7.5, angle_shared=False),
    Motion(2, 1, 8, 7, 6.0, length_shared=False),
    Motion(1, 1, 1, 1, 1.0),
    Motion(1, 5, 21, 43, 18.0),
    Motion(1, 2, 3, 19, 23.0, length_shared=False, angle_shared=False),
    Motion(0, 2, 5, 6, 3.0),
)

# Fewer pixels for what is interpreted, and as many cases: more taps, channels and pixels than a
# block or tile has, more picked than one program takes, borders wider than the image.
_FEW_CONVS = (
    *CONV_SHAPES[:4],
    Conv(1, 4, 3, 37, 5, 6, (1, 19)),
    Conv(0, 2, 5, 6, 2, 3, (3, 3)),
)
_FEW_MOTIONS = (
    Motion(2, 3, 4, 5, 3.5, angle_shared=False),
    Motion(2, 1, 4, 7, 3.0, length_shared=False),
    Motion(1, 4, 1, 1, 1.0),
    Motion(1, 1, 2, 35, 2.5),
    Motion(1, 1, 2, 5, 7.0),
    Motion(0, 2, 5, 6, 3.0),
)


def shapes(case: Case, path: str = "native", dtype: torch.dtype = torch.float32) -> tuple:
    """The sizes on which an op is held to the reference."""
    if path == "triton":
        few = _FEW_CONVS if case.kind is Conv else _FEW_MOTIONS
        return few if dtype == torch.float32 else few[1:2]
    return CONV_SHAPES if case.kind is Conv else MOTION_SHAPES


def small(case: Case) -> Conv | Motion:
    """A few pixels, with a batch."""
    if case.kind is Conv:
        return Conv(2, 2, 4, 5, 3, 2, (3, 3), index_shared=False)
    return Motion(2, 2, 4, 5, 4.0, length_shared=False)


# In a corner, whose border is folded onto it, inside, and where a pixel would not move at all.
MISSING = {
    "length": {(0, 0): math.nan, (2, 3): math.inf, (1, 2): 1.0},
    "angle": {(1, 2): math.nan, (3, 1): -math.inf},
}
MISSING_SHAPES = (Motion(2, 4, 4, 5, 3.0, angle_shared=False), Motion(2, 4, 4, 5, 3.0, False, True))


def assert_missing_stays(
    backend: ModuleType, case: Case, shape: Motion, boundary: str, caps: str
) -> None:
    """What has no motion is NaN at its own place alone; all else is as if it were not there.

    The backend's functions are called as on a GPU, where nobody looks at values before.
    """
    options = {"caps": caps, "boundary": boundary, "method": "auto", "precision": "high"}
    t = shape.tensors(boundary, torch.float32, 31)
    for name, values in MISSING.items():
        for (y, x), value in values.items():
            t[name][-1, y, x] = value
    missing = ~(t["length"].isfinite() & t["angle"].isfinite())
    without = {**t, **{name: t[name].nan_to_num(1.0, 1.0, 1.0) for name in MISSING}}
    if case.name == "motion_blur_adjoint":
        without["grad"] = t["grad"].masked_fill(missing.unsqueeze(1), 0.0)
    op = getattr(backend, case.name)
    found, rest = (op(*(a[n] for n in case.arguments), **options) for a in (t, without))
    expected = _missing_in(case, missing, shape, found)
    assert torch.equal(found.isnan(), expected)
    assert torch.equal(found[~expected], rest[~expected])


def _missing_in(case: Case, missing: torch.Tensor, shape: Motion, found: torch.Tensor):
    if "grad_" in case.name:
        return missing if len(found) > 1 else missing.any(0, keepdim=True)
    margins = (found.shape[-1] - shape.width) // 2, (found.shape[-2] - shape.height) // 2
    grown = torch.nn.functional.pad(missing, [m for m in margins for _ in range(2)])
    return grown.unsqueeze(1).expand_as(found)


def doubles(args: tuple) -> tuple:
    """The same arguments in float64."""
    return tuple(
        a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args
    )
