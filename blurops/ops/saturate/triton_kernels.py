# SPDX-License-Identifier: BSD-3-Clause
"""R and R' as Triton kernels, and as functions for the kernels of other ops."""

import triton
import triton.language as tl


@triton.jit
def number(value, ACC: tl.constexpr):
    """A scalar argument in the type of the sums; in float64 it must not have been less."""
    return tl.full((1,), value, ACC)


@triton.jit
def _log1p(e, ACC: tl.constexpr):
    """``log(1 + e)`` for e in [0, 1], to the last digits: a GPU's fast logarithm is coarse near 1.

    ``2 atanh(s)`` with ``s = e / (2 + e)`` by its series; s is at most 1/3, so a term gains a digit.
    """
    s = e / (2 + e)
    square = s * s
    terms: tl.constexpr = 17 if ACC == tl.float64 else 8
    total = square * 0
    for i in tl.static_range(terms):
        total = total * square + 1.0 / (2 * (terms - i) - 1)
    return 2 * s * total


@triton.jit
def response(x, a, level, ACC: tl.constexpr):
    """``x - log(1 + exp(a (x - level))) / a``, by forms that neither overflow nor cancel."""
    t = a * (x - level)
    return tl.where(t <= 0, x, level) - _log1p(tl.exp(-tl.abs(t)), ACC) / a


@triton.jit
def slope(x, a, level):
    """``1 / (1 + exp(a (x - level)))``, likewise."""
    t = a * (x - level)
    e = tl.exp(-tl.abs(t))
    return tl.where(t <= 0, 1, e) / (1 + e)


@triton.jit
def pointwise(
    x, out, count, a: tl.float64, level: tl.float64,
    ACC: tl.constexpr, SLOPE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The response, or its slope, of ``count`` values."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(x + at, at < count, 0).to(ACC)
    if SLOPE:
        values = slope(values, number(a, ACC), number(level, ACC))
    else:
        values = response(values, number(a, ACC), number(level, ACC), ACC)
    tl.store(out + at, values.to(out.dtype.element_ty), at < count)
