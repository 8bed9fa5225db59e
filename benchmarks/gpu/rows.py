# SPDX-License-Identifier: BSD-3-Clause
"""One timing on a device, and their file."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class GpuRow:
    """One contender at one member of one case. An empty number is one that was not measured.

    Attributes:
        kernel_ms: median of a replayed CUDA graph: the device's work alone.
        call_ms: median of what a caller waits, the host's part included.
        ratio: call_ms of the best exact baseline of the same run over this one.
        least_share: the least time of :func:`benchmarks.gpu.rates.least_seconds` over kernel_ms.
        memory_mb: peak of torch's allocator beyond inputs and outputs.
        error: relative to the float64 truth; the rounded contenders have more than the exact ones.
        copy_gbs, fma_gflops, tensor_gflops: measured in the same run.
    """

    device: str
    size: int
    channels: int
    basis: int
    kernel: int
    member: str
    contender: str
    accuracy: str
    kernel_ms: float | None
    call_ms: float | None
    ratio: float | None
    least_share: float | None
    memory_mb: float | None
    error: float | None
    note: str
    copy_gbs: float
    fma_gflops: float
    tensor_gflops: float
    commit: str
    torch: str
    cuda: str
    driver: str
    date: str


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write(path: Path, rows: Iterable[GpuRow]) -> None:
    """Write rows as CSV, over what was there."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(GpuRow))
        writer.writerows([_text(value) for value in asdict(row).values()] for row in rows)
