# SPDX-License-Identifier: BSD-3-Clause
"""Fills our rows of the paper's tables from the datasets that there are."""

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import blurops
from blurmodels.datasets import Pair, levin_kernels, read_colours
from blurmodels.evaluation import Row, Table, psnr
from blurmodels.evaluation.tables import MISSING
from blurmodels.kernel_space.experiments.columns import (
    SIDE,
    Column,
    Shot,
    Source,
    columns,
    middle,
    read_pair,
    stored,
)
from blurmodels.kernel_space.experiments.methods import UNTOUCHED, Encoder, Method
from blurmodels.kernel_space.experiments.paper import TABLES
from blurmodels.scenes import DeadLeaves

Progress = Callable[[str, int, int], None]
Distance = Callable[[Tensor, Tensor], float]

_LEVIN = 8
_TRANSFERS = 500  # source images and target images of table 1
_SHARP, _MEAN = "sharp image", "mean kernel"


def transfers(
    source: Source, encoders: Sequence[Encoder], *, progress: Progress | None = None
) -> tuple[Table, dict[str, Any]]:
    """Table 1: eq. 8, for each of Levin's kernels.

    A kernel blurs every source image; the pair's kernel, extracted, blurs every target image, which
    is compared with the true convolution of that one. Source and target images are disjoint.

    Args:
        source: the datasets, Levin's kernels and GOPRO's test half.
        encoders: our rows; two that know nothing of the pair are added, the sharp image and the
            mean of the kernels.
        progress: called with what is worked on, how much is done, and of how much.

    Returns:
        The table, and the PSNR of every kernel.

    Raises:
        OSError, ValueError: a file of a dataset is missing or damaged, or there are not eight
            kernels.
    """
    table, names = TABLES["1"], [_SHARP, _MEAN, *(encoder.name for encoder in encoders)]
    missing = [source.missing(d) for d in ("levin", "gopro") if source.find(d) is None]
    if missing:
        empty = (MISSING,) * len(table.columns)
        return table.with_rows([Row(name, empty, ours=True) for name in names], missing), {}
    kernels = levin_kernels(source.find("levin"))
    if len(kernels) != _LEVIN:
        raise ValueError(
            f"levin_kernels: '{source.find('levin')}' must hold {_LEVIN} kernels,"
            f" got {len(kernels)}"
        )
    sources, targets = _disjoint(source)
    side = source.crop or SIDE
    mean = _mean(list(kernels.values()))
    scores: dict[str, dict[str, float]] = {name: {} for name in names}
    for index, (name, kernel) in enumerate(kernels.items()):
        sums = _transfer_one(kernel, mean, encoders, (sources, targets), side)
        for done, found in enumerate(sums):
            if progress is not None:
                progress(name, index * len(targets) + done, len(kernels) * len(targets))
            for row, value in zip(names, found, strict=True):
                scores[row][name] = scores[row].get(name, 0.0) + value / len(targets)
    rows = [Row(name, tuple(f"{x:.2f}" for x in scores[name].values()), True) for name in names]
    note = (
        f"{len(sources)} source and {len(targets)} target images of GOPRO's test half, the middle"
        f" {side} x {side}; mirrored borders; nothing is rounded to 8 bits."
    )
    return table.with_rows(rows, [note]), scores


def _disjoint(source: Source) -> tuple[list[Pair], list[Pair]]:
    """As many source as target images, drawn together."""
    many = 2 * (source.limit or _TRANSFERS)
    root = source.find("gopro")
    both = Source(source.data, many, seed=source.seed).pairs("gopro")
    if both is None or len(both) < 2:
        raise ValueError(f"gopro: '{root}' must hold two images at least, got {len(both or ())}")
    return both[::2], both[1::2]


def _transfer_one(
    kernel: Tensor,
    mean: Tensor,
    encoders: Sequence[Encoder],
    images: tuple[list[Pair], list[Pair]],
    side: int,
) -> Any:
    """For each target: PSNR of the baselines and, averaged over the sources, of the encoders."""
    blur = blurops.UniformBlur(kernel)
    sharp = [middle(read_colours(pair.sharp), side, pair.sharp) for pair in images[0]]
    extracted = [[encoder.extract(x, blur @ x) for x in sharp] for encoder in encoders]
    for pair in images[1]:
        target = middle(read_colours(pair.sharp), side, pair.sharp)
        truth = blur @ target
        found = [psnr(target, truth), psnr(blurops.UniformBlur(mean) @ target, truth)]
        for encoder, latents in zip(encoders, extracted, strict=True):
            each = [psnr(encoder.apply(target, k).clamp(0, 1), truth) for k in latents]
            found.append(sum(each) / len(each))
        yield found


