# SPDX-License-Identifier: BSD-3-Clause
"""``rl_step``: argument checks and registration. The mathematics is in :mod:`.formula`."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from blurops import _check
from blurops._interop import array_function
from blurops._register import LIBRARY, declare
from blurops.ops.basis_blur.shapes import blurred_size
from blurops.ops.rl_step import native, reference, triton, triton_backward
from blurops.ops.rl_step.saturation import Saturation

# At tv = 1 / (2 + sqrt(2)) the divisor could reach zero.
TV_LIMIT = 0.25
_NAME = "rl_step"


def check(
    estimate: Tensor,
    observed: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    column_sums: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    tv: float = 0.0,
    eps: float = 1e-6,
    boundary: str = "reflect",
) -> None:
    """Raise unless the arguments of ``rl_step`` fit together."""
    _check.choice(_NAME, "boundary", boundary, _check.BOUNDARIES)
    _check.tensor(_NAME, "estimate", estimate, "(N, C, H, W)")
    _check.tensor(_NAME, "kernels", kernels, "(N or 1, B, Kh, Kw)")
    _check.kernel_size(_NAME, "kernels", kernels.shape[-2:], tuple(kernels.shape))
    sharp = tuple(estimate.shape[-2:])
    _check.fits(_NAME, kernels.shape[-2:], sharp, boundary)
    blurred = blurred_size(sharp, kernels.shape[-2:], boundary)
    count, channels = estimate.shape[:2]
    _check_shape("observed", observed, (count, channels, *blurred), estimate)
    _check_batched("kernels", kernels, kernels.shape[1:], estimate)
    _check.tensor(_NAME, "mixing", mixing, "(N or 1, B, H, W)")
    _check_batched("mixing", mixing, (kernels.shape[1], *blurred), estimate)
    if column_sums is not None:
        _check.tensor(_NAME, "column_sums", column_sums, "(N or 1, 1, H, W)")
        _check_batched("column_sums", column_sums, (1, *sharp), estimate)
    if mask is not None:
        _check.tensor(_NAME, "mask", mask, "(N or 1, 1 or C, H, W)")
        planes = 1 if mask.shape[1] == 1 else channels
        _check_batched("mask", mask, (planes, *blurred), estimate)
    check_numbers(_NAME, tv, eps)


def check_numbers(function: str, tv: float, eps: float, tv_limit: float = TV_LIMIT) -> None:
    """Raise unless ``tv`` keeps the divisor positive and ``eps`` is a positive number."""
    if not 0 <= tv < tv_limit:
        raise ValueError(_check.message(function, "tv", f"be in [0, {tv_limit:g})", tv))
    if not 0 < eps < math.inf:
        raise ValueError(_check.message(function, "eps", "be positive and finite", eps))


def _check_shape(argument: str, value: Tensor, shape: tuple, estimate: Tensor) -> None:
    _check.tensor(_NAME, argument, value, "(N, C, H, W)")
    _check.same_kind(_NAME, argument, value, "estimate", estimate)
    if tuple(value.shape) != shape:
        raise ValueError(_check.message(_NAME, argument, f"be {shape}", tuple(value.shape)))


def _check_batched(argument: str, value: Tensor, shape: tuple, estimate: Tensor) -> None:
    _check.same_kind(_NAME, argument, value, "estimate", estimate)
    _check.batch(_NAME, argument, value, estimate.shape[0])
    if tuple(value.shape[1:]) != tuple(shape):
        wanted = f"be (N or 1, {', '.join(map(str, shape))})"
        raise ValueError(_check.message(_NAME, argument, wanted, tuple(value.shape)))


def _shape(*tensors: Tensor | None, **options: Any) -> Sequence[int]:
    """Check a call of the registered op; the result has the estimate's shape."""
    family = {name: options[name] for name in ("boundary", "method", "precision", "backend")}
    _check.options(_NAME, **family)
    check(*tensors, tv=options["tv"], eps=options["eps"], boundary=options["boundary"])
    if options["saturated"]:
        Saturation(**{field.name: options[field.name] for field in fields(Saturation)})
    return tensors[0].shape


def _backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    """Fused, unless a derivative of the gradient is wanted or no module can serve."""
    # The dispatcher leaves out trailing tensors that were not given.
    needs = (*needs, *(False for _ in inputs[len(needs) :]))
    if torch.is_grad_enabled() or _fused(inputs, options) is None:
        return reference.gradients(grad, inputs, needs, options)
    found = _rl_step_backward(grad, *inputs, list(needs), **options)
    return tuple(g if needed else None for g, needed in zip(found, needs, strict=True))


def _fused(inputs: tuple, options: dict) -> ModuleType | None:
    """The module whose fused backward serves the call."""
    for name, module in (("native", native), ("triton", triton_backward)):
        asked = options["backend"] in (None, name)
        if asked and module.supports_gradients(inputs, options) is None:
            return module
    return None


# The saturation's numbers are scalars, so that a fused kernel can take them as they come.
_TENSORS = "Tensor estimate, Tensor observed, Tensor kernels, Tensor mixing"
_SCALARS = (
    "bool saturated=False, float a=50.0, float level=1.0, float threshold=0.99, bool erode=True, "
    "bool smooth=True, bool dilate=True, float tv=0.0, float eps=1e-6, "
    'str boundary="reflect", str method="auto", str precision="default"'
)
_rl_step = declare(
    f"rl_step({_TENSORS}, Tensor? column_sums=None, Tensor? mask=None, *, {_SCALARS}, "
    "str? backend=None) -> Tensor",
    shape=_shape,
    package=__package__,
    backends=("native", "triton", "reference"),
    backward=_backward,
    autocast=torch.float32,
    names_backend=True,
)

