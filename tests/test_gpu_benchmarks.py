# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks and the check for GPUs, as far as a machine without one can run them."""

import json
import sys

import pytest
import torch

from benchmarks import gpu_check
from benchmarks.cases import MEMBERS, REFERENCE, Case
from benchmarks.contenders.base import Contender
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import calibrate, clock, gather, rates, rows, small_calls
from benchmarks.gpu.contenders import ALL, Entrant
from benchmarks.gpu_check import Step
from blurops.ops.basis_blur import cuda_tiling, tiling
from blurops.ops.basis_blur.tiling import Work

CPU = torch.device("cpu")
CASE = Case(36, channels=2, basis=3, kernel=5, threads=1)
# Compiling takes longer than all of these tests, and Triton needs a device or its interpreter.
HERE = [e for e in ALL if "compile" not in e.contender.name and "triton" not in e.contender.name]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(clock, "_SECONDS", 0.0)
    monkeypatch.setattr(clock, "_WARM_UPS", 0)


def test_contenders_are_checked_and_timed(native, tmp_path, capsys):
    found = command.run((CASE, MEMBERS), CPU, HERE)
    assert {row.member for row in found} == set(MEMBERS)
    for row in found:
        assert row.note == "", row
        assert row.call_ms > 0
        assert row.error < 1e-2
    for member in MEMBERS:
        exact = [r for r in found if r.member == member and r.accuracy == "exact"]
        baselines = [r for r in exact if r.contender != "Carbajal et al." and "blurops" not in
                     r.contender]  # fmt: skip
        assert max(row.ratio for row in baselines) == pytest.approx(1)
    path = tmp_path / "rows.csv"
    rows.write(path, found)
    assert len(path.read_text().splitlines()) == len(found) + 1
    assert "forward" in capsys.readouterr().out


def test_a_wrong_result_and_a_failure_are_rows_without_times():
    def fails(inputs):
        raise RuntimeError("no memory")

    wrong = Contender("wrong", "", {"forward": lambda i: lambda: [1.01 * i.image]})
    failing = Contender("failing", "", {"forward": fails})
    found = command.run((CASE, ("forward",)), CPU, [Entrant(wrong, "rounded"), Entrant(failing)])
    assert [row.call_ms for row in found] == [None, None]
    assert found[0].note.startswith("wrong: relative error")
    assert found[1].note == "fails: RuntimeError: no memory"


def test_the_least_time_by_hand():
    # 57.1 GFLOP of tensor cores, 6.85 of float32, 130 MB.
    at = rates.Rates(bytes=1e12, multiply_adds=1e13, tensor=1e14)
    assert rates.least_seconds(REFERENCE, "forward", at) == pytest.approx(0.685e-3, rel=1e-2)
    slow_memory = at._replace(bytes=1e10)
    assert rates.least_seconds(REFERENCE, "forward", slow_memory) == pytest.approx(13e-3, rel=1e-2)
    slow_cores = at._replace(tensor=1e12)
    assert rates.least_seconds(REFERENCE, "forward", slow_cores) == pytest.approx(57e-3, rel=1e-2)
    once = rates.least_seconds(REFERENCE, "forward", at)
    assert rates.least_seconds(REFERENCE, "rl-saturated", at) == pytest.approx(90 * once)
    assert rates.least_seconds(REFERENCE, "gradients", at) == pytest.approx(4 * once)


def test_the_gathering_ops_are_checked_and_timed(native):
    ours = [c for c in gather.CONTENDERS if c[1] == "blurops, high"]
    wrong = ("motion_blur", "wrong", lambda field: 1.01 * field.image)
    found = gather.rows(34, CPU, (*ours, wrong))
    assert {row["op"] for row in found} == set(gather.MEMBERS)
    for row in found:
        wrong = row["contender"] == "wrong"
        assert (row["note"], "call_ms" in row) == ("wrong" if wrong else "", not wrong), row


def test_the_small_calls_are_right(native, monkeypatch):
    assert small_calls.wrong(CPU, ["native"]) == []
    assert small_calls.wrong_steps(CPU) == []
    assert small_calls.wrong_gathers(CPU) == []
    monkeypatch.setattr(small_calls, "_LIMIT", 0.0)
    assert small_calls.wrong(CPU, ["native"])
    assert len(small_calls.wrong_steps(CPU)) == 4


def test_the_calibration_finds_the_constants_again(monkeypatch, tmp_path):
    """From times that the model itself gives, for all cases; the file is then read back."""
    truth = {name: 1.0 + i for i, name in enumerate(sorted(cuda_tiling.costs_now()))}
    monkeypatch.setattr(calibrate, "call_of", lambda work, device: work)
    monkeypatch.setattr(cuda_tiling, "shared_bytes", lambda device: 1 << 20)

    def seconds(work, device):
        found = calibrate.features(work, tiling.forced_now())
        return 1e-9 * cuda_tiling.time(found, truth)

    monkeypatch.setattr(clock, "kernel_seconds", seconds)
    measured = calibrate.measure(list(calibrate.cases()), CPU)
    found = calibrate.constants(measured)
    assert set(found) == set(truth)
    for work, tiles in calibrate.cases():
        features = calibrate.features(work, tiles)
        expected = cuda_tiling.time(features, truth)
        assert cuda_tiling.time(features, found) == pytest.approx(expected, rel=0.02)
    calibrate.write(tmp_path / "costs.json", "measured on a model", found)
    read = json.loads((tmp_path / "costs.json").read_text())
    assert read == {"origin": "measured on a model", "nanoseconds": found}


def test_the_calibration_calls_what_it_times(native):
    for member in calibrate.MEMBERS:
        work = Work(member, 1, 2, 3, (20, 30), (3, 5), 4)
        assert torch.isfinite(calibrate.call_of(work, CPU)()).all()


def test_the_check_needs_more_than_an_exit_status(tmp_path):
    def python(code):
        return (sys.executable, "-c", code)

    said = []
    found = gpu_check.check(
        [
            Step("good", python("print('ERROR SUMMARY: 0 errors')"), 60, "ERROR SUMMARY: 0 errors"),
            Step("silent", python("pass"), 60, "ERROR SUMMARY: 0 errors"),
            Step("failing", python("print('why'); raise SystemExit(3)"), 60),
            Step("slow", python("import time; time.sleep(60)"), 0.5),
            Step("absent", (str(tmp_path / "nothing"),), 60),
        ],
        tmp_path,
        said.append,
    )
    outcomes = {name: outcome for name, outcome, _ in found}
    assert outcomes.pop("good") == "ok"
    assert outcomes == {
        "silent": "its log does not say 'ERROR SUMMARY: 0 errors'",
        "failing": "ended with 3",
        "slow": "not done within 0 s",
        "absent": "cannot be run: No such file or directory",
    }
    assert "why" in "\n".join(said)


def test_the_check_watches_with_every_tool_and_ends_in_time():
    steps = {step.name: step for step in gpu_check.steps(quick=False)}
    names = ["build", "tests", *gpu_check.TOOLS, "calibrate", "benchmarks", "gather"]
    assert list(steps) == names
    for tool in gpu_check.TOOLS:
        assert steps[tool].clean
    assert gpu_check.environment()["TRITON_INTERPRET"] == "0"
