# SPDX-License-Identifier: BSD-3-Clause
"""Few sides of one comparison, timed in turns, and the table of what came out."""

import csv
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def medians(
    sides: Mapping[str, Callable[[], object]], rounds: int, burst: int = 1
) -> dict[str, float]:
    """Seconds of a call of each side, the median of so many rounds of `burst` calls each."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            began = time.perf_counter()
            for _ in range(burst):
                call()
            seconds[name].append((time.perf_counter() - began) / burst)
    return {name: statistics.median(values) for name, values in seconds.items()}


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes rows of the same names as CSV, over what was there."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
