# SPDX-License-Identifier: BSD-3-Clause
"""The twins of a sensor's response and of the Richardson-Lucy step: made of their formulas."""

import functools

from torch import Tensor

from blurops.func._basis_blur import basis_blur, basis_blur_adjoint
from blurops.ops.rl_step import Saturation, formula
from blurops.ops.rl_step.op import check as _check_rl_step
from blurops.ops.saturate import reference as _response
from blurops.ops.saturate.op import check_response


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
