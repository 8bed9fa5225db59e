# SPDX-License-Identifier: BSD-3-Clause
"""The four members as Triton kernels; :mod:`.triton` prepares their arguments.

A pixel's own kernel is synthesised for a block of pixels and a block of taps at a time, by one
matrix product of mixing and basis kernels, and used at once: ``w[p, t] = sum_b m_b[p] k_b[t]``. It
is never stored. No borders here: images come extended by the boundary, and the adjoint writes an
extended image that is folded afterwards.

Sizes in capitals are compile-time: ``ACC`` is the type of all sums, ``PRECISION`` that of products
(see :func:`_operand`), ``BASIS``, ``TAPS`` and ``ROWS`` x ``COLUMNS`` are the sides of the blocks,
powers of 2. Offsets within a plane have 32 bits, those between planes 64. ``plane`` is that of
``image``, ``maps`` the size of one map of ``mixing``, which is also that of the blurred image; a
``_step`` leads to the next sample and is 0 where one serves all.
"""

import triton
import triton.language as tl

from blurops._triton_kernels import add, narrowed, nearest, products, store, tile_of


@triton.jit
def _operand(values, ACC: tl.constexpr, PRECISION: tl.constexpr):
    """Of a product; "tf32" takes 11 bits, rounded here because the hardware would cut off."""
    values = values.to(ACC)
    return nearest(values, 0x1000) if PRECISION == "tf32" else values


@triton.jit
def _product(a, b, PRECISION: tl.constexpr, ACC: tl.constexpr):
    """``a b``, to be added by a rounding addition to what is there already.

    Tensor cores cut off when they add. Without the last argument, which means nothing else for
    these types, the compiler would make the matrix units add up whole sums.
    """
    return tl.dot(a, b, input_precision=PRECISION, out_dtype=ACC, max_num_imprecise_acc=1 << 20)


@triton.jit
def _mixing(
    mixing, pixel, inside, first, basis, maps,
    ACC: tl.constexpr, PRECISION: tl.constexpr, BASIS: tl.constexpr,
):  # fmt: skip
    """(pixels, BASIS) coefficients of the bases from ``first`` on; 0 where there is none."""
    b = first + tl.arange(0, BASIS)
    there = inside[:, None] & (b < basis)[None, :]
    values = tl.load(mixing + pixel[:, None] + (b.to(tl.int64) * maps)[None, :], there, 0)
    return _operand(values, ACC, PRECISION)


@triton.jit
def _taps(
    kernels, tap, present, first, basis, taps,
    ACC: tl.constexpr, PRECISION: tl.constexpr, BASIS: tl.constexpr,
):  # fmt: skip
    """(BASIS, TAPS) values of the basis kernels from ``first`` on; 0 where there is none."""
    b = first + tl.arange(0, BASIS)
    there = (b < basis)[:, None] & present[None, :]
    values = tl.load(kernels + (b * taps)[:, None] + tap[None, :], there, 0)
    return _operand(values, ACC, PRECISION)


@triton.jit
def _store(
    out, first_plane, size, pixel, sum0, sum1, sum2, there, remaining, GROUP: tl.constexpr
):  # fmt: skip
    """Sums over the taps, to up to three planes."""
    store(
        out, first_plane, size, pixel, tl.sum(sum0, 1), tl.sum(sum1, 1), tl.sum(sum2, 1),
        there, remaining, GROUP,
    )  # fmt: skip


