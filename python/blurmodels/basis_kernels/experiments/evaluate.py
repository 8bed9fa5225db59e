# SPDX-License-Identifier: BSD-3-Clause
"""Fills our rows of the paper's tables from the datasets that there are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blurmodels import datasets
from blurmodels.basis_kernels.detect import blur_map
from blurmodels.basis_kernels.experiments.columns import COLUMNS, FOLDERS, Column, find
from blurmodels.basis_kernels.experiments.methods import UNTOUCHED, Method
from blurmodels.basis_kernels.experiments.paper import TABLES
from blurmodels.evaluation import Row, Table, mean_average_precision, mean_scores
from blurmodels.evaluation.tables import MISSING

Progress = Callable[[str, int, int], None]


def evaluate_table(
    version: str,
    number: str,
    data: Path,
    methods: Sequence[Method],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    **cuhk: Any,
) -> tuple[Table, dict[str, Any]]:
    """A table of the paper with our rows below its own.

    Args:
        version: "second" or "first".
        number: of the table.
        data: the folder that holds the datasets, see `columns.FOLDERS`.
        methods: our rows; a row for the blurred input is added.
        limit: only so many images of each dataset.
        progress: called with what is worked on, how many images are done, and of how many.
        **cuhk: options of `blurmodels.datasets.cuhk`.

    Returns:
        The table, and the scores of every image.

    Raises:
        OSError, ValueError: a file of a dataset is missing or damaged.
    """
    if not data.is_dir():
        raise FileNotFoundError(2, "no such folder of datasets", str(data))
    table = TABLES[version][number]
    if (version, number) == ("first", "4"):
        return _detection(table, data, methods, limit, progress, cuhk)
    columns, notes, scores = COLUMNS[version][number], [], {}
    sources = [find(data, column.dataset) for column in columns]
    cells: dict[str, list[str]] = {}
    for column, source in zip(columns, sources, strict=True):
        title = f"{column.folder}: {column.protocol}"
        if source is None:
            notes.append(f"{column.folder}: not in {data} ({' or '.join(FOLDERS[column.dataset])})")
        else:
            found = _score(column, source, methods, limit, progress)
            scores.setdefault(title, {}).update(found)
            count = len(next(iter(found.values())))
            notes.append(f"{title}; {count} images{', a part' if limit else ''}.")
        for method in (UNTOUCHED, *methods):
            each = found[method.name].values() if source is not None else ()
            text = column.cell.format(mean_scores(each)) if each else MISSING
            cells.setdefault(method.name, []).append(text)
    rows = []
    for method in (UNTOUCHED, *methods):
        line = cells[method.name]
        if (version, number) == ("second", "4"):
            line = _by_basis(table, method, line[0])
        rows.append(Row(method.name, tuple(line), ours=True))
    return table.with_rows(rows, notes), scores


def _score(
    column: Column,
    source: Path,
    methods: Sequence[Method],
    limit: int | None,
    progress: Progress | None,
) -> dict[str, dict[str, Any]]:
    """The scores of every method and image."""
    shots = column.shots(source)[:limit]
    found: dict[str, dict[str, Any]] = {method.name: {} for method in (UNTOUCHED, *methods)}
    for done, shot in enumerate(shots):
        if progress is not None:
            progress(column.folder, done, len(shots))
        blurred = shot.blurred()
        for method in (UNTOUCHED, *methods):
            restored = method.restore(blurred, shot, column)
            found[method.name][shot.name] = shot.score(_as_stored(restored))
    return found


def _as_stored(image: Tensor) -> Tensor:
    """Cut to 8 bits, as the authors' saved images are: clamped and truncated."""
    # A thousandth of a level keeps what was read from 8 bits where it was.
    return torch.floor(image.clamp(0, 1) * 255 + 1e-3) / 255


def _by_basis(table: Table, method: Method, cell: str) -> list[str]:
    """The one result under the basis size that its network has; the input stands in each."""
    if method.basis_size is None:
        return [cell] * len(table.columns)
    name = f"B = {method.basis_size} PSNR"
    if name not in table.columns:
        raise ValueError(
            f"table 4 must be given weights with one of {', '.join(table.columns)},"
            f" got B = {method.basis_size}"
        )
    return [cell if column == name else MISSING for column in table.columns]


def _detection(
    table: Table,
    data: Path,
    methods: Sequence[Method],
    limit: int | None,
    progress: Progress | None,
    options: dict[str, Any],
) -> tuple[Table, dict[str, Any]]:
    source = find(data, "cuhk")
    if source is None:
        rows = [Row(method.name, (MISSING,), ours=True) for method in methods]
        return table.with_rows(rows, [f"CUHK: not in {data} ({' or '.join(FOLDERS['cuhk'])})"]), {}
    photographs = datasets.cuhk(source, **options)[:limit]
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {"all alike": []}
    for done, photograph in enumerate(photographs):
        if progress is not None:
            progress("CUHK", done, len(photographs))
        image, blurred = photograph.read()
        # A map without any information scores the share of blurred pixels.
        pairs["all alike"].append((torch.zeros(blurred.shape), blurred))
        for method in methods:
            if method.estimate is not None:
                scores = blur_map(method.estimate(image, 2.2))
                pairs.setdefault(method.name, []).append((scores, blurred))
    precisions = {name: mean_average_precision(found) for name, found in pairs.items()}
    rows = [Row(name, (f"{value:.4f}",), ours=True) for name, value in precisions.items()]
    meaning = "blurred" if options.get("blurred_is_white", True) else "sharp"
    note = f"CUHK: {len(photographs)} images; white in their masks taken as {meaning}."
    return table.with_rows(rows, [note]), {"CUHK": precisions}
