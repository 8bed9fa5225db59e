# SPDX-License-Identifier: BSD-3-Clause
"""Fit the constants by which ``method="auto"`` picks a method and a tile.

    make calibrate

Runs the direct method and forced tiles of every length at several sizes on one thread, fits the
time model of ``blurops/ops/basis_blur/tiling.py`` to the measured times by non-negative least
squares of relative errors, for each instruction set this processor has, and writes ``costs.json``.
"""

import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls

import blurops
from blurops import _native
from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work

_PATH = Path(tiling.__file__).with_name("costs.json")
_ROUNDS = 3
_MEMBERS = (
    "basis_blur",
    "basis_blur_adjoint",
    "basis_blur_grad_kernels",
    "basis_blur_grad_mixing",
)
# The two that the others are made of.
_TILED_MEMBERS = _MEMBERS[:2]


def seconds(call: Callable[[], object]) -> float:
    """One run, after one that warms the caches up."""
    call()
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def call_of(work: Work) -> Callable[[], object]:
    """A call with dense random inputs that is this work."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(work.count, work.channels, *work.size, generator=generator)
    kernels = torch.rand(1, work.basis, *work.taps, generator=generator)
    mixing = torch.rand(1, work.basis, *work.size, generator=generator)
    options = {"backend": "native", "boundary": "circular"}
    calls = {
        "basis_blur": lambda: blurops.basis_blur(image, kernels, mixing, **options),
        "basis_blur_adjoint": lambda: blurops.basis_blur_adjoint(image, kernels, mixing, **options),
        "basis_blur_grad_kernels": lambda: blurops.basis_blur_grad_kernels(
            image, image, mixing, work.taps, True, **options
        ),
        "basis_blur_grad_mixing": lambda: blurops.basis_blur_grad_mixing(
            image, image, kernels, True, **options
        ),
    }
    return calls[work.member]


def tiled_cases() -> Iterator[tuple[Work, Tiling]]:
    """Square and oblong tiles, few and many taps, bases and channels, one part and several."""
    lengths = _native.module().tile_lengths()
    shapes = [(n, n) for n in lengths] + [(96, 144), (144, 96), (64, 192), (256, 128)]
    for (height, width), member in itertools.product(shapes, _TILED_MEMBERS):
        for share in (0.15, 0.35, 0.5):
            taps = (2 * int(share * height / 2) + 1, 2 * int(share * width / 2) + 1)
            # Four tiles down and across, none of them cut off.
            size = (4 * (height - taps[0] + 1), 4 * (width - taps[1] + 1))
            # The more bases, the more the choice matters.
            for channels, basis in ((1, 25), (3, 8), (3, 25)) + ((2, 1),) * (share == 0.35):
                work = Work(member, 1, channels, basis, size, taps, 4)
                yield work, Tiling(height, width)
        # An image that no cache holds.
        for side in (33,) if min(height, width) < 192 else (65, 129):
            tiles = tiling.cut(Tiling(height, width), (side, side))
            yield Work(member, 1, 3, 25, (1024, 1024), (side, side), 4), tiles
        for parts, channels, basis in ((2, 3, 25), (3, 3, 8), (2, 3, 8)):
            taps = (height // 3 * parts | 1, width // 3 * parts | 1)
            size = (4 * (height - height // 3), 4 * (width - width // 3))
            work = Work(member, 1, channels, basis, size, taps, 4)
            yield work, Tiling(height, width, parts, parts)


def direct_cases() -> Iterator[tuple[Work, Tiling]]:
    """Kernels from 1 to 21 taps wide."""
    for member in _MEMBERS:
        for side in (1, 3, 5, 9, 13, 21):
            for channels, basis in ((1, 1), (3, 1), (3, 8), (3, 25)):
                yield Work(member, 1, channels, basis, (256, 256), (side, side), 4), DIRECT


def fit(rows: list[tuple[dict[str, float], float]]) -> dict[str, float]:
    """Constants whose sums of products with the features come nearest to the times, relatively."""
    names = sorted({name for features, _ in rows for name in features})
    matrix = np.array([[features.get(name, 0.0) for name in names] for features, _ in rows])
    times = np.array([nanoseconds for _, nanoseconds in rows])
    constants, _ = nnls(matrix / times[:, None], np.ones(len(times)))
    error = np.abs(matrix @ constants / times - 1)
    worst = f"{np.median(error):.0%} median, {error.max():.0%} worst"
    print(f"    fitted {len(times)} times: error {worst}")
    return {name: float(f"{value:.4g}") for name, value in zip(names, constants, strict=True)}


def measured(cases: list[tuple[Work, Tiling]]) -> list[float]:
    """Nanoseconds of each case, the best of several rounds through all of them.

    A machine has faster and slower minutes: in an order that says nothing they favour nobody.
    """
    order = list(range(len(cases)))
    best = [math.inf] * len(cases)
    for round_ in range(_ROUNDS):
        random.Random(round_).shuffle(order)
        for i in order:
            work, tiles = cases[i]
            with tiling.forced(tiles):
                best[i] = min(best[i], 1e9 * seconds(call_of(work)))
    return best


def features(case: tuple[Work, Tiling]) -> dict[str, float]:
    """What a case costs of each constant, on one thread."""
    work, tiles = case
    return tiling.tiled_features(work, tiles, 1) if tiles.height else tiling.direct_features(work)


def calibrate(isa: str) -> dict[str, float]:
    """The constants of one instruction set, in nanoseconds."""
    _native.module().force_isa(isa)
    cases = [*tiled_cases(), *direct_cases()]
    return fit(list(zip(map(features, cases), measured(cases), strict=True)))


def main() -> None:
    """Refits every instruction set of this processor; others keep their constants."""
    torch.set_num_threads(1)
    all_costs = json.loads(_PATH.read_text(encoding="utf-8")) if _PATH.exists() else {}
    for isa in _native.module().available_isas():
        print(isa)
        all_costs[isa] = calibrate(isa)
    _PATH.write_text(json.dumps(all_costs, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {_PATH}")


if __name__ == "__main__":
    main()