# Only ever called by _backward, with what _shape has checked.
LIBRARY.define(
    f"rl_step_backward(Tensor grad, {_TENSORS}, Tensor? column_sums, Tensor? mask, bool[] needs, "
    f"*, {_SCALARS}, str? backend=None) -> Tensor[]"
)
_rl_step_backward = torch.ops.blurops.rl_step_backward.default
_DEFAULTS = {a.name: a.default_value for a in _rl_step_backward._schema.arguments if a.kwarg_only}


def _run_backward(grad: Tensor, *args: Any, **options: Any) -> list[Tensor]:
    options = {**_DEFAULTS, **options}
    module = _fused(args[:6], options)
    if module is native:
        del options["backend"]
    return module.rl_step_backward(grad, *args, **options)


def _fake_backward(grad: Tensor, *args: Any, **options: Any) -> list[Tensor]:
    *tensors, needs = args
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format) if n else grad.new_empty(0)
        for t, n in zip(tensors, needs, strict=True)
    ]


for _device in ("CPU", "CUDA"):
    LIBRARY.impl("rl_step_backward", _run_backward, _device)
torch.library.register_fake("blurops::rl_step_backward", _fake_backward, lib=LIBRARY)


def from_blurred(
    blurred: Tensor,
    *tensors: Tensor | None,
    saturation: Saturation | None,
    **options: Any,
) -> Tensor:
    """:func:`rl_step` of its six tensors and all its options, when ``H U`` is known already.

    For solvers that follow their loss; it checks nothing.
    """
    options |= {"saturated": saturation is not None, **asdict(saturation or Saturation())}
    wanted = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (blurred, *tensors)
    )
    module = reference
    for name, fused in (("triton", triton), ("native", native)) if not wanted else ():
        if options["backend"] in (None, name) and fused.supports(tensors, options) is None:
            module = fused
    return module.rl_step(*tensors, blurred=blurred, **options)


@array_function
def rl_step(
    estimate: Tensor,
    observed: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    *,
    column_sums: Tensor | None = None,
    mask: Tensor | None = None,
    saturation: Saturation | None = None,
    tv: float = 0.0,
    eps: float = 1e-6,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Update an estimate of the sharp image once, by Richardson-Lucy in linear light.

    With ``W = max(H U, 0)``, ``q(s) = V s / (r + eps) + 1 - s`` and ``F(q) = max(H^T q, 0) / H^T
    1`` (1 where a column of H sums to nothing):

    - without saturation ``U F(q(1))``, r = W (Carbajal et al., eq. 9, divided by the column sums
      that the derivation of Richardson-Lucy has and the paper drops);
    - with it ``z0 U F(q(R' z)) + (1 - z0) U F(q(R'))``, r = R(W), R' = R'(W) (eqs. 11-13); z0 and z
      are the sets that :class:`Saturation` describes, here with its threshold in linear light.

    With ``tv``, the result is divided by ``1 - tv div(grad U / |grad U|)`` (eq. 14, after Dey et
    al.), in linear light.

    Args:
        estimate: (N, C, H, W) U, linear light, non-negative.
        observed: (N, C, H, W) V, linear light, non-negative, of the blurred size.
        kernels: (N or 1, B, Kh, Kw) basis kernels, correlated; flip a point-spread function first.
        mixing: (N or 1, B, H, W) mixing coefficients, of the blurred size.
        column_sums: (N or 1, 1, H, W) ``H^T 1``, of the sharp size; give it when calling
            repeatedly, else it is computed here, at the price of one more adjoint.
        mask: (N or 1, 1 or C, H, W) trust in each observed pixel, in [0, 1], of the blurred size; 0
            ignores it.
        saturation: the sensor's response and the two sets, or ``None`` for a linear sensor.
        tv: weight of total variation, in [0, 0.25).
        eps: added to the divisor, positive.
        boundary, method, precision, backend: as in :func:`blurops.basis_blur`.

    Returns:
        (N, C, H, W) the next estimate. Finite, non-negative input up to 1e6 gives finite output.

    Raises:
        TypeError: an argument is not a floating-point tensor, or the dtypes differ.
        ValueError: shapes do not fit, ``tv`` or ``eps`` is out of range, or the devices differ.
        NotImplementedError: the backend asked for cannot run this call; the message says why.

    Note:
        Differentiable to any order in estimate, observed, kernels, mixing and column_sums; z0 and z
        are constants. float16 and bfloat16 are computed in float32. One blur and one adjoint; where
        a pixel reaches the saturation's threshold one more blur, and twice the channels in the
        adjoint. The native backend makes no tensor of size B*C*H*W, saves its inputs alone for the
        backward, and repeats bit for bit whatever the thread count.

    Example:
        >>> import torch, blurops
        >>> kernels, mixing = torch.full((1, 1, 3, 3), 1 / 9), torch.ones(1, 1, 8, 8)
        >>> observed = torch.full((1, 3, 8, 8), 0.5)
        >>> blurops.rl_step(observed, observed, kernels, mixing).mean()
        tensor(0.5000)
    """
    scalars = {} if saturation is None else {"saturated": True, **asdict(saturation)}
    return _rl_step(
        estimate, observed, kernels, mixing, column_sums, mask, **scalars, tv=tv, eps=eps,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip
