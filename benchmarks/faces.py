# SPDX-License-Identifier: BSD-3-Clause
"""The times, the memory and the picture of docs/faces.md, with random weights.

    python -m benchmarks.faces --table                            # a minute and a half of one core
    python -m benchmarks.faces --picture docs/images/faces.png    # half a minute

`--table`: 3 steps on the face and 3 on the kernel with networks of the authors' sizes, each row in
a process of its own, whose peak memory is the row's; written to benchmarks/results/ and printed as
the page has it. `--picture`: a small generator's own picture under a straight motion, searched for
by a convolution and by bicubic downsampling. One thread; seconds are the process's own.
"""

import argparse
import csv
import multiprocessing
import platform
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

import blurops
from benchmarks import machine, turns
from benchmarks.memory import resident
from blurmodels.evaluation import psnr
from blurmodels.kernel_space import KernelDIP, KernelWizard
from blurmodels.kernel_space.faces import StyleGAN, StyleGAN2, deblur_face, operators
from blurmodels.kernel_space.faces.curves import compare_operators, plot_curves
from blurmodels.kernel_space.faces.latent import FacePoint
from blurmodels.kernel_space.faces.manifold import STYLEGAN2, Found, Settings, settings_of
from blurops.cli._options import check_figure_output
from blurops.fields import linear_motion_kernel
from blurops.files import check_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results" / f"faces-{platform.machine()}.csv"
# Of the photograph, and how many steps of each kind a row takes.
SIDE, STEPS = 256, 3
F, CONVOLUTION = "F", "convolution"


class Case(NamedTuple):
    """A row of the table; the networks' widths are the authors' unless they are named.

    Attributes:
        generator, size: which, and the side of its pictures.
        operator: F or a convolution.
        latent: numbers of a latent vector.
        channels: of the generator.
        wizard: F's width, and the channels of its kernel.
    """

    generator: str
    size: int
    operator: str
    latent: int = 512
    channels: Sequence[int] | None = None
    wizard: tuple[int, int] = (64, 512)


CASES = [
    Case(generator, size, operator)
    for operator in (F, CONVOLUTION)
    for generator, size in (("StyleGAN2", 256), ("StyleGAN", 1024))
]


class Sizes(NamedTuple):
    """What the picture is made with; by default half a minute's work."""

    size: int = 64
    latent: int = 64
    channels: Sequence[int] = (48, 48, 32, 24, 16)
    samples: int = 20_000
    motion: float = 13.0
    kernel: int = 15
    settings: Settings = STYLEGAN2._replace(epochs=10, image_steps=60, kernel_steps=40)


SIZES = Sizes()


def _operator(case: Case) -> operators.OperatorMaker:
    if case.operator == CONVOLUTION:
        return operators.uniform()
    width, channels = case.wizard
    network = KernelWizard(width, channels).requires_grad_(False)
    return operators.encoded(network.apply_blur, lambda: KernelDIP(kernel_dim=channels))


