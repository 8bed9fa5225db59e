# SPDX-License-Identifier: BSD-3-Clause
"""The mutation proof can fail: it tells a caught bug from everything that is not a catch."""

import contextlib
import textwrap
from pathlib import Path

import pytest

from proof.engine import Bench, Mutant, Selection, check_table
from proof.mutants import load
from proof.tree import ROOT, ProofError

TESTS = Selection(("tests",))


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    (root / "area.py").write_text("def area(w, h):\n    unused = 1\n    return w * h\n")
    (root / "tests" / "test_area.py").write_text(
        textwrap.dedent("""
        from area import area

        def test_area():
            assert area(2, 3) == 6
        """)
    )
    return root


@pytest.fixture
def bench(project, tmp_path):
    with contextlib.closing(Bench(project, tmp_path / "copy", limit=20)) as found:
        yield found


def mutant(old: str, new: str) -> Mutant:
    return Mutant("a bug", "area.py", old, new, TESTS)


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("w * h", "w + h", "killed"),
        ("unused = 1", "unused = 2", "survived"),
        ("w * h", "w *", "broke the run"),
        ("w * h", "__import__('os').abort()", "broke the run"),
    ],
    ids=["caught", "harmless", "syntax error", "crash"],
)
def test_verdicts(bench, old, new, outcome):
    verdict = bench.attempt(mutant(old, new))
    assert (verdict.outcome, verdict.killed) == (outcome, outcome == "killed")
    if verdict.killed:
        assert verdict.detail == "test_area"


def test_a_hanging_mutant_is_not_a_killed_one(project, tmp_path):
    hanging = mutant("return", "while True: pass\n    return")
    with contextlib.closing(Bench(project, tmp_path / "copy", limit=8)) as bench:
        assert bench.attempt(hanging).outcome == "timed out"
        assert bench.attempt(mutant("w * h", "w + h")).outcome == "killed"


def test_the_change_is_taken_out_and_the_original_never_touched(project, bench):
    before = (project / "area.py").read_text()
    bench.attempt(mutant("w * h", "w + h"))
    assert (project / "area.py").read_text() == before
    assert (bench.tree.root / "area.py").read_text() == before
    assert bench.baseline(TESTS) > 0


def test_a_baseline_that_fails_stops_the_proof(project, tmp_path):
    (project / "area.py").write_text("def area(w, h):\n    return w + h\n")
    with (
        contextlib.closing(Bench(project, tmp_path / "copy")) as bench,
        pytest.raises(ProofError, match="the unchanged copy fails tests"),
    ):
        bench.baseline(TESTS)


def test_a_selection_without_tests_stops_the_proof(bench):
    with pytest.raises(ProofError, match="the unchanged copy fails"):
        bench.baseline(Selection(("tests",), "no such test"))


@pytest.mark.parametrize(
    ("file", "old", "message"),
    [
        ("area.py", "no such text", "occurs 0 times"),
        ("area.py", "w", "occurs 2 times"),
        ("gone.py", "w", "there is no file gone.py"),
    ],
)
def test_a_stale_table_is_found_before_anything_runs(project, file, old, message):
    with pytest.raises(ProofError, match=message):
        check_table(project, [Mutant("a bug", file, old, "new", TESTS)])


def test_every_run_starts_without_the_project(bench):
    """A fork that kept a module of an earlier run would test that one."""
    for _ in range(2):
        assert bench.attempt(mutant("w * h", "w + h")).outcome == "killed"
        assert bench.baseline(TESTS) > 0


def test_two_mutants_of_one_name_are_refused(project):
    with pytest.raises(ProofError, match="two mutants"):
        check_table(project, [mutant("w * h", "w + h")] * 2)


def test_the_table_of_this_project_is_current():
    mutants = load()
    check_table(ROOT, mutants)
    for entry in mutants:
        assert all((ROOT / Path(path.split("::")[0])).exists() for path in entry.tests.paths), entry
