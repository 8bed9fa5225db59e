# SPDX-License-Identifier: BSD-3-Clause
"""Which method and which tiles a call of the compiled family uses.

A model of the time, linear in constants that were measured once per instruction set
(``costs.json``; ``make calibrate`` refits them), weighs the direct method against every tile. The
number of threads has no say, because results must not depend on it.
"""

import contextlib
import functools
import itertools
import json
import math
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import resources
from typing import NamedTuple

from blurops import _native


class Tiling(NamedTuple):
    """Tiling in csrc/basis_blur/basis_blur.h: the transforms' lengths and the kernels' parts."""

    height: int
    width: int
    parts_down: int = 1
    parts_across: int = 1


DIRECT = Tiling(0, 0)

# Work is shared out by tiles: a count that four threads cannot share evenly costs as much as the
# next one they can.
_SHARES = 4
# kBusyUnits in csrc/basis_blur/tile_launch.cpp.
_BUSY_UNITS = 8
# Spectra beyond a core's share of the third-level cache come from memory for every pair of bases.
_NEAR_BYTES = 3 * 1024 * 1024
# Of the time of a pass, what goes into what it writes (or reads, on the way back).
_WRITING = 0.5
# Taps (bases, for the mixing's gradient) that the direct method computes together.
_BLOCK = 8

# The fused call, and what it does in one sweep of tiles; the direct method runs them in turn.
_FUSED = "basis_blur_backward"
# Members whose channels share transforms where there is one basis.
_SHARING = ("basis_blur", "basis_blur_adjoint")
_WINDOWS = {
    "basis_blur": ("window",),
    "basis_blur_adjoint": ("fold",),
    "basis_blur_grad_kernels": ("window",),
    "basis_blur_grad_mixing": ("window",),
    _FUSED: ("window", "fold"),
}
_FUSED_MEMBERS = ("basis_blur_adjoint", "basis_blur_grad_kernels", "basis_blur_grad_mixing")


@dataclass(frozen=True)
class Work:
    """What the time of a call depends on."""

    member: str
    count: int
    channels: int
    basis: int
    size: tuple[int, int]  # of the blurred image
    taps: tuple[int, int]  # of the kernels, without the zeros around them
    element: int  # bytes


_forced: ContextVar[Tiling | None] = ContextVar("forced tiling", default=None)


@contextlib.contextmanager
def forced(tiling: Tiling) -> Iterator[None]:
    """Make every call use these tiles, or ``DIRECT``: for tests and for the calibration.

    More parts than the kernels have taps become one part per tap.
    """
    token = _forced.set(tiling)
    try:
        yield
    finally:
        _forced.reset(token)


def forced_now() -> Tiling | None:
    """What :func:`forced` asks for, if anything."""
    return _forced.get()


def choose(work: Work, method: str) -> Tiling:
    """The tiling with the least modelled time among those that ``method`` allows."""
    tiling = _forced.get()
    if tiling is not None:
        return cut(tiling, work.taps) if tiling.height else tiling
    if method == "direct":
        return DIRECT
    return _choose(work, method, _native.module().isa())


@functools.lru_cache(maxsize=1024)
def _choose(work: Work, method: str, isa: str) -> Tiling:
    costs = costs_of(isa)
    best = min(candidates(work.taps), key=lambda tiling: tiled_time(work, tiling, costs))
    if method == "auto" and direct_time(work, costs) <= tiled_time(work, best, costs):
        return DIRECT
    return best


@functools.cache
def costs_of(isa: str) -> dict[str, float]:
    """The constants of one instruction set, in nanoseconds."""
    text = resources.files(__package__).joinpath("costs.json").read_text(encoding="utf-8")
    return json.loads(text)[isa]


def cut(tiling: Tiling, taps: tuple[int, int]) -> Tiling:
    """As many parts as the tiling asks for, or as the tile's size and the taps make necessary."""
    down = _parts(taps[0], tiling.height, tiling.parts_down)
    across = _parts(taps[1], tiling.width, tiling.parts_across)
    return Tiling(tiling.height, tiling.width, down, across)


