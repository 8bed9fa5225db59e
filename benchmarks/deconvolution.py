# SPDX-License-Identifier: BSD-3-Clause
"""The experiments of tables 1 and 3 of Eboli, Sun and Ponce, 2018, in small or in full.

    python -m benchmarks.deconvolution                       # both, on our photographs
    python -m benchmarks.deconvolution --table 1 --folder VOC --levin LEVIN --scenes 20

Table 1: a uniform blur, removed under a sparse prior by FFT with and without care for borders, by
conjugate gradients and by residual compensation, and under a Laplacian prior. Table 3: a straight
motion at each pixel, by FFT in patches, conjugate gradients and residual compensation. Every method
has the same prior; its weight is tried on a grid, and each method is reported at its own best. The
last stage's PSNR counts. Rows go to benchmarks/results/, tables and a plot to docs/.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import skimage.metrics
from torch import Tensor
from tqdm import tqdm

import blurops
from benchmarks import deconvolution_data as data
from benchmarks.deconvolution_data import Problem
from blurops import UniformBlur, difference_filters
from blurops.solvers import Deconvolution

PENALTY, DATA_WEIGHT, STAGES = 8.1e-3, 1.0, 10
# Of the prior, for noise of 0.01; it goes with the noise's variance, as the likelihood does.
WEIGHTS = (3e-4, 1e-3, 3e-3)
LEAST_SIDE = 31
RESULTS = Path(__file__).parent / "results"
# A bank's filters are made once for all pictures, as the paper has them ahead of time.
CACHE = RESULTS.parent.parent / "build" / "inverse-filters"


@dataclass(frozen=True)
class Row:
    """One restoration."""

    table: int
    scene: str
    kernel: str
    sigma: float
    method: str
    weight: float
    psnr: float
    ssim: float
    prepared: float  # seconds for inverse filters
    seconds: float
    status: str
    trace: str  # "seconds:psnr" after each stage, without preparation


@dataclass(frozen=True)
class Method:
    """A way to restore: `prepare(problem)` gives what `run(problem, prepared, ...)` needs."""

    name: str
    prepare: Callable[[Problem], object]
    run: Callable[..., Deconvolution]


def _nothing(problem: Problem) -> None:
    return None


def _at_border(problem: Problem) -> UniformBlur:
    """The blur, for methods that keep the size of the image."""
    return UniformBlur(problem.blur.kernels, boundary="replicate")


def _inverse(problem: Problem, **options: object) -> object:
    """Inverse filters for the problem's penalty: a kernel's twice as wide as it, a bank's of 31."""
    blur, size = problem.blur, LEAST_SIDE
    if isinstance(blur, UniformBlur):
        size = max(size, 2 * blur.kernels.shape[-1] - 1)
    return blurops.inverse_blur(
        blur, size=size, analysis=difference_filters(), penalty=PENALTY / (2 * DATA_WEIGHT),
        cache=CACHE if isinstance(blur, blurops.MotionBlur) else False, **options,
    )  # fmt: skip


def _nearest(problem: Problem) -> object:
    return _inverse(problem, mode="nearest")


def _bilinear(problem: Problem) -> object:
    return _inverse(problem, mode="bilinear")


def _fft(borders: str) -> Callable[..., Deconvolution]:
    def run(problem: Problem, prepared: object, **prior: object) -> Deconvolution:
        blur = _at_border(problem)
        return blurops.fft_deblur(problem.observed, blur, borders=borders, **prior)

    return run


def _laplacian(problem: Problem, prepared: object, weight: float, **prior: object) -> Deconvolution:
    # A quadratic prior wants another weight; the grid's middle is near the best for these pictures.
    return blurops.fft_deblur(
        problem.observed, _at_border(problem), prior="laplacian", weight=10 * weight,
        callback=prior["callback"],
    )  # fmt: skip


def _cg(iterations: int) -> Callable[..., Deconvolution]:
    def run(problem: Problem, prepared: object, **prior: object) -> Deconvolution:
        return blurops.cg_deblur(problem.observed, problem.blur, iterations=iterations, **prior)

    return run


def _irc(inner: int, combine: str = "filters") -> Callable[..., Deconvolution]:
    def run(problem: Problem, prepared: object, **prior: object) -> Deconvolution:
        return blurops.admm_irc(
            problem.observed, problem.blur, prepared, inner=inner, combine=combine, **prior
        )

    return run


def _patches(problem: Problem, prepared: object, **prior: object) -> Deconvolution:
    blur = blurops.MotionBlur(problem.blur.length, problem.blur.angle, boundary="replicate")
    prior.pop("callback")  # of patches, not of the picture
    side = 2 * problem.blur.margin + 1
    return blurops.fft_deblur_patches(
        problem.observed, blur, kernel_size=side, patch=max(64, 2 * side), **prior
    )


