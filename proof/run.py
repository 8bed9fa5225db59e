# SPDX-License-Identifier: BSD-3-Clause
"""The mutation proof: every planted bug must make a test fail.

Bugs are planted in copies of the project, native ones are compiled without optimisation, and only
the tests that each mutant names are run. The proof fails when a mutant survives, does not build,
breaks the collection of tests or crashes the run, and also when the unchanged copy does not pass.

    python proof/run.py                 every mutant
    python proof/run.py --only fold     those with "fold" in their names
    python proof/run.py --list
"""

import argparse
import contextlib
import os
import queue
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from proof.engine import Bench, Mutant, Verdict, check_table
from proof.mutants import load
from proof.tree import ROOT, ProofError

FEWEST = 12


def try_all(mutants: tuple[Mutant, ...], folder: Path, jobs: int) -> list[Verdict]:
    """Try every mutant, ``jobs`` at a time, each job in its own copy."""
    benches: queue.SimpleQueue[Bench] = queue.SimpleQueue()

    def prepare(index: int) -> None:
        bench = Bench(ROOT, folder / f"copy{index}")
        at_the_end.callback(bench.close)
        bench.prepare()
        benches.put(bench)

    def with_bench(task, argument):
        bench = benches.get()
        try:
            return task(bench, argument)
        finally:
            benches.put(bench)

    with ThreadPoolExecutor(jobs) as pool, contextlib.ExitStack() as at_the_end:
        list(pool.map(prepare, range(jobs)))
        for tests, seconds in pool.map(
            lambda tests: (tests, with_bench(Bench.baseline, tests)),
            dict.fromkeys(mutant.tests for mutant in mutants),
        ):
            print(f"unchanged, passes  {seconds:6.1f} s  {' '.join(tests.arguments())}", flush=True)
        # Native mutants first: they take longest.
        ordered = sorted(mutants, key=lambda mutant: not mutant.native)
        verdicts = []
        for future in as_completed(
            pool.submit(with_bench, Bench.attempt, mutant) for mutant in ordered
        ):
            verdict = future.result()
            verdicts.append(verdict)
            print(f"{verdict.outcome:18} {verdict.seconds:6.1f} s  {verdict.mutant}", flush=True)
    return verdicts


def print_table(mutants: tuple[Mutant, ...], verdicts: list[Verdict]) -> None:
    """One line per mutant in the order of the table: outcome, seconds, the test that caught it."""
    by_name = {verdict.mutant: verdict for verdict in verdicts}
    width = max(len(mutant.name) for mutant in mutants)
    print(f"\n{'mutant':{width}}  {'outcome':14}  {'s':>5}  caught by")
    for mutant in mutants:
        verdict = by_name[mutant.name]
        print(
            f"{mutant.name:{width}}  {verdict.outcome:14}  {verdict.seconds:5.1f}  {verdict.detail}"
        )


def main(argv: list[str] | None = None) -> int:
    """Run the proof; 0 when every mutant was killed."""
    parser = argparse.ArgumentParser(description="plant bugs that the test suite must catch")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="mutants whose names contain a TEXT"
    )
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N")
    options = parser.parse_args(argv)

    start = time.perf_counter()
    try:
        every = load()
        check_table(ROOT, every)
        if len(every) < FEWEST:
            raise ProofError(
                f"the table must hold at least {FEWEST} mutants, it holds {len(every)}"
            )
        mutants = tuple(m for m in every if any(text in m.name for text in options.only))
        if not mutants:
            raise ProofError(f"no mutant is called like {' or '.join(options.only)}")
        if options.list:
            print("\n".join(mutant.name for mutant in mutants))
            return 0
        # One core per job: the runs are many and small.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // options.jobs)))
        with tempfile.TemporaryDirectory(prefix="blurops-proof-") as folder:
            verdicts = try_all(mutants, Path(folder), options.jobs)
    except ProofError as error:
        print(f"proof: {error}", file=sys.stderr)
        return 1
    print_table(mutants, verdicts)
    killed = sum(verdict.killed for verdict in verdicts)
    seconds = time.perf_counter() - start
    print(f"\n{killed} of {len(mutants)} mutants killed in {seconds:.0f} s")
    # Again and last, because the end of a long log is what people see.
    for verdict in verdicts:
        if not verdict.killed:
            print(f"{verdict.outcome}: {verdict.mutant} ({verdict.detail})")
    return 0 if killed == len(mutants) else 1


if __name__ == "__main__":
    raise SystemExit(main())