def _parts(taps: int, length: int, wanted: int) -> int:
    """Parts of at most three quarters of a tile, each with a tap of its own."""
    parts = max(min(wanted, taps), math.ceil(taps / (3 * length // 4)))
    return math.ceil(taps / math.ceil(taps / parts))


def candidates(taps: tuple[int, int]) -> list[Tiling]:
    """Every pair of lengths, with as few parts as fit, and with one more along each axis."""
    lengths = _native.module().tile_lengths()
    return sorted(
        {
            cut(Tiling(height, width, _parts(taps[0], height, 1) + more, across + more), taps)
            for height in lengths
            for width in lengths
            for across in (_parts(taps[1], width, 1),)
            for more in (0, 1)
        }
    )


def tile_counts(size: tuple[int, int], taps: tuple[int, int], tiling: Tiling) -> tuple[int, int]:
    """Tiles down and across the blurred image."""
    rows = tiling.height - math.ceil(taps[0] / tiling.parts_down) + 1
    columns = tiling.width - math.ceil(taps[1] / tiling.parts_across) + 1
    return math.ceil(size[0] / rows), math.ceil(size[1] / columns)


def _shared_out(work: Work, tiling: Tiling, together: int, threads: int) -> float:
    """Sets of tiles, and those that are waited for where threads cannot share them evenly.

    The tiles that adjoint and fused call write overlap in the image: they are computed in groups
    that do not.
    """
    counts = tile_counts(work.size, work.taps, tiling)
    if work.member not in ("basis_blur_adjoint", _FUSED):
        return threads * math.ceil(work.count * math.prod(counts) / together / threads)
    # Along an axis every n-th tile is in the same group, n being what one tile's reach touches.
    lines = []
    for size, tiles, taps in zip(work.size, counts, work.taps, strict=True):
        step = math.ceil(size / tiles)
        groups = min(tiles, math.ceil((step + taps - 1) / step))
        lines.append([len(range(first, tiles, groups)) for first in range(groups)])
    units = [
        math.ceil(work.count * down * across / together)
        for down, across in itertools.product(*lines)
    ]
    # As in tile_launch.cpp: channels are shared out where a group's tiles are few.
    few = together == 1 and max(units) < _BUSY_UNITS and work.member != _FUSED
    turns = work.channels if few else 1
    return sum(threads * math.ceil(unit * turns / threads) for unit in units) / turns


def tiled_features(work: Work, tiling: Tiling, threads: int = _SHARES) -> dict[str, float]:
    """How much of each constant a call costs; their sum of products is its time, of one thread.

    What some of so many threads would wait for counts as work.
    """
    height, width, down, across = tiling
    parts = down * across
    rows = height - math.ceil(work.taps[0] / down) + 1
    columns = width - math.ceil(work.taps[1] / across) + 1
    pairs = math.ceil(work.basis / 2)
    # Under a single basis two channels share each transform, of two tiles where they are odd.
    shared = work.basis == 1 and work.member in _SHARING
    together = 2 if shared and work.channels % 2 else 1
    planes = work.channels / 2 if shared else work.channels
    tiles = together * _shared_out(work, tiling, together, threads)
    whole = height * width
    # A channel's spectra, or the adjoint's inverses: both passes over the whole tile. A pair's
    # transform keeps `columns` of one pass, and writes (reads) no more of the other.
    full, pruned = planes * parts, planes * pairs
    # The fused call makes the image's spectra and inverts the adjoint's, transforms a pair both
    # ways, multiplies it for each of its three results, and reads and writes a plane per basis.
    ways, products = (2, 3) if work.member == _FUSED else (1, 1)
    features = {f"transform{length}": 0.0 for length in {height, width}}
    rowwise = width * full + ((1 - _WRITING) * width + _WRITING * columns) * pruned
    features[f"transform{width}"] += ways * tiles * height * rowwise
    features[f"transform{height}"] += ways * tiles * height * (width * full + columns * pruned)
    # Windows of the image are gathered, those of the adjoint added to it.
    for name in _WINDOWS[work.member]:
        features[name] = tiles * whole * full
    features["product"] = products * tiles * whole * pruned * parts
    features["product_of_parts"] = features["product"] if parts > 1 else 0.0
    # The fused call holds the channels' spectra, those of their sums, and those of all pairs.
    held = 2 * full + pairs * parts if work.member == _FUSED else full
    far = 2 * work.element * whole * held > _NEAR_BYTES
    features["far_product"] = features["product"] if far else 0.0
    features["mixing"] = ways * tiles * rows * columns * work.basis
    # The kernels' own spectra: both passes over whole tiles.
    features[f"transform{width}"] += whole * pairs * parts
    features[f"transform{height}"] += whole * pairs * parts
    scale = work.element / 4
    return {"call": 1.0} | {name: value * scale for name, value in features.items()}


def tiled_time(work: Work, tiling: Tiling, costs: dict[str, float]) -> float:
    """Nanoseconds of one thread, by the model."""
    return sum(value * costs[name] for name, value in tiled_features(work, tiling).items())


def is_one_sweep(work: Work, method: str) -> bool:
    """Whether the fused call is the best way to all three gradients, or its members in turn are.

    It saves two transforms of five. But large kernels leave few tiles that threads can share, and
    the sums of many pairs to be held at once.
    """
    if _forced.get() is not None or method == "direct":
        return True
    return _is_one_sweep(work, method, _native.module().isa())


@functools.lru_cache(maxsize=1024)
def _is_one_sweep(work: Work, method: str, isa: str) -> bool:
    costs = costs_of(isa)

    def least(member: str) -> float:
        each = replace(work, member=member)
        tiles = _choose(each, method, isa)
        return tiled_time(each, tiles, costs) if tiles.height else direct_time(each, costs)

    return least(_FUSED) <= sum(map(least, _FUSED_MEMBERS))


def direct_features(work: Work) -> dict[str, float]:
    """As :func:`tiled_features`: synthesis of the taps, which come in blocks, and their use."""
    if work.member == _FUSED:
        each = (direct_features(replace(work, member=member)) for member in _FUSED_MEMBERS)
        return dict(itertools.chain.from_iterable(features.items() for features in each))
    pixels = work.count * math.prod(work.size) * work.element / 4
    rows, taps = work.taps
    blocks = math.ceil(taps / _BLOCK) * _BLOCK
    return {
        "call": 1.0,
        f"{work.member}_synthesis": pixels * rows * blocks * work.basis,
        f"{work.member}_use": pixels * rows * taps * work.channels,
        f"{work.member}_row": pixels * rows,
        f"{work.member}_pixel": pixels * (work.basis + work.channels),
    }


def direct_time(work: Work, costs: dict[str, float]) -> float:
    """Nanoseconds of one thread, by the model."""
    return sum(value * costs[name] for name, value in direct_features(work).items())