@triton.jit
def blur(
    image, kernels, mixing, out,
    channels, basis, taps, kernel_width, rows, columns, width, plane, maps,
    kernels_step, mixing_step,
    ACC: tl.constexpr, PRECISION: tl.constexpr, GROUP: tl.constexpr, BASIS: tl.constexpr,
    TAPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_c[p] = sum_t w[p, t] image_c[p + t]``: a tile of up to three channels per program.

    The rows of ``image`` are ``width`` long, those of ``out`` ``columns``.
    """
    program, groups = tl.program_id(0), tl.cdiv(channels, GROUP)
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    sample = (program // tiles // groups).to(tl.int64)
    channel = program // tiles % groups * GROUP
    y, x, inside = tile_of(program % tiles, rows, columns, ROWS, COLUMNS)
    kernels += sample * kernels_step
    mixing += sample * mixing_step
    first_plane, remaining = sample * channels + channel, channels - channel
    pixel = y * columns + x
    # Up to BASIS maps stay in registers; those beyond are read for every block of taps.
    m = _mixing(mixing, pixel, inside, 0, basis, maps, ACC, PRECISION, BASIS)
    sum0 = tl.zeros((ROWS * COLUMNS, TAPS), ACC)
    sum1, sum2 = sum0, sum0
    for start in range(0, taps, TAPS):
        tap = start + tl.arange(0, TAPS)
        present = tap < taps
        k = _taps(kernels, tap, present, 0, basis, taps, ACC, PRECISION, BASIS)
        w = _product(m, k, PRECISION, ACC)
        for first in range(BASIS, basis, BASIS):
            more = _mixing(mixing, pixel, inside, first, basis, maps, ACC, PRECISION, BASIS)
            k = _taps(kernels, tap, present, first, basis, taps, ACC, PRECISION, BASIS)
            w += _product(more, k, PRECISION, ACC)
        offset = tap // kernel_width * width + tap % kernel_width
        source = (y * width + x)[:, None] + offset[None, :]
        read = inside[:, None] & present[None, :]
        sum0, sum1, sum2 = add(
            sum0, sum1, sum2, w, image, first_plane, plane, source, read, remaining, ACC, GROUP
        )
    _store(out, first_plane, maps, pixel, sum0, sum1, sum2, inside, remaining, GROUP)


@triton.jit
def adjoint(
    image, kernels, mixing, out,
    channels, basis, kernel_height, kernel_width, rows, columns, out_rows, out_columns, top, left,
    plane, maps, kernels_step, mixing_step,
    ACC: tl.constexpr, PRECISION: tl.constexpr, GROUP: tl.constexpr, BASIS: tl.constexpr,
    TAPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_c[q] = sum_t w[p, t] image_c[p]`` at ``p = q - t + (top, left)``, where there is one.

    The taps of a block read COLUMNS neighbours, whose kernels are synthesised together, for the
    ``COLUMNS - TAPS + 1`` pixels that a program owns in each of its rows: column t of w is moved by
    t lanes. ``plane`` is that of ``out``.
    """
    program, groups = tl.program_id(0), tl.cdiv(channels, GROUP)
    across = tl.cdiv(out_columns, COLUMNS - TAPS + 1)
    tiles = tl.cdiv(out_rows, ROWS) * across
    sample = (program // tiles // groups).to(tl.int64)
    channel = program // tiles % groups * GROUP
    kernels += sample * kernels_step
    mixing += sample * mixing_step
    first_plane, remaining = sample * channels + channel, channels - channel
    taps, lane = kernel_height * kernel_width, tl.arange(0, ROWS * COLUMNS)
    first_row = program % tiles // across * ROWS
    q_y = first_row + lane // COLUMNS
    q_x = program % tiles % across * (COLUMNS - TAPS + 1) + lane % COLUMNS
    # The last lanes of a row own no pixel, so it does not matter what is moved into them.
    moved = lane[:, None] + (TAPS - 1 - tl.arange(0, TAPS))[None, :]
    moved = tl.minimum(moved, ROWS * COLUMNS - 1)
    sum0 = tl.zeros((ROWS * COLUMNS, TAPS), ACC)
    sum1, sum2 = sum0, sum0
    first_t = tl.maximum(first_row + top - rows + 1, 0)
    for t_y in range(first_t, tl.minimum(first_row + ROWS + top, kernel_height)):
        p_y = q_y + top - t_y
        in_row = (p_y >= 0) & (p_y < rows)
        for start in range(0, kernel_width, TAPS):
            t_x = start + tl.arange(0, TAPS)
            present = t_x < kernel_width
            # A lane holds the pixel that the last tap of the block moves to its own q.
            p_x = q_x + left - start - (TAPS - 1)
            inside = in_row & (p_x >= 0) & (p_x < columns)
            w = tl.zeros((ROWS * COLUMNS, TAPS), ACC)
            for first in range(0, basis, BASIS):
                pixel = p_y * columns + p_x
                m = _mixing(mixing, pixel, inside, first, basis, maps, ACC, PRECISION, BASIS)
                tap = t_y * kernel_width + t_x
                k = _taps(kernels, tap, present, first, basis, taps, ACC, PRECISION, BASIS)
                w += _product(m, k, PRECISION, ACC)
            # A NaN of mixing must not reach beyond the taps that there are.
            w = tl.where(present[None, :], tl.gather(w, moved, 0), 0)
            p_x = (q_x + left)[:, None] - t_x[None, :]
            read = in_row[:, None] & (p_x >= 0) & (p_x < columns) & present[None, :]
            source = (p_y * columns)[:, None] + p_x
            sum0, sum1, sum2 = add(
                sum0, sum1, sum2, w, image, first_plane, maps, source, read, remaining, ACC, GROUP
            )
    inside = (lane % COLUMNS < COLUMNS - TAPS + 1) & (q_y < out_rows) & (q_x < out_columns)
    pixel = q_y * out_columns + q_x
    _store(out, first_plane, plane, pixel, sum0, sum1, sum2, inside, remaining, GROUP)


@triton.jit
def _products(
    grad, image, y, x, inside, tap, present, channels, columns, kernel_width, width, plane, maps,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``s[p, t] = sum_c grad_c[p] image_c[p + t]``, an operand of a product."""
    offset = tap // kernel_width * width + tap % kernel_width
    pixel, source = y * columns + x, (y * width + x)[:, None] + offset[None, :]
    read = inside[:, None] & present[None, :]
    s = products(
        grad, image, pixel[:, None], source, inside[:, None], read, channels, maps, plane, ACC
    )
    return _operand(s, ACC, PRECISION)


@triton.jit
def grad_mixing(
    grad, image, kernels, out,
    count, channels, basis, taps, kernel_width, rows, columns, width, plane, maps, kernels_step,
    ACC: tl.constexpr, PRECISION: tl.constexpr, BASIS: tl.constexpr, TAPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_b[p] = sum_t k_b[t] s[p, t]``: a tile and BASIS maps per program.

    Each program sums over ``count`` samples: all of them where the mixing is shared, else one.
    """
    program, groups = tl.program_id(0), tl.cdiv(basis, BASIS)
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    result = (program // tiles // groups).to(tl.int64)
    first = program // tiles % groups * BASIS
    y, x, inside = tile_of(program % tiles, rows, columns, ROWS, COLUMNS)
    total = tl.zeros((ROWS * COLUMNS, BASIS), ACC)
    for sample in range(result * count, (result + 1) * count):
        for start in range(0, taps, TAPS):
            tap = start + tl.arange(0, TAPS)
            present = tap < taps
            s = _products(
                grad + sample * channels * maps, image + sample * channels * plane,
                y, x, inside, tap, present, channels, columns, kernel_width, width, plane, maps,
                ACC, PRECISION,
            )  # fmt: skip
            k = _taps(
                kernels + sample * kernels_step, tap, present, first, basis, taps,
                ACC, PRECISION, BASIS,
            )  # fmt: skip
            total += _product(s, tl.trans(k), PRECISION, ACC)
    b = first + tl.arange(0, BASIS)
    target = out + (result * basis + b)[None, :] * maps + (y * columns + x)[:, None]
    there = inside[:, None] & (b < basis)[None, :]
    tl.store(target, narrowed(total, out), there)


@triton.jit
def grad_kernels(
    grad, image, mixing, out,
    count, chunks, channels, basis, taps, kernel_width, rows, columns, width, plane, maps,
    mixing_step,
    ACC: tl.constexpr, PRECISION: tl.constexpr, BASIS: tl.constexpr, TAPS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_b[t] = sum_p m_b[p] s[p, t]`` over one chunk of the tiles.

    A program owns TAPS taps of BASIS kernels. Each sums over ``count`` samples: all of them where
    the kernels are shared, else one. ``out`` is (chunks, results, basis, taps).
    """
    program, groups, blocks = tl.program_id(0), tl.cdiv(basis, BASIS), tl.cdiv(taps, TAPS)
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    tap = program % blocks * TAPS + tl.arange(0, TAPS)
    present = tap < taps
    first = program // blocks % groups * BASIS
    chunk = program // blocks // groups % chunks
    result = (program // blocks // groups // chunks).to(tl.int64)
    length = tl.cdiv(tiles, chunks)
    total = tl.zeros((BASIS, TAPS), ACC)
    for sample in range(result * count, (result + 1) * count):
        for tile in range(chunk * length, tl.minimum((chunk + 1) * length, tiles)):
            y, x, inside = tile_of(tile, rows, columns, ROWS, COLUMNS)
            s = _products(
                grad + sample * channels * maps, image + sample * channels * plane,
                y, x, inside, tap, present, channels, columns, kernel_width, width, plane, maps,
                ACC, PRECISION,
            )  # fmt: skip
            m = _mixing(
                mixing + sample * mixing_step, y * columns + x, inside, first, basis, maps,
                ACC, PRECISION, BASIS,
            )  # fmt: skip
            total += _product(tl.trans(m), s, PRECISION, ACC)
    b = first + tl.arange(0, BASIS)
    results = tl.num_programs(0) // blocks // groups // chunks
    out += (chunk * results + result) * basis * taps
    target = out + (b * taps)[:, None] + tap[None, :]
    tl.store(target, narrowed(total, out), (b < basis)[:, None] & present[None, :])
