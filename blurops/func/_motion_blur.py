# SPDX-License-Identifier: BSD-3-Clause
"""The twins of motion blur. By length and angle together they have first derivatives only.

By direction, the derivative by length or angle is that of the blur, its tangent, or of its
transpose. A second derivative by length or angle raises: the weights have kinks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops.func._rules import Linear, count_of, lanes_of, of_something, sum_tangents
from blurops.ops.motion_blur.op import refuse

# (caps, boundary, method, precision, backend), as the registered ops take them.
_Options = tuple[str, str, str, str, str | None]
_MAPS = ("length", "angle")


def _named(options: _Options, **changed: Any) -> dict[str, str | None]:
    names = ("caps", "boundary", "method", "precision", "backend")
    return {**dict(zip(names, options, strict=True)), **changed}


def _first_only(linear: tuple, maps: tuple) -> tuple:
    """Tangents of what is linear; those of the maps must not be there."""
    if any(m is not None for m in maps):
        refuse()
    return linear


def _add(*terms: Tensor | None) -> Tensor:
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0])


class _Blur(Linear):
    @staticmethod
    def forward(image: Tensor, length: Tensor, angle: Tensor, options: _Options) -> Tensor:
        return torch.ops.blurops.motion_blur(image, length, angle, **_named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (image, *maps), (options,), needs = ctx.saved_tensors, ctx.rest, ctx.needs_input_grad
        size = tuple(image.shape[-2:])
        return (
            _Adjoint.apply(grad, *maps, size, options) if needs[0] else None,
            *_map_gradients(grad, image, maps, needs[1:3], options),
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (image, *maps), (options,) = ctx.saved_tensors, ctx.rest
        return _add(
            None if tangents[0] is None else _Blur.apply(tangents[0], *maps, options),
            *(
                None if rate is None else _Tangent.apply(image, *maps, rate, by, options)
                for rate, by in zip(tangents[1:3], _MAPS, strict=True)
            ),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Blur, info.batch_size, in_dims, inputs, 3)


class _Adjoint(Linear):
    @staticmethod
    def forward(
        image: Tensor, length: Tensor, angle: Tensor, size: tuple | None, options: _Options
    ) -> Tensor:
        op = torch.ops.blurops.motion_blur_adjoint
        return op(image, length, angle, size, **_named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (blurred, *maps), (_, options) = ctx.saved_tensors, ctx.rest
        needs = ctx.needs_input_grad
        return (
            _Blur.apply(grad, *maps, options) if needs[0] else None,
            *_map_gradients(blurred, grad, maps, needs[1:3], options),
            None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (image, *maps), rest = ctx.saved_tensors, ctx.rest
        return _add(
            None if tangents[0] is None else _Adjoint.apply(tangents[0], *maps, *rest),
            *(
                None if rate is None else _TangentAdjoint.apply(image, *maps, rate, by, *rest)
                for rate, by in zip(tangents[1:3], _MAPS, strict=True)
            ),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Adjoint, info.batch_size, in_dims, inputs, 3)


class _Gradient(Linear):
    """By the map that is named."""

    @staticmethod
    def forward(
        grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, by: str, options: _Options
    ) -> Tensor:
        op = getattr(torch.ops.blurops, f"motion_blur_grad_{by}")
        return op(grad, image, length, angle, **_named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (blurred, image, *maps), (by, options) = ctx.saved_tensors, ctx.rest
        needs, size = ctx.needs_input_grad, tuple(image.shape[-2:])
        if needs[2] or needs[3]:
            refuse()
        return (
            _Tangent.apply(image, *maps, grad, by, options) if needs[0] else None,
            _TangentAdjoint.apply(blurred, *maps, grad, by, size, options) if needs[1] else None,
            None, None, None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (grad, image, *maps), rest = ctx.saved_tensors, ctx.rest
        return sum_tangents(
            lambda g, x: _Gradient.apply(g, x, *maps, *rest),
            (grad, image),
            _first_only(tangents[:2], tangents[2:4]),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        (grad, image, *maps), (by, options) = inputs[:4], inputs[4:]
        lanes, count = info.batch_size, count_of(grad, in_dims[0])
        which = 2 + _MAPS.index(by)
        shared = count_of(inputs[which], in_dims[which]) == 1
        result = _Gradient.apply(
            lanes_of(grad, in_dims[0], lanes), lanes_of(image, in_dims[1], lanes),
            *_spread(maps, in_dims[2:4], lanes, count), by, options,
        ).unflatten(0, (lanes, count))  # fmt: skip
        return (result.sum(1, keepdim=True) if shared else result), 0


class _Tangent(Linear):
    """``rate`` times the derivative of the blur by a map; linear in image and rate."""

    @staticmethod
    def forward(
        image: Tensor, length: Tensor, angle: Tensor, rate: Tensor, by: str, options: _Options
    ) -> Tensor:
        op = torch.ops.blurops.motion_blur_tangent
        return op(image, length, angle, rate, by, **_named(options, backend=None))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (image, *maps, rate), (by, options) = ctx.saved_tensors, ctx.rest
        needs, size = ctx.needs_input_grad, tuple(image.shape[-2:])
        if needs[1] or needs[2]:
            refuse()
        return (
            _TangentAdjoint.apply(grad, *maps, rate, by, size, options) if needs[0] else None,
            None,
            None,
            _Gradient.apply(grad, image, *maps, by, options) if needs[3] else None,
            None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (image, *maps, rate), rest = ctx.saved_tensors, ctx.rest
        return sum_tangents(
            lambda x, r: _Tangent.apply(x, *maps, r, *rest),
            (image, rate),
            _first_only((tangents[0], tangents[3]), tangents[1:3]),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Tangent, info.batch_size, in_dims, inputs, 4)


class _TangentAdjoint(Linear):
    """The transpose of :class:`_Tangent`."""

    @staticmethod
    def forward(
        image: Tensor, length: Tensor, angle: Tensor, rate: Tensor, by: str, size: tuple | None,
        options: _Options,
    ) -> Tensor:  # fmt: skip
        op = torch.ops.blurops.motion_blur_tangent_adjoint
        return op(image, length, angle, rate, by, size, **_named(options, backend=None))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (blurred, *maps, rate), (by, _, options) = ctx.saved_tensors, ctx.rest
        needs = ctx.needs_input_grad
        if needs[1] or needs[2]:
            refuse()
        return (
            _Tangent.apply(grad, *maps, rate, by, options) if needs[0] else None,
            None,
            None,
            _Gradient.apply(blurred, grad, *maps, by, options) if needs[3] else None,
            None, None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (image, *maps, rate), rest = ctx.saved_tensors, ctx.rest
        return sum_tangents(
            lambda x, r: _TangentAdjoint.apply(x, *maps, r, *rest),
            (image, rate),
            _first_only((tangents[0], tangents[3]), tangents[1:3]),
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_TangentAdjoint, info.batch_size, in_dims, inputs, 4)


def _map_gradients(
    grad: Tensor, image: Tensor, maps: Sequence[Tensor], needs: tuple, options: _Options
) -> tuple:
    """Derivatives of sum(grad * motion_blur(image, ...)) by length and angle."""
    return tuple(
        _Gradient.apply(grad, image, *maps, by, options) if needed else None
        for by, needed in zip(_MAPS, needs, strict=True)
    )


def _spread(
    maps: Sequence[Tensor], axes: Sequence[int | None], lanes: int, count: int
) -> list[Tensor]:
    """Maps of every sample of every lane."""
    spread = []
    for value, axis in zip(maps, axes, strict=True):
        value = value.unsqueeze(0) if axis is None else value.movedim(axis, 0)
        spread.append(value.expand(lanes, count, *value.shape[2:]).flatten(0, 1))
    return spread


def _vmap_image(
    function: type[Linear], lanes: int, axes: tuple, inputs: tuple, tensors: int
) -> tuple[Tensor, int]:
    """Of an image and maps, so many tensors, to an image."""
    image, *maps = inputs[:tensors]
    count = count_of(image, axes[0])
    spread = _spread(maps, axes[1:tensors], lanes, count)
    result = function.apply(lanes_of(image, axes[0], lanes), *spread, *inputs[tensors:])
    return result.unflatten(0, (lanes, count)), 0


def motion_blur(
    image: Tensor, length: Tensor, angle: Tensor, *, caps: str = "fspecial",
    boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.motion_blur` under function transforms."""
    return _Blur.apply(image, length, angle, (caps, boundary, method, precision, backend))


def motion_blur_adjoint(
    image: Tensor, length: Tensor, angle: Tensor, size: Sequence[int] | None = None, *,
    caps: str = "fspecial", boundary: str = "reflect", method: str = "auto",
    precision: str = "default", backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.motion_blur_adjoint` under function transforms."""
    size, options = size and tuple(size), (caps, boundary, method, precision, backend)
    return _Adjoint.apply(image, length, angle, size, options)


def motion_blur_grad_length(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str = "fspecial",
    boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.motion_blur_grad_length` under function transforms."""
    options = (caps, boundary, method, precision, backend)
    return _Gradient.apply(grad, image, length, angle, "length", options)


def motion_blur_grad_angle(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str = "fspecial",
    boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.motion_blur_grad_angle` under function transforms."""
    options = (caps, boundary, method, precision, backend)
    return _Gradient.apply(grad, image, length, angle, "angle", options)