METHODS = {
    1: (
        Method("FFT", _nothing, _fft("taper")),
        Method("FFT nopad", _nothing, _fft("none")),
        Method("Laplacian", _nothing, _laplacian),
        Method("CG, 5 iterations", _nothing, _cg(5)),
        Method("CG, 30 iterations", _nothing, _cg(30)),
        Method("IRC, T = 2", _inverse, _irc(2)),
        Method("IRC, T = 5", _inverse, _irc(5)),
    ),
    3: (
        Method("NU-FFT", _nothing, _patches),
        Method("NU-CG, 5 iterations", _nothing, _cg(5)),
        Method("NU-CG, 30 iterations", _nothing, _cg(30)),
        Method("NU-IRC, T = 2", _inverse, _irc(2)),
        Method("NU-IRC, T = 5", _inverse, _irc(5)),
        Method("NU-IRC, outputs averaged", _inverse, _irc(2, "outputs")),
        Method("NU-IRC, nearest", _nearest, _irc(2)),
        Method("NU-IRC, bilinear", _bilinear, _irc(2)),
    ),
}


def psnr(image: Tensor, truth: Tensor) -> float:
    """Of values in [0, 1], over the middle of the image that is as large as the truth."""
    error = (_middle(image, truth).clamp(0, 1) - truth).square().mean()
    return -10 * math.log10(max(float(error), 1e-12))


def ssim(image: Tensor, truth: Tensor) -> float:
    """By scikit-image with its default window."""
    values = _middle(image, truth).clamp(0, 1)[0, 0].numpy()
    return float(skimage.metrics.structural_similarity(values, truth[0, 0].numpy(), data_range=1))


def _middle(image: Tensor, truth: Tensor) -> Tensor:
    top, left = ((n - m) // 2 for n, m in zip(image.shape[-2:], truth.shape[-2:], strict=True))
    return image[..., top : top + truth.shape[-2], left : left + truth.shape[-1]]


def measure(table: int, problem: Problem, weights: Iterable[float]) -> list[Row]:
    """Every method, at every weight, on one problem."""
    rows, scale, made = [], (problem.sigma / 0.01) ** 2, {}
    for method in METHODS[table]:
        if method.prepare not in made:
            begun = time.perf_counter()
            prepared = method.prepare(problem)
            made[method.prepare] = prepared, time.perf_counter() - begun
        prepared, preparation = made[method.prepare]
        rows += [
            _run(table, problem, method, prepared, preparation, weight * scale)
            for weight in weights
        ]
    return rows


def _run(
    table: int, problem: Problem, method: Method, prepared: object, preparation: float,
    weight: float,
) -> Row:  # fmt: skip
    trace, lost = [], 0.0
    begun = time.perf_counter()

    def follow(stage: int, image: Tensor, residual: float) -> None:
        nonlocal lost
        now = time.perf_counter()
        trace.append((now - begun - lost, psnr(image, problem.sharp)))
        lost += time.perf_counter() - now

    result = method.run(
        problem, prepared, weight=weight, penalty=PENALTY, data_weight=DATA_WEIGHT, stages=STAGES,
        callback=follow,
    )  # fmt: skip
    seconds = time.perf_counter() - begun - lost
    image = result.image
    return Row(
        table, problem.scene, problem.kernel, problem.sigma, method.name, weight,
        psnr(image, problem.sharp), ssim(image, problem.sharp), preparation, seconds,
        result.status, " ".join(f"{s:.4f}:{p:.3f}" for s, p in trace),
    )  # fmt: skip


def problems(table: int, options: argparse.Namespace) -> list[Problem]:
    """What is to be restored."""
    size = None if options.folder else options.size
    pictures = data.photographs(options.scenes, size, options.folder)
    if table == 3:
        return list(data.moving(pictures, options.sigmas))
    levin = options.levin
    kernels = data.levin_kernels(levin) if levin else data.small_kernels(options.kernels)
    return list(data.uniform(pictures, kernels, options.sigmas))


def write(path: Path, rows: list[Row]) -> None:
    """The rows, as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.deconvolution", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--table", type=int, choices=(1, 3), action="append", help="default: both")
    parser.add_argument("--scenes", type=int, default=4, help="photographs (default: %(default)s)")
    parser.add_argument("--size", type=int, default=192, help="side of our crops in pixels")
    parser.add_argument("--kernels", type=int, default=4, help="of table 1 (default: %(default)s)")
    parser.add_argument("--sigmas", type=float, nargs="+", default=(0.004, 0.01), metavar="S",
                        help="noise levels, of values in [0, 1] (default: 0.004 0.01)")  # fmt: skip
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS, metavar="W",
                        help="of the prior, at noise 0.01")  # fmt: skip
    parser.add_argument("--folder", type=Path, help="pictures to use instead of ours")
    parser.add_argument("--levin", type=Path, help="Levin's kernels: a .mat file or their folder")
    parser.add_argument("--csv", type=Path, default=RESULTS / "deconvolution.csv")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    from benchmarks import deconvolution_report as report

    options = arguments(argv)
    options.sigmas = tuple(options.sigmas)
    rows: list[Row] = []
    for table in options.table or (1, 3):
        for problem in tqdm(problems(table, options), desc=f"table {table}"):
            rows += measure(table, problem, options.weights)
            write(options.csv, rows)
    print(report.text(rows))


if __name__ == "__main__":
    main()
