# SPDX-License-Identifier: BSD-3-Clause
"""The passes over images around the blur and the adjoint, as Triton kernels.

A program takes BLOCK pixels of one plane. ``ACC`` is the type of the images and of all sums.
"""

import triton
import triton.language as tl

from blurops._triton_kernels import number
from blurops.ops.saturate.triton_kernels import response, slope


@triton.jit
def placed(pixels, channels, BLOCK: tl.constexpr):
    """Sample, channel, plane and pixels of a program, whether they are there, and their place."""
    blocks = tl.cdiv(pixels, BLOCK)
    plane = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    sample, start = (plane // channels).to(tl.int64), plane.to(tl.int64) * pixels
    return sample, plane % channels, start, pixel, pixel < pixels, start + pixel


@triton.jit
def non_negative(values):
    """A maximum with 0 that lets NaN through."""
    return tl.where(values < 0, 0, values)


@triton.jit
def ratios(
    blurred, observed, mask, clean, out,
    channels, pixels, mask_step, mask_channel_step,
    a: tl.float64, level: tl.float64, eps: tl.float64,
    SATURATED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``q(s) = V s / (r + eps) + 1 - s``; with ``clean``, first that of ``s clean``, then of s.

    ``out`` has the planes of both one after the other for each sample.
    """
    sample, channel, _, pixel, there, at = placed(pixels, channels, BLOCK)
    r = non_negative(tl.load(blurred + at, there, 0))
    s = r * 0 + 1
    if SATURATED:
        s = slope(r, number(a, ACC), number(level, ACC))
        r = non_negative(response(r, number(a, ACC), number(level, ACC), ACC))
    if mask is not None:
        s *= tl.load(mask + sample * mask_step + channel * mask_channel_step + pixel, there, 0)
    asked = tl.load(observed + at, there, 0)
    r += number(eps, ACC)
    if clean is not None:
        careful = s * tl.load(clean + at, there, 0)
        careful_plane = 2 * sample * channels + channel
        at = careful_plane * pixels + pixel
        tl.store(out + at, asked * careful / r + (1 - careful), there)
        at = (careful_plane + channels) * pixels + pixel
    tl.store(out + at, asked * s / r + (1 - s), there)


@triton.jit
def correction(corrections, at, there, sums, seen):
    """``F(q)``, and 1 for pixels that no data see."""
    value = non_negative(tl.load(corrections + at, there, 0))
    return tl.where(seen, value / tl.where(seen, sums, 1), 1)


@triton.jit
def normalised(here, right, below, has_right, has_below, tiny):
    """Forward differences, 0 where there is no neighbour, divided by their length."""
    across = tl.where(has_right, right - here, 0)
    down = tl.where(has_below, below - here, 0)
    square = across * across + down * down
    sloped = square > tiny
    length = tl.sqrt(tl.where(sloped, square, 1))
    return tl.where(sloped, across / length, 0), tl.where(sloped, down / length, 0)


@triton.jit
def divergence(image, y, x, rows, columns, there, tiny):
    """``div(grad U / |grad U|)``: forward differences, div minus their transpose."""
    at = image + (y * columns + x)
    right, below = there & (x + 1 < columns), there & (y + 1 < rows)
    left, above = there & (x > 0), there & (y > 0)
    here = tl.load(at, there, 0)
    west, north = tl.load(at - 1, left, 0), tl.load(at - columns, above, 0)
    across, down = normalised(
        here, tl.load(at + 1, right, 0), tl.load(at + columns, below, 0), right, below, tiny
    )
    from_west, _ = normalised(
        west, here, tl.load(at + columns - 1, left & below, 0), left, left & below, tiny
    )
    _, from_north = normalised(
        north, tl.load(at - columns + 1, above & right, 0), here, above & right, above, tiny
    )
    return across - from_west + down - from_north


@triton.jit
def update(
    estimate, corrections, sums, lost, out,
    channels, rows, columns, sums_step,
    smallest: tl.float64, tv: tl.float64, tiny: tl.float64,
    TV: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``U (z0 F(q(R' z)) + (1 - z0) F(q(R'))) / (1 - tv div(grad U / |grad U|))``.

    ``lost`` is 1 - z0; without it there is one set of corrections. ``corrections`` are H^T q.
    """
    pixels = rows * columns
    sample, channel, start, pixel, there, at = placed(pixels, channels, BLOCK)
    column = tl.load(sums + sample * sums_step + pixel, there, 1)
    seen = column > number(smallest, ACC)
    if lost is None:
        factor = correction(corrections, at, there, column, seen)
    else:
        careful_plane = 2 * sample * channels + channel
        careful = correction(corrections, careful_plane * pixels + pixel, there, column, seen)
        bright_plane = careful_plane + channels
        bright = correction(corrections, bright_plane * pixels + pixel, there, column, seen)
        share = tl.load(lost + at, there, 0)
        factor = (1 - share) * careful + share * bright
    result = tl.load(estimate + at, there, 0) * factor
    if TV:
        spread = divergence(
            estimate + start,
            pixel // columns,
            pixel % columns,
            rows,
            columns,
            there,
            number(tiny, ACC),
        )
        result /= 1 - number(tv, ACC) * spread
    tl.store(out + at, result, there)
