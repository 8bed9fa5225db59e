# SPDX-License-Identifier: BSD-3-Clause
"""Table 2 in small: is a dataset whose blurs were swapped as good to learn from as the original?

Each scene of a paired dataset gets the blur of another pair, `F(x_i, G(x_j, y_j))`; the same
network is trained on both. As the scenes are generated, the swapped blur is compared with the true
one too.
"""

from typing import NamedTuple

import torch

from blurmodels.evaluation import Row, Table, psnr
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

BLURRED, ORIGINAL, SWAPPED = "blurred input", "network, original data", "network, blur-swapped data"
UNBLURRED = "the same scene, sharp"


class Result(NamedTuple):
    """What one seed gave.

    Attributes:
        restored: PSNR on held-out images by row, dB.
        swapped: PSNR of the swapped blur against the true one, dB; and of two images that know
            nothing of it: the sharp scene, and the scene under its own blur.
    """

    restored: dict[str, float]
    swapped: dict[str, float]


def swap(generated: Generated, encoder: Encoder, seed: int) -> tuple[Pairs, list[int]]:
    """Every scene under the blur of another pair.

    Args:
        generated: the dataset.
        encoder: F and G.
        seed: of the swaps.

    Returns:
        The pairs, and which pair's blur each has, never its own.
    """
    blurred, sharp = generated.pairs()
    count = len(sharp)
    order = random_stream(seed, "swaps").permutation(count)
    others = [0] * count
    for place, scene in enumerate(order):
        others[scene] = int(order[(place + 1) % count])
    made = [
        stored(encoder.transfer(sharp[i : i + 1], sharp[j : j + 1], blurred[j : j + 1]))
        for i, j in enumerate(others)
    ]
    return Pairs(torch.cat(made), sharp), others


def compare(
    options: Options | None = None, *, encoder: Encoder | None = None, progress: bool = False
) -> Result:
    """Trains the network on the original and on the blur-swapped pairs.

    Args:
        options: what is tried.
        encoder: F and G; least squares by default.
        progress: show progress bars on stderr.
    """
    options = options or Options()
    encoder = encoder or by_least_squares(options.kernel_size, options.grid)
    generated = Generated(options, options.seed, options.pairs, options.exposure)
    held_out = Generated(options, options.seed + 1_000_000, options.held_out, options.exposure)
    original, test = generated.pairs(), held_out.pairs()
    swapped, others = swap(generated, encoder, options.seed)
    restored = {BLURRED: mean_psnr(lambda image: image, test)}
    for name, pairs in ((ORIGINAL, original), (SWAPPED, swapped)):
        restored[name] = mean_psnr(trained(pairs, options, progress=progress), test)
    truth = torch.cat([generated.under(i, j) for i, j in enumerate(others)])
    images = {encoder.name: swapped.blurred, UNBLURRED: swapped.sharp, "its own": original.blurred}
    quality = {
        name: sum(psnr(a[None], b[None]) for a, b in zip(each, truth, strict=True)) / len(truth)
        for name, each in images.items()
    }
    return Result(restored, quality)


def as_table(runs: list[Result], options: Options) -> Table:
    """The means over several seeds, and the difference that the swap makes, seed by seed."""
    rows = [
        Row(name, (f"{_mean([run.restored[name] for run in runs]):.2f}",), ours=True)
        for name in runs[0].restored
    ]
    loss = ", ".join(f"{run.restored[SWAPPED] - run.restored[ORIGINAL]:+.2f}" for run in runs)
    parts = [f"{name} {_mean([r.swapped[name] for r in runs]):.2f}" for name in runs[0].swapped]
    notes = (
        f"{options.size}; seeds: {len(runs)}.",
        f"Blur-swapped minus original, seed by seed: {loss} dB.",
        f"Against the true blur of the other pair, PSNR: {'; '.join(parts)} dB.",
    )
    return Table("Blur-swapping on generated scenes", ("PSNR",), tuple(rows), notes)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
