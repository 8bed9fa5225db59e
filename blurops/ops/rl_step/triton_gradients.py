# SPDX-License-Identifier: BSD-3-Clause
"""The passes of the backward around the blur and the adjoint, as Triton kernels.

As in triton_kernels.py a program takes BLOCK pixels of one plane.
"""

import triton
import triton.language as tl

from blurops._triton_kernels import number
from blurops.ops.rl_step.triton_kernels import (
    correction,
    divergence,
    non_negative,
    normalised,
    placed,
)
from blurops.ops.saturate.triton_kernels import response, slope


@triton.jit
def _through_factor(grad, value, sums, seen):
    """The derivative of F by its correction: nothing where it is cut off, or has no data."""
    passed = tl.where(seen, grad / tl.where(seen, sums, 1), 0)
    return tl.where(value < 0, 0, passed)


@triton.jit
def grad_update(
    grad, estimate, corrections, sums, lost, by_estimate, by_corrections, by_sums, by_divergence,
    channels, rows, columns, sums_step,
    smallest: tl.float64, tv: tl.float64, tiny: tl.float64,
    TV: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """By the estimate where it stands beside the corrections, by these, and by the column sums.

    ``by_sums`` has a plane per channel, to be added up.
    """
    pixels = rows * columns
    sample, channel, start, pixel, there, at = placed(pixels, channels, BLOCK)
    column = tl.load(sums + sample * sums_step + pixel, there, 1)
    seen = column > number(smallest, ACC)
    here = tl.load(estimate + at, there, 0)
    by_result = tl.load(grad + at, there, 0)
    term = here * 0 + 1
    if TV:
        term -= number(tv, ACC) * divergence(
            estimate + start,
            pixel // columns,
            pixel % columns,
            rows,
            columns,
            there,
            number(tiny, ACC),
        )
    by_result /= term
    by_factor = by_result * here
    if lost is None:
        factor = correction(corrections, at, there, column, seen)
        first = _through_factor(by_factor, tl.load(corrections + at, there, 0), column, seen)
        by_sum = -first * factor
        tl.store(by_corrections + at, first, there)
    else:
        near = (2 * sample * channels + channel) * pixels + pixel
        far = near + channels * pixels
        careful = correction(corrections, near, there, column, seen)
        bright = correction(corrections, far, there, column, seen)
        share = tl.load(lost + at, there, 0)
        factor = (1 - share) * careful + share * bright
        first = _through_factor(
            by_factor * (1 - share), tl.load(corrections + near, there, 0), column, seen
        )
        second = _through_factor(
            by_factor * share, tl.load(corrections + far, there, 0), column, seen
        )
        by_sum = -first * careful - second * bright
        tl.store(by_corrections + near, first, there)
        tl.store(by_corrections + far, second, there)
    tl.store(by_estimate + at, by_result * factor, there)
    tl.store(by_sums + at, by_sum, there)
    if TV:
        tl.store(by_divergence + at, number(tv, ACC) * by_factor * factor / term, there)


@triton.jit
def _by_slopes(image, grad, y, x, rows, columns, there, tiny):
    """By the forward differences at a pixel, of what ``grad`` is by the divergence."""
    at = y * columns + x
    right, below = there & (x + 1 < columns), there & (y + 1 < rows)
    here = tl.load(image + at, there, 0)
    east, south = tl.load(image + at + 1, right, 0), tl.load(image + at + columns, below, 0)
    across, down = normalised(here, east, south, right, below, tiny)
    by_here = tl.load(grad + at, there, 0)
    by_across = tl.where(right, by_here - tl.load(grad + at + 1, right, 0), 0)
    by_down = tl.where(below, by_here - tl.load(grad + at + columns, below, 0), 0)
    run, fall = tl.where(right, east - here, 0), tl.where(below, south - here, 0)
    square = run * run + fall * fall
    # Only what turns the direction counts, and the less the longer the slope.
    turn = (down * by_across - across * by_down) / tl.sqrt(tl.where(square > tiny, square, 1))
    return down * turn, -across * turn


@triton.jit
def grad_tv(
    estimate, by_divergence, by_estimate, rows, columns, tiny: tl.float64,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adds what reaches the estimate through the divergence of its slopes."""
    _, _, start, pixel, there, at = placed(rows * columns, 1, BLOCK)
    y, x = pixel // columns, pixel % columns
    image, grad, least = estimate + start, by_divergence + start, number(tiny, ACC)
    across, down = _by_slopes(image, grad, y, x, rows, columns, there, least)
    from_west, _ = _by_slopes(image, grad, y, x - 1, rows, columns, there & (x > 0), least)
    _, from_north = _by_slopes(image, grad, y - 1, x, rows, columns, there & (y > 0), least)
    so_far = tl.load(by_estimate + at, there, 0)
    tl.store(by_estimate + at, so_far + from_west - across + from_north - down, there)


@triton.jit
def grad_ratios(
    grad, blurred, observed, mask, clean, by_blurred, by_observed, by_mask,
    channels, pixels, mask_step, mask_channel_step,
    a: tl.float64, level: tl.float64, eps: tl.float64,
    SATURATED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """By H U, by the observation and by the mask, of what ``grad`` is by the ratios."""
    sample, channel, _, pixel, there, at = placed(pixels, channels, BLOCK)
    light = tl.load(blurred + at, there, 0)
    r = non_negative(light)
    bend = r * 0 + 1
    if SATURATED:
        bend = slope(r, number(a, ACC), number(level, ACC))
        r = response(r, number(a, ACC), number(level, ACC), ACC)
    trust = r * 0 + 1
    if mask is not None:
        trust = tl.load(mask + sample * mask_step + channel * mask_channel_step + pixel, there, 0)
    divisor = non_negative(r) + number(eps, ACC)
    quotient = tl.load(observed + at, there, 0) / divisor
    if clean is None:
        by_ratio = tl.load(grad + at, there, 0)
    else:
        near = (2 * sample * channels + channel) * pixels + pixel
        by_ratio = tl.load(grad + near, there, 0) * tl.load(clean + at, there, 0)
        by_ratio += tl.load(grad + near + channels * pixels, there, 0)
    by_weight = by_ratio * (quotient - 1)
    by_value = by_ratio * bend * trust / divisor
    by_light = tl.where(r < 0, 0, -by_value * quotient)
    if SATURATED:
        by_light = bend * (by_light - by_weight * trust * number(a, ACC) * (1 - bend))
    tl.store(by_observed + at, by_value, there)
    tl.store(by_blurred + at, tl.where(light < 0, 0, by_light), there)
    if by_mask is not None:
        tl.store(by_mask + at, by_weight * bend, there)
