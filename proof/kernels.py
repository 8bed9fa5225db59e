# SPDX-License-Identifier: BSD-3-Clause
"""Every instance of the CUDA kernels under the host emulation, and what nvcc makes of each.

The suite runs one class of widths; here are all of them, each under another of the emulation's
schedules, at both precisions. Where nvcc is installed, no instance may spill.

    python proof/kernels.py
"""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

import blurops
from blurops._native import BOUNDARY_CODES
from blurops.testing import Shape, accuracy, family_tensors, relative_error
from proof.tree import ROOT, ProofError
from tests.cubins import nvcc
from tests.emulation.library import SCHEDULES, Emulator, build, call_of, compiler
from tests.test_cuda_kernels import DEFAULT, members

CLASSES = range(1, 11)
# The widest and the narrowest odd kernels of a class: 8 j - 3 taps fit.
NARROW, WIDE = (lambda j: max(1, 8 * j - 9)), (lambda j: 8 * j - 3)
# (channels, basis): one and three channels of a block, one and two products, two groups.
KINDS = ((1, 9), (3, 9), (1, 25), (3, 25), (4, 40))


def try_instance(emulator: Emulator, number: int, j: int, channels: int, basis: int) -> float:
    """All members once; the largest share of its tolerance that a result uses."""
    schedule = SCHEDULES[number % len(SCHEDULES)]
    boundary = list(BOUNDARY_CODES)[number % len(BOUNDARY_CODES)]
    width = WIDE(j) if number % 2 else NARROW(j)
    shape = Shape(1, channels, 9, max(width, 67), basis, 3, width)
    tensors = family_tensors(shape, boundary, torch.float32, number)
    high = number % 3 == 0
    call = call_of(tensors, boundary, high)
    allowed = accuracy(torch.float32).relative if high else DEFAULT
    worst = 0.0
    for name, inputs, size, further in members(tensors, shape, call):
        result, _ = emulator.run(name, call, inputs, size, schedule)
        true = getattr(blurops, name)(
            *(t.double() for t in inputs), *further, boundary=boundary, backend="reference"
        )
        share = relative_error(result, true) / allowed
        if not share <= 1:
            raise ProofError(f"{name} {call} {schedule}: {share:.2f} of the tolerance")
        worst = max(worst, share)
    return worst


# Both sides, what is held and what is not, one part and several along either axis.
TILINGS = ((64, 64, 1, 1), (64, 64, 2, 1), (64, 64, 1, 3), (128, 128, 1, 1), (128, 128, 2, 2))


def try_tiles(emulator: Emulator, number: int, tiling: tuple[int, ...]) -> float:
    """As :func:`try_instance`, by tiles, with kernels almost as large as they may be."""
    schedule = SCHEDULES[number % len(SCHEDULES)]
    boundary = list(BOUNDARY_CODES)[number % len(BOUNDARY_CODES)]
    side, _, down, across = tiling
    taps = tuple(2 * (side * 3 // 8 * parts // 2) - 1 for parts in (down, across))
    size = tuple(max(n // (1 + number % 2) + 2, side - 9) for n in taps)
    own = number % 3 == 0
    shape = Shape(1 + own, 1 + number % 2, *size, 3, *taps, not own, not own)
    tensors = family_tensors(shape, boundary if shape.allows(boundary) else "zeros",
                             torch.float32, number)  # fmt: skip
    boundary = boundary if shape.allows(boundary) else "zeros"
    call, worst = call_of(tensors, boundary, tiling=tiling), 0.0
    for name, inputs, result_shape, further in members(tensors, shape, call):
        result, _ = emulator.run(name, call, inputs, result_shape, schedule)
        true = getattr(blurops, name)(
            *(t.double() for t in inputs), *further, boundary=boundary, backend="reference"
        )
        share = relative_error(result, true) / accuracy(torch.float32).relative
        if not share <= 1:
            raise ProofError(f"{name} {call} {schedule}: {share:.2f} of the tolerance")
        worst = max(worst, share)
    return worst


def emulate() -> None:
    start = time.perf_counter()
    emulator = Emulator(build(CLASSES[0], CLASSES[-1]))
    print(f"kernels: the emulation of all instances is built ({time.perf_counter() - start:.0f} s)")
    for j in CLASSES:
        start = time.perf_counter()
        shares = [
            try_instance(emulator, len(KINDS) * j + i, j, *kind) for i, kind in enumerate(KINDS)
        ]
        seconds = time.perf_counter() - start
        print(f"kernels: {NARROW(j)} to {WIDE(j)} taps, {max(shares):.2f} of the tolerance "
              f"({seconds:.0f} s)", flush=True)  # fmt: skip

    for tiling in TILINGS:
        start = time.perf_counter()
        shares = [try_tiles(emulator, number, tiling) for number in range(6)]
        seconds = time.perf_counter() - start
        print(f"kernels: tiles {tiling}, {max(shares):.2f} of the tolerance ({seconds:.0f} s)",
              flush=True)  # fmt: skip


def compile_all() -> int:
    if nvcc() is None:
        print("kernels: nvcc is not installed, so nobody looked for spills")
        return 0
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/test_cuda_gates.py",
        ],
        cwd=ROOT,
        env={**os.environ, "BLUROPS_ALL_INSTANCES": "1"},
        check=False,
    )
    return done.returncode


def main() -> int:
    """Run the proof; 0 when every instance is right and none spills."""
    torch.set_num_threads(1)
    if compiler() is None:
        print("kernels: neither g++ nor clang++ is installed", file=sys.stderr)
        return 1
    try:
        emulate()
    except (AssertionError, ProofError) as error:
        print(f"kernels: {error}", file=sys.stderr)
        return 1
    return compile_all()


if __name__ == "__main__":
    raise SystemExit(main())
