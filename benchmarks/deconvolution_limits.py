# SPDX-License-Identifier: BSD-3-Clause
"""Where residual compensation ends: with more steps, wider filters, and away from the border.

python -m benchmarks.deconvolution_limits      # writes the table into docs/deconvolution.md

ADMM with conjugate gradients run to convergence in every stage is the exact solution of the stages.
Compensation whose filters were not cut off has the same fixed point, so that its images must meet
those of conjugate gradients as steps are added; what remains is due to the filters.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

import blurops
from benchmarks import deconvolution as experiment
from benchmarks import deconvolution_data as data
from benchmarks.deconvolution_report import DOCS, place
from blurops import difference_filters

BEGIN, END = "<!-- limits: begin -->", "<!-- limits: end -->"
SIGMA, WEIGHT = 0.004, 2.4e-3
INSIDE = 24  # pixels from the border, as far as any kernel reaches
FILTERS = {
    "49, exact": {"size": 49},
    "97, cut off late": experiment.WIDE,
    "193, all but whole": {"size": 193, "ridge": 1e-4, "method": "fft", "grid": 385},
}
STEPS = ((1, None), (2, None), (5, None), (20, None), (2, 2), (5, 2), (20, 2))


def lines(size: int) -> Iterator[str]:
    """Rows of the table, for a shaken and a moving camera."""
    yield "| blur | filters | steps in a stage | PSNR, dB | inside | from CG | inside |"
    yield "|---|---|---|---|---|---|---|"
    for problem in data.uniform(data.photographs(1, size, None), data.small_kernels(2), (SIGMA,)):
        prior = {
            "weight": WEIGHT * (SIGMA / 0.01) ** 2, "penalty": experiment.PENALTY,
            "data_weight": experiment.DATA_WEIGHT, "stages": experiment.STAGES,
        }  # fmt: skip
        exact = blurops.cg_deblur(
            problem.observed, problem.blur, iterations=100, inner_tol=1e-7, **prior
        ).image
        yield _line(problem, "", "CG, 100", exact, exact)
        for name, options in FILTERS.items():
            inverse = blurops.inverse_blur(
                problem.blur, analysis=difference_filters(),
                penalty=experiment.PENALTY / (2 * experiment.DATA_WEIGHT), **options,
            )  # fmt: skip
            for inner, memory in STEPS:
                image = blurops.admm_irc(
                    problem.observed, problem.blur, inverse, inner=inner, memory=memory, **prior
                ).image
                steps = f"T = {inner}" + ("" if memory is None else ", minimal")
                yield _line(problem, name, steps, image, exact)


def _line(problem: data.Problem, filters: str, steps: str, image: Tensor, exact: Tensor) -> str:
    """One row: PSNR, and the RMS difference to the exact stages in grey levels of 255."""
    cells = [problem.kernel, filters, steps]
    sizes = [[n - 2 * border for n in problem.sharp.shape[-2:]] for border in (0, INSIDE)]
    for size in sizes:
        truth = experiment.middle(problem.sharp, size)
        cells.append(f"{experiment.psnr(image, truth):.2f}")
    for size in sizes:
        gap = experiment.middle(image, size) - experiment.middle(exact, size)
        cells.append(f"{255 * float(gap.square().mean().sqrt()):.2f}")
    return f"| {' | '.join(cells)} |"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=192, help="side of the crop in pixels")
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args(argv)
    place(options.docs / "deconvolution.md", BEGIN, END, "\n".join(lines(options.size)))


if __name__ == "__main__":
    main()
