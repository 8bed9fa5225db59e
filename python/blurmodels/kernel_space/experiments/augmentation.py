# SPDX-License-Identifier: BSD-3-Clause
"""Table 4 in small: straight motions against encoded blur as what a network is trained on.

Sharp scenes, which stand for the paper's faces, are blurred by straight motions alone, or half of
them by the blur that was encoded from the pairs of another dataset. The networks are tested on
straight motions, on the blur of that dataset, and on that of an unseen one; unlike the paper's, the
last two are the scenes' true blur and not an encoded one.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

import blurops
from blurmodels.evaluation import Row, Table
from blurmodels.kernel_space.experiments.columns import stored
from blurmodels.kernel_space.experiments.methods import Encoder, by_least_squares
from blurmodels.kernel_space.experiments.small import (
    Generated,
    Options,
    Pairs,
    mean_psnr,
    trained,
)
from blurmodels.scenes import random_stream

COLUMNS = ("straight motions", "encoded dataset", "unseen dataset")
BLURRED = "blurred input"
STRAIGHT, COMBINED = "network, straight motions", "network, straight and encoded"

_SHORTEST = 3.0  # pixels, of the straight motions; the longest fill the kernel


def straight(sharp: Tensor, options: Options, seed: int) -> Pairs:
    """Every scene under a straight motion of its own, and noise as the datasets have it."""
    blurred = []
    for index, scene in enumerate(sharp):
        random = random_stream(seed, "straight", index)
        length, angle = random.uniform(_SHORTEST, options.kernel_size), random.uniform(0, math.pi)
        kernel = blurops.linear_motion_kernel(length, angle)
        blurred.append(stored(blurops.UniformBlur(kernel) @ scene[None]))
    return Pairs(torch.cat(blurred), sharp)


def encoded(sharp: Tensor, pairs: Pairs, encoder: Encoder) -> Pairs:
    """Every scene under the encoded blur of a pair, in turn."""
    blurred = []
    for index, scene in enumerate(sharp):
        other = slice(index % len(pairs.sharp), index % len(pairs.sharp) + 1)
        made = encoder.transfer(scene[None], pairs.sharp[other], pairs.blurred[other])
        blurred.append(stored(made))
    return Pairs(torch.cat(blurred), sharp)


def compare(
    options: Options | None = None, *, encoder: Encoder | None = None, progress: bool = False
) -> dict[str, tuple[float, ...]]:
    """Trains the network on straight motions, and on these and encoded blur in equal parts.

    Args:
        options: what is tried.
        encoder: F and G; least squares by default.
        progress: show progress bars on stderr.

    Returns:
        PSNR by row, in the order of `COLUMNS`.
    """
    options = options or Options()
    encoder = encoder or by_least_squares(options.kernel_size, options.grid)
    dataset = Generated(options, options.seed, options.pairs, options.exposure).pairs()
    targets = Generated(options, options.seed + 1000, options.pairs, options.exposure).pairs().sharp
    motions = straight(targets, options, options.seed)
    blurs = encoded(targets, dataset, encoder)
    tests = _tests(options)

    def row(restore: Callable[[Tensor], Tensor]) -> tuple[float, ...]:
        return tuple(mean_psnr(restore, test) for test in tests)

    # In turn, so that every batch has both.
    turns = (torch.stack(both, dim=1).flatten(0, 1) for both in zip(motions, blurs, strict=True))
    combined = Pairs(*turns)
    return {
        BLURRED: row(lambda image: image),
        STRAIGHT: row(trained(motions, options, progress=progress)),
        COMBINED: row(trained(combined, options, progress=progress)),
    }


def _tests(options: Options) -> list[Pairs]:
    """Held-out scenes under each kind of blur."""
    seed, count = options.seed + 1_000_000, options.held_out
    seen = Generated(options, seed, count, options.exposure).pairs()
    unseen = Generated(options, seed, count, options.unseen_exposure).pairs()
    return [straight(seen.sharp, options, seed), seen, unseen]


def as_table(runs: list[dict[str, tuple[float, ...]]], options: Options) -> Table:
    """The means over several seeds, and what encoded blur changes, seed by seed."""
    rows = [
        Row(name, tuple(f"{sum(x) / len(x):.2f}" for x in zip(*each, strict=True)), ours=True)
        for name, each in ((name, [run[name] for run in runs]) for name in runs[0])
    ]
    notes = [f"{options.size}; seeds: {len(runs)}."]
    for column, name in enumerate(COLUMNS):
        gains = ", ".join(f"{run[COMBINED][column] - run[STRAIGHT][column]:+.2f}" for run in runs)
        notes.append(f"With encoded blur minus without, {name}, seed by seed: {gains} dB.")
    title = "Straight motions against encoded blur on generated scenes: PSNR"
    return Table(title, COLUMNS, tuple(rows), tuple(notes))
