# SPDX-License-Identifier: BSD-3-Clause
"""Steps per second of blind deblurring with explicit kernels, beside a plain transcription.

    python -m benchmarks.blind_steps [--threads 1] [--rounds 3]

One step: the image from its prior, the blur, the paper's losses, gradients, and Adam on everything.
Both sides have the same networks, weights and noise, and are held to each other's losses first.
The transcription is what one writes down without further thought: contiguous tensors, every kernel
as a channel of `conv2d` whose responses are mixed, each term of the loss as its formula, Adam as it
comes. Ours: channels last, the blur of blurops with its fused backward, doubling with a backward
made of slices, Adam over all tensors at once; in float32 and with the prior in bfloat16. Then the
steps of a whole `fit_operator` a second, most of which are small: a transcription without the
pyramid takes each at full size.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks import machine, turns
from blurmodels.kernel_space import fit_operator
from blurmodels.kernel_space.blind_operators import BasisKernels, UniformKernel, image_prior
from blurmodels.kernel_space.blind_schemes import Problem
from blurmodels.kernel_space.losses_blind import PaperLoss
from blurmodels.kernel_space.priors import Doubled, draw_noise

WEIGHT, RATES = 0.02, (1e-2, 5e-2)
CASES = [
    ("uniform", 144, 13), ("basis", 144, 13), ("uniform", 256, 21), ("basis", 256, 21),
]  # fmt: skip
# Steps between looks at the clock, and on each level of a whole run.
BURST, PYRAMID = 5, 8


def make(
    kind: str, side: int, kernel: int, width: int, *, plain: bool, precision: str = "float32"
) -> Problem:
    """The finest level of a fit, from fixed numbers."""
    generator = torch.Generator().manual_seed(0)
    observed = torch.rand(1, 1, side, side, generator=generator)
    torch.manual_seed(0)
    if kind == "uniform":
        blur: torch.nn.Module = UniformKernel(kernel)
    else:
        blur = BasisKernels(kernel, (side, side), (2, 2), generator)
    noise = draw_noise(8, (side + kernel - 1, side + kernel - 1), generator)
    prior = image_prior(1, width, 0)
    if plain:
        prior = prior.to(memory_format=torch.contiguous_format)
        for module in prior.modules():
            for name, child in module.named_children():
                if isinstance(child, Doubled):
                    setattr(module, name, torch.nn.Upsample(scale_factor=2, mode="bilinear"))
    else:
        noise = noise.contiguous(memory_format=torch.channels_last)
    loss = PaperLoss(gradients=(WEIGHT, WEIGHT))
    return Problem(observed, prior, noise, blur, loss, generator, rates=RATES, precision=precision)


def transcription(problem: Problem) -> Callable[[], float]:
    """A step as one writes it down."""
    blur, observed = problem.blur, problem.observed
    groups = [
        {"params": list(problem.prior.parameters()), "lr": RATES[0]},
        *blur.groups(RATES[1]),
    ]
    adam = torch.optim.Adam(groups)
    size = tuple(observed.shape[2:])

    def step() -> float:
        noise = problem.noise + 0.001 * torch.randn(
            problem.noise.shape, generator=problem.generator
        )
        x = problem.prior(noise)
        kernels, mixing = blur.field(size)
        responses = functional.conv2d(x, kernels.permute(1, 0, 2, 3))
        y = (responses * mixing).sum(1, keepdim=True)
        data = torch.sqrt((y - observed) ** 2 + 1e-6).mean()
        across = x[..., :-1, 1:] - x[..., :-1, :-1]
        down = x[..., 1:, :-1] - x[..., :-1, :-1]
        edges = torch.mean((across**2 + down**2 + 1e-6) ** 0.33)
        loss = data + WEIGHT * edges + 6e-4 * torch.sqrt((kernels**2).sum())
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()

    return step


def ours(problem: Problem) -> Callable[[], float]:
    """A step of `fit_operator`."""
    return lambda: float(problem.step(0.0))


def compare(kind: str, side: int, kernel: int, width: int, rounds: int) -> dict[str, object]:
    """One case: both sides, checked, then timed in turns."""
    plain = transcription(make(kind, side, kernel, width, plain=True))
    fast = ours(make(kind, side, kernel, width, plain=False))
    # The first losses agree to round-off, which then grows from step to step.
    pairs = [(fast(), plain()) for _ in range(2)]
    if any(abs(a - b) > 1e-4 * b for a, b in pairs):
        raise RuntimeError(f"the two sides differ: {pairs}")
    half = ours(make(kind, side, kernel, width, plain=False, precision="bfloat16"))
    for _ in range(2):
        half()
    sides = {"ours": fast, "half": half, "plain": plain}
    best = turns.medians(sides, rounds, BURST)
    image = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    found = fit_operator(image, operator=kind, kernel_size=kernel, width=width, steps=PYRAMID)
    whole = (time.perf_counter() - began) / len(found.losses)
    return {
        "operator": kind, "side": side, "kernel": kernel, "width": width,
        "threads": torch.get_num_threads(),
        "steps_per_second": f"{1 / best['ours']:.4g}",
        "plain_steps_per_second": f"{1 / best['plain']:.4g}",
        "ratio": f"{best['plain'] / best['ours']:.3g}",
        "half_steps_per_second": f"{1 / best['half']:.4g}",
        "half_ratio": f"{best['plain'] / best['half']:.3g}",
        "pyramid_steps_per_second": f"{1 / whole:.4g}",
        "pyramid_ratio": f"{best['plain'] / whole:.3g}",
        **machine.place(),
    }  # fmt: skip


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for kind, side, kernel in CASES:
        rows.append(compare(kind, side, kernel, args.width, args.rounds))
        print(rows[-1], flush=True)
    name = f"blind_steps-{platform.machine()}.csv"
    output = args.output or Path(__file__).parent / "results" / name
    turns.write(output, rows)


if __name__ == "__main__":
    main()
