# SPDX-License-Identifier: BSD-3-Clause
"""Motion blur, its transpose and its derivatives as Triton kernels; :mod:`.triton` prepares them.

A tile of pixels takes the offsets of its window one after the other; each pixel has a line of its
own, whose weight at the offset is computed on the spot by the rule of :mod:`.line`. The row and
columns of offsets that some line of the tile touches are found on the device, so nobody waits for
the lengths. Borders are mapped, in the transpose unfolded, without extended images.

``room`` is how far motions may reach each way; longer ones are shortened. Angles come as ``cos``
and ``sin`` in float64. In float, either becomes two numbers, the first of which has 12 bits behind
the point: multiples of it are exact, and so is the sum of two that nearly cancel across a line.

Sizes in capitals are compile-time: ``ACC`` is the type of all sums, ``ROWS`` x ``COLUMNS`` a tile,
powers of 2. ``height`` x ``width`` is the sharp image, ``plane`` its size; ``rows`` x ``columns``
are the motions and the blurred image, ``maps`` their size; blurred pixel p lies at the sharp pixel
``p + (top, left)``. A ``_step`` leads to the next sample and is 0 where one serves all. Offsets
within a plane have 32 bits, those between planes 64.
"""

import triton
import triton.language as tl

from blurops._triton_kernels import add, narrowed, products, store, tile_of


@triton.jit
def _line(
    length, cos, sin, pixel, inside, room, ACC: tl.constexpr, DERIVATIVE: tl.constexpr
):  # fmt: skip
    """Cosine and sine in two parts each, half the length, and where caps of "fspecial" begin."""
    length = tl.load(length + pixel, inside, 1).to(tl.float64)
    cos, sin = tl.load(cos + pixel, inside, 1), tl.load(sin + pixel, inside, 0)
    half = (tl.minimum(tl.maximum(length, 1), 2 * room + 1) - 1) * 0.5
    # Where there is no motion, everything is NaN, and has no weight anywhere.
    there = (tl.abs(length) < float("inf")) & (cos == cos)
    half, cos = tl.where(there, half, float("nan")), tl.where(there, cos, float("nan"))
    if not DERIVATIVE:
        # A motion of length 1 has its neighbours at a distance of exactly 1, and changes nothing.
        cos, sin = tl.where(half == 0, 1, cos), tl.where(half == 0, 0, sin)
    high_cos, high_sin = cos.to(ACC), sin.to(ACC)
    if tl.float32 == ACC:
        high_cos = (high_cos + 3072.0) - 3072.0
        high_sin = (high_sin + 3072.0) - 3072.0
    low_cos, low_sin = (cos - high_cos).to(ACC), (sin - high_sin).to(ACC)
    limit = tl.ceil(half * half).to(ACC)
    return high_cos, low_cos, high_sin, low_sin, half.to(ACC), limit


@triton.jit
def _nothing(cos, half):
    """Zero; NaN where there is no motion, because the angle or the length is none."""
    return (half - half) + (cos - cos)


@triton.jit
def _place(q, p, cos, low_cos, sin, low_sin, half, limit, SEGMENT: tl.constexpr):
    """Across the line, along it, how far beyond its end, whether at a cap, and the distance."""
    across = q * cos + p * sin + (q * low_cos + p * low_sin)
    along = p * (cos + low_cos) - q * (sin + low_sin)
    beyond = tl.abs(along) - half
    if SEGMENT:
        cap = beyond > 0
    else:
        cap = limit <= q * q + p * p
    distance = tl.where(cap, tl.sqrt(across * across + beyond * beyond), tl.abs(across))
    return across, along, beyond, cap, distance


@triton.jit
def _weight(q, p, cos, low_cos, sin, low_sin, half, limit, SEGMENT: tl.constexpr):
    _, _, _, _, distance = _place(q, p, cos, low_cos, sin, low_sin, half, limit, SEGMENT)
    return tl.where(distance < 1, 1 - distance, 0)


@triton.jit
def _reach(half, part, room, DERIVATIVE: tl.constexpr):
    """How far lines reach along an axis, of which ``part`` is their cosine; no number stays none.

    By the derivative from the right, pixels at a distance of exactly 1 count already.
    """
    farthest = half * tl.abs(part)
    steps = tl.floor(farthest) + 1 if DERIVATIVE else tl.ceil(farthest)
    return tl.where(steps <= room, steps, tl.where(steps > room, room, -1))


