# SPDX-License-Identifier: BSD-3-Clause
"""Check, then time: contenders take turns in one process."""

import ctypes
import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import machine, tiles
from benchmarks.cases import ITERATIONS, Case, Job, nominal_flops
from benchmarks.contenders import Call, Contender
from benchmarks.inputs import (
    CHECKED_ITERATIONS,
    Inputs,
    make_inputs,
    tolerance,
    truth,
)
from benchmarks.memory import MB, resident
from benchmarks.rows import Row
from blurops.testing import relative_error

# Size of the small case from which an unknown contender's time is foreseen.
_PILOT = 160
_PILOT_CALLS = 4
# In the reference case, and for what may be the best baseline, a call may take longer.
_PATIENCE = 20.0
# A contender this much slower than the fastest is timed in fewer rounds.
_FAR_BEHIND = 5.0
_MOST_ROUNDS = 15


@dataclass
class Settings:
    """How long a run may take.

    Attributes:
        rounds: each contender is timed at least so often.
        budget: seconds for the rounds of one member of one case; within them, up to 15 rounds.
        longest: a baseline whose call is expected to take more seconds is left out; a tuned one,
            or any in the reference case, only beyond twenty times as many.
    """

    rounds: int = 3
    budget: float = 3.0
    longest: float = 1.5


@dataclass
class Entry:
    """A contender on its way through one member of one case."""

    contender: Contender
    call: Call | None = None
    scale: float = 1.0  # iterations wanted over iterations timed
    error: float | None = None
    memory: float | None = None
    note: str = ""
    first: float = 0.0  # seconds of the call that was checked
    times: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """The median, of all iterations."""
        return self.scale * statistics.median(self.times) if self.times else None


class History:
    """What calls took, to foresee what others will take."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], float] = {}

    @staticmethod
    def _work(contender: Contender, case: Case, member: str) -> float:
        if contender.growth == "direct":
            return case.basis * case.channels * (case.size * case.kernel) ** 2
        return nominal_flops(case, member)

    def add(self, contender: Contender, case: Case, member: str, seconds: float) -> None:
        """Remember a time."""
        key = (contender.name, member, case.threads)
        self._known[key] = seconds / self._work(contender, case, member)

    def foresee(self, contender: Contender, case: Case, member: str) -> float | None:
        """Seconds, or None when nothing is known."""
        per_work = self._known.get((contender.name, member, case.threads))
        if per_work is None and case.threads == 1:
            twice = self._known.get((contender.name, member, 2))
            per_work = None if twice is None else 2 * twice
        if per_work is None:
            return None
        return per_work * self._work(contender, case, member)


def available_memory() -> float:
    """Bytes that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024.0
    return float("inf")


def reason_to_skip(
    contender: Contender, job: Job, member: str, history: History, settings: Settings
) -> str | None:
    """Why a contender is left out of a member of a case, or None."""
    case = job.case
    if contender.reference_only and job.sweep != "reference":
        return "reference case only"
    needed = contender.planes(case) * case.channels * case.size**2 * 4
    if needed > 0.7 * available_memory():
        return f"needs {needed / 2**30:.0f} GB"
    if contender.kind == "ours" or contender.reference_only:
        return None
    seconds = history.foresee(contender, case, member)
    if seconds is None:
        seconds = pilot(contender, case, member, history)
    patient = job.sweep == "reference" or contender.kind == "tuned"
    longest = settings.longest * (_PATIENCE if patient else 1)
    if seconds is not None and seconds > longest:
        return f"would take about {seconds:.0f} s"
    return None


def pilot(contender: Contender, case: Case, member: str, history: History) -> float | None:
    """What the case will take, from a small one; None when that fails, which the case will show.

    Also for what the first call of a process costs.
    """
    small = replace(case, size=max(_PILOT, 2 * case.kernel))
    if small.size >= case.size:
        return None
    try:
        inputs = replace(make_inputs(small), iterations=CHECKED_ITERATIONS)
        call = contender.members[member](inputs)
        taken = []
        for _ in range(_PILOT_CALLS):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        history.add(contender, small, member, min(taken))
    except Exception:  # the case itself will fail, and say so
        return None
    return history.foresee(contender, case, member)


def _settle() -> None:
    """Return freed memory to the system, so that the resident size means something."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library: peaks come out larger
        return


def first_call(entry: Entry, inputs: Inputs, member: str) -> list[Tensor]:
    """Prepare and call once; the entry's call, first time and memory."""
    _settle()
    before = resident("VmRSS")
    entry.call = entry.contender.members[member](inputs)
    _settle()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start = time.perf_counter()
    results = entry.call()
    entry.first = time.perf_counter() - start
    outputs = sum(t.numel() * t.element_size() for t in results)
    entry.memory = max(resident("VmHWM") - before - outputs, 0) / MB
    return results


