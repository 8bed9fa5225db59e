# SPDX-License-Identifier: BSD-3-Clause
"""Plant one bug at a time and see whether the tests that name the op catch it."""

import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proof.tree import ProofError, Tree, check_unique, tail
from proof.warm import Runner


@dataclass(frozen=True)
class Selection:
    """A selection of the suite, quick enough to be run once per mutant."""

    paths: tuple[str, ...]
    keyword: str = ""

    def arguments(self) -> list[str]:
        """The selection as pytest takes it."""
        return [*self.paths, *(["-k", self.keyword] if self.keyword else [])]


@dataclass(frozen=True)
class Mutant:
    """One bug: in ``file``, the only occurrence of ``old`` becomes ``new``; ``tests`` must fail.

    ``wide``: only vectors of more than 16 bytes show it, so it is built for every instruction set.
    """

    name: str
    file: str
    old: str
    new: str
    tests: Selection
    wide: bool = False

    @property
    def native(self) -> bool:
        """Whether the native module has to be rebuilt."""
        return self.file.startswith("csrc/") or self.file == "CMakeLists.txt"


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant. Only ``killed`` is good."""

    mutant: str
    outcome: str
    detail: str
    seconds: float

    @property
    def killed(self) -> bool:
        """Caught by a test that failed."""
        return self.outcome == "killed"


@dataclass(frozen=True)
class Report:
    """One run of pytest, from its exit status and its junit file."""

    status: int
    passed: int
    failures: tuple[str, ...]
    errors: tuple[str, ...]
    log: str


def run_tests(tree: Tree, runner: Runner, tests: Selection, *, stop: bool, limit: float) -> Report:
    """Run a selection in the copy; ``stop`` ends it at the first failure."""
    junit = tree.root / "proof-junit.xml"
    junit.unlink(missing_ok=True)
    options = ["-q", "-p", "no:cacheprovider", "--tb=line", "--durations=0", f"--junitxml={junit}"]
    status, log = runner.run([*options, *(["-x"] if stop else []), *tests.arguments()], limit)
    if not junit.exists():
        return Report(status, 0, (), (), log)
    cases = list(ET.parse(junit).getroot().iter("testcase"))

    def having(tag: str) -> tuple[str, ...]:
        return tuple(case.get("name", "?") for case in cases if case.find(tag) is not None)

    bad, skipped = having("failure") + having("error"), having("skipped")
    passed = len(cases) - len(bad) - len(skipped)
    return Report(status, passed, having("failure"), having("error"), log)


class Bench:
    """A copy of the project in which mutants are tried, one after the other."""

    def __init__(self, root: Path, folder: Path, *, limit: float = 300) -> None:
        self.tree = Tree(root, folder)
        self.limit = limit
        self._clean_module: Path | None = None
        self._runner: Runner | None = None

    def close(self) -> None:
        """End the process that runs the tests."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _run_tests(self, tests: Selection, *, stop: bool, limit: float) -> Report:
        if self._runner is None:
            self._runner = Runner(self.tree.root, self.tree.environment())
        return run_tests(self.tree, self._runner, tests, stop=stop, limit=limit)

    def prepare(self) -> None:
        """Build the unchanged copy and keep its module for the mutants that need no build."""
        log = self.tree.build()
        if log is not None:
            raise ProofError(f"the unchanged copy does not build:\n{tail(log)}")
        self.tree.import_check()
        module = self.tree.native_module()
        self._clean_module = self.tree.root / "build" / "clean-module"
        shutil.copyfile(module, self._clean_module)

    def baseline(self, tests: Selection) -> float:
        """The unchanged copy must pass; returns the seconds it took."""
        start = time.perf_counter()
        report = self._run_tests(tests, stop=False, limit=2 * self.limit)
        if report.status != 0 or report.passed == 0:
            raise ProofError(
                f"the unchanged copy fails {' '.join(tests.arguments())}:\n{tail(report.log)}"
            )
        return time.perf_counter() - start

    def attempt(self, mutant: Mutant) -> Verdict:
        """Plant the bug, run its tests, take it out again."""
        start = time.perf_counter()
        with self.tree.planted(mutant.file, mutant.old, mutant.new):
            outcome, detail = self._outcome(mutant)
        return Verdict(mutant.name, outcome, detail, time.perf_counter() - start)

    def _outcome(self, mutant: Mutant) -> tuple[str, str]:
        if mutant.native:
            log = self.tree.build(every_isa=mutant.wide)
            if log is not None:
                return "does not build", tail(log, 3)
        else:
            self._restore_module()
        try:
            report = self._run_tests(mutant.tests, stop=True, limit=self.limit)
        except subprocess.TimeoutExpired:
            return "timed out", f"no failure within {self.limit:.0f} s"
        if report.status == 1 and report.failures and not report.errors:
            return "killed", report.failures[0]
        if report.status == 0:
            return "survived", f"{report.passed} tests passed"
        return "broke the run", tail(report.log, 3)

    def _restore_module(self) -> None:
        module = self.tree.native_module()
        if module is not None and self._clean_module is not None:
            shutil.copyfile(self._clean_module, module)


def check_table(root: Path, mutants: Sequence[Mutant]) -> None:
    """Find what is stale in the table, all of it, before anything is built."""
    problems = []
    names = [mutant.name for mutant in mutants]
    problems += [f"two mutants are called {name!r}" for name in set(names) if names.count(name) > 1]
    for mutant in mutants:
        path = root / mutant.file
        if not path.is_file():
            problems.append(f"{mutant.name}: there is no file {mutant.file}")
            continue
        try:
            check_unique(mutant.file, path.read_text(), mutant.old, mutant.new)
        except ProofError as error:
            problems.append(f"{mutant.name}: {error}")
    if problems:
        raise ProofError("the table of mutants is stale:\n" + "\n".join(problems))
