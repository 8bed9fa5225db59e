# SPDX-License-Identifier: BSD-3-Clause
"""R and R' as Triton kernels, and as functions for the kernels of other ops."""

import triton
import triton.language as tl

from blurops._triton_kernels import narrowed, number


@triton.jit
def _log1p(e, ACC: tl.constexpr):
    """``log(1 + e)`` for e in [0, 1], to the last digits: a GPU's fast logarithm is coarse near 1.

    ``2 atanh(s)`` with ``s = e / (2 + e)`` by its series: as s <= 1/3, a term gains a digit.
    """
    s = e / (2 + e)
    square = s * s
    terms: tl.constexpr = 17 if tl.float64 == ACC else 8
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
    tl.store(out + at, narrowed(values, out), at < count)
