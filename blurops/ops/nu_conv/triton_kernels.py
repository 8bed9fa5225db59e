# SPDX-License-Identifier: BSD-3-Clause
"""The four members of NU-Conv as Triton kernels; :mod:`.triton` prepares their arguments.

A block of taps of each pixel's own filter is gathered out of the bank and used at once: ``w[p, t] =
sum_j weight_j[p] bank[index_j[p], t]``. It is never stored. No borders here: images come extended
by the boundary, and the adjoint writes an extended image that is folded afterwards.

A bank has ``planes`` planes of ``taps`` taps per filter: one, which serves all channels, or one per
channel. Sizes in capitals are compile-time: ``ACC`` is the type of all sums, the others are the
sides of the blocks, powers of 2. Offsets within a plane have 32 bits, those between planes 64.
``plane`` is that of the sharp image, ``maps`` the size of one map of the index, which is also that
of the filtered image; a ``_step`` leads to the next sample and is 0 where one serves all.
"""

import triton
import triton.language as tl

from blurops._triton_kernels import add, narrowed, products, store, tile_of


@triton.jit
def _within(index, pixel, there, filters):
    """Which filters pixels take; clamped, as nobody has looked at the values."""
    return tl.minimum(tl.maximum(tl.load(index + pixel, there, 0), 0), filters - 1).to(tl.int64)


@triton.jit
def _filter(
    bank, index, weight, pixel, tap, there, present, filters, picked, maps, filter_step,
    ACC: tl.constexpr,
):  # fmt: skip
    """The w of pixels and taps that broadcast; 0 where either is not there."""
    read = there & present
    w = tl.zeros(read.shape, ACC)
    for _ in range(picked):
        own = _within(index, pixel, there, filters) * filter_step
        taps = tl.load(bank + own + tap, read, 0).to(ACC)
        w += tl.load(weight + pixel, there, 0).to(ACC) * taps
        index += maps
        weight += maps
    return w


