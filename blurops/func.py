# SPDX-License-Identifier: BSD-3-Clause
"""The ops for ``torch.func``: grad, vjp, jacrev, jvp, jacfwd, hessian and vmap.

The same functions as in :mod:`blurops`, with the same arguments and results. A registered op has no
forward-mode rule and no batching rule; these twins have both. The blur is linear in each argument,
so its directional derivative is the sum of the op itself at each tangent, and its batching rule
folds the new axis into N. Outside ``torch.func``, and under ``torch.compile``, use the ops of
:mod:`blurops`.

Example:
    >>> import torch, blurops
    >>> kernels, mixing = torch.rand(1, 2, 3, 3), torch.rand(1, 2, 4, 4)
    >>> x, direction = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    >>> blur = lambda image: blurops.func.basis_blur(image, kernels, mixing)
    >>> _, slope = torch.func.jvp(blur, (x,), (direction,))
    >>> torch.allclose(slope, blur(direction))
    True
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from blurops.ops.rl_step import Saturation, formula
from blurops.ops.rl_step.op import check as _check_rl_step
from blurops.ops.saturate import reference as _response
from blurops.ops.saturate.op import check_response

__all__ = [
    "basis_blur",
    "basis_blur_adjoint",
    "basis_blur_grad_kernels",
    "basis_blur_grad_mixing",
    "rl_step",
    "saturate",
    "saturate_derivative",
]

# (boundary, method, precision, backend), as the registered ops take them.
_Options = tuple[str, str, str, str | None]


def _named(options: _Options) -> dict[str, str | None]:
    return dict(zip(("boundary", "method", "precision", "backend"), options, strict=True))


def _into_batch(tensor: Tensor, axis: int | None, lanes: int, count: int) -> Tensor:
    """Fold a vmapped axis into N: ``(lanes * n, ...)``, or ``(1, ...)`` if one tensor serves all.

    ``count`` is N of the call: a leading 1 is expanded where every lane has its own.
    """
    if axis is None:
        if tensor.shape[0] == 1:
            return tensor
        return tensor.unsqueeze(0).expand(lanes, *tensor.shape).flatten(0, 1)
    tensor = tensor.movedim(axis, 0)
    return tensor.expand(lanes, count, *tensor.shape[2:]).flatten(0, 1)


def _sum_tangents(
    op: Callable[..., Tensor], primals: Sequence[Tensor], tangents: Sequence
) -> Tensor:
    """The directional derivative of a function that is linear in each of ``primals``."""
    total: Tensor | None = None
    for i, tangent in enumerate(tangents):
        if tangent is not None:
            term = op(*(tangent if j == i else p for j, p in enumerate(primals)))
            total = term if total is None else total + term
    if total is None:
        raise RuntimeError("jvp was called without a tangent")
    return total


class _Linear(Function):
    """What the four members share: they are linear in their three tensors and keep only those."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        tensors = inputs[:3]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.rest = inputs[3:]


class _Blur(_Linear):
    @staticmethod
    def forward(image: Tensor, kernels: Tensor, mixing: Tensor, options: _Options) -> Tensor:
        return torch.ops.blurops.basis_blur(image, kernels, mixing, **_named(options))

    @staticmethod
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
        return _sum_tangents(lambda *t: _Blur.apply(*t, options), ctx.saved_tensors, tangents[:3])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Blur, info, in_dims, *inputs)


