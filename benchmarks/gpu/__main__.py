# SPDX-License-Identifier: BSD-3-Clause
"""Time blurops beside the baselines on a CUDA device: `python -m benchmarks.gpu`.

Every result is checked before it is timed. Rows are printed as they come, and written to
benchmarks/results/ under the device's name.
"""

import argparse
import datetime as dt
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.cases import LINEAR, MEMBERS, REFERENCE, Case
from benchmarks.contenders.base import wait
from benchmarks.gpu import clock
from benchmarks.gpu.contenders import ALL, TOLERANCE, Entrant
from benchmarks.gpu.rates import Rates, least_seconds, rates
from benchmarks.gpu.rows import GpuRow, write
from benchmarks.inputs import CHECKED_ITERATIONS, Inputs, make_inputs, tolerance, truth
from benchmarks.rows import RESULTS
from blurops.testing import relative_error

_MB = 1e6
_SOLVERS_TOLERANCE = 2e-3  # two iterations of rounded blurs
# A baseline whose call takes longer is not timed again.
_LONGEST = 3.0


def jobs(quick: bool) -> list[tuple[Case, tuple[str, ...]]]:
    """The cases, each with its members."""
    found = [(REFERENCE, MEMBERS)]
    if not quick:
        found += [(replace(REFERENCE, kernel=kernel), LINEAR) for kernel in (9, 17, 41, 65, 97)]
        found += [(replace(REFERENCE, basis=basis), LINEAR) for basis in (8, 64)]
        found += [(replace(REFERENCE, size=size), LINEAR) for size in (512, 2048, 4096)]
        found += [
            (replace(REFERENCE, channels=1, kernel=kernel), LINEAR) for kernel in (9, 17, 33, 65)
        ]
    return found


def on(device: torch.device, inputs: Inputs) -> Inputs:
    """The same inputs on a device."""
    names = ("image", "kernels", "mixing", "grad")
    return replace(inputs, **{name: getattr(inputs, name).to(device) for name in names})


def device_name(device: torch.device) -> str:
    """As its driver calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def driver() -> str:
    """The version of the driver; "none" without one."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return done.stdout.splitlines()[0].strip()


def limit(entrant: Entrant, case: Case, member: str) -> float:
    """The relative error up to which a result counts as the same."""
    if entrant.accuracy == "exact":
        return tolerance(case, member)
    return _SOLVERS_TOLERANCE if member.startswith("rl") else TOLERANCE[entrant.accuracy]


def first_call(entrant: Entrant, inputs: Inputs, member: str):
    """(call, results, bytes beyond inputs and results)."""
    device = inputs.image.device
    call = entrant.contender.members[member](inputs)
    if device.type != "cuda":
        return call, call(), 0
    wait()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    results = call()
    wait()
    outputs = sum(t.numel() * t.element_size() for t in results)
    return call, results, torch.cuda.max_memory_allocated(device) - before - outputs


def measure(entrant: Entrant, inputs: Inputs, member: str, truths: dict, at: Rates) -> dict:
    """The numbers of one row."""
    case, device, contender = inputs.case, inputs.image.device, entrant.contender
    checked = replace(inputs, iterations=CHECKED_ITERATIONS) if member.startswith("rl") else inputs
    algorithm, found = contender.algorithm, {"note": ""}
    try:
        if algorithm not in truths:
            truths[algorithm] = truth(inputs, member, algorithm)
        call, results, memory = first_call(entrant, checked, member)
        pairs = zip(results, truths[algorithm], strict=True)
        found["error"] = max(relative_error(*pair) for pair in pairs)
        if not found["error"] <= limit(entrant, case, member):  # NaN too
            return found | {"note": f"wrong: relative error {found['error']:.1e}"}
        found["memory_mb"] = memory / _MB
        call = contender.members[member](inputs) if checked is not inputs else call
        found["call_ms"] = 1e3 * clock.call_seconds(call, device)
        kernel = None
        if found["call_ms"] < 1e3 * _LONGEST:
            kernel = clock.kernel_seconds(call, device)
        if kernel is not None:
            found |= {
                "kernel_ms": 1e3 * kernel,
                "least_share": least_seconds(case, member, at) / kernel,
            }
    except Exception as error:  # a contender's failure is a row, not the end of the run
        text = " ".join(str(error).split())[:120]
        found["note"] = f"fails: {type(error).__name__}: {text}"
    return found


