# SPDX-License-Identifier: BSD-3-Clause
"""The blur and the losses of one training step, beside the formulation of Carbajal et al.

    python -m benchmarks.training_step [--size 256] [--batch 4] [--threads 2] [--rounds 2]

From estimated kernels and mixing to their gradients: reblur loss plus kernel loss, forward and
backward, for a batch of colour images, 25 estimated and 4 true kernels of 33 x 33. The network is
not part of it: both sides have the same. The authors' side is transcribed from a description of
what their code computes: image by image and channel by channel every basis convolved, responses
kept, then mixed; the true and the estimated kernel of every pixel by one matrix product each, then
their difference. Gradients are torch's. Both are held to each other on a small batch first. Prints
a line per norm and side, and writes them to benchmarks/results/training_step-<machine>.csv.
"""

import argparse
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import machine, turns
from blurmodels.basis_kernels.losses import kernel_loss, reblur_loss
from blurops.testing import accuracy, relative_error

BASIS, TRUE_BASIS, SIDE, GAMMA = 25, 4, 33, 2.2
NORMS = ("l2", "l1")


class Problem(NamedTuple):
    """One batch; the first two are what gradients are wanted of."""

    kernels: Tensor
    mixing: Tensor
    true_kernels: Tensor
    true_mixing: Tensor
    weights: Tensor
    sharp: Tensor
    observed: Tensor


def make(batch: int, size: int) -> Problem:
    """Random estimates and truth."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def kernels(count: int) -> Tensor:
        flat = (4 * random(batch, count, SIDE * SIDE)).softmax(2)
        return flat.view(batch, count, SIDE, SIDE)

    return Problem(
        kernels(BASIS), random(batch, BASIS, size, size).softmax(1), kernels(TRUE_BASIS),
        random(batch, TRUE_BASIS, size, size).softmax(1), random(batch, 1, size, size) / size**2,
        random(batch, 3, size + SIDE - 1, size + SIDE - 1), random(batch, 3, size, size),
    )  # fmt: skip


def ours(problem: Problem, norm: str) -> Tensor:
    """The losses of this package."""
    kernels, mixing, true_kernels, true_mixing, weights, sharp, observed = problem
    return reblur_loss(kernels, mixing, sharp, observed, weights, gamma=GAMMA) + kernel_loss(
        kernels, mixing, true_kernels, true_mixing, weights, norm=norm
    )


def authors(problem: Problem, norm: str) -> Tensor:
    """The losses as the authors formulate them."""
    kernels, mixing, true_kernels, true_mixing, weights, sharp, observed = problem
    count, channels = sharp.shape[:2]
    again = []
    for n in range(count):
        responses = torch.stack([
            F.conv2d(sharp[n : n + 1, c : c + 1], kernels[n][:, None])[0] for c in range(channels)
        ], dim=1)  # fmt: skip
        again.append((responses * mixing[n][:, None]).sum(0))
    # Their images lie in [-0.5, 0.5] and so does the response's ceiling.
    light = torch.stack(again) - 0.5
    light = light - F.softplus(50 * (light - 0.5)) / 50
    reblur = (weights * (light - (observed**GAMMA - 0.5)).square()).sum()
    fields = [
        torch.bmm(k.flatten(2).transpose(1, 2), m.flatten(2))
        for k, m in ((kernels, mixing), (true_kernels, true_mixing))
    ]
    error = fields[0] - fields[1]
    each = error.abs() if norm == "l1" else error.square()
    return (reblur + (each.sum(1) * weights.flatten(1)).sum()) / count


SIDES: dict[str, Callable[[Problem, str], Tensor]] = {"blurops": ours, "Carbajal et al.": authors}


def step(side: Callable[[Problem, str], Tensor], problem: Problem, norm: str) -> list[Tensor]:
    """The loss, and its gradients by kernels and mixing."""
    leaves = [t.detach().requires_grad_() for t in problem[:2]]
    loss = side(problem._replace(kernels=leaves[0], mixing=leaves[1]), norm)
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def check(size: int = 24) -> None:
    """Raise where the two sides do not compute the same."""
    problem = make(2, size)
    for norm in NORMS:
        found = [step(side, problem, norm) for side in SIDES.values()]
        for name, one, other in zip(("loss", "kernels", "mixing"), *found, strict=True):
            error = relative_error(one, other)
            # Both sides round, each in sums of its own order.
            if not error <= 4 * accuracy(torch.float32).relative:
                raise ArithmeticError(f"{norm}: {name} differ by {error:.1e}")


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The shortest of some calls, after one that is not counted."""
    call()
    least = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def rows(batch: int, size: int, threads: int, rounds: int) -> list[dict[str, object]]:
    """One row per norm and side; the ratio is the authors' seconds over these."""
    problem, found = make(batch, size), []
    for norm in NORMS:
        times = {
            name: seconds(lambda s=side, n=norm: step(s, problem, n), rounds)
            for name, side in SIDES.items()
        }
        for name, least in times.items():
            found.append({
                "norm": norm, "contender": name, "batch": batch, "size": size, "basis": BASIS,
                "true_basis": TRUE_BASIS, "kernel": SIDE, "threads": threads,
                "seconds": round(least, 4), "ratio": round(times["Carbajal et al."] / least, 2),
                **machine.place(),
            })  # fmt: skip
            print(f"{norm:4} {name:16} {least:8.3f} s  {found[-1]['ratio']:6.1f}x", flush=True)
    return found


def main() -> None:
    """Check, time, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    folder = Path(__file__).parent / "results"
    parser.add_argument(
        "--out", type=Path, default=folder / f"training_step-{platform.machine()}.csv"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    check()
    found = rows(options.batch, options.size, options.threads, options.rounds)
    turns.write(options.out, found)


if __name__ == "__main__":
    main()
