# SPDX-License-Identifier: BSD-3-Clause
"""What the twins of all ops share: what they keep, tangents of linear functions, batches."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# (boundary, method, precision, backend), as the registered ops take them.
Options = tuple[str, str, str, str | None]


def named(options: Options) -> dict[str, str | None]:
    """The keyword arguments of a registered op."""
    return dict(zip(("boundary", "method", "precision", "backend"), options, strict=True))


def into_batch(tensor: Tensor, axis: int | None, lanes: int, count: int) -> Tensor:
    """Fold a vmapped axis into N: ``(lanes * n, ...)``, or ``(1, ...)`` if one tensor serves all.

    ``count`` is N of the call: a leading 1 is expanded where every lane has its own.
    """
    if axis is None:
        if tensor.shape[0] == 1:
            return tensor
        return tensor.unsqueeze(0).expand(lanes, *tensor.shape).flatten(0, 1)
    tensor = tensor.movedim(axis, 0)
    return tensor.expand(lanes, count, *tensor.shape[2:]).flatten(0, 1)


def sum_tangents(
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


def lanes_of(tensor: Tensor, axis: int | None, lanes: int) -> Tensor:
    """The vmapped axis folded into N: one sample, or batch, for each of ``lanes``."""
    tensor = tensor.unsqueeze(0) if axis is None else tensor.movedim(axis, 0)
    return tensor.expand(lanes, *tensor.shape[1:]).flatten(0, 1)


def count_of(tensor: Tensor, axis: int | None) -> int:
    """N of a call, within one lane."""
    return tensor.shape[0] if axis is None else tensor.movedim(axis, 0).shape[1]


def of_something(backward: Callable[[Any, Tensor], tuple]) -> Callable[..., tuple]:
    """The backward of a :class:`Linear`, whose result may have no gradient at all."""

    @functools.wraps(backward)
    def checked(ctx: Any, grad: Tensor | None) -> tuple:
        return (None,) * len(ctx.needs_input_grad) if grad is None else backward(ctx, grad)

    return checked


class Linear(Function):
    """Keeps the tensors, which come first; the function is linear in those with tangents."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.rest = inputs[len(tensors) :]
        # What has no tangent has none, rather than zeros.
        ctx.set_materialize_grads(False)
