# SPDX-License-Identifier: BSD-3-Clause
"""Time blurops beside the baselines: `make bench`, or `python -m benchmarks`.

Rows are printed as they come and put into the file of benchmarks/results/, in place of those of the
same sweep, case and member: a run of some sweeps renews these alone. Afterwards `python -m
benchmarks.report` makes the tables and plots, `python -m benchmarks.targets` judges.
"""

import argparse
import platform
import time
from pathlib import Path

from benchmarks import cases, machine, memory, rows, timing
from benchmarks.contenders import ALL


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    names = ", ".join(repr(contender.name) for contender in ALL)
    parser.add_argument("--quick", action="store_true", help="a few cases, about two minutes")
    parser.add_argument(
        "--only", help="sweeps, comma-separated: reference, kernel, basis, size, ..."
    )
    parser.add_argument("--members", help=f"comma-separated: {', '.join(cases.MEMBERS)}")
    parser.add_argument(
        "--contenders",
        help="parts of names, comma-separated: rows of some "
        f"contenders are only printed, unless there is --out; of {names}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="at least (default: %(default)s)")
    parser.add_argument(
        "--longest", type=float, default=1.5,
        help="leave out baselines whose call takes more seconds (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="CSV file (default: benchmarks/results/...)")
    return parser.parse_args()


def split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


def line(row: rows.Row) -> str:
    """A row as the terminal shows it."""
    head = f"{row.member:<13} {row.contender:<26}"
    if row.seconds is None:
        return f"{head} {'-':>10}  {row.note}"
    share = f"{100 * row.peak_share:5.1f} %" if row.peak_share else " " * 7
    return (
        f"{head} {row.seconds:10.4f} s {row.ratio or 0:6.2f} x {row.gflops:7.1f} GFLOP/s {share} "
        f"{row.memory_mb:8.1f} MB  {row.note}"
    )


def main() -> None:
    chosen = options()
    jobs = cases.quick() if chosen.quick else cases.sweeps()
    sweeps, members = split(chosen.only), split(chosen.members)
    contenders = [
        c
        for c in ALL
        if c.kind == "ours"
        or not chosen.contenders
        or any(part in c.name for part in split(chosen.contenders))
    ]
    settings = timing.Settings(rounds=chosen.rounds, longest=chosen.longest)
    history, found, began = timing.History(), [], time.perf_counter()
    name = "quick" if chosen.quick else "bench"
    path, save = chosen.out, rows.write
    if path is None and not chosen.contenders:
        path = rows.RESULTS / f"{name}-{platform.machine()}.csv"
        save = rows.write if chosen.quick else rows.merge
    place = machine.place()
    print(f"{place['cpu']}, {place['isa']}, torch {place['torch']}, commit {place['commit']}")
    memory.warm_up(argparse.Namespace(channels=1, basis=2, kernel=5))
    for job in jobs:
        if sweeps and job.sweep not in sweeps:
            continue
        peak, bandwidth = machine.probes(job.case.threads)
        print(f"\n{job.case}, {job.case.threads} threads ({job.sweep}; peak {peak:.0f} GFLOP/s, "
              f"{bandwidth:.0f} GB/s)", flush=True)  # fmt: skip
        for member in job.members:
            if members and member not in members:
                continue
            new = timing.measure(job, member, contenders, history, settings)
            found += new
            for row in sorted(new, key=lambda row: (row.seconds is None, row.seconds or 0)):
                print("  " + line(row), flush=True)
            if path is not None:
                save(path, found)
    where = f", written to {path}" if path else ""
    print(f"\n{len(found)} rows in {time.perf_counter() - began:.0f} s{where}")


if __name__ == "__main__":
    main()
