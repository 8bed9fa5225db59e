# SPDX-License-Identifier: BSD-3-Clause
"""When NU-Conv on the CPU takes the tiles of the basis-mixed blur, and which.

A tile mixes the filters that its pixels pick, as a tile of `basis_blur` mixes bases. Where
neighbouring pixels pick the same few filters that is less work than a sum over the taps at each
pixel, and where they do not it is far more. How many filters the tiles pick is known when the index
has been looked at, by the compiled module; what it may spend before it sums over the taps instead
is a budget from here.
"""

import functools
import math
from dataclasses import replace
from typing import NamedTuple

from blurops import _native
from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work, costs_of

# Filters of a tile for which its size is chosen: what smooth fields of motion pick.
_TYPICAL = 16


class Cost(NamedTuple):
    """Nanoseconds of one thread in single precision."""

    # A sum over the taps, for each pixel and tap: in itself, for each filter picked, each channel.
    tap: float
    pick: float
    channel: float
    # To find the weights of one of a tile's filters, for each pixel and filter picked.
    found: float


# Measured with K = 15 and 31, J = 1 and 4, C = 1 and 3, and 4 to 40 filters in each tile.
_COSTS = {
    "avx512": Cost(0.06, 0.03, 0.03, 0.27),
    "avx2": Cost(0.06, 0.03, 0.03, 0.42),
    "baseline": Cost(0.13, 0.045, 0.04, 0.95),
}


class Choice(NamedTuple):
    """The tiles, or `DIRECT`, and the transforms beside those that every tile needs."""

    tiling: Tiling
    budget: float


def choose(work: Work, picked: int, method: str) -> Choice:
    """Of a call whose `work.basis` is the size of the bank."""
    forced = tiling.forced_now()
    if forced is not None:
        return Choice(tiling.choose(work, method), math.inf)
    if method == "direct":
        return Choice(DIRECT, 0.0)
    return _choose(replace(work, basis=_TYPICAL), picked, method, _native.module().isa())


@functools.lru_cache(maxsize=1024)
def _choose(work: Work, picked: int, method: str, isa: str) -> Choice:
    tiles = tiling.choose(work, "fft")
    if method == "fft":
        return Choice(tiles, math.inf)
    costs = costs_of(isa)
    few, many = (tiling.tiled_time(replace(work, basis=b), tiles, costs) for b in (2, 34))
    count = math.prod(tiling.tile_counts(work.size, work.taps, tiles)) * work.count
    pair = (many - few) / 16
    every = few - pair
    found = 2 * work.count * math.prod(work.size) * picked * _COSTS[isa].found * work.element / 4
    each = (pair + found) / count / work.channels
    budget = (direct_time(work, picked, isa) - every) / each
    # Where not even the first transform pays, nobody needs to look at the index.
    return Choice(tiles, budget) if budget > 0 else Choice(DIRECT, 0.0)


def direct_time(work: Work, picked: int, isa: str) -> float:
    """Nanoseconds of one thread that sums over the taps."""
    cost = _COSTS[isa]
    terms = work.count * math.prod(work.size) * math.prod(work.taps) * work.element / 4
    return terms * (cost.tap + picked * cost.pick + work.channels * cost.channel)
