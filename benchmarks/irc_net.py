# SPDX-License-Identifier: BSD-3-Clause
"""IRC-Net against conjugate gradients where motion differs at each pixel, at the paper's size.

    python -m benchmarks.irc_net WEIGHTS...           # chooses NU-CG's prior, then times
    python -m benchmarks.irc_net WEIGHTS... --weight 1.2e-3 --weight 2.4e-3  # times only
    python -m benchmarks.irc_net --memory paper       # of a training step of the blind pipeline

Gray photographs of 375 by 500 pixels under a camera that turns and shifts, noise of 0.01. NU-CG
solves the same problem in 10 stages of at most 5, 10 or 30 iterations, at the best prior of a grid
for each photograph; its seconds are those until a stage's PSNR is reached.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import blurops
from benchmarks import deconvolution_data as data
from benchmarks.deconvolution import DATA_WEIGHT, PENALTY, STAGES, WEIGHTS, psnr
from benchmarks.memory import resident
from blurmodels.irc import BlindDeblurrer, IRCNet, motion_recipes
from blurmodels.irc.recipes import RECIPES, network_of
from blurops import MotionBlur

HEIGHT, WIDTH, SIGMA = 375, 500, 0.01
PHOTOGRAPHS = ("camera", "astronaut", "motorcycle")
ITERATIONS = (5, 10, 30)
REPEATS = 3
WITHIN = 0.2  # dB


def problem(name: str, longest: float, seed: int) -> tuple[Tensor, MotionBlur, Tensor]:
    """Observation, blur (boundary "valid") and truth."""
    picture = data.photographs(len(data.PHOTOGRAPHS), None, None)[name]
    margin = data.MARGIN
    whole = [n + 2 * margin for n in (HEIGHT, WIDTH)]
    top, left = ((n - w) // 2 for n, w in zip(picture.shape[-2:], whole, strict=True))
    if min(top, left) < 0:
        picture = torch.nn.functional.interpolate(picture, size=whole, mode="bilinear")
        top = left = 0
    picture = picture[..., top : top + whole[0], left : left + whole[1]]
    generator = torch.Generator().manual_seed(seed)
    turn, right, down = (2 * torch.rand(3, generator=generator) - 1).tolist()
    length, angle = data.camera_lines(
        [HEIGHT, WIDTH], 0.03 * turn, torch.tensor([6 * right, 6 * down]).numpy()
    )
    if float(length.max()) > longest:
        length = 1 + (length - 1) * (longest - 1) / (float(length.max()) - 1)
    blur = MotionBlur(length, angle, boundary="valid")
    cut = margin - blur.margin
    seen = picture[..., cut : whole[0] - cut, cut : whole[1] - cut]
    observed = blur @ seen
    observed = observed + SIGMA * torch.randn(observed.shape, generator=generator)
    return observed, blur, picture[..., margin:-margin, margin:-margin]


def gradients(
    observed: Tensor, blur: MotionBlur, truth: Tensor, weight: float, iterations: int
) -> list[tuple[float, float]]:
    """(seconds, PSNR) after each stage of NU-CG."""
    trace, lost = [], 0.0
    begun = time.perf_counter()

    def follow(stage: int, image: Tensor, residual: float) -> None:
        nonlocal lost
        now = time.perf_counter()
        trace.append((now - begun - lost, psnr(image, truth)))
        lost += time.perf_counter() - now

    blurops.cg_deblur(
        observed, blur, weight=weight, penalty=PENALTY, data_weight=DATA_WEIGHT, stages=STAGES,
        iterations=iterations, callback=follow,
    )  # fmt: skip
    return trace


def timed(run: Callable[..., Tensor], *args: Tensor) -> tuple[float, Tensor]:
    """The fastest of some runs, and its result."""
    run(*args)
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        result = run(*args)
        found.append(time.perf_counter() - begun)
    return min(found), result


def until(trace: list[tuple[float, float]], wanted: float) -> float | None:
    """When a trace reaches a PSNR."""
    return next((seconds for seconds, value in trace if value >= wanted), None)


@torch.no_grad()
def compare(paths: list[str], weights: list[float], photographs: list[str]) -> None:
    """Prints a table per photograph, and what they say together."""
    networks = {path: IRCNet.from_pretrained(path) for path in paths}
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    ratios: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    longest = min(network.max_length for network in networks.values())
    for number, name in enumerate(photographs):
        observed, blur, truth = problem(name, longest, number)
        weight = weights[number] if weights else _best(observed, blur, truth)
        print(f"\n{name}: {psnr(observed, truth):.2f} dB blurred, weight of NU-CG {weight:g}")
        traces = {count: gradients(observed, blur, truth, weight, count) for count in ITERATIONS}
        for count, trace in traces.items():
            near = until(trace, trace[-1][1] - WITHIN)
            print(f"  NU-CG, {count} in a stage: {trace[-1][1]:.2f} dB in {trace[-1][0]:.3f} s,"
                  f" within {WITHIN} dB of it in {near:.3f} s")  # fmt: skip
        for path, network in networks.items():
            start = psnr(_untrained(network)(observed, blur.length, blur.angle), truth)
            seconds, image = timed(network, observed, blur.length, blur.angle)
            reached = psnr(image, truth)
            print(f"  {path}, {network.stages} x {network.inner}: {reached:.2f} dB in"
                  f" {seconds:.3f} s (untrained {start:.2f} dB)")  # fmt: skip
            for count, trace in traces.items():
                there = until(trace, reached) or float("nan")
                found = reached - trace[-1][1], there / seconds, trace[-1][0] / seconds
                ratios.setdefault((path, count), []).append(found)
    for (path, count), found in ratios.items():
        gap, there, whole = (statistics.mean(each) for each in zip(*found, strict=True))
        print(f"{path}: {gap:+.2f} dB beside NU-CG with {count}, which takes {there:.1f} times as"
              f" long to the same PSNR, {whole:.1f} times for all stages")  # fmt: skip


def _untrained(network: IRCNet) -> IRCNet:
    made = {key: value for key, value in network.architecture.items() if key != "sharing"}
    return IRCNet(**made, sharing="all")


def _best(observed: Tensor, blur: MotionBlur, truth: Tensor) -> float:
    """The weight of the prior with which NU-CG ends highest."""
    return max(WEIGHTS, key=lambda w: gradients(observed, blur, truth, w, 10)[-1][1])


def memory(name: str, optimiser: str) -> None:
    """Prints the peak of training steps of the blind pipeline, 256 by 256, RGB, batches of one.

    Args:
        name: the recipe whose Motion-Net it has. The IRC-Net is that of "default", as large as the
            paper's; its bank is made in seconds.
        optimiser: "adam" or "sgd", with momentum.
    """
    before = resident("VmRSS")
    recipe = motion_recipes.RECIPES[name]
    estimator = motion_recipes.task_of(recipe, motion_recipes.examples_of(recipe)).network
    estimator.recompute = True
    pipeline = BlindDeblurrer(estimator, network_of(RECIPES["default"]))
    learned = list(pipeline.parameters())
    stepper = (
        torch.optim.Adam(learned)
        if optimiser == "adam"
        else torch.optim.SGD(learned, lr=1e-9, momentum=0.9)
    )
    for _ in range(3):
        stepper.zero_grad()
        pipeline(torch.rand(1, 3, 256, 256)).square().mean().backward()
        stepper.step()
    print(
        f"{name}, {optimiser}: {sum(p.numel() for p in learned) / 1e6:.1f} million parameters,"
        f" {before / 1e9:.2f} GB before, {resident('VmHWM') / 1e9:.2f} GB at most"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.irc_net", description=__doc__.splitlines()[0]
    )
    parser.add_argument("weights", nargs="*", help="of trained IRC-Nets, boundary 'valid'")
    parser.add_argument("--weight", type=float, action="append", default=[], metavar="W",
                        help="of NU-CG's prior, one per photograph")  # fmt: skip
    parser.add_argument("--photographs", nargs="+", default=list(PHOTOGRAPHS), metavar="NAME")
    parser.add_argument("--memory", choices=tuple(motion_recipes.RECIPES), metavar="RECIPE",
                        help="of a training step with its Motion-Net, Linux only")  # fmt: skip
    parser.add_argument("--optimiser", choices=("adam", "sgd"), default="adam", help="of --memory")
    options = parser.parse_args(argv)
    if options.memory:
        memory(options.memory, options.optimiser)
    elif not options.weights:
        parser.error("WEIGHTS are needed without --memory")
    else:
        compare(options.weights, options.weight, options.photographs)


if __name__ == "__main__":
    main()
