# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in, arrays out: public functions take NumPy, CuPy and other DLPack arrays too."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from blurops import _check


def array_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of tensors take DLPack arrays: its result, one tensor or several, is alike.

    The first array decides.

    Tensors pass straight through, and raise when they carry a forward tangent: a registered op
    would drop it in silence, :mod:`blurops.func` carries it.
    """
    named = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.annotation in (Tensor, Tensor | None)
    ]

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        foreign = None
        for name, value in (*zip(named, args, strict=False), *options.items()):
            if name not in named or value is None:
                continue
            if isinstance(value, Tensor):
                _refuse_tangent(function.__name__, value)
            elif not hasattr(value, "__dlpack__"):
                got = type(value).__name__
                raise TypeError(_check.message(function.__name__, name, "be a tensor", got))
            elif foreign is None:
                foreign = value
        if foreign is None:
            return function(*args, **options)
        args = tuple(map(to_tensor, args))
        options = {name: to_tensor(value) for name, value in options.items()}
        result = function(*args, **options)
        if isinstance(result, tuple):
            return tuple(_like(foreign, tensor) for tensor in result)
        return _like(foreign, result)

    # torch.compile counts recompilations per code object: every function needs one of its own.
    call.__code__ = call.__code__.replace(
        co_name=function.__name__, co_firstlineno=function.__code__.co_firstlineno
    )
    return call


def _refuse_tangent(function: str, tensor: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    if forward_ad.unpack_dual(tensor).tangent is not None:
        from blurops import func

        if not hasattr(func, function):
            raise NotImplementedError(
                f"{function}: a tensor must carry no forward tangent, got one: there is no "
                "forward-mode rule"
            )
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
