# SPDX-License-Identifier: BSD-3-Clause
"""The experiments of tables 1 and 3 of Eboli, Sun and Ponce, 2018, in small or in full.

    python -m benchmarks.deconvolution                       # both, on our photographs
    python -m benchmarks.deconvolution --retime --table 1 --only camera    # on a quiet machine
    python -m benchmarks.deconvolution --table 1 --folder VOC --levin LEVIN --scenes 20
    python -m benchmarks.deconvolution --table 3 --folder VOC --scenes 60

Table 1: a uniform blur, removed under a sparse prior by FFT with and without care for borders, by
conjugate gradients and by residual compensation, and under a Laplacian prior. Table 3: a straight
motion at each pixel, by FFT in patches, conjugate gradients and residual compensation. Every method
has the same prior; its weight is tried on a grid, and each method is reported at its own best. The
last stage's PSNR counts. Rows go to benchmarks/results/, tables and a plot to docs/. `--retime`
runs each method again at its best weight only and keeps the fastest of three runs.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import skimage.metrics
import torch
from torch import Tensor
from tqdm import tqdm

import blurops
from benchmarks import deconvolution_data as data
from benchmarks.deconvolution_data import Problem
from benchmarks.memory import cpu_name
from blurmodels.datasets import levin_kernels
from blurops import UniformBlur, difference_filters
from blurops.solvers import Deconvolution

PENALTY, DATA_WEIGHT, STAGES = 8.1e-3, 1.0, 10
SIGMAS = (0.004, 0.01, 0.02)  # of the noise, for values in [0, 1]
# Of the prior, for noise of 0.01; it goes with the noise's variance, as the likelihood does.
WEIGHTS = (3e-4, 6e-4, 1.2e-3, 2.4e-3, 4.8e-3)
LEAST_SIDE = 31
# Uniform filters that are cut off where next to nothing is left of them.
WIDE = {"size": 97, "ridge": 3e-3, "method": "fft", "grid": 257}
REPEATS = 3
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
    cpu: str = ""
    threads: int = 0
    torch: str = ""


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
    options = {"size": size} | options
    return blurops.inverse_blur(
        blur, analysis=difference_filters(), penalty=PENALTY / (2 * DATA_WEIGHT),
        cache=CACHE if isinstance(blur, blurops.MotionBlur) else False, **options,
    )  # fmt: skip


def _wide(problem: Problem) -> object:
    return _inverse(problem, **WIDE)


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


def _irc(inner: int, **options: object) -> Callable[..., Deconvolution]:
    def run(problem: Problem, prepared: object, **prior: object) -> Deconvolution:
        return blurops.admm_irc(
            problem.observed, problem.blur, prepared, inner=inner, **options, **prior
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
        Method("CG, 10 iterations", _nothing, _cg(10)),
        Method("CG, 30 iterations", _nothing, _cg(30)),
        Method("IRC, T = 2", _inverse, _irc(2)),
        Method("IRC, T = 5", _inverse, _irc(5)),
        Method("IRC, T = 2, wide", _wide, _irc(2)),
        Method("IRC, T = 1, wide, minimal", _wide, _irc(1, memory=1)),
        Method("IRC, T = 2, wide, minimal", _wide, _irc(2, memory=2)),
    ),
    3: (
        Method("NU-FFT", _nothing, _patches),
        Method("NU-CG, 5 iterations", _nothing, _cg(5)),
        Method("NU-CG, 10 iterations", _nothing, _cg(10)),
        Method("NU-CG, 30 iterations", _nothing, _cg(30)),
        Method("NU-IRC, T = 2", _inverse, _irc(2)),
        Method("NU-IRC, T = 5", _inverse, _irc(5)),
        Method("NU-IRC, T = 2, outputs averaged", _inverse, _irc(2, combine="outputs")),
        Method("NU-IRC, T = 2, nearest", _nearest, _irc(2)),
        Method("NU-IRC, T = 2, bilinear", _bilinear, _irc(2)),
        Method("NU-IRC, T = 1, bilinear, minimal", _bilinear, _irc(1, memory=1)),
        Method("NU-IRC, T = 2, bilinear, minimal", _bilinear, _irc(2, memory=2)),
    ),
}


def psnr(image: Tensor, truth: Tensor) -> float:
    """Of values in [0, 1], over the middle of the image that is as large as the truth."""
    error = (middle(image, truth.shape[-2:]).clamp(0, 1) - truth).square().mean()
    return -10 * math.log10(max(float(error), 1e-12))


def ssim(image: Tensor, truth: Tensor) -> float:
    """By scikit-image with its default window."""
    values = middle(image, truth.shape[-2:]).clamp(0, 1)[0, 0].numpy()
    return float(skimage.metrics.structural_similarity(values, truth[0, 0].numpy(), data_range=1))


def middle(image: Tensor, size: Sequence[int]) -> Tensor:
    """The (H, W) = `size` in the middle of an image."""
    top, left = ((n - m) // 2 for n, m in zip(image.shape[-2:], size, strict=True))
    return image[..., top : top + size[0], left : left + size[1]]


def measure(
    table: int, problem: Problem, weights: Callable[[str], Iterable[float]], repeats: int = 1
) -> list[Row]:
    """Every method on one problem, at the weights for noise of 0.01 that `weights(method)` says."""
    rows, scale, made = [], (problem.sigma / 0.01) ** 2, {}
    for method in METHODS[table]:
        if not (chosen := list(weights(method.name))):
            continue
        if method.prepare not in made:
            begun = time.perf_counter()
            prepared = method.prepare(problem)
            made[method.prepare] = prepared, time.perf_counter() - begun
        prepared, preparation = made[method.prepare]
        for weight in chosen:
            runs = [
                _run(table, problem, method, prepared, preparation, weight * scale)
                for _ in range(repeats)
            ]
            rows.append(min(runs, key=lambda row: row.seconds))
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
        cpu_name(), torch.get_num_threads(), torch.__version__,
    )  # fmt: skip


def problems(table: int, options: argparse.Namespace) -> list[Problem]:
    """What is to be restored."""
    size = None if options.folder else options.size
    pictures = data.photographs(options.scenes, size, options.folder)
    if table == 3:
        return list(data.moving(pictures, options.sigmas))
    levin = options.levin
    kernels = levin_kernels(levin) if levin else data.small_kernels(options.kernels)
    return list(data.uniform(pictures, kernels, options.sigmas))


def write(path: Path, rows: list[Row]) -> None:
    """The rows, as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def retimed(rows: list[Row], table: int, chosen: list[Problem], best: list[Row]) -> list[Row]:
    """The rows, with those of the best weights measured again on some problems."""
    for problem in tqdm(chosen, desc=f"table {table}, again"):
        scale = (problem.sigma / 0.01) ** 2

        def weights(method: str, problem: Problem = problem, scale: float = scale) -> list[float]:
            wanted = (table, problem.scene, problem.kernel, problem.sigma, method)
            return [row.weight / scale for row in best if _place(row) == wanted]

        for row in measure(table, problem, weights, REPEATS):
            at = next(i for i, old in enumerate(rows) if _place(old) == _place(row)
                      and math.isclose(old.weight, row.weight))  # fmt: skip
            # The first run made a bank's filters, later ones find them on disk.
            prepared = rows[at].prepared if table == 3 else row.prepared
            rows[at] = replace(row, weight=rows[at].weight, prepared=prepared)
    return rows


