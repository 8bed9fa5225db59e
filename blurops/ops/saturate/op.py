# SPDX-License-Identifier: BSD-3-Clause
"""``saturate`` and ``saturate_derivative``, declared."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from blurops import _check
from blurops._interop import array_function
from blurops._register import declare

_BACKENDS = ("triton", "reference")


def check_response(function: str, a: float, level: float) -> None:
    """Raise unless ``a`` and ``level`` describe a sensor's response."""
    if not 0 < a < math.inf:
        raise ValueError(_check.message(function, "a", "be positive and finite", a))
    if not -math.inf < level < math.inf:
        raise ValueError(_check.message(function, "level", "be finite", level))


def _check_call(
    function: str, x: Any, a: float, level: float, backend: str | None
) -> Sequence[int]:
    if not isinstance(x, Tensor):
        raise TypeError(_check.message(function, "x", "be a tensor", type(x).__name__))
    if x.dtype not in _check.DTYPES:
        wanted = f"have dtype {', '.join(map(_check.dtype_name, _check.DTYPES))}"
        raise TypeError(_check.message(function, "x", wanted, _check.dtype_name(x.dtype)))
    check_response(function, a, level)
    if backend is not None:
        _check.choice(function, "backend", backend, _check.BACKENDS)
    return x.shape


def _saturate_shape(x: Tensor, a: float, level: float, *, backend: str | None) -> Sequence[int]:
    return _check_call("saturate", x, a, level, backend)


def _derivative_shape(x: Tensor, a: float, level: float, *, backend: str | None) -> Sequence[int]:
    return _check_call("saturate_derivative", x, a, level, backend)


def _saturate_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    return grad * _derivative(*inputs, **options), None, None


def _derivative_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    _, a, _ = inputs
    slope = _derivative(*inputs, **options)
    return grad * (-a * slope * (1 - slope)), None, None


_saturate = declare(
    "saturate(Tensor x, float a=50.0, float level=1.0, *, str? backend=None) -> Tensor",
    shape=_saturate_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_saturate_backward,
)
_derivative = declare(
    "saturate_derivative(Tensor x, float a=50.0, float level=1.0, *, str? backend=None) -> Tensor",
    shape=_derivative_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_derivative_backward,
)


@array_function
def saturate(
    x: Tensor, a: float = 50.0, level: float = 1.0, *, backend: str | None = None
) -> Tensor:
    """Respond to light as a sensor does: linear, then bending smoothly to a ceiling.

    ``R(x) = x - log(1 + exp(a (x - level))) / a`` (Carbajal et al., "Non-uniform Blur Kernel
    Estimation via Adaptive Basis Decomposition", eq. 4, there with a = 50 and level = 1; after
    Whyte, Sivic and Zisserman, 2014).

    Args:
        x: tensor of any shape, linear light.
        a: sharpness of the bend, positive; the bend is a few ``1 / a`` wide.
        level: the ceiling, in the units of x.
        backend: ``"triton"``, ``"reference"`` or ``None`` for the first that can serve the call.

    Returns:
        Tensor like x, fresh and contiguous. ``R(x)`` is below both x and ``level``; far from the
        bend it equals the smaller of the two. float16 and bfloat16 are computed in float32.

    Raises:
        TypeError: x is not a floating-point tensor.
        ValueError: ``a`` is not positive and finite, or ``level`` is not finite.
        NotImplementedError: the backend asked for cannot run this call.

    Note:
        Differentiable to any order; the gradient is :func:`saturate_derivative`. NaN propagates,
        huge values do not overflow.

    Example:
        >>> import torch, blurops
        >>> blurops.saturate(torch.tensor([0.5, 1.0, 1.5]))
        tensor([0.5000, 0.9861, 1.0000])
    """
    return _saturate(x, a, level, backend=backend)


@array_function
def saturate_derivative(
    x: Tensor, a: float = 50.0, level: float = 1.0, *, backend: str | None = None
) -> Tensor:
    """The slope of :func:`saturate`: 1 where the sensor is linear, 0 where it is saturated.

    ``R'(x) = 1 / (1 + exp(a (x - level)))`` (Carbajal et al., eq. 4).

    Args:
        x, a, level, backend: as in :func:`saturate`.

    Returns:
        Tensor like x with values in [0, 1], fresh and contiguous.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`saturate`.

    Example:
        >>> import torch, blurops
        >>> blurops.saturate_derivative(torch.tensor([0.5, 1.0, 1.1]))
        tensor([1.0000, 0.5000, 0.0067])
    """
    return _derivative(x, a, level, backend=backend)