class _Adjoint(_Linear):
    @staticmethod
    def forward(image: Tensor, kernels: Tensor, mixing: Tensor, options: _Options) -> Tensor:
        return torch.ops.blurops.basis_blur_adjoint(image, kernels, mixing, **_named(options))

    @staticmethod
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
        return _sum_tangents(
            lambda *t: _Adjoint.apply(*t, options), ctx.saved_tensors, tangents[:3]
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _vmap_image(_Adjoint, info, in_dims, *inputs)


class _GradKernels(_Linear):
    @staticmethod
    def forward(
        grad: Tensor,
        image: Tensor,
        mixing: Tensor,
        size: tuple[int, int],
        shared: bool,
        options: _Options,
    ) -> Tensor:
        op = torch.ops.blurops.basis_blur_grad_kernels
        return op(grad, image, mixing, size, shared, **_named(options))

    @staticmethod
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
        return _sum_tangents(
            lambda *t: _GradKernels.apply(*t, *rest), ctx.saved_tensors, tangents[:3]
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        size, shared, options = inputs[3:]
        return _vmap_gradient(_GradKernels, info, in_dims, inputs[:3], (size,), shared, options)


class _GradMixing(_Linear):
    @staticmethod
    def forward(
        grad: Tensor, image: Tensor, kernels: Tensor, shared: bool, options: _Options
    ) -> Tensor:
        op = torch.ops.blurops.basis_blur_grad_mixing
        return op(grad, image, kernels, shared, **_named(options))

    @staticmethod
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
        return _sum_tangents(
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
    count = image.shape[0] if axes[0] is None else image.movedim(axes[0], 0).shape[1]
    image = image.movedim(axes[0], 0) if axes[0] is not None else image.unsqueeze(0)
    image = image.expand(lanes, *image.shape[1:]).flatten(0, 1)
    kernels = _into_batch(kernels, axes[1], lanes, count)
    mixing = _into_batch(mixing, axes[2], lanes, count)
    return function.apply(image, kernels, mixing, options).unflatten(0, (lanes, count)), 0


def _vmap_gradient(
    function: type[Function],
    info: Any,
    in_dims: tuple,
    tensors: Sequence[Tensor],
    middle: tuple,
    shared: bool,
    options: _Options,
) -> tuple[Tensor, int]:
    """The gradients: one sample per lane; a batch sum asked for is taken within each lane."""
    lanes, (grad_axis, image_axis, other_axis) = info.batch_size, in_dims[:3]
    grad, image, other = tensors
    count = grad.shape[0] if grad_axis is None else grad.movedim(grad_axis, 0).shape[1]
    folded = []
    for tensor, axis in ((grad, grad_axis), (image, image_axis)):
        tensor = tensor.unsqueeze(0) if axis is None else tensor.movedim(axis, 0)
        folded.append(tensor.expand(lanes, *tensor.shape[1:]).flatten(0, 1))
    other = _into_batch(other, other_axis, lanes, count)
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


def saturate(x: Tensor, a: float = 50.0, level: float = 1.0) -> Tensor:
    """:func:`blurops.saturate` under function transforms."""
    check_response("saturate", a, level)
    return _response.saturate(x, a, level)


def saturate_derivative(x: Tensor, a: float = 50.0, level: float = 1.0) -> Tensor:
    """:func:`blurops.saturate_derivative` under function transforms."""
    check_response("saturate_derivative", a, level)
    return _response.saturate_derivative(x, a, level)


def rl_step(
    estimate: Tensor, observed: Tensor, kernels: Tensor, mixing: Tensor, *,
    column_sums: Tensor | None = None, mask: Tensor | None = None,
    saturation: Saturation | None = None, tv: float = 0.0, eps: float = 1e-6,
    boundary: str = "reflect", method: str = "auto", precision: str = "default",
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`blurops.rl_step` under function transforms."""
    tensors = (estimate, observed, kernels, mixing, column_sums, mask)
    _check_rl_step(*tensors, tv=tv, eps=eps, boundary=boundary)
    options = {
        "boundary": boundary, "method": method, "precision": precision, "backend": backend,
    }  # fmt: skip
    return formula.compose(
        *tensors,
        blur=functools.partial(basis_blur, **options),
        adjoint=functools.partial(basis_blur_adjoint, **options),
        saturation=saturation, tv=tv, eps=eps,
    )  # fmt: skip
