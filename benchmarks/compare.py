# SPDX-License-Identifier: BSD-3-Clause
"""Rows put side by side: what the tables, the plots and the judgement share."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cases import REFERENCE, Case
from benchmarks.rows import Row

# Where ours is not so many times faster than the best baseline, the tables say so.
CLEARLY = 2.0

WHOLE_IMAGE = ("torch.fft tuned, real", "torch.fft tuned, packed")
USUAL_LOOP = "torch.fft loop"
DEEPINV = "deepinv"
AUTHORS = "Carbajal et al."


@dataclass(frozen=True)
class Duel:
    """Ours and the baselines at one member of one case."""

    case: Case
    member: str
    sweep: str
    ours: Row
    baselines: tuple[Row, ...]  # those with a time, the fastest first
    absent: tuple[Row, ...]  # those without

    @property
    def best(self) -> Row | None:
        """The fastest baseline that computes the same."""
        return next((row for row in self.baselines if comparable(row)), None)

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is than the best baseline."""
        return self.best.seconds / self.ours.seconds if self.best else None

    def against(self, name: str) -> float | None:
        """How many times faster ours is than a baseline, None when it has no time."""
        return next((r.seconds / self.ours.seconds for r in self.baselines if r.contender == name),
                    None)  # fmt: skip

    def against_any(self, names: Sequence[str]) -> float | None:
        """The same for the fastest of several."""
        return min((r for r in map(self.against, names) if r is not None), default=None)

    def against_kind(self, kind: str) -> float | None:
        """How many times faster ours is than the fastest baseline of a kind."""
        some = [r.seconds for r in self.baselines if r.kind == kind and comparable(r)]
        return min(some) / self.ours.seconds if some else None


def comparable(row: Row) -> bool:
    """Whether a row computes what ours does: the authors' adjoint is another operator."""
    return not (row.algorithm != "exact" and row.member == "adjoint")


def duels(rows: Iterable[Row]) -> list[Duel]:
    """One duel for each member of each case in which ours has a time."""
    groups: dict[tuple[Case, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.case, row.member), []).append(row)
    found = []
    for (case, member), some in groups.items():
        ours = [row for row in some if row.kind == "ours" and row.seconds]
        if not ours:
            continue
        others = [row for row in some if row.kind != "ours"]
        timed = sorted((r for r in others if r.seconds), key=lambda row: row.seconds)
        absent = tuple(row for row in others if not row.seconds)
        found.append(Duel(case, member, ours[0].sweep, ours[0], tuple(timed), absent))
    return found


def find(some: Sequence[Duel], case: Case, member: str) -> Duel | None:
    """The duel at a member of a case."""
    return next((duel for duel in some if duel.case == case and duel.member == member), None)


def along(some: Sequence[Duel], variable: str, member: str, threads: int = 2) -> list[Duel]:
    """The duels that differ from the reference case in one variable only, in its order."""

    def others(case: Case) -> tuple:
        names = ("size", "channels", "basis", "kernel", "field")
        return tuple(getattr(case, name) for name in names if name != variable)

    line = [
        duel
        for duel in some
        if duel.member == member
        and duel.case.threads == threads
        and others(duel.case) == others(REFERENCE)
    ]
    return sorted(line, key=lambda duel: getattr(duel.case, variable))


def crossovers(line: Sequence[Duel], variable: str) -> list[float]:
    """Where the best baseline overtakes ours or falls behind, on logarithmic scales."""
    found = []
    points = [(getattr(duel.case, variable), duel.ratio) for duel in line if duel.ratio]
    for (x0, r0), (x1, r1) in itertools.pairwise(points):
        if (r0 < 1) != (r1 < 1):
            share = math.log(r0) / (math.log(r0) - math.log(r1))
            found.append(math.exp(math.log(x0) + share * (math.log(x1) - math.log(x0))))
    return found
