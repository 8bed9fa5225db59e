# SPDX-License-Identifier: BSD-3-Clause
"""Which method and which tiles a CUDA call of the compiled family uses.

As on the CPU (:mod:`.tiling`), a model of the time that is linear in constants weighs kernel
synthesis against every tile. ``cuda_costs.json`` holds the constants and says where they come from:
until ``python -m benchmarks.gpu.calibrate`` has refitted them on a device, they are predictions on
paper, for an H100.

At the default precision kernel synthesis rounds its operands and tiles do not. A blur and its
adjoint therefore decide together, by the sum of their times, as one image would: they stay each
other's transposes, also where one of them has the channels of two images.
"""

import functools
import json
import math
from dataclasses import replace
from importlib import resources

import torch

from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work

FILE = "cuda_costs.json"
# The sides of the tiles, and the shared memory that a block needs for one: a line is longer by one
# number than the side, and there is a table of one line.
_BYTES = {side: 8 * side * (side + 2) for side in (64, 128)}
# Images of kernel synthesis come in strips and in groups of channels, bases in products of 16.
_STRIP, _CHANNELS, _BASES = 64, 3, 16
_TRANSPOSES = ("basis_blur", "basis_blur_adjoint")


def choose(work: Work, method: str, high: bool, widest: int, shared_bytes: int) -> Tiling:
    """The tiling with the least modelled time, or ``DIRECT``, among what ``method`` allows.

    Args:
        work: the call.
        method: "auto", "direct" or "fft".
        high: whether the precision is "high"; tiles have it anyway.
        widest: taps of the widest kernels that kernel synthesis serves.
        shared_bytes: what a block of the device may have.
    """
    forced = tiling.forced_now()
    if forced is not None:
        return tiling.cut(forced, work.taps) if forced.height else forced
    if work.member in _TRANSPOSES:
        work = replace(work, member="", count=1, channels=1 if work.channels < _CHANNELS else 3)
    return _choose(work, method, high, widest, shared_bytes)


@functools.lru_cache(maxsize=1024)
def _choose(work: Work, method: str, high: bool, widest: int, shared_bytes: int) -> Tiling:
    if method == "direct":
        return DIRECT
    costs = costs_now()
    works = [replace(work, member=member) for member in _members(work)]

    def tiled(tiles: Tiling) -> float:
        return sum(time(tiled_features(each, tiles), costs) for each in works)

    best = min(candidates(work.taps, shared_bytes), key=tiled)
    if method == "fft" or work.taps[1] > widest:
        return best
    direct = sum(time(direct_features(each, high), costs) for each in works)
    return DIRECT if direct <= tiled(best) else best


def _members(work: Work) -> tuple[str, ...]:
    return (work.member,) if work.member else _TRANSPOSES


def shared_bytes(device: torch.device) -> int:
    """The shared memory that a block of this device may have."""
    properties = torch.cuda.get_device_properties(device)
    return getattr(properties, "shared_memory_per_block_optin", _BYTES[64])


def candidates(taps: tuple[int, int], shared_bytes: int) -> list[Tiling]:
    """The sides that fit the device, with as few parts as fit, and with one more each way."""
    found = set()
    for side, size in _BYTES.items():
        if size <= shared_bytes or side == min(_BYTES):
            least = tiling.cut(Tiling(side, side), taps)
            more = Tiling(side, side, least.parts_down + 1, least.parts_across + 1)
            found |= {least, tiling.cut(more, taps)}
    return sorted(found)


@functools.cache
def costs_now() -> dict[str, float]:
    """The constants, in nanoseconds of the whole device."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return json.loads(text)["nanoseconds"]


def time(features: dict[str, float], costs: dict[str, float]) -> float:
    """Nanoseconds, by the model."""
    return sum(value * costs[name] for name, value in features.items())


def direct_features(work: Work, high: bool) -> dict[str, float]:
    """How much of each constant kernel synthesis costs; their sum of products is its time."""
    listed = work.basis * (3 if high else 1)
    products = math.ceil(listed / _BASES)
    if products > 2:
        products = 2 * math.ceil(products / 2)
    groups = 1 if work.channels == 1 else math.ceil(work.channels / _CHANNELS)
    channels = 1 if work.channels == 1 else _CHANNELS
    width = math.ceil(work.size[1] / _STRIP) * _STRIP
    rows = work.count * work.size[0] * width * work.taps[0] * groups
    eights = math.ceil((work.taps[1] + 3) / 8)
    return {
        f"{work.member}_synthesis": rows * eights * products,
        f"{work.member}_use": rows * 8 * eights * channels,
        "packing": work.count * math.prod(work.size) * listed,
        "direct_call": 1.0,
    }


def tiled_features(work: Work, tiles: Tiling) -> dict[str, float]:
    """As :func:`direct_features`: a pair's transforms, products, mixing, and a tile's own."""
    side, parts = tiles.height, tiles.parts_down * tiles.parts_across
    count = math.prod(tiling.tile_counts(work.size, work.taps, tiles)) * work.count * work.channels
    pairs, points = math.ceil(work.basis / 2), side * side
    held = side == min(_BYTES) and parts == 1
    return {
        f"{work.member}_points{side}": count * pairs * points,
        "product": count * pairs * points * (0.5 if held else parts),
        "mixing": work.count * math.prod(work.size) * work.basis * work.channels,
        "window": (count * points + pairs * points) * parts,
        "tiled_call": 1.0,
    }
