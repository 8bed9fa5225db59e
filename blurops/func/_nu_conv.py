# SPDX-License-Identifier: BSD-3-Clause
"""The twins of NU-Conv: each member's derivatives are made of the others; the index has none.

A vmapped bank becomes one bank with the filters of all lanes, and each lane's index is moved to its
own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops import _check
from blurops.func._rules import (
    Linear,
    Options,
    count_of,
    into_batch,
    lanes_of,
    named,
    of_something,
    sum_tangents,
)
from blurops.ops.nu_conv.shapes import check_range


class _Conv(Linear):
    @staticmethod
    def forward(
        image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, options: Options
    ) -> Tensor:
        return torch.ops.blurops.nu_conv(image, bank, index, weight, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return *_form_gradients(grad, *ctx.saved_tensors, ctx.needs_input_grad, *ctx.rest), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        rest = ctx.rest
        return sum_tangents(lambda *t: _Conv.apply(*t, *rest), ctx.saved_tensors, tangents[:4])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Conv, "nu_conv", info.batch_size, in_dims, inputs)


class _Adjoint(Linear):
    @staticmethod
    def forward(
        image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, options: Options
    ) -> Tensor:
        return torch.ops.blurops.nu_conv_adjoint(image, bank, index, weight, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (filtered, bank, index, weight), (options,) = ctx.saved_tensors, ctx.rest
        needs = ctx.needs_input_grad
        rest = _form_gradients(
            filtered, grad, bank, index, weight, (False, *needs[1:]), options
        )  # fmt: skip
        by_image = _Conv.apply(grad, bank, index, weight, options) if needs[0] else None
        return by_image, *rest[1:], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        rest = ctx.rest
        return sum_tangents(lambda *t: _Adjoint.apply(*t, *rest), ctx.saved_tensors, tangents[:4])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Adjoint, "nu_conv_adjoint", info.batch_size, in_dims, inputs)


class _GradBank(Linear):
    @staticmethod
    def forward(
        grad: Tensor, image: Tensor, index: Tensor, weight: Tensor, shape: tuple, options: Options
    ) -> Tensor:
        op = torch.ops.blurops.nu_conv_grad_bank
        return op(grad, image, index, weight, shape, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (filtered, image, index, weight), (_, options) = ctx.saved_tensors, ctx.rest
        needs, shared = ctx.needs_input_grad, weight.shape[0] == 1
        return (
            _Conv.apply(image, grad, index, weight, options) if needs[0] else None,
            _Adjoint.apply(filtered, grad, index, weight, options) if needs[1] else None,
            None,
            _GradWeight.apply(filtered, image, grad, index, shared, options) if needs[3] else None,
            None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        rest = ctx.rest
        return sum_tangents(lambda *t: _GradBank.apply(*t, *rest), ctx.saved_tensors, tangents[:4])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        (grad, image, index, weight), (shape, options) = inputs[:4], inputs[4:]
        lanes, count = info.batch_size, count_of(grad, in_dims[0])
        index = _moved(index, in_dims[2], lanes, count, shape[0], "nu_conv_grad_bank")
        result = _GradBank.apply(
            lanes_of(grad, in_dims[0], lanes), lanes_of(image, in_dims[1], lanes), index,
            into_batch(weight, in_dims[3], lanes, count), (lanes * shape[0], *shape[1:]), options,
        )  # fmt: skip
        return result.unflatten(0, (lanes, shape[0])), 0


class _GradWeight(Linear):
    @staticmethod
    def forward(
        grad: Tensor, image: Tensor, bank: Tensor, index: Tensor, shared: bool, options: Options
    ) -> Tensor:
        op = torch.ops.blurops.nu_conv_grad_weight
        return op(grad, image, bank, index, shared, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (filtered, image, bank, index), (_, options) = ctx.saved_tensors, ctx.rest
        needs, shape = ctx.needs_input_grad, tuple(bank.shape)
        return (
            _Conv.apply(image, bank, index, grad, options) if needs[0] else None,
            _Adjoint.apply(filtered, bank, index, grad, options) if needs[1] else None,
            _GradBank.apply(filtered, image, index, grad, shape, options) if needs[2] else None,
            None, None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        rest = ctx.rest
        return sum_tangents(
            lambda *t: _GradWeight.apply(*t, *rest), ctx.saved_tensors, tangents[:4]
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        (grad, image, bank, index), (shared, options) = inputs[:4], inputs[4:]
        lanes, count = info.batch_size, count_of(grad, in_dims[0])
        bank, index = _fold_bank(bank, index, in_dims[2:4], lanes, count, "nu_conv_grad_weight")
        images = lanes_of(grad, in_dims[0], lanes), lanes_of(image, in_dims[1], lanes)
        result = _GradWeight.apply(*images, bank, index, False, options)
        result = result.unflatten(0, (lanes, count))
        return (result.sum(1, keepdim=True) if shared else result), 0


def _form_gradients(
    grad: Tensor, image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, needs: tuple,
    options: Options,
) -> tuple:  # fmt: skip
    """Derivatives of sum(grad * nu_conv(image, ...)) by image, bank, index (none) and weight."""
    shared = weight.shape[0] == 1
    return (
        _Adjoint.apply(grad, bank, index, weight, options) if needs[0] else None,
        _GradBank.apply(grad, image, index, weight, tuple(bank.shape), options)
        if needs[1]
        else None,
        None,
        _GradWeight.apply(grad, image, bank, index, shared, options) if needs[3] else None,
    )


def _moved(
    index: Tensor, axis: int | None, lanes: int, count: int, filters: int, op: str
) -> Tensor:
    """Each lane's index into a bank of the filters of all lanes, (lanes * count, J, H, W)."""
    if _check.sees_values(index):
        check_range(op, index, filters)
    index = index.unsqueeze(0) if axis is None else index.movedim(axis, 0)
    first = filters * torch.arange(lanes, dtype=index.dtype, device=index.device)
    # No lane may take the filters of the next, where nobody has looked at the values.
    index = index.clamp(0, filters - 1) + first.view(-1, 1, 1, 1, 1)
    return index.expand(lanes, count, *index.shape[2:]).flatten(0, 1)