@triton.jit
def _columns(q, cos, sin, half, there, room, DERIVATIVE: tl.constexpr):
    """The first and last column of row q of offsets in which some line may have weight."""
    across, down = _reach(half, cos, room, DERIVATIVE), _reach(half, sin, room, DERIVATIVE)
    there = there & (q <= down) & (-q <= down)
    # A line that is level within a window has weight in all columns of its rows.
    steep = tl.where(sin < 0, tl.minimum(sin, -1e-6), tl.maximum(sin, 1e-6))
    centre, spread = -q * cos / steep, 1 / tl.abs(steep) + 0.01  # rounding must not lose a column
    low = tl.maximum(tl.ceil(centre - spread), -across)
    high = tl.minimum(tl.floor(centre + spread), across)
    # Nothing lies beyond the room; less than the least is no column.
    low, high = tl.where(there, low, room + 1), tl.where(there, high, -room - 1)
    return tl.min(low, 0).to(tl.int32), tl.max(high, 0).to(tl.int32)


@triton.jit
def _rows(sin, half, room, DERIVATIVE: tl.constexpr):
    """How many rows of offsets, each way, some line reaches."""
    return tl.maximum(tl.max(_reach(half, sin, room, DERIVATIVE), 0), 0).to(tl.int32)


@triton.jit
def _mapped(i, size, BOUNDARY: tl.constexpr):
    """Where position i along an axis is read, and whether there is anything."""
    there = i == i
    if BOUNDARY == "reflect":  # once at each end is enough for what there is room for
        i = tl.abs(i)
        i = tl.where(i >= size, 2 * (size - 1) - i, i)
    elif BOUNDARY == "replicate":
        i = tl.minimum(tl.maximum(i, 0), size - 1)
    elif BOUNDARY == "circular":
        i = i % size
        i = tl.where(i < 0, i + size, i)
    else:
        there = (i >= 0) & (i < size)
    return i, there


