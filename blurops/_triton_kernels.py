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


@triton.jit
def tile_of(tile, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Row, column and presence of each pixel of a tile."""
    across = tl.cdiv(columns, COLUMNS)
    lane = tl.arange(0, ROWS * COLUMNS)
    y = tile // across * ROWS + lane // COLUMNS
    x = tile % across * COLUMNS + lane % COLUMNS
    return y, x, (y < rows) & (x < columns)


@triton.jit
def add(
    sum0, sum1, sum2, w, image, first_plane, size, pixel, there, remaining,
    ACC: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """The sums and w times the pixels of up to three planes, of which there are ``remaining``."""
    image = image + first_plane * size + pixel
    sum0 += w * tl.load(image, there, 0).to(ACC)
    if GROUP > 1:
        sum1 += w * tl.load(image + size, there & (remaining > 1), 0).to(ACC)
    if GROUP > 2:
        # One addition after the other: twice the size might have more than 32 bits.
        sum2 += w * tl.load(image + size + size, there & (remaining > 2), 0).to(ACC)
    return sum0, sum1, sum2


@triton.jit
def store(
    out, first_plane, size, pixel, sum0, sum1, sum2, there, remaining, GROUP: tl.constexpr
):  # fmt: skip
    """Finished sums, to up to three planes."""
    out = out + first_plane * size + pixel
    tl.store(out, narrowed(sum0, out), there)
    if GROUP > 1:
        tl.store(out + size, narrowed(sum1, out), there & (remaining > 1))
    if GROUP > 2:
        tl.store(out + size + size, narrowed(sum2, out), there & (remaining > 2))


@triton.jit
def products(
    grad, image, pixel, source, inside, read, channels, maps, plane, ACC: tl.constexpr
):  # fmt: skip
    """``sum_c grad_c[pixel] image_c[source]``; the pixels may have axes of size 1."""
    s = tl.zeros(read.shape, ACC)
    for _ in range(channels):
        g = tl.load(grad + pixel, inside, 0).to(ACC)
        s += g * tl.load(image + source, read, 0).to(ACC)
        grad += maps
        image += plane
    return s
