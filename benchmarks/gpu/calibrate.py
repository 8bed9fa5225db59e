# SPDX-License-Identifier: BSD-3-Clause
"""Fit the constants by which ``method="auto"`` chooses on CUDA.

    python -m benchmarks.gpu.calibrate

Times kernel synthesis and forced tiles of both sides at several sizes on the device's own clock,
fits the model of ``blurops/ops/basis_blur/cuda_tiling.py`` by non-negative least squares of
relative errors, and writes ``cuda_costs.json`` with the device's name.
"""

import argparse
import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import blurops
from benchmarks.calibrate import fit
from benchmarks.gpu import clock
from blurops.ops.basis_blur import cuda_tiling, tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work

PATH = Path(cuda_tiling.__file__).with_name(cuda_tiling.FILE)
MEMBERS = (
    "basis_blur",
    "basis_blur_adjoint",
    "basis_blur_grad_kernels",
    "basis_blur_grad_mixing",
)
_SECONDS = 0.02  # for one call


def call_of(work: Work, device: torch.device) -> Callable[[], object]:
    """A call with random inputs that is this work."""
    image = torch.rand(work.count, work.channels, *work.size, device=device)
    kernels = torch.rand(1, work.basis, *work.taps, device=device)
    mixing = torch.rand(1, work.basis, *work.size, device=device)
    op, how = getattr(blurops, work.member), {"backend": "native", "boundary": "circular"}
    if work.member == "basis_blur_grad_kernels":
        return lambda: op(image, image, mixing, work.taps, True, **how)
    if work.member == "basis_blur_grad_mixing":
        return lambda: op(image, image, kernels, True, **how)
    return lambda: op(image, kernels, mixing, **how)


def cases(side: int = 1024) -> Iterator[tuple[Work, Tiling]]:
    """Both methods of every member: few and many taps, bases and channels, a small image."""
    fields = [(1, 25, side), (3, 25, side), (3, 8, side), (1, 8, side // 4), (3, 40, side // 2)]
    for member in MEMBERS:
        for channels, basis, size in fields:
            for taps in (5, 17, 33, 65):
                work = Work(member, 1, channels, basis, (size, size), (taps, taps), 4)
                yield work, DIRECT
                for tiles in cuda_tiling.candidates(work.taps, 1 << 20):
                    if tiles.parts_down <= 2:
                        yield work, tiles


def features(work: Work, tiles: Tiling) -> dict[str, float]:
    """Those of the model."""
    if tiles.height:
        return cuda_tiling.tiled_features(work, tiles)
    return cuda_tiling.direct_features(work, high=False)


def measure(chosen: list[tuple[Work, Tiling]], device: torch.device) -> list[tuple[dict, float]]:
    """(features, nanoseconds) of each case that the device can run."""
    rows, room = [], cuda_tiling.shared_bytes(device)
    for work, tiles in chosen:
        if tiles.height and tiles not in cuda_tiling.candidates(work.taps, room):
            continue
        with tiling.forced(tiles):
            seconds = clock.kernel_seconds(call_of(work, device), device)
        if seconds is not None:
            rows.append((features(work, tiles), 1e9 * seconds))
    return rows


def constants(rows: list[tuple[dict, float]]) -> dict[str, float]:
    """Both methods fitted apart; a constant that no case showed stays as it was."""
    found = dict(cuda_tiling.costs_now())
    for method in ("direct_call", "tiled_call"):
        found |= fit([row for row in rows if method in row[0]])
    return found


def write(path: Path, origin: str, found: dict[str, float]) -> None:
    """The file that ships."""
    text = json.dumps({"origin": origin, "nanoseconds": found}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PATH, help="default: the file that ships")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device")
    clock._SECONDS = _SECONDS
    device = torch.device("cuda", torch.cuda.current_device())
    found = constants(measure(list(cases()), device))
    name, today = torch.cuda.get_device_name(device), dt.date.today().isoformat()
    write(chosen.out, f"measured on {name}, {today}", found)
    print(f"wrote {chosen.out}")


if __name__ == "__main__":
    main()
