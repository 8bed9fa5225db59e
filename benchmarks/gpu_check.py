# SPDX-License-Identifier: BSD-3-Clause
"""Everything that needs a GPU, in one command: `python benchmarks/gpu_check.py`.

Builds the native module with CUDA, runs the GPU tests, runs every kernel under compute-sanitizer,
refits the constants by which "auto" chooses, and times blurops beside the baselines. Steps go on
where an earlier one failed; a table of outcomes comes last. Needs torch with CUDA, nvcc, CMake,
Ninja, pybind11 and pytest. Rows go to benchmarks/results/ under the device's name, constants to
blurops/ops/basis_blur/cuda_costs.json, logs to the folder of --logs.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
_CLEAN = {
    "racecheck": r"RACECHECK SUMMARY: 0 hazards displayed \(0 errors, 0 warnings\)",
    None: r"ERROR SUMMARY: 0 errors",
}


@dataclass(frozen=True)
class Step:
    """One part of the check.

    Attributes:
        name: as the table prints it, and of its log.
        command: what is run.
        limit: seconds after which it counts as failed.
        clean: what its output must say, beside ending with 0.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    clean: str = ""


def steps(quick: bool) -> list[Step]:
    """All of them, in order."""
    python = sys.executable
    found = [
        Step("build", (python, "setup.py", "build_ext", "--inplace"), 360),
        Step("tests", (python, "-m", "pytest", "-q", "-m", "cuda", "tests"), 240),
    ]
    for tool in TOOLS:
        command = (
            "compute-sanitizer", f"--tool={tool}", "--error-exitcode=9",
            python, "-m", "benchmarks.gpu.small_calls",
        )  # fmt: skip
        found.append(Step(tool, command, 150, _CLEAN.get(tool, _CLEAN[None])))
    # What "auto" then chooses is timed too.
    found.append(Step("calibrate", (python, "-m", "benchmarks.gpu.calibrate"), 90))
    timing = (python, "-m", "benchmarks.gpu", *(["--quick"] if quick else []))
    gather = (python, "-m", "benchmarks.gpu.gather", *(["--size", "512"] if quick else []))
    return [*found, Step("benchmarks", timing, 240), Step("gather", gather, 120)]


def environment() -> dict[str, str]:
    """CUDA is not optional here, and Triton compiles."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "BLUROPS_CUDA": "1",
        "TRITON_INTERPRET": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
    }


def take(step: Step, logs: Path) -> tuple[str, float]:
    """(outcome, seconds): "ok", or what is wrong in a few words."""
    log, began = logs / f"{step.name}.log", time.perf_counter()
    try:
        with log.open("w") as file:
            done = subprocess.run(
                step.command, cwd=ROOT, env=environment(), stdout=file, stderr=subprocess.STDOUT,
                timeout=step.limit, check=False,
            )  # fmt: skip
        outcome = "ok" if done.returncode == 0 else f"ended with {done.returncode}"
    except subprocess.TimeoutExpired:
        outcome = f"not done within {step.limit:.0f} s"
    except OSError as error:
        outcome = f"cannot be run: {error.strerror}"
    # A tool that never ran its program ends with 0 too.
    if outcome == "ok" and step.clean and not re.search(step.clean, log.read_text()):
        outcome = f"its log does not say {step.clean!r}"
    return outcome, time.perf_counter() - began


def check(
    chosen: list[Step], logs: Path, say: Callable[[str], None] = print
) -> list[tuple[str, str, float]]:
    """(name, outcome, seconds) of each step; the ends of the logs of those that failed are said."""
    found = []
    for step in chosen:
        outcome, seconds = take(step, logs)
        found.append((step.name, outcome, seconds))
        say(f"{step.name:<12} {seconds:6.1f} s  {outcome}")
        log = logs / f"{step.name}.log"
        if log.exists() and (outcome != "ok" or step.name in ("benchmarks", "gather")):
            say("\n".join(log.read_text().splitlines()[-40:]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [step.name for step in steps(False)]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="some steps")
    parser.add_argument("--quick", action="store_true", help="time the reference case alone")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "gpu-check")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    chosen = [step for step in steps(options.quick) if step.name in options.only]
    found = check(chosen, options.logs)
    print(f"\nlogs in {options.logs}")
    for name, outcome, seconds in found:
        print(f"{name:<12} {seconds:6.1f} s  {outcome}")
    return 0 if all(outcome == "ok" for _, outcome, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
