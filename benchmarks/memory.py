# SPDX-License-Identifier: BSD-3-Clause
"""Peak memory of the native path beyond inputs and outputs.

    python benchmarks/memory.py [--size 4096] [--channels 3] [--basis 25] [--kernel 33]

Linux only: the kernel's own record of the process's peak is reset before each call and read after
it. Prints a line per call, writes them to benchmarks/results/memory-<machine>.csv, and exits with 1
when a call needs more than --limit MB.
"""

import argparse
import csv
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import blurops

MB = 1 << 20


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (peak since the last reset) of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"memory: /proc/self/status has no {field}")


def cpu_name() -> str:
    """What the kernel calls this processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measure(call: Callable[[], list[Tensor]]) -> tuple[float, float]:
    """(MB beyond what was there and what is returned, seconds)."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - start
    outputs = sum(t.numel() * t.element_size() for t in results)
    return (resident("VmHWM") - before - outputs) / MB, seconds


def calls(args: argparse.Namespace) -> dict[str, Callable[[], list[Tensor]]]:
    """Every member alone, and forward + backward through autograd."""
    n, c, b, k = args.size, args.channels, args.basis, args.kernel
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, c, n, n, generator=generator)
    grad = torch.rand(1, c, n, n, generator=generator)
    kernels = torch.rand(1, b, k, k, generator=generator)
    mixing = torch.rand(1, b, n, n, generator=generator)
    native = {"backend": "native"}

    def train() -> list[Tensor]:
        leaves = [t.detach().requires_grad_() for t in (image, kernels, mixing)]
        blurred = blurops.basis_blur(*leaves, **native)
        blurred.backward(grad)
        return [blurred, *(t.grad for t in leaves)]

    return {
        "basis_blur": lambda: [blurops.basis_blur(image, kernels, mixing, **native)],
        "basis_blur_adjoint": lambda: [blurops.basis_blur_adjoint(grad, kernels, mixing, **native)],
        "basis_blur_grad_kernels": lambda: [
            blurops.basis_blur_grad_kernels(grad, image, mixing, (k, k), True, **native)
        ],
        "basis_blur_grad_mixing": lambda: [
            blurops.basis_blur_grad_mixing(grad, image, kernels, True, **native)
        ],
        "forward + backward": train,
    }


def warm_up(args: argparse.Namespace) -> None:
    """Every call once, on a small image.

    The first of a process loads code, of which SymPy alone, which PyTorch imports for the first
    backward pass from a given gradient, takes 35 MB, and starts threads: not the op's memory.
    """
    small = argparse.Namespace(**{**vars(args), "size": 2 * args.kernel})
    for call in calls(small).values():
        call()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="height and width of the image")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--basis", type=int, default=25)
    parser.add_argument("--kernel", type=int, default=33)
    parser.add_argument("--limit", type=float, default=64.0, help="MB (default: %(default)s)")
    args = parser.parse_args()

    warm_up(args)
    rows, problem = [], f"{args.size}x{args.size}x{args.channels} B={args.basis} K={args.kernel}"
    for name, call in calls(args).items():
        extra, seconds = measure(call)
        print(f"{name:<26} {extra:8.1f} MB beyond inputs and outputs, {seconds:6.1f} s", flush=True)
        rows.append([name, problem, torch.get_num_threads(), f"{extra:.1f}", f"{seconds:.2f}"])
    place = [cpu_name(), torch.__version__]
    record = Path(__file__).parent / "results" / f"memory-{platform.machine()}.csv"
    with record.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["call", "problem", "threads", "extra_mb", "seconds", "cpu", "torch"])
        writer.writerows(row + place for row in rows)
    worst = max(float(row[3]) for row in rows)
    if worst > args.limit:
        print(f"memory: {worst:.1f} MB is more than {args.limit:.0f} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
