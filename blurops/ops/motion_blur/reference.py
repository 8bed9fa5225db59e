# SPDX-License-Identifier: BSD-3-Clause
"""The definition in plain torch: in float64, the truth that other backends are held to.

One offset at a time, over the whole image, so nothing larger than a few images is held. With a the
weights of :mod:`.line` and Z their sum, a pixel's kernel is ``a / Z``, and its derivative by length
or angle is ``(a' - a Z'/Z) / Z``.
"""

from collections.abc import Sequence

from torch import Tensor

from blurops._boundary import fold, pad
from blurops.ops.basis_blur.reference import working
from blurops.ops.motion_blur import shapes
from blurops.ops.motion_blur.line import Lines


def supports(args: tuple, options: dict) -> str | None:
    """The reference sums over the offsets on every device."""
    return "it sums over the taps and has no spectra" if options["method"] == "fft" else None


class _Reader:
    """The sharp image, seen from every blurred pixel at an offset."""

    def __init__(self, lines: Lines, sharp: Sequence[int], size: Sequence[int], boundary: str):
        self.size, self.boundary = tuple(size), boundary
        self.reach = lines.reach
        self.anchor = self.reach
        if boundary == "valid":
            self.anchor = tuple((s - n) // 2 for s, n in zip(sharp, size, strict=True))
        self.extended = tuple(
            n + 2 * a for n, a in zip(self.size, self.anchor, strict=True)
        )  # for "valid", the sharp size

    def extend(self, image: Tensor) -> Tensor:
        return pad(image, self.reach, self.boundary)

    def fold(self, extended: Tensor) -> Tensor:
        return fold(extended, self.reach, self.boundary)

    def at(self, extended: Tensor, q: int, p: int) -> Tensor:
        y, x = self.anchor[0] + q, self.anchor[1] + p
        return extended[..., y : y + self.size[0], x : x + self.size[1]]


def _prepare(
    length: Tensor,
    angle: Tensor,
    sharp: Sequence[int],
    caps: str,
    boundary: str,
    *,
    derivative: bool = False,
) -> tuple[Lines, _Reader]:
    size = length.shape[-2:]
    room = shapes.room(sharp, size, boundary)
    lines = Lines(working(length), working(angle), caps, room, derivative=derivative)
    return lines, _Reader(lines, sharp, size, boundary)


def _sum_slopes(lines: Lines, by: str) -> tuple[Tensor, Tensor]:
    total, total_slope = (0.0, 0.0)
    for offset in lines.offsets():
        weight, slope = lines.slope(*offset, by)
        total, total_slope = total + weight, total_slope + slope
    return lines.divisor(total), total_slope


def motion_blur(
    image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str, method: str,
    precision: str,
) -> Tensor:  # fmt: skip
    """``sum_u a(u) image[p + u] / sum_u a(u)``."""
    x = working(image)
    lines, reader = _prepare(length, angle, x.shape[-2:], caps, boundary)
    out = x.new_zeros(*x.shape[:2], *length.shape[-2:])
    total = out.new_zeros(length.shape[-2:])
    extended = reader.extend(x)
    for offset in lines.offsets():
        weight = lines.weight(*offset)
        total = total + weight
        out += weight.unsqueeze(1) * reader.at(extended, *offset)
    return (out / total.unsqueeze(-3)).to(image.dtype)


def motion_blur_adjoint(
    image: Tensor, length: Tensor, angle: Tensor, size: Sequence[int] | None, *, caps: str,
    boundary: str, method: str, precision: str,
) -> Tensor:  # fmt: skip
    """Every pixel spreads along its own motion, divided by its own sum of weights."""
    y = working(image)
    sharp = image.shape[-2:] if size is None else size
    lines, reader = _prepare(length, angle, sharp, caps, boundary)
    total = lines.divisor(sum(lines.weight(*offset) for offset in lines.offsets()))
    y = y / total.unsqueeze(1)
    extended = y.new_zeros(*image.shape[:2], *reader.extended)
    for offset in lines.offsets():
        reader.at(extended, *offset).add_(lines.weight(*offset).unsqueeze(1) * y)
    return reader.fold(extended).to(image.dtype).contiguous()


def _gradient(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, by: str, caps: str, boundary: str
) -> Tensor:
    """``(sum_u a'(u) S(u) - Z'/Z sum_u a(u) S(u)) / Z``, ``S(u) = sum_c grad[p] image[p + u]``."""
    g, x = working(grad), working(image)
    lines, reader = _prepare(length, angle, x.shape[-2:], caps, boundary, derivative=True)
    extended = reader.extend(x)
    weighted = slope = g.new_zeros(len(g), *g.shape[-2:])
    total = total_slope = g.new_zeros(g.shape[-2:])
    for offset in lines.offsets():
        a, b = lines.slope(*offset, by)
        product = (g * reader.at(extended, *offset)).sum(1)
        weighted, slope = weighted + a * product, slope + b * product
        total, total_slope = total + a, total_slope + b
    out = (slope - total_slope * weighted / total) / total
    shape = (length if by == "length" else angle).shape
    if shape[0] == 1 and len(out) != 1:
        out = out.sum(0, keepdim=True)
    return out.to(grad.dtype)


def motion_blur_grad_length(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str,
    method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_grad_length`."""
    return _gradient(grad, image, length, angle, "length", caps, boundary)


def motion_blur_grad_angle(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str,
    method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_grad_angle`."""
    return _gradient(grad, image, length, angle, "angle", caps, boundary)


def motion_blur_tangent(
    image: Tensor, length: Tensor, angle: Tensor, rate: Tensor, by: str, *, caps: str,
    boundary: str, method: str, precision: str,
) -> Tensor:  # fmt: skip
    """``rate`` times the derivative of the blurred image by each pixel's length or angle."""
    x = working(image)
    lines, reader = _prepare(length, angle, x.shape[-2:], caps, boundary, derivative=True)
    extended = reader.extend(x)
    total, total_slope = _sum_slopes(lines, by)
    out = x.new_zeros(*x.shape[:2], *length.shape[-2:])
    for offset in lines.offsets():
        a, b = lines.slope(*offset, by)
        kernel = (b - a * total_slope / total) / total
        out += kernel.unsqueeze(1) * reader.at(extended, *offset)
    return (working(rate).unsqueeze(1) * out).to(image.dtype)


def motion_blur_tangent_adjoint(
    image: Tensor, length: Tensor, angle: Tensor, rate: Tensor, by: str,
    size: Sequence[int] | None, *, caps: str, boundary: str, method: str, precision: str,
) -> Tensor:  # fmt: skip
    """The exact transpose of :func:`motion_blur_tangent`."""
    sharp = image.shape[-2:] if size is None else size
    lines, reader = _prepare(length, angle, sharp, caps, boundary, derivative=True)
    total, total_slope = _sum_slopes(lines, by)
    y = working(rate).unsqueeze(1) * working(image)
    extended = y.new_zeros(*y.shape[:2], *reader.extended)
    for offset in lines.offsets():
        a, b = lines.slope(*offset, by)
        kernel = (b - a * total_slope / total) / total
        reader.at(extended, *offset).add_(kernel.unsqueeze(1) * y)
    return reader.fold(extended).to(image.dtype).contiguous()