def _mean(kernels: list[Tensor]) -> Tensor:
    """The mean of kernels of several odd sizes, about their centres."""
    sides = [max(kernel.shape[axis] for kernel in kernels) for axis in (0, 1)]
    padded = []
    for kernel in kernels:
        y, x = ((side - n) // 2 for side, n in zip(sides, kernel.shape, strict=True))
        padded.append(functional.pad(kernel, (x, x, y, y)))
    return torch.stack(padded).mean(dim=0)


def retrievals(
    source: Source, encoders: Sequence[Encoder], *, progress: Progress | None = None
) -> tuple[Table, dict[str, Any]]:
    """Table 3: each blurred image, made again from the sharp one and the kernel found for the pair.

    Args:
        source: the datasets, REDS4 and GOPRO's test half.
        encoders: our rows; those that retrieve by optimisation get a second one for G alone. The
            sharp image is added.
        progress: as in `transfers`.

    Returns:
        The table, and the PSNR of every image.

    Raises:
        OSError, ValueError: a file of a dataset is missing or damaged.
    """
    table, side = TABLES["3"], source.crop or SIDE
    finders: dict[str, Callable[[Tensor, Tensor], Tensor]] = {_SHARP: lambda sharp, blurred: sharp}
    for encoder in encoders:
        if encoder.retrieve is not None:
            finders[encoder.name] = _again(encoder, encoder.retrieve)
            finders[f"{encoder.name}, G alone"] = _again(encoder, encoder.extract)
        else:
            finders[encoder.name] = _again(encoder, encoder.extract)
    cells: dict[str, list[str]] = {name: [] for name in finders}
    notes, scores = [], {}
    for heading, dataset in zip(table.columns, ("reds", "gopro"), strict=True):
        pairs = source.pairs(dataset)
        if pairs is None:
            notes.append(source.missing(dataset))
            found: dict[str, dict[str, float]] = {name: {} for name in finders}
        else:
            notes.append(f"{heading}: {len(pairs)} pairs, the middle {side} x {side}.")
            found = _retrieve(heading, pairs, side, finders, progress)
            scores[heading] = found
        for name in finders:
            cells[name].append(_cell(found[name].values()))
    rows = [Row(name, tuple(line), ours=True) for name, line in cells.items()]
    return table.with_rows(rows, notes), scores


def _again(encoder: Encoder, find: Callable[[Tensor, Tensor], Any]) -> Any:
    return lambda sharp, blurred: encoder.apply(sharp, find(sharp, blurred)).clamp(0, 1)


def _retrieve(
    heading: str, pairs: list[Pair], side: int, finders: dict[str, Any], progress: Progress | None
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {name: {} for name in finders}
    for done, pair in enumerate(pairs):
        if progress is not None:
            progress(heading, done, len(pairs))
        blurred, sharp = read_pair(pair, side)
        for name, again in finders.items():
            found[name][pair.name] = psnr(again(sharp, blurred), blurred)
    return found


def _cell(values: Any) -> str:
    each = list(values)
    return f"{sum(each) / len(each):.2f}" if each else MISSING


def restorations(
    number: str,
    source: Source,
    methods: Sequence[Method],
    *,
    encoder: Encoder | None = None,
    lpips: Distance | None = None,
    progress: Progress | None = None,
) -> tuple[Table, dict[str, Any]]:
    """Table 2, 4 or 5: restored images against the sharp ones.

    Args:
        number: of the table.
        source: the datasets.
        methods: our rows; the blurred input is added.
        encoder: transfers the blur of REDS and GOPRO to the faces of table 4.
        lpips: a second score, the lower the better; printed behind the PSNR.
        progress: as in `transfers`.

    Returns:
        The table, and the scores of every image: PSNR, and LPIPS if wanted.

    Raises:
        OSError, ValueError: a file of a dataset is missing or damaged.
    """
    table, scores = TABLES[number], {}
    rows: dict[str, list[str]] = {method.name: [] for method in (UNTOUCHED, *methods)}
    notes = [] if lpips is None else ["Ours: PSNR / LPIPS."]
    for column in columns(number, source, encoder):
        notes.append(column.note)
        found: dict[str, dict[str, list[float]]] = {name: {} for name in rows}
        if column.shots is not None:
            found = _restore(column, methods, lpips, progress)
            scores[column.folder] = found
        for name, line in rows.items():
            each = list(found[name].values())
            means = [sum(values) / len(each) for values in zip(*each, strict=True)]
            texts = [f"{x:.{places}f}" for x, places in zip(means, (2, 3), strict=False)]
            line.append(" / ".join(texts) or MISSING)
    done = [Row(name, tuple(line), ours=True) for name, line in rows.items()]
    return table.with_rows(done, notes), scores


def _restore(
    column: Column,
    methods: Sequence[Method],
    lpips: Distance | None,
    progress: Progress | None,
) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {m.name: {} for m in (UNTOUCHED, *methods)}
    shots = column.shots or []
    for done, shot in enumerate(shots):
        if progress is not None:
            progress(column.folder, done, len(shots))
        blurred, sharp = shot.read()
        for method in (UNTOUCHED, *methods):
            restored = stored(method.restore(blurred, shot, column))
            values = [psnr(restored, sharp)]
            if lpips is not None:
                values.append(lpips(restored, sharp))
            found[method.name][shot.name] = values
    return found


def times(methods: Sequence[Method], *, repeats: int = 1) -> tuple[Table, dict[str, Any]]:
    """The time of one 256 x 256 image on this machine.

    Args:
        methods: our rows.
        repeats: calls that are timed; the least counts.

    Returns:
        The table, and the seconds of every call.
    """
    sharp = DeadLeaves(seed=1).scene(0, SIDE, SIDE).image[None]
    line = blurops.linear_motion_kernel(9.0, 0.5)
    blurred = stored(blurops.UniformBlur(line) @ sharp)
    shot = Shot("time", lambda: (blurred, sharp))
    column = Column("time", [shot], "")
    scores: dict[str, list[float]] = {method.name: [] for method in methods}
    for method in methods:
        for _ in range(repeats):
            start = time.perf_counter()
            method.restore(blurred, shot, column)
            scores[method.name].append(time.perf_counter() - start)
    rows = [Row(name, (f"{min(each):.2f}",), ours=True) for name, each in scores.items()]
    note = (
        f"Ours: torch {torch.__version__}, {torch.get_num_threads()} threads of"
        f" {_processor()}; the least of {repeats}."
    )
    return TABLES["time"].with_rows(rows, [note]), scores


def _processor() -> str:
    """What the system calls the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