def run(job: tuple[Case, tuple[str, ...]], device: torch.device, entrants=ALL) -> list[GpuRow]:
    """Every contender at every member of a case."""
    case, members = job
    with torch.device("cpu"):  # whose random numbers are the same everywhere
        inputs = make_inputs(case)
    at, inputs, rows = rates(device), on(device, inputs), []
    for member in members:
        truths = {}
        entries = [
            (entrant, measure(entrant, inputs, member, truths, at))
            for entrant in entrants
            if member in entrant.contender.members
        ]
        exact = [
            found["call_ms"]
            for entrant, found in entries
            if "call_ms" in found and entrant.contender.kind != "ours"
            and entrant.accuracy == "exact" and entrant.contender.algorithm == "exact"
        ]  # fmt: skip
        new = [row(case, member, *entry, min(exact, default=None), device) for entry in entries]
        for line in sorted(new, key=lambda r: (r.call_ms is None, r.call_ms or 0)):
            print("  " + text(line), flush=True)
        rows += new
    return rows


def row(
    case: Case, member: str, entrant: Entrant, found: dict, best: float | None, device: torch.device
) -> GpuRow:
    at, place, call = rates(device), machine.place(), found.get("call_ms")
    return GpuRow(
        device=device_name(device),
        size=case.size,
        channels=case.channels,
        basis=case.basis,
        kernel=case.kernel,
        member=member,
        contender=entrant.contender.name,
        accuracy=entrant.accuracy,
        kernel_ms=found.get("kernel_ms"),
        call_ms=call,
        ratio=best / call if best and call else None,
        least_share=found.get("least_share"),
        memory_mb=found.get("memory_mb"),
        error=found.get("error"),
        note=found["note"],
        copy_gbs=at.bytes / 1e9,
        fma_gflops=at.multiply_adds / 1e9,
        tensor_gflops=at.tensor / 1e9,
        commit=place["commit"],
        torch=torch.__version__,
        cuda=torch.version.cuda or "none",
        driver=driver(),
        date=dt.date.today().isoformat(),
    )


def text(line: GpuRow) -> str:
    """A row as the terminal shows it."""
    head = f"{line.member:<13} {line.contender:<26}"
    if line.call_ms is None:
        return f"{head} {line.note}"
    kernel = f"{line.kernel_ms:9.3f}" if line.kernel_ms else " " * 9
    return (
        f"{head} {line.call_ms:9.3f} ms, kernels {kernel} ms {line.ratio or 0:6.2f} x "
        f"{line.memory_mb or 0:8.1f} MB  error {line.error:.1e}  {line.note}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="the reference case alone")
    parser.add_argument("--out", type=Path, help="CSV file (default: benchmarks/results/...)")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device")
    device, rows = torch.device("cuda", torch.cuda.current_device()), []
    torch.set_default_device(device)
    name = re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")
    path = chosen.out or RESULTS / f"gpu-{name}.csv"
    at = rates(device)
    print(f"{device_name(device)}, driver {driver()}, torch {torch.__version__}; measured: copy "
          f"{at.bytes / 1e9:.0f} GB/s, float32 {at.multiply_adds / 1e12:.1f} TFLOP/s, tensor cores "
          f"{at.tensor / 1e12:.0f} TFLOP/s")  # fmt: skip
    for job in jobs(chosen.quick):
        print(f"\n{job[0]}", flush=True)
        rows += run(job, device)
        write(path, rows)
    print(f"\n{len(rows)} rows, written to {path}")


if __name__ == "__main__":
    main()
