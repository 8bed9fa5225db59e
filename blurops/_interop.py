# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in, arrays out: public functions take NumPy, CuPy and other DLPack arrays as well as tensors."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


def array_function(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """Let a function of tensors take DLPack arrays: the result is of the first array's kind, on its device.

    Tensors pass straight through, and raise when they carry a forward tangent: a registered op would drop it in
    silence, :mod:`blurops.func` carries it.
    """

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        foreign = None
        for value in (*args, *options.values()):
            if isinstance(value, Tensor):
                _refuse_tangent(function.__name__, value)
            elif foreign is None and hasattr(value, "__dlpack__"):
                foreign = value
        if foreign is None:
            return function(*args, **options)
        args = tuple(map(to_tensor, args))
        options = {name: to_tensor(value) for name, value in options.items()}
        return _like(foreign, function(*args, **options))

    return call


def _refuse_tangent(function: str, tensor: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    if forward_ad.unpack_dual(tensor).tangent is not None:
        raise NotImplementedError(
            f"{function}: a tensor with a forward tangent must go to blurops.func.{function}, "
            f"got one in blurops.{function}"
        )


def to_tensor(value: Any) -> Any:
    """A tensor that shares the memory of a DLPack array where it can; anything else unchanged."""
    if isinstance(value, Tensor) or not hasattr(value, "__dlpack__"):
        return value
    # torch aborts the process on the negative strides of a reversed view; a copy has none.
    if any(stride < 0 for stride in getattr(value, "strides", None) or ()):
        value = value.copy()
    try:
        return torch.from_dlpack(value)
    except BufferError:  # a read-only array
        return torch.from_dlpack(value.copy())


def _like(array: Any, tensor: Tensor) -> Any:
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__().from_dlpack(tensor.detach())
    return type(array).from_dlpack(tensor.detach())
