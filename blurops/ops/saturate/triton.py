# SPDX-License-Identifier: BSD-3-Clause
"""R and R' on GPUs, one pass each."""

from torch import Tensor

from blurops import _triton

_BLOCK = 1024


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when Triton's kernels can serve the call, else why not."""
    return _triton.reason(args[0], options)


def _pointwise(x: Tensor, a: float, level: float, slope: bool) -> Tensor:
    from blurops.ops.saturate import triton_kernels

    x = x.contiguous()
    out = x.new_empty(x.shape)
    if x.numel() > 0:
        _triton.launch(
            triton_kernels.pointwise, -(-x.numel() // _BLOCK), x, out, x.numel(), a, level,
            like=x, ACC=_triton.sums_type(x.dtype), SLOPE=slope, BLOCK=_BLOCK,
        )  # fmt: skip
    return out


def saturate(x: Tensor, a: float = 50.0, level: float = 1.0) -> Tensor:
    """See :func:`blurops.saturate`."""
    return _pointwise(x, a, level, slope=False)


def saturate_derivative(x: Tensor, a: float = 50.0, level: float = 1.0) -> Tensor:
    """See :func:`blurops.saturate_derivative`."""
    return _pointwise(x, a, level, slope=True)