def _place(row: Row) -> tuple:
    return row.table, row.scene, row.kernel, row.sigma, row.method


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.deconvolution", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--table", type=int, choices=(1, 3), action="append", help="default: both")
    parser.add_argument("--scenes", type=int, default=4, help="photographs (default: %(default)s)")
    parser.add_argument("--size", type=int, default=192, help="side of our crops in pixels")
    parser.add_argument("--kernels", type=int, default=4, help="of table 1 (default: %(default)s)")
    parser.add_argument("--sigmas", type=float, nargs="+", default=SIGMAS, metavar="S",
                        help="noise levels (default: 0.004 0.01 0.02)")  # fmt: skip
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS, metavar="W",
                        help="of the prior, at noise 0.01")  # fmt: skip
    parser.add_argument("--folder", type=Path, help="pictures to use instead of ours")
    parser.add_argument("--levin", type=Path, help="Levin's kernels: a .mat file or their folder")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="of the tables' methods")
    parser.add_argument("--only", nargs="+", metavar="SCENE", help="of the photographs, by name")
    parser.add_argument("--retime", action="store_true",
                        help="measure the best weights of the rows in --csv again")  # fmt: skip
    parser.add_argument("--csv", type=Path, default=RESULTS / "deconvolution.csv")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    from benchmarks import deconvolution_report as report

    options = arguments(argv)
    options.sigmas = tuple(options.sigmas)
    rows: list[Row] = report.read(options.csv) if options.retime else []
    best = [row for row in report.best(rows) if row.method in (options.methods or [row.method])]
    for table in options.table or (1, 3):
        chosen = problems(table, options)
        if options.only:
            chosen = [problem for problem in chosen if problem.scene in options.only]
        if options.retime:
            rows = retimed(rows, table, chosen, best)
            counted = {(_place(row), row.weight) for row in report.best(rows)}
            rows = [  # times, and how they came about, are of interest at the best weights alone
                row if (_place(row), row.weight) in counted else replace(row, trace="")
                for row in rows
            ]
            write(options.csv, rows)
            continue

        def weights(method: str) -> Sequence[float]:
            return options.weights if method in (options.methods or [method]) else ()

        for problem in tqdm(chosen, desc=f"table {table}"):
            rows += measure(table, problem, weights)
            write(options.csv, rows)
    print(report.text(rows))


if __name__ == "__main__":
    main()
