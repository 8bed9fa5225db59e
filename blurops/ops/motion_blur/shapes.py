# SPDX-License-Identifier: BSD-3-Clause
"""Shape rules of motion blur, and its check of values."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blurops import _check

CAPS = ("fspecial", "segment")

_MAP = "(N or 1, H, W)"


def _check_options(op: str, caps: str, options: dict) -> None:
    _check.choice(op, "caps", caps, CAPS)
    _check.options(op, **options)


def _check_maps(op: str, length: Tensor, angle: Tensor, like: Tensor, first: str) -> None:
    for name, value in (("length", length), ("angle", angle)):
        _check.tensor(op, name, value, _MAP)
        _check.same_kind(op, name, value, first, like)
        _check.batch(op, name, value, like.shape[0])
    if angle.shape[-2:] != length.shape[-2:]:
        wanted = f"have the size of length ({_text(length.shape[-2:])})"
        raise ValueError(_check.message(op, "angle", wanted, tuple(angle.shape)))


def _text(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _check_size(op: str, length: Tensor, sharp: Sequence[int], boundary: str) -> None:
    """The maps have the blurred size; for "valid" a margin of the sharp image is left out."""
    size = tuple(length.shape[-2:])
    if boundary != "valid":
        if size != tuple(sharp):
            wanted = f"have the image's size {_text(sharp)}"
            raise ValueError(_check.message(op, "length", wanted, tuple(length.shape)))
        return
    margins = [s - n for s, n in zip(sharp, size, strict=True)]
    if min(size) < 1 or min(margins) < 0 or any(margin % 2 for margin in margins):
        wanted = (
            "be smaller than the sharp image by an even number of rows and of columns for "
            f"boundary 'valid', where the image is {_text(sharp)}"
        )
        raise ValueError(_check.message(op, "length", wanted, tuple(length.shape)))


def _check_gradient(op: str, grad: Tensor, image: Tensor, length: Tensor) -> None:
    size = tuple(length.shape[-2:])
    _check.gradient(op, grad, image, size)


def motion_shape(
    image: Tensor, length: Tensor, angle: Tensor, *, caps: str, **options: str
) -> tuple:
    """Of ``motion_blur``."""
    op = "motion_blur"
    _check_options(op, caps, options)
    _check.image(op, "image", image)
    _check_maps(op, length, angle, image, "image")
    _check_size(op, length, image.shape[-2:], options["boundary"])
    return (*image.shape[:2], *length.shape[-2:])


def adjoint_shape(
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    size: Sequence[int] | None,
    *,
    caps: str,
    **options: str,
) -> tuple:
    """Of ``motion_blur_adjoint``."""
    op = "motion_blur_adjoint"
    _check_options(op, caps, options)
    _check.image(op, "image", image)
    _check_maps(op, length, angle, image, "image")
    if length.shape[-2:] != image.shape[-2:]:
        wanted = f"have the image's size {_text(image.shape[-2:])}"
        raise ValueError(_check.message(op, "length", wanted, tuple(length.shape)))
    if size is None and options["boundary"] == "valid":
        wanted = "be the (H, W) of the sharp image for boundary 'valid'"
        raise ValueError(_check.message(op, "size", wanted, None))
    sharp = tuple(image.shape[-2:] if size is None else size)
    if len(sharp) != 2:
        raise ValueError(_check.message(op, "size", "be (H, W)", sharp))
    _check_size(op, length, sharp, options["boundary"])
    return (*image.shape[:2], *sharp)


def grad_length_shape(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, **options: str
) -> tuple:
    """Of ``motion_blur_grad_length``."""
    return _gradient_shape("motion_blur_grad_length", grad, image, length, angle, caps, options)[0]


def grad_angle_shape(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, **options: str
) -> tuple:
    """Of ``motion_blur_grad_angle``."""
    return _gradient_shape("motion_blur_grad_angle", grad, image, length, angle, caps, options)[1]


def _gradient_shape(
    op: str, grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, caps: str, options: dict
) -> tuple[tuple, tuple]:
    _check_options(op, caps, options)
    _check.image(op, "image", image)
    _check.image(op, "grad", grad)
    _check_maps(op, length, angle, grad, "grad")
    _check_size(op, length, image.shape[-2:], options["boundary"])
    _check_gradient(op, grad, image, length)
    return tuple(length.shape), tuple(angle.shape)


def _check_rate(op: str, rate: Tensor, by: str, length: Tensor, angle: Tensor) -> None:
    _check.choice(op, "by", by, ("length", "angle"))
    _check.tensor(op, "rate", rate, _MAP)
    _check.same_kind(op, "rate", rate, by, length)
    wanted = tuple((length if by == "length" else angle).shape)
    if tuple(rate.shape) != wanted:
        raise ValueError(_check.message(op, "rate", f"be shaped as {by} {wanted}", rate.shape))


def tangent_shape(
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    rate: Tensor,
    by: str,
    *,
    caps: str,
    **options: str,
) -> tuple:
    """Of ``motion_blur_tangent``."""
    shape = motion_shape(image, length, angle, caps=caps, **options)
    _check_rate("motion_blur_tangent", rate, by, length, angle)
    return shape


def tangent_adjoint_shape(
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    rate: Tensor,
    by: str,
    size: Sequence[int] | None,
    *,
    caps: str,
    **options: str,
) -> tuple:
    """Of ``motion_blur_tangent_adjoint``."""
    shape = adjoint_shape(image, length, angle, size, caps=caps, **options)
    _check_rate("motion_blur_tangent_adjoint", rate, by, length, angle)
    return shape


def reach(longest: float) -> int:
    """How many pixels a motion of this length reaches, each way: its window is 2 reach + 1 wide."""
    return math.ceil((longest - 1) / 2)


def room(sharp: Sequence[int], size: Sequence[int], boundary: str) -> int | None:
    """How many pixels motions may reach each way; ``None`` for any number."""
    if boundary == "reflect":
        return min(sharp) - 1
    if boundary == "valid":
        return min(s - n for s, n in zip(sharp, size, strict=True)) // 2
    return None


def _check_values(
    op: str, length: Tensor, angle: Tensor, sharp: Sequence[int], boundary: str
) -> None:
    if length.numel() == 0:
        return
    shortest, longest = (float(v) for v in torch.aminmax(length))
    if not (shortest >= 1 and longest < math.inf):  # of NaN, neither holds
        got = longest if shortest >= 1 else shortest
        raise ValueError(_check.message(op, "length", "be at least 1 and finite", got))
    if not all(map(math.isfinite, map(float, torch.aminmax(angle)))):
        raise ValueError(_check.message(op, "angle", "be finite", "NaN or infinity"))
    limit = room(sharp, length.shape[-2:], boundary)
    if limit is not None and reach(longest) > limit:
        wanted = f"be at most {2 * limit + 1} for boundary {boundary!r} on a {_text(sharp)} image"
        raise ValueError(_check.message(op, "length", wanted, longest))


def motion_values(
    image: Tensor, length: Tensor, angle: Tensor, *rest: object, boundary: str, **options: str
) -> None:
    """Raise for a motion that is shorter than a pixel or does not fit."""
    _check_values("motion_blur", length, angle, image.shape[-2:], boundary)


def adjoint_values(
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    *rest: object,
    boundary: str,
    **options: str,
) -> None:
    """Raise for a motion that is shorter than a pixel or does not fit."""
    size = rest[-1]
    sharp = image.shape[-2:] if size is None else size
    _check_values("motion_blur_adjoint", length, angle, sharp, boundary)


def gradient_values(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, boundary: str, **options: str
) -> None:
    """Raise for a motion that is shorter than a pixel or does not fit."""
    _check_values("motion_blur", length, angle, image.shape[-2:], boundary)


def check_operator(op: str, length: Tensor, angle: Tensor, caps: str) -> None:
    """Raise unless the maps of an operator fit each other."""
    _check.choice(op, "caps", caps, CAPS)
    _check.tensor(op, "length", length, _MAP)
    _check.tensor(op, "angle", angle, _MAP)
    more = angle if length.shape[0] == 1 else length  # the one with a batch, if one has
    _check_maps(op, length, angle, more, "angle" if more is angle else "length")


def check_fit(op: str, length: Tensor, angle: Tensor, sharp: Sequence[int], boundary: str) -> None:
    """Raise for a motion that is shorter than a pixel or does not fit."""
    if _check.sees_values(length):
        _check_values(op, length.detach(), angle.detach(), sharp, boundary)