def check(
    entry: Entry, results: Sequence[Tensor], expected: Sequence[Tensor], limit: float
) -> None:
    """Refuse the entry when a result is wrong."""
    errors = [relative_error(*pair) for pair in zip(results, expected, strict=True)]
    entry.error = max(errors)
    if not entry.error <= limit:  # NaN too
        entry.call, entry.note = None, f"wrong: relative error {entry.error:.1e}"


def start(entry: Entry, inputs: Inputs, member: str, truths: dict[str, list[Tensor]]) -> None:
    """Check a contender at the case itself and get it ready to be timed."""
    algorithm, solver = entry.contender.algorithm, member.startswith("rl")
    if algorithm not in truths:
        truths[algorithm] = truth(inputs, member, algorithm)
    try:
        checked = replace(inputs, iterations=CHECKED_ITERATIONS) if solver else inputs
        results = first_call(entry, checked, member)
        check(entry, results, truths[algorithm], tolerance(inputs.case, member))
        if solver and entry.call is not None:
            timed = entry.contender.sampled_iterations or ITERATIONS
            entry.scale = ITERATIONS / timed
            entry.call = entry.contender.members[member](replace(inputs, iterations=timed))
            entry.first *= timed / CHECKED_ITERATIONS
            entry.note = f"{timed} of {ITERATIONS} iterations" if entry.scale > 1 else ""
    except Exception as error:  # a contender's failure is a row, not the end of the run
        text = " ".join(str(error).split())[:120]
        entry.call, entry.note = None, f"fails: {type(error).__name__}: {text}"
    if algorithm == "authors" and member == "adjoint" and entry.call is not None:
        apart = relative_error(results[0], truth(inputs, member)[0])
        entry.note = f"not the transpose: {apart:.2f} away from it"


def take_turns(entries: Sequence[Entry], settings: Settings) -> None:
    """Time the entries round by round; the slow ones skip rounds, and every other round turns."""
    running = [entry for entry in entries if entry.call is not None]
    if not running:
        return
    fastest = min(entry.scale * entry.first for entry in running)
    slow = {id(e) for e in running if e.scale * e.first > _FAR_BEHIND * fastest and e.first > 0.1}
    began = time.perf_counter()
    for round_ in range(_MOST_ROUNDS):
        spent = time.perf_counter() - began
        if round_ >= settings.rounds and spent > settings.budget:
            break
        for entry in running if round_ % 2 == 0 else reversed(running):
            if id(entry) in slow and round_ > 0:
                continue
            start_ = time.perf_counter()
            entry.call()
            entry.times.append(time.perf_counter() - start_)


def measure(
    job: Job, member: str, contenders: Sequence[Contender], history: History, settings: Settings
) -> list[Row]:
    """Every contender at one member of one case, as rows."""
    case = job.case
    torch.set_num_threads(case.threads)
    inputs, truths = make_inputs(case), {}
    entries = [Entry(contender) for contender in contenders if member in contender.members]
    for entry in entries:
        entry.note = reason_to_skip(entry.contender, job, member, history, settings) or ""
        if not entry.note:
            start(entry, inputs, member, truths)
            if entry.call is not None:
                history.add(entry.contender, case, member, entry.first)
    truths.clear()
    take_turns(entries, settings)
    best = min((e.seconds for e in entries if _is_baseline(e, member)), default=None)
    return [_row(job, member, entry, best) for entry in entries]


def _is_baseline(entry: Entry, member: str) -> bool:
    """Whether it computes what ours does: the authors' "adjoint" is another operator."""
    another = entry.contender.algorithm != "exact" and member == "adjoint"
    return entry.seconds is not None and entry.contender.kind != "ours" and not another


def _row(job: Job, member: str, entry: Entry, best: float | None) -> Row:
    case, contender, seconds = job.case, entry.contender, entry.seconds
    peak, bandwidth = machine.probes(case.threads)
    gflops = nominal_flops(case, member) / seconds / 1e9 if seconds else None
    return Row(
        sweep=job.sweep,
        size=case.size,
        channels=case.channels,
        basis=case.basis,
        kernel=case.kernel,
        field=case.field,
        threads=case.threads,
        member=member,
        contender=contender.name,
        kind=contender.kind,
        algorithm=contender.algorithm,
        seconds=seconds,
        least=entry.scale * min(entry.times) if entry.times else None,
        rounds=len(entry.times),
        ratio=best / seconds if seconds and best else None,
        gflops=gflops,
        peak_share=gflops / peak if gflops and peak else None,
        memory_mb=entry.memory if entry.error is not None else None,
        tile_rounding=tiles.rounding(case, member) if contender.kind == "ours" else None,
        error=entry.error,
        note=entry.note,
        peak_gflops=peak,
        bandwidth_gbs=bandwidth,
        **machine.place(),
    )