def measure(case: Case) -> dict[str, str]:
    """Seconds of a step on the face and on the kernel, and the peak memory of this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    make = {"StyleGAN": StyleGAN, "StyleGAN2": StyleGAN2}[case.generator]
    generator = make(case.size, case.latent, case.channels)
    operator = _operator(case)
    # A step begins and ends where the blur is about to run; each block has one more run after it.
    marks: list[float] = []

    def watched(side: int, random: torch.Generator) -> nn.Module:
        blur = operator(side, random)
        blur.register_forward_pre_hook(lambda *_: marks.append(time.process_time()))
        return blur

    settings = settings_of(generator)._replace(epochs=1, image_steps=STEPS, kernel_steps=STEPS)
    photograph = torch.rand(1, 3, SIDE, SIDE)
    gaussian = torch.zeros(case.latent), torch.ones(case.latent)
    deblur_face(photograph, generator, watched, gaussian=gaussian, settings=settings)
    face, kernel = marks[: STEPS + 1], marks[STEPS + 1 :]
    return {
        "generator": case.generator, "size": str(case.size), "operator": case.operator,
        "face_seconds": f"{_typical(face):.3g}", "kernel_seconds": f"{_typical(kernel):.3g}",
        "peak_gb": f"{resident('VmHWM') / 1e9:.3g}",
    }  # fmt: skip


def _typical(marks: Sequence[float]) -> float:
    return statistics.median(after - before for before, after in pairwise(marks))


def rows(cases: Iterable[Case]) -> list[dict[str, str]]:
    """Measures each case in a fresh process."""
    found = []
    for case in cases:
        # Spawned, not forked: it must not start with this process's memory.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(measure, case).result() | machine.place())
    return found


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(found: Iterable[Mapping[str, str]]) -> str:
    """The rows as the page has them; the authors' run is 25 times 300 and 200 steps."""
    run = Settings()
    lines = [
        "| generator | operator | a step on the face | on the kernel | the authors' run | memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        face, kernel = float(row["face_seconds"]), float(row["kernel_seconds"])
        hours = run.epochs * (run.image_steps * face + run.kernel_steps * kernel) / 3600
        lines.append(
            f"| {row['generator']}, {row['size']} | {row['operator']} | {face:.2g} | {kernel:.2g} |"
            f" {hours:.2g} h | {float(row['peak_gb']):.2g} GB |"
        )
    return "\n".join(lines)


def search() -> tuple[Tensor, Tensor, dict[str, Found]]:
    """The sharp picture, its photograph, and what is found by a convolution and by downsampling."""
    torch.manual_seed(3)
    generator = StyleGAN2(SIZES.size, SIZES.latent, SIZES.channels).requires_grad_(False)
    gaussian = generator.gaussian(SIZES.samples)
    # Of another seed than the search's, which would start there.
    point = FacePoint(generator, gaussian, torch.Generator().manual_seed(100))
    with torch.no_grad():
        sharp = point()[0].clamp(0, 1)
    kernel = linear_motion_kernel(SIZES.motion, 0.6)
    # The border of the search's convolution.
    photograph = (blurops.UniformBlur(kernel, boundary="reflect") @ sharp).clamp(0, 1)
    found = compare_operators(
        photograph, generator, kernel_size=SIZES.kernel, gaussian=gaussian, settings=SIZES.settings
    )
    return sharp, photograph, found


def draw(sharp: Tensor, photograph: Tensor, found: Mapping[str, Found]) -> "Figure":
    """The curves, the sharp picture in their free corner, and how near to it each result is."""
    figure = plot_curves(photograph, found, SIZES.settings)
    seen, *panels = figure.axes
    corner = figure.add_subplot(seen.get_subplotspec().get_gridspec()[0, 0])
    corner.imshow(sharp[0].movedim(0, -1).numpy(), vmin=0, vmax=1)
    corner.set_title("sharp")
    corner.set_axis_off()
    seen.set_title(f"photograph\n{psnr(photograph, sharp):.2f} dB")
    for axes, each in zip(panels[1::2], found.values(), strict=True):
        axes.set_title(f"found\n{psnr(each.image, sharp):.2f} dB")
    return figure


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faces", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--table", action="store_true", help="time steps, and print the table")
    parser.add_argument("--output", type=Path, default=RESULTS, help="of its rows")
    parser.add_argument("--picture", metavar="PATH", help="draw: .png, .pdf or .svg")
    options = parser.parse_args(argv)
    if not options.table and options.picture is None:
        parser.error("--table or --picture PATH is needed")
    try:
        form = None if options.picture is None else check_figure_output(options.picture)
        if options.table:
            check_output(options.output)
            found = rows(CASES)
            turns.write(options.output, found)
            print(table(found))
    except (OSError, ValueError, BrokenProcessPool) as error:
        parser.error(str(error))
    if form is not None:
        torch.set_num_threads(1)
        sharp, photograph, results = search()
        draw(sharp, photograph, results).savefig(options.picture, format=form)
        print(f"photograph: {psnr(photograph, sharp):.2f} dB")
        for name, each in results.items():
            l2 = SIZES.settings.loss.l2 * each.errors[-1]
            print(f"{name}: least loss {each.loss:.3g}, of it about {l2:.3g} the distance of"
                  f" images; {psnr(each.image, sharp):.2f} dB")  # fmt: skip


if __name__ == "__main__":
    main()
