# SPDX-License-Identifier: BSD-3-Clause
"""Judge the rows by what was asked for: `python -m benchmarks.targets`.

Prints each criterion with what was measured, and exits with 1 when one fails or has no rows.
"""

import argparse
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import compare, rows
from benchmarks.cases import LINEAR, REFERENCE
from benchmarks.compare import Duel
from benchmarks.report import times

_MB_PER_THREAD = 32.0
_FLAT = 1.20
_FLAT_SIZES = (512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Verdict:
    """One criterion: what is wanted, what was measured (None: no rows), and a remark."""

    criterion: str
    wanted: str
    measured: float | None
    passed: bool
    remark: str = ""

    def __str__(self) -> str:
        state = "no rows" if self.measured is None else "pass" if self.passed else "FAIL"
        value = "-" if self.measured is None else f"{self.measured:.2f}"
        return (
            f"{state:<8} {self.criterion:<58} {self.wanted:>8} {value:>8}  {self.remark}".rstrip()
        )


def at_least(criterion: str, bound: float, value: float | None, remark: str = "") -> Verdict:
    return Verdict(criterion, f">= {bound:g}", value, value is not None and value >= bound, remark)


def at_most(criterion: str, bound: float, value: float | None, remark: str = "") -> Verdict:
    return Verdict(criterion, f"<= {bound:g}", value, value is not None and value <= bound, remark)


def _ratios(some: Sequence[Duel]) -> Iterator[Verdict]:
    """The reference case against each baseline."""
    for member in LINEAR:
        duel = compare.find(some, REFERENCE, member)
        tuned = duel.against_kind("tuned") if duel else None
        remark = ""
        if duel and duel.best:
            whole = times(duel.against_any(compare.WHOLE_IMAGE))
            remark = f"aim 7; {duel.best.contender}; {whole} the best whole-image FFT"
        yield at_least(f"{member}: times faster than the best tuned baseline", 4, tuned, remark)
        for name, bound in (
            (compare.USUAL_LOOP, 8), (compare.DEEPINV, 8), (compare.AUTHORS, 25)
        ):  # fmt: skip
            value = duel.against(name) if duel else None
            yield at_least(f"{member}: times faster than {name}", bound, value)
    duel = compare.find(some, REFERENCE, "gradients")
    yield at_least(
        "forward + backward: times faster than the fastest baseline", 6,
        duel.ratio if duel else None, duel.best.contender if duel and duel.best else "",
    )  # fmt: skip
    duel = compare.find(some, REFERENCE, "rl-saturated")
    value = duel.against(compare.AUTHORS) if duel else None
    yield at_least(f"30 saturated iterations: times faster than {compare.AUTHORS}", 20, value)


def _never_slower(some: Sequence[Duel]) -> Verdict:
    timed = [duel for duel in some if duel.ratio and duel.case.kernel > 3]
    worst = min(timed, key=lambda duel: duel.ratio, default=None)
    slower = sum(duel.ratio < 1 for duel in timed)
    remark = ""
    if worst is not None:
        remark = f"{worst.case} {worst.member}; slower in {slower} of {len(timed)}"
    return at_least("never slower than the best baseline (K > 3): least ratio", 1.0,
                    worst.ratio if worst else None, remark)  # fmt: skip


def _flat(some: Sequence[Duel], member: str) -> Verdict:
    """Largest over least time per pixel, each divided by its tile rounding."""
    line = [d for d in compare.along(some, "size", member) if d.case.size in _FLAT_SIZES]
    costs = [
        duel.ours.seconds / duel.case.size**2 / (duel.ours.tile_rounding or 1.0) for duel in line
    ]
    roundings = ", ".join(f"{d.case.size}: {d.ours.tile_rounding or 1:.2f}" for d in line)
    value = max(costs) / min(costs) if len(costs) == len(_FLAT_SIZES) else None
    return at_most(f"{member}: time per pixel from 512 to 4096, largest / least", _FLAT, value,
                   f"tile rounding {roundings}")  # fmt: skip


def _threads(some: Sequence[Duel], member: str) -> Verdict:
    one = compare.find(some, replace(REFERENCE, threads=1), member)
    two = compare.find(some, REFERENCE, member)
    value = one.ours.seconds / two.ours.seconds if one and two else None
    return at_least(f"{member}: 2 threads, times faster than 1", 1.8, value)


def _memory(some: Sequence[Duel]) -> Verdict:
    measured = [d for d in some if not d.member.startswith("rl") and d.ours.memory_mb is not None]
    worst = max(measured, key=lambda d: d.ours.memory_mb / d.case.threads, default=None)
    if worst is None:
        return at_most("peak memory beyond inputs and outputs, MB per thread", _MB_PER_THREAD, None)
    value, remark = worst.ours.memory_mb / worst.case.threads, f"{worst.case} {worst.member}"
    return at_most("peak memory beyond inputs and outputs, MB per thread", _MB_PER_THREAD, value,
                   remark)  # fmt: skip


def _segments(some: Sequence[Duel], member: str) -> Iterator[Verdict]:
    sparse = [d for d in some if d.case.field == "segments" and d.member == member]
    if not sparse:
        yield at_least(f"{member}: eight segments, times faster than dense", 3, None)
    for duel in sparse:
        dense = compare.find(some, replace(duel.case, field="dense"), member)
        value = dense.ours.seconds / duel.ours.seconds if dense else None
        criterion = f"{member}: eight segments, times faster than dense"
        yield at_least(criterion, 3, value, f"{duel.case}")


def judge(found: Sequence[rows.Row]) -> list[Verdict]:
    """Every criterion."""
    some = compare.duels(found)
    verdicts = [*_ratios(some), _never_slower(some)]
    for member in LINEAR:
        verdicts += [_flat(some, member), _threads(some, member), *_segments(some, member)]
    return [*verdicts, _threads(some, "gradients"), _memory(some)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.targets", description=__doc__.splitlines()[0]
    )
    default = rows.RESULTS / f"bench-{platform.machine()}.csv"
    parser.add_argument("rows", type=Path, nargs="?", default=default, help="default: %(default)s")
    chosen = parser.parse_args()
    try:
        verdicts = judge(rows.read(chosen.rows))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for verdict in verdicts:
        print(verdict)
    print(f"{sum(v.passed for v in verdicts)} of {len(verdicts)} criteria are met")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