def _fold_bank(
    bank: Tensor, index: Tensor, axes: tuple, lanes: int, count: int, op: str
) -> tuple[Tensor, Tensor]:
    if axes[0] is None:
        return bank, into_batch(index, axes[1], lanes, count)
    bank = bank.movedim(axes[0], 0)
    return bank.flatten(0, 1), _moved(index, axes[1], lanes, count, bank.shape[1], op)


def _vmap_image(
    function: type[Linear], op: str, lanes: int, axes: tuple, inputs: tuple
) -> tuple[Tensor, int]:
    """Filtering and its transpose: the image has one batch per lane."""
    (image, bank, index, weight), options = inputs[:4], inputs[4]
    count = count_of(image, axes[0])
    bank, index = _fold_bank(bank, index, axes[1:3], lanes, count, op)
    result = function.apply(
        lanes_of(image, axes[0], lanes), bank, index, into_batch(weight, axes[3], lanes, count),
        options,
    )  # fmt: skip
    return result.unflatten(0, (lanes, count)), 0


def nu_conv(
    image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, *, boundary: str = "reflect",
    method: str = "auto", precision: str = "default", backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.nu_conv` under function transforms."""
    return _Conv.apply(image, bank, index, weight, (boundary, method, precision, backend))


def nu_conv_adjoint(
    image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, *, boundary: str = "reflect",
    method: str = "auto", precision: str = "default", backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.nu_conv_adjoint` under function transforms."""
    return _Adjoint.apply(image, bank, index, weight, (boundary, method, precision, backend))


def nu_conv_grad_bank(
    grad: Tensor, image: Tensor, index: Tensor, weight: Tensor, bank_shape: Sequence[int], *,
    boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.nu_conv_grad_bank` under function transforms."""
    options = (boundary, method, precision, backend)
    return _GradBank.apply(grad, image, index, weight, tuple(bank_shape), options)


def nu_conv_grad_weight(
    grad: Tensor, image: Tensor, bank: Tensor, index: Tensor, shared: bool = False, *,
    boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.nu_conv_grad_weight` under function transforms."""
    options = (boundary, method, precision, backend)
    return _GradWeight.apply(grad, image, bank, index, shared, options)