@triton.jit
def blur(
    image, length, cos, sin, out,
    channels, room, height, width, rows, columns, top, left, plane, maps, length_step, angle_step,
    ACC: tl.constexpr, BOUNDARY: tl.constexpr, SEGMENT: tl.constexpr, GROUP: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``sum_u a(u) image_c[p + u] / sum_u a(u)``: a tile of up to three channels per program."""
    program, groups = tl.program_id(0), tl.cdiv(channels, GROUP)
    tiles = tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    sample = (program // tiles // groups).to(tl.int64)
    channel = program // tiles % groups * GROUP
    y, x, inside = tile_of(program % tiles, rows, columns, ROWS, COLUMNS)
    first_plane, remaining = sample * channels + channel, channels - channel
    pixel, turn = y * columns + x, sample * angle_step
    c, low_c, s, low_s, half, limit = _line(
        length + sample * length_step, cos + turn, sin + turn, pixel, inside, room, ACC, False
    )
    sum0 = tl.zeros((ROWS * COLUMNS,), ACC)
    sum1, sum2 = sum0, sum0
    total = _nothing(c, half)
    far = _rows(s, half, room, False)
    for q in range(-far, far + 1):
        first, last = _columns(q, c, s, half, inside, room, False)
        v, in_row = _mapped(y + top + q, height, BOUNDARY)
        for p in range(first, last + 1):
            weight = _weight(q, p, c, low_c, s, low_s, half, limit, SEGMENT)
            u, in_column = _mapped(x + left + p, width, BOUNDARY)
            read = inside & in_row & in_column & (weight > 0)
            total += weight
            sum0, sum1, sum2 = add(
                sum0, sum1, sum2, weight, image, first_plane, plane, v * width + u, read,
                remaining, ACC, GROUP,
            )  # fmt: skip
    store(
        out, first_plane, maps, pixel, sum0 / total, sum1 / total, sum2 / total, inside, remaining,
        GROUP,
    )  # fmt: skip


@triton.jit
def lines(
    length, cos, sin, out, reach,
    room, rows, columns, maps, length_step, angle_step,
    ACC: tl.constexpr, SEGMENT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What the transpose reads of every pixel: the six numbers of its line, and 1 / sum_u a(u).

    ``out`` is (motions, 7, rows, columns); ``reach`` (programs, 2) how far the lines of a tile
    reach, down and across.
    """
    program, tiles = tl.program_id(0), tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    motion = (program // tiles).to(tl.int64)
    y, x, inside = tile_of(program % tiles, rows, columns, ROWS, COLUMNS)
    pixel, turn = y * columns + x, motion * angle_step
    c, low_c, s, low_s, half, limit = _line(
        length + motion * length_step, cos + turn, sin + turn, pixel, inside, room, ACC, False
    )
    total = _nothing(c, half)
    far = _rows(s, half, room, False)
    for q in range(-far, far + 1):
        first, last = _columns(q, c, s, half, inside, room, False)
        for p in range(first, last + 1):
            total += _weight(q, p, c, low_c, s, low_s, half, limit, SEGMENT)
    # One addition after the other: the product might have more than 32 bits.
    out += motion * 7 * maps + pixel
    tl.store(out, c, inside)
    out += maps
    tl.store(out, low_c, inside)
    out += maps
    tl.store(out, s, inside)
    out += maps
    tl.store(out, low_s, inside)
    out += maps
    tl.store(out, half, inside)
    out += maps
    tl.store(out, limit, inside)
    out += maps
    tl.store(out, 1 / total, inside)
    tl.store(reach + 2 * program, far)
    tl.store(reach + 2 * program + 1, _rows(c, half, room, False))


@triton.jit
def _turns(first, far, size, SIDE: tl.constexpr, BOUNDARY: tl.constexpr):
    """Which further positions are read from pixels of an axis: turns before it, and after.

    The tile has SIDE pixels from ``first`` on. For "reflect" there is one turn at each end. For
    "replicate" each turn has SIDE positions beyond the edge, all of which are read from the edge.
    """
    before, after = 0 * far, 0 * far
    last = first + SIDE - 1
    if BOUNDARY == "reflect":
        before = tl.where((far > 0) & (tl.maximum(first, 1) <= far), 1, 0)
        after = tl.where((far > 0) & (tl.minimum(last, size - 2) >= size - 1 - far), 1, 0)
    if BOUNDARY == "replicate":
        before = tl.where(first == 0, tl.cdiv(far, SIDE), 0)
        after = tl.where(last >= size - 1, tl.cdiv(far, SIDE), 0)
    return before, after


@triton.jit
def _unfolded(turn, i, lane, size, SIDE: tl.constexpr, BOUNDARY: tl.constexpr):
    """The positions of a turn, 0 being the image itself, and whether there are any."""
    beyond = i
    there = i < size
    if BOUNDARY == "reflect":
        beyond = tl.where(turn < 0, -i, tl.where(turn > 0, 2 * (size - 1) - i, i))
        # The edge is not repeated.
        there = there & ((turn >= 0) | (i > 0)) & ((turn <= 0) | (i < size - 1))
    if BOUNDARY == "replicate":
        beyond = tl.where(turn == 0, i, turn * SIDE + lane + tl.where(turn > 0, size - SIDE, 0))
        there = there | (turn != 0)
    return beyond, there


@triton.jit
def _folded(
    sums, turn_y, turn_x, y, x, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Sums at the positions of a turn for "replicate": those beyond an edge add up there."""
    edge_y = tl.where(turn_y < 0, 0, height - 1)
    edge_x = tl.where(turn_x < 0, 0, width - 1)
    sums = tl.reshape(sums, (ROWS, COLUMNS))
    y, x = tl.reshape(y, (ROWS, COLUMNS)), tl.reshape(x, (ROWS, COLUMNS))
    down = tl.where(y == edge_y, tl.sum(sums, 0)[None, :], 0)
    sums = tl.where(turn_y == 0, sums, down)
    across = tl.where(x == edge_x, tl.sum(sums, 1)[:, None], 0)
    return tl.reshape(tl.where(turn_x == 0, sums, across), (ROWS * COLUMNS,))


@triton.jit
def _source_columns(
    lines, q, v, in_row, u, far, room, columns, maps, COLUMNS: tl.constexpr, BOUNDARY: tl.constexpr
):  # fmt: skip
    """:func:`_columns` of all pixels in a row that may spread to one of the positions u.

    These have to follow on each other, whether there are such pixels or not.
    """
    first, last = far + 1, -far - 1
    for start in range(-far, far + COLUMNS, COLUMNS):
        s, there = _source(u + start, columns, BOUNDARY)
        there = there & in_row
        at = lines + v * columns + s
        cos, sin = tl.load(at, there, 1), tl.load(at + maps + maps, there, 0)
        half = tl.load(at + maps + maps + maps + maps, there, 0)
        low, high = _columns(q, cos, sin, half, there, room, False)
        first, last = tl.minimum(first, low), tl.maximum(last, high)
    # The cosine there has 12 bits behind the point.
    return tl.maximum(first - 1, -far), tl.minimum(last + 1, far)


@triton.jit
def _source(i, size, BOUNDARY: tl.constexpr):
    """Which pixel spreads from position i, and whether there is one."""
    if BOUNDARY == "circular":
        i = i % size
        i = tl.where(i < 0, i + size, i)
    return i, (i >= 0) & (i < size)


@triton.jit
def _gather(
    sum0, sum1, sum2, image, lines, y, x, wanted_y, wanted_x, first_plane, remaining, far_y, far_x,
    room, rows, columns, maps,
    ACC: tl.constexpr, BOUNDARY: tl.constexpr, SEGMENT: tl.constexpr, GROUP: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """The sums and what positions (y, x), those of blurred pixels, get from all that spread."""
    for q in range(-far_y, far_y + 1):
        v, in_row = _source(y - q, rows, BOUNDARY)
        in_row = in_row & wanted_y
        first, last = _source_columns(
            lines, q, v, in_row, x, far_x, room, columns, maps, COLUMNS, BOUNDARY
        )
        for p in range(first, last + 1):
            u, in_column = _source(x - p, columns, BOUNDARY)
            read, source = in_row & in_column & wanted_x, v * columns + u
            # One addition after the other: the product might have more than 32 bits.
            at = lines + source
            c = tl.load(at, read, 1)
            at += maps
            low_c = tl.load(at, read, 0)
            at += maps
            s = tl.load(at, read, 0)
            at += maps
            low_s = tl.load(at, read, 0)
            at += maps
            half = tl.load(at, read, 0)
            at += maps
            limit = tl.load(at, read, 0)
            weight = _weight(q, p, c, low_c, s, low_s, half, limit, SEGMENT)
            read = read & (weight > 0)
            weight *= tl.load(at + maps, read, 0)
            sum0, sum1, sum2 = add(
                sum0, sum1, sum2, weight, image, first_plane, maps, source, read, remaining,
                ACC, GROUP,
            )  # fmt: skip
    return sum0, sum1, sum2


@triton.jit
def _missing(halves, y, x, inside, rows, columns):
    """Zero; NaN at a pixel without a motion, which spreads its NaN to its own place alone."""
    there = inside & (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    half = tl.load(halves + y * columns + x, there, 0)
    return half - half


@triton.jit
def adjoint(
    image, lines, reach, out,
    channels, room, height, width, rows, columns, top, left, plane, maps, lines_step,
    ACC: tl.constexpr, BOUNDARY: tl.constexpr, SEGMENT: tl.constexpr, GROUP: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out_c[q]`` is the sum of ``a_p(u) / sum_u a_p(u) image_c[p]`` over all p + u read from q.

    A tile of up to three channels per program gathers from the pixels that spread to it, and then
    from those that spread to positions beyond the image that are read from it.
    """
    program, groups = tl.program_id(0), tl.cdiv(channels, GROUP)
    tiles = tl.cdiv(height, ROWS) * tl.cdiv(width, COLUMNS)
    sample = (program // tiles // groups).to(tl.int64)
    channel = program // tiles % groups * GROUP
    y, x, inside = tile_of(program % tiles, height, width, ROWS, COLUMNS)
    first_plane, remaining = sample * channels + channel, channels - channel
    lines += sample * lines_step
    far_y, far_x = tl.load(reach), tl.load(reach + 1)
    across, lane = tl.cdiv(width, COLUMNS), tl.arange(0, ROWS * COLUMNS)
    above, below = _turns(program % tiles // across * ROWS, far_y, height, ROWS, BOUNDARY)
    before, after = _turns(program % tiles % across * COLUMNS, far_x, width, COLUMNS, BOUNDARY)
    sum0 = tl.zeros((ROWS * COLUMNS,), ACC)
    zero, sum1, sum2 = sum0, sum0, sum0
    for turn_y in range(-above, below + 1):
        v, wanted_y = _unfolded(turn_y, y, lane // COLUMNS, height, ROWS, BOUNDARY)
        for turn_x in range(-before, after + 1):
            u, wanted_x = _unfolded(turn_x, x, lane % COLUMNS, width, COLUMNS, BOUNDARY)
            part0, part1, part2 = _gather(
                zero, zero, zero, image, lines, v - top, u - left, wanted_y, wanted_x, first_plane,
                remaining, far_y, far_x, room, rows, columns, maps,
                ACC, BOUNDARY, SEGMENT, GROUP, COLUMNS,
            )  # fmt: skip
            if BOUNDARY == "replicate":
                part0 = _folded(part0, turn_y, turn_x, y, x, height, width, ROWS, COLUMNS)
                part1 = _folded(part1, turn_y, turn_x, y, x, height, width, ROWS, COLUMNS)
                part2 = _folded(part2, turn_y, turn_x, y, x, height, width, ROWS, COLUMNS)
            sum0 += part0
            sum1 += part1
            sum2 += part2
    none = _missing(lines + maps + maps + maps + maps, y - top, x - left, inside, rows, columns)
    sum0 += none
    sum1 += none
    sum2 += none
    store(out, first_plane, plane, y * width + x, sum0, sum1, sum2, inside, remaining, GROUP)


@triton.jit
def _slope(
    across, along, beyond, cap, distance, half, ACC: tl.constexpr, ANGLE: tl.constexpr
):  # fmt: skip
    """The derivative of the weight by angle or length: see :meth:`.line.Lines.slope`."""
    divisor = tl.where(distance > 0, distance, 1)
    if ANGLE:
        signed = tl.where(along > 0, half, tl.where(along < 0, -half, 0))
        side = tl.where(across > 0, -along, tl.where(across < 0, along, 0))
        return tl.where(distance < 1, tl.where(cap, -across * signed / divisor, side), 0)
    edge: tl.constexpr = 1 + 16 * (1.1920929e-7 if tl.float32 == ACC else 2.220446049250313e-16)
    return tl.where(cap & (distance <= edge), beyond / (2 * divisor), 0)


@triton.jit
def gradient(
    grad, image, length, cos, sin, out,
    count, channels, room, height, width, rows, columns, top, left, plane, maps, length_step,
    angle_step,
    ACC: tl.constexpr, BOUNDARY: tl.constexpr, SEGMENT: tl.constexpr, ANGLE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``(sum_u a'(u) S(u) - Z'/Z sum_u a(u) S(u)) / Z``, ``S(u) = sum_c grad_c image_c[p + u]``.

    A tile per program, which sums over ``count`` samples: all of them where the map is shared.
    """
    program, tiles = tl.program_id(0), tl.cdiv(rows, ROWS) * tl.cdiv(columns, COLUMNS)
    result = (program // tiles).to(tl.int64)
    y, x, inside = tile_of(program % tiles, rows, columns, ROWS, COLUMNS)
    pixel = y * columns + x
    sums = tl.zeros((ROWS * COLUMNS,), ACC)
    for sample in range(result * count, (result + 1) * count):
        turn = sample * angle_step
        c, low_c, s, low_s, half, limit = _line(
            length + sample * length_step, cos + turn, sin + turn, pixel, inside, room, ACC, True
        )
        total = _nothing(c, half)
        mean, change, moved = total, total, total
        far = _rows(s, half, room, True)
        for q in range(-far, far + 1):
            first, last = _columns(q, c, s, half, inside, room, True)
            v, in_row = _mapped(y + top + q, height, BOUNDARY)
            for p in range(first, last + 1):
                across, along, beyond, cap, distance = _place(
                    q, p, c, low_c, s, low_s, half, limit, SEGMENT
                )
                weight = tl.where(distance < 1, 1 - distance, 0)
                slope = _slope(across, along, beyond, cap, distance, half, ACC, ANGLE)
                u, in_column = _mapped(x + left + p, width, BOUNDARY)
                read = inside & in_row & in_column & ((weight > 0) | (slope != 0))
                product = products(
                    grad + sample * channels * maps, image + sample * channels * plane, pixel,
                    v * width + u, inside, read, channels, maps, plane, ACC,
                )  # fmt: skip
                total += weight
                mean += weight * product
                change += slope
                moved += slope * product
        sums += (moved - change * mean / total) / total
    tl.store(out + result * maps + pixel, narrowed(sums, out), inside)
