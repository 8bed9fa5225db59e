# SPDX-License-Identifier: BSD-3-Clause
"""What the Triton kernels of several ops share. ``ACC`` is the type of all sums."""

import triton
import triton.language as tl


@triton.jit
def number(value, ACC: tl.constexpr):
    """A scalar argument in the type of the sums. It comes in float64: less would not do there."""
    return tl.full((1,), value, ACC)


@triton.jit
def nearest(values, HALF: tl.constexpr):
    """Float32 values to the nearest whose bits below ``2 HALF`` are zero; NaN stays."""
    bits = (values.to(tl.int32, bitcast=True) + HALF) & (-2 * HALF)
    return tl.where(values == values, bits.to(tl.float32, bitcast=True), values)


@triton.jit
def narrowed(values, out):
    """Sums in the type that ``out`` points to."""
    if out.dtype.element_ty == tl.bfloat16:
        # GPUs round to nearest by themselves, Triton's interpreter cuts off.
        values = nearest(values, 0x8000)
    return values.to(out.dtype.element_ty)
