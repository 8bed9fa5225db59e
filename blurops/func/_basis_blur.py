# SPDX-License-Identifier: BSD-3-Clause
"""The twins of the basis-mixed family: each member's derivatives are made of the others."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

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


class _Blur(Linear):
    @staticmethod
    def forward(image: Tensor, kernels: Tensor, mixing: Tensor, options: Options) -> Tensor:
        return torch.ops.blurops.basis_blur(image, kernels, mixing, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (image, kernels, mixing), (options,) = ctx.saved_tensors, ctx.rest
        needs = ctx.needs_input_grad
        size, shared = tuple(kernels.shape[-2:]), (kernels.shape[0] == 1, mixing.shape[0] == 1)
        return (
            _Adjoint.apply(grad, kernels, mixing, options) if needs[0] else None,
            _GradKernels.apply(grad, image, mixing, size, shared[0], options) if needs[1] else None,
            _GradMixing.apply(grad, image, kernels, shared[1], options) if needs[2] else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (options,) = ctx.rest
        return sum_tangents(lambda *t: _Blur.apply(*t, options), ctx.saved_tensors, tangents[:3])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Blur, info, in_dims, *inputs)


class _Adjoint(Linear):
    @staticmethod
    def forward(image: Tensor, kernels: Tensor, mixing: Tensor, options: Options) -> Tensor:
        return torch.ops.blurops.basis_blur_adjoint(image, kernels, mixing, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (image, kernels, mixing), (options,) = ctx.saved_tensors, ctx.rest
        needs = ctx.needs_input_grad
        size, shared = tuple(kernels.shape[-2:]), (kernels.shape[0] == 1, mixing.shape[0] == 1)
        return (
            _Blur.apply(grad, kernels, mixing, options) if needs[0] else None,
            _GradKernels.apply(image, grad, mixing, size, shared[0], options) if needs[1] else None,
            _GradMixing.apply(image, grad, kernels, shared[1], options) if needs[2] else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (options,) = ctx.rest
        return sum_tangents(lambda *t: _Adjoint.apply(*t, options), ctx.saved_tensors, tangents[:3])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Adjoint, info, in_dims, *inputs)


class _GradKernels(Linear):
    @staticmethod
    def forward(
        grad: Tensor,
        image: Tensor,
        mixing: Tensor,
        size: tuple[int, int],
        shared: bool,
        options: Options,
    ) -> Tensor:
        op = torch.ops.blurops.basis_blur_grad_kernels
        return op(grad, image, mixing, size, shared, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (blurred, image, mixing), (_, _, options) = ctx.saved_tensors, ctx.rest
        needs, shared = ctx.needs_input_grad, mixing.shape[0] == 1
        return (
            _Blur.apply(image, grad, mixing, options) if needs[0] else None,
            _Adjoint.apply(blurred, grad, mixing, options) if needs[1] else None,
            _GradMixing.apply(blurred, image, grad, shared, options) if needs[2] else None,
            None, None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        rest = ctx.rest
        return sum_tangents(
            lambda *t: _GradKernels.apply(*t, *rest), ctx.saved_tensors, tangents[:3]
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        size, shared, options = inputs[3:]
        return _vmap_gradient(_GradKernels, info, in_dims, inputs[:3], (size,), shared, options)


class _GradMixing(Linear):
    @staticmethod
    def forward(
        grad: Tensor, image: Tensor, kernels: Tensor, shared: bool, options: Options
    ) -> Tensor:
        op = torch.ops.blurops.basis_blur_grad_mixing
        return op(grad, image, kernels, shared, **named(options))

    @staticmethod
    @of_something
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (blurred, image, kernels), (_, options) = ctx.saved_tensors, ctx.rest
        needs, shared = ctx.needs_input_grad, kernels.shape[0] == 1
        size = tuple(kernels.shape[-2:])
        return (
            _Blur.apply(image, kernels, grad, options) if needs[0] else None,
            _Adjoint.apply(blurred, kernels, grad, options) if needs[1] else None,
            _GradKernels.apply(blurred, image, grad, size, shared, options) if needs[2] else None,
            None, None,
        )  # fmt: skip

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        rest = ctx.rest
        return sum_tangents(
            lambda *t: _GradMixing.apply(*t, *rest), ctx.saved_tensors, tangents[:3]
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        shared, options = inputs[3:]
        return _vmap_gradient(_GradMixing, info, in_dims, inputs[:3], (), shared, options)


def _vmap_image(
    function: type[Function], info: Any, in_dims: tuple, *inputs: Any
) -> tuple[Tensor, int]:
    """Blur and adjoint: the image has one sample per lane, kernels and mixing may be shared."""
    (image, kernels, mixing), options = inputs[:3], inputs[3]
    lanes, axes = info.batch_size, in_dims[:3]
    count, image = count_of(image, axes[0]), lanes_of(image, axes[0], lanes)
    kernels = into_batch(kernels, axes[1], lanes, count)
    mixing = into_batch(mixing, axes[2], lanes, count)
    return function.apply(image, kernels, mixing, options).unflatten(0, (lanes, count)), 0


def _vmap_gradient(
    function: type[Function],
    info: Any,
    in_dims: tuple,
    tensors: Sequence[Tensor],
    middle: tuple,
    shared: bool,
    options: Options,
) -> tuple[Tensor, int]:
    """The gradients: one sample per lane; a batch sum asked for is taken within each lane."""
    lanes, (grad_axis, image_axis, other_axis) = info.batch_size, in_dims[:3]
    grad, image, other = tensors
    count = count_of(grad, grad_axis)
    folded = lanes_of(grad, grad_axis, lanes), lanes_of(image, image_axis, lanes)
    other = into_batch(other, other_axis, lanes, count)
    result = function.apply(*folded, other, *middle, False, options).unflatten(0, (lanes, count))
    return (result.sum(1, keepdim=True) if shared else result), 0


def basis_blur(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str = "reflect",
    method: str = "auto", precision: str = "default", backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.basis_blur` under function transforms."""
    return _Blur.apply(image, kernels, mixing, (boundary, method, precision, backend))


def basis_blur_adjoint(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str = "reflect",
    method: str = "auto", precision: str = "default", backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.basis_blur_adjoint` under function transforms."""
    return _Adjoint.apply(image, kernels, mixing, (boundary, method, precision, backend))


def basis_blur_grad_kernels(
    grad: Tensor, image: Tensor, mixing: Tensor, kernel_size: Sequence[int], shared: bool = False,
    *, boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.basis_blur_grad_kernels` under function transforms."""
    options = (boundary, method, precision, backend)
    return _GradKernels.apply(grad, image, mixing, tuple(kernel_size), shared, options)


def basis_blur_grad_mixing(
    grad: Tensor, image: Tensor, kernels: Tensor, shared: bool = False, *,
    boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.basis_blur_grad_mixing` under function transforms."""
    return _GradMixing.apply(grad, image, kernels, shared, (boundary, method, precision, backend))
