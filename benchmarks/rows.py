# SPDX-License-Identifier: BSD-3-Clause
"""One timing, and the files of timings."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_type_hints

from benchmarks.cases import Case, sweeps

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One contender at one member of one case. An empty number is one that was not measured.

    Attributes:
        sweep: which sweep of :mod:`benchmarks.cases` the case belongs to.
        seconds: median over the rounds; None where ``note`` says why there is none.
        least: the shortest round.
        ratio: seconds of the best baseline of the same run, over these seconds.
        gflops: nominal operations (:func:`benchmarks.cases.nominal_flops`) per second, in 1e9.
        peak_share: gflops over ``peak_gflops``.
        memory_mb: peak beyond inputs and outputs, what was prepared included.
        tile_rounding: pixels of the tiles' area over those of the image; ours only.
        error: relative error to the truth, which is the authors' own for ``algorithm`` authors.
        note: why there is no time, or what has to be said of it.
        peak_gflops, bandwidth_gbs: the probes, with the same threads in the same run.
    """

    sweep: str
    size: int
    channels: int
    basis: int
    kernel: int
    field: str
    threads: int
    member: str
    contender: str
    kind: str
    algorithm: str
    seconds: float | None
    least: float | None
    rounds: int
    ratio: float | None
    gflops: float | None
    peak_share: float | None
    memory_mb: float | None
    tile_rounding: float | None
    error: float | None
    note: str
    peak_gflops: float
    bandwidth_gbs: float
    commit: str
    cpu: str
    isa: str
    torch: str
    date: str

    @property
    def case(self) -> Case:
        """The problem."""
        return Case(self.size, self.channels, self.basis, self.kernel, self.field, self.threads)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, over what was there."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        writer.writerows([_text(value) for value in asdict(row).values()] for row in rows)


def merge(path: Path, new: Sequence[Row]) -> None:
    """Put rows into a file in place of those of the same sweeps, cases and members.

    Ratios compare the rows of one member of one case, so these stay together. Rows that no sweep
    asks for any more go.
    """
    planned = {(job.sweep, job.case) for job in sweeps()}
    fresh = {(row.sweep, row.case, row.member) for row in new}
    kept = [
        row
        for row in (read(path) if path.exists() else [])
        if (row.sweep, row.case) in planned and (row.sweep, row.case, row.member) not in fresh
    ]
    write(path, [*kept, *new])


def read(path: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        ValueError: the file has other columns than :class:`Row`.
    """
    types = get_type_hints(Row)
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != list(types):
            raise ValueError(f"{path} has other columns than benchmarks.rows.Row: run it anew")
        return [Row(**{name: _value(types[name], text) for name, text in line.items()})
                for line in reader]  # fmt: skip


def _value(kind: object, text: str) -> object:
    if kind is str:
        return text
    if kind is int:
        return int(text)
    return float(text) if text else None