@triton.jit
def conv(
    image, bank, index, weight, out,
    channels, planes, filters, picked, taps, kernel_width, rows, columns, width, plane, maps,
    index_step, weight_step,
    ACC: tl.constexpr, GROUP: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_c[p] = sum_t w[p, t] image_c[p + t]``: a tile of up to three channels per program.

    ``channels`` is that of ``out``: with a bank of several planes there is one, which sums theirs.
    The rows of ``image`` are ``width`` long, those of ``out`` ``columns``.
    """
    program, groups = tl.program_id(0), tl.cdiv(channels, GROUP)
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    sample = (program // tiles // groups).to(tl.int64)
    channel = program // tiles % groups * GROUP
    y, x, inside = tile_of(program % tiles, rows, columns, ROWS, COLUMNS)
    index += sample * index_step
    weight += sample * weight_step
    first_plane, remaining = sample * channels + channel, channels - channel
    pixel = y * columns + x
    sum0 = tl.zeros((ROWS * COLUMNS, TAPS), ACC)
    sum1, sum2 = sum0, sum0
    for c in range(planes):
        for start in range(0, taps, TAPS):
            tap = start + tl.arange(0, TAPS)
            read = inside[:, None] & (tap < taps)[None, :]
            w = _filter(
                bank + c * taps, index, weight, pixel[:, None], tap[None, :], inside[:, None],
                (tap < taps)[None, :], filters, picked, maps, planes * taps, ACC,
            )  # fmt: skip
            offset = tap // kernel_width * width + tap % kernel_width
            source = (y * width + x)[:, None] + offset[None, :]
            sum0, sum1, sum2 = add(
                sum0, sum1, sum2, w, image, first_plane * planes + c, plane, source, read,
                remaining, ACC, GROUP,
            )  # fmt: skip
    store(
        out, first_plane, maps, pixel, tl.sum(sum0, 1), tl.sum(sum1, 1), tl.sum(sum2, 1), inside,
        remaining, GROUP,
    )  # fmt: skip


@triton.jit
def adjoint(
    image, bank, index, weight, out,
    channels, planes, filters, picked, taps, kernel_width, rows, columns, out_rows, out_columns,
    top, left, plane, maps, index_step, weight_step,
    ACC: tl.constexpr, GROUP: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_c[q] = sum_t w[p, t] image_c[p]`` at ``p = q - t + (top, left)``, where there is one.

    ``channels`` is that of ``out``; ``image`` has one where each takes a plane of its own.
    ``plane`` is that of ``out``.
    """
    program, groups = tl.program_id(0), tl.cdiv(channels, GROUP)
    tiles = tl.cdiv(out_rows, ROWS) * tl.cdiv(out_columns, COLUMNS)
    sample = (program // tiles // groups).to(tl.int64)
    channel = program // tiles % groups * GROUP
    q_y, q_x, inside = tile_of(program % tiles, out_rows, out_columns, ROWS, COLUMNS)
    bank += channel % planes * taps
    index += sample * index_step
    weight += sample * weight_step
    first_plane = sample * (channels // planes) + channel // planes
    remaining = channels - channel
    sum0 = tl.zeros((ROWS * COLUMNS, TAPS), ACC)
    sum1, sum2 = sum0, sum0
    for start in range(0, taps, TAPS):
        tap = start + tl.arange(0, TAPS)
        p_y = (q_y + top)[:, None] - (tap // kernel_width)[None, :]
        p_x = (q_x + left)[:, None] - (tap % kernel_width)[None, :]
        there = inside[:, None] & (p_y >= 0) & (p_y < rows) & (p_x >= 0) & (p_x < columns)
        read = there & (tap < taps)[None, :]
        source = p_y * columns + p_x
        w = _filter(
            bank, index, weight, source, tap[None, :], read, read, filters, picked, maps,
            planes * taps, ACC,
        )  # fmt: skip
        sum0, sum1, sum2 = add(
            sum0, sum1, sum2, w, image, first_plane, maps, source, read, remaining, ACC, GROUP
        )
    store(
        out, sample * channels + channel, plane, q_y * out_columns + q_x, tl.sum(sum0, 1),
        tl.sum(sum1, 1), tl.sum(sum2, 1), inside, remaining, GROUP,
    )  # fmt: skip


@triton.jit
def grad_weight(
    grad, image, bank, index, out,
    count, channels, planes, filters, picked, taps, kernel_width, rows, columns, width, plane, maps,
    index_step,
    ACC: tl.constexpr, PICKED: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_j[p] = sum_t bank[index_j[p], t] sum_c grad_c[p] image_c[p + t]``: PICKED maps.

    The sum over c has the ``channels`` that share a plane of the bank. Each program sums over
    ``count`` samples: all of them where the weights are shared, else one.
    """
    program, groups = tl.program_id(0), tl.cdiv(picked, PICKED)
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    result = (program // tiles // groups).to(tl.int64)
    j = program // tiles % groups * PICKED + tl.arange(0, PICKED)
    y, x, inside = tile_of(program % tiles, rows, columns, ROWS, COLUMNS)
    pixel = y * columns + x
    there = inside[:, None] & (j < picked)[None, :]
    at = j.to(tl.int64)[None, :] * maps + pixel[:, None]
    total = tl.zeros((ROWS * COLUMNS, TAPS, PICKED), ACC)
    for sample in range(result * count, (result + 1) * count):
        own = _within(index + sample * index_step, at, there, filters) * planes * taps
        for c in range(planes):
            for start in range(0, taps, TAPS):
                tap = start + tl.arange(0, TAPS)
                present = (tap < taps)[None, :]
                offset = tap // kernel_width * width + tap % kernel_width
                s = products(
                    grad + sample * channels * maps,
                    image + (sample * channels * planes + c) * plane, pixel[:, None],
                    (y * width + x)[:, None] + offset[None, :], inside[:, None],
                    inside[:, None] & present, channels, maps, plane, ACC,
                )  # fmt: skip
                k = tl.load(
                    bank + own[:, None, :] + (c * taps + tap)[None, :, None],
                    there[:, None, :] & present[:, :, None], 0,
                )  # fmt: skip
                total += s[:, :, None] * k.to(ACC)
    tl.store(out + result * picked * maps + at, narrowed(tl.sum(total, 1), out), there)


@triton.jit
def grad_bank(
    grad, image, weight, order, bounds, out,
    repeats, channels, planes, picked, taps, kernel_width, columns, width, plane, maps, weight_step,
    ACC: tl.constexpr, PICKS: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """``out[t] = sum weight_j[p] sum_c grad_c[p] image_c[p + t]`` over one segment of the picks.

    ``order`` lists the picks (n, j, p), those of the first filter first, and ``bounds`` where a
    segment of it ends and the next begins: all of a segment is of one filter. A pick of a shared
    index serves ``repeats`` samples. ``out`` is (segments, planes, taps).
    """
    program, blocks = tl.program_id(0), tl.cdiv(taps, TAPS)
    tap = program % blocks * TAPS + tl.arange(0, TAPS)
    present = (tap < taps)[None, :]
    offset = tap // kernel_width * width + tap % kernel_width
    c, segment = program // blocks % planes, program // blocks // planes
    end = tl.load(bounds + segment + 1)
    total = tl.zeros((PICKS, TAPS), ACC)
    for first in range(tl.load(bounds + segment), end, PICKS):
        pick = first + tl.arange(0, PICKS)
        there = (pick < end)[:, None]
        pick = tl.load(order + pick[:, None], there, 0)
        sample, pixel = pick // maps // picked, (pick % maps).to(tl.int32)
        at = pick - sample * picked * maps
        source = pixel // columns * width + pixel % columns + offset[None, :]
        for _ in range(repeats):
            s = products(
                grad + sample * channels * maps, image + (sample * channels * planes + c) * plane,
                pixel, source, there, there & present, channels, maps, plane, ACC,
            )  # fmt: skip
            total += tl.load(weight + sample * weight_step + at, there, 0).to(ACC) * s
            sample += 1
    target = (segment.to(tl.int64) * planes + c) * taps + tap
    tl.store(out + target, narrowed(tl.sum(total, 0), out), tap < taps)


@triton.jit
def add_segments(parts, firsts, out, size, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """The filters' gradients, (filters, size): filter f has segments firsts[f] .. firsts[f + 1]."""
    program, blocks = tl.program_id(0), tl.cdiv(size, BLOCK)
    f, element = program // blocks, program % blocks * BLOCK + tl.arange(0, BLOCK)
    there = element < size
    total = tl.zeros((BLOCK,), ACC)
    for segment in range(tl.load(firsts + f), tl.load(firsts + f + 1)):
        total += tl.load(parts + segment * size + element, there, 0)
    tl.store(out + f.to(tl.int64) * size + element, narrowed(total, out), there)
