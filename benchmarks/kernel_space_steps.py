# SPDX-License-Identifier: BSD-3-Clause
"""Steps per second of F and G at their published sizes, on the CPU.

    python -m benchmarks.kernel_space_steps [--threads 1] [--rounds 2]

`blind`: F with a latent k, gradients by the sharp image and k, as blind deblurring with F takes
them at every step (its deep image priors are left out). `train`: F(x, G(x, y)), the authors' loss,
gradients by all weights. One image of 256 x 256 pixels. Plain is a transcription: float32,
contiguous tensors, and in `train` the sharp image's features computed for G and for F. Ours: these
once, channels last; in float32 and in bfloat16 by autocast.
"""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import machine, turns
from blurmodels.kernel_space import KernelWizard
from blurmodels.kernel_space.losses import charbonnier

SIDE = 256


def step(
    kind: str, *, plain: bool, precision: torch.dtype | None, width: int, kernel_dim: int
) -> Callable[[], float]:
    """A step from fixed numbers; it returns its loss."""
    torch.manual_seed(0)
    network = KernelWizard(width, kernel_dim)
    layout = torch.contiguous_format if plain else torch.channels_last
    network = network.to(memory_format=layout).requires_grad_(kind == "train")
    sharp, blurry = (torch.rand(1, 3, SIDE, SIDE).to(memory_format=layout) for _ in range(2))
    k = torch.rand(1, kernel_dim, 2, 2)
    leaves = list(network.parameters())
    if kind == "blind":
        leaves = [sharp.requires_grad_(), k.requires_grad_()]

    def made() -> torch.Tensor:
        if kind == "blind":
            return network.apply_blur(sharp, k)
        if plain:
            return network.apply_blur(sharp, network.extract_kernel(sharp, blurry))
        return network(sharp, blurry)[0]

    def run() -> float:
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            found = made()
        loss = charbonnier(found, blurry)
        torch.autograd.grad(loss, leaves)
        return loss.item()

    return run


def compare(kind: str, rounds: int, *, width: int = 64, kernel_dim: int = 512) -> dict[str, object]:
    """The three sides of one kind of step, checked and then timed in turns."""
    how = {"width": width, "kernel_dim": kernel_dim}
    sides = {
        "plain": step(kind, plain=True, precision=None, **how),
        "ours": step(kind, plain=False, precision=None, **how),
        "half": step(kind, plain=False, precision=torch.bfloat16, **how),
    }
    losses = {name: side() for name, side in sides.items()}
    for name, least in (("ours", 1e-5), ("half", 2e-2)):
        if abs(losses[name] - losses["plain"]) > least * losses["plain"]:
            raise RuntimeError(f"the sides differ: {losses}")
    best = turns.medians(sides, rounds)
    return {
        "step": kind, **how, "threads": torch.get_num_threads(),
        **{f"{name}_steps_per_second": f"{1 / value:.3g}" for name, value in best.items()},
        "ratio": f"{best['plain'] / best['ours']:.3g}",
        "half_ratio": f"{best['plain'] / best['half']:.3g}",
        **machine.place(),
    }  # fmt: skip


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    name = f"kernel_space_steps-{platform.machine()}.csv"
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / name)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for kind in ("blind", "train"):
        rows.append(compare(kind, args.rounds))
        print(rows[-1], flush=True)
    turns.write(args.output, rows)


if __name__ == "__main__":
    main()
