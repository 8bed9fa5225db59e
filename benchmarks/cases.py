# SPDX-License-Identifier: BSD-3-Clause
"""What is timed: sweeps of one variable around the reference case, and some corners."""

import math
from dataclasses import dataclass, replace

MEMBERS = ("forward", "adjoint", "gradients", "rl", "rl-saturated")
LINEAR = ("forward", "adjoint")
ITERATIONS = 30

KERNELS = (5, 7, 9, 11, 13, 17, 21, 25, 33, 41, 49, 65, 97, 129)
BASES = (1, 2, 4, 8, 16, 25, 40, 64)
SIZES = (256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Case:
    """One problem: a square image (1, channels, size, size), float32, boundary reflect.

    ``field`` is "dense" (every coefficient and every tap nonzero) or "segments" (eight segments,
    mixing exactly 0 or 1 but for soft seams).
    """

    size: int = 1024
    channels: int = 3
    basis: int = 25
    kernel: int = 33
    field: str = "dense"
    threads: int = 2

    def __str__(self) -> str:
        text = f"{self.size}x{self.size}x{self.channels} B={self.basis} K={self.kernel}"
        return text + ("" if self.field == "dense" else f" {self.field}")


REFERENCE = Case()


@dataclass(frozen=True)
class Job:
    """A case, the members to time there, and the sweep it belongs to."""

    sweep: str
    case: Case
    members: tuple[str, ...]


def nominal_flops(case: Case, member: str) -> float:
    """Operations of the tuned whole-image FFT, whoever computes it and however.

    A real transform of n points counts 2.5 n log2 n (half of the 5 n log2 n of a complex one), with
    n the pixels of the extended image; a product of half spectra 3 n, with the sum over bases 4 n;
    mixing 2 per pixel. Forward and adjoint take C + B C transforms, the kernels' own not counted.
    The gradients' count is that of one forward, one adjoint and the B C responses they share: 2 B C
    transforms more for the mixing and kernel gradients, 2 B for the kernels. Richardson-Lucy counts
    its blurs alone.
    """
    points = (case.size + case.kernel - 1) ** 2
    transform = 2.5 * points * math.log2(points)
    planes = case.basis * case.channels
    blur = (planes + case.channels) * transform + planes * (4 * points + 2 * case.size**2)
    if member in LINEAR:
        return blur
    if member == "gradients":
        return 3 * blur + 2 * case.basis * transform
    blurs = 2 if member == "rl" else 3
    return ITERATIONS * blurs * blur


def _around(sweep: str, members: tuple[str, ...], **changes: int | str) -> Job:
    return Job(sweep, replace(REFERENCE, **changes), members)


def sweeps() -> list[Job]:
    """Every job of a full run, the reference case first: what follows scales its times."""
    trained = (*LINEAR, "gradients")
    jobs = [
        Job("reference", REFERENCE, MEMBERS),
        _around("threads", trained, threads=1),
    ]
    # The slower members at a few points only: a run has to end within half an hour.
    for variable, values, points in (
        ("kernel", KERNELS, (9, 17, 65)),
        ("basis", BASES, (1, 8, 64)),
        ("size", SIZES, (256, 512)),
    ):
        jobs += [
            _around(variable, trained if value in points else LINEAR, **{variable: value})
            for value in values
            if value != getattr(REFERENCE, variable)
        ]
    jobs.append(_around("channels", trained, channels=1))
    jobs += [_around("threads", LINEAR, size=size, threads=1) for size in (256, 2048)]
    jobs += [_around("threads", LINEAR, kernel=kernel, threads=1) for kernel in (9, 65)]
    return jobs + corners()


def corners() -> list[Job]:
    """Where a method that suits the middle of the grid may fail."""
    jobs = [_around("corner", LINEAR, basis=1, kernel=kernel) for kernel in (5, 9, 17, 65, 129)]
    jobs += [
        _around("corner", LINEAR, basis=1, kernel=5, channels=1),
        _around("corner", LINEAR, size=256, kernel=129),
        _around("corner", LINEAR, size=256, kernel=65, channels=1),
        _around("corner", LINEAR, size=256, basis=1, kernel=33, channels=1),
        _around("corner", LINEAR, size=256, basis=64, kernel=5),
        _around("corner", LINEAR, size=2048, basis=64, kernel=9, channels=1),
        _around("corner", LINEAR, size=4096, basis=1, kernel=33),
        _around("corner", LINEAR, size=4096, basis=4, kernel=5, channels=1),
    ]
    # The dense field of the first is in the sweep over B.
    for size, field in ((1024, "segments"), (2048, "segments"), (2048, "dense")):
        jobs.append(_around("field", LINEAR, size=size, basis=8, field=field))
    return jobs


def quick() -> list[Job]:
    """A short run: the reference case but for the authors' solver, and its neighbours."""
    return [
        Job("reference", REFERENCE, (*LINEAR, "gradients")),
        _around("threads", LINEAR, threads=1),
        _around("kernel", LINEAR, kernel=9),
        _around("basis", LINEAR, basis=4),
        _around("size", LINEAR, size=512),
        _around("field", LINEAR, basis=8),
        _around("field", LINEAR, basis=8, field="segments"),
    ]
