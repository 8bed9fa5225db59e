# SPDX-License-Identifier: BSD-3-Clause
"""Blind deblurring with explicit kernels on ten seeded scenes: what it gains, and where it fails.

    python -m benchmarks.blind_kernel_space               # about ten minutes of one core
    python -m benchmarks.blind_kernel_space --scenes 0,5  # some of them
    python -m benchmarks.blind_kernel_space --report      # the table of the rows on disk

Photographs that ship with scikit-image, their middle at 144 x 144 pixels, blurred in linear light
by camera shake (K = 13): scenes 0 to 4 by one kernel, 5 to 9 by five that smooth maps mix. Noise
0.002 in linear light, gamma 2.2. The kernels are fitted by `blurmodels.kernel_space.fit_operator`
with its defaults and the scene's kind of operator, by `blurmodels.basis_kernels.estimate_blind` for
comparison, and known for the bound. All restore by the same 20 Richardson-Lucy iterations with
total variation 0.005. PSNR is in display values after the alignment of `shifted_scores` (gain and
whole-pixel shift: a blind kernel is known only up to a shift), the blurred image's own included.
"""

import argparse
import csv
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean

import numpy as np
import skimage.data
import torch
from torch import Tensor
from torch.nn import functional

import blurops
from blurmodels.basis_kernels import estimate_blind
from blurmodels.evaluation import shifted_scores
from blurmodels.kernel_space import fit_operator
from blurops.fields import BlurField, camera_shake_field, observe

GAMMA, NOISE, SIDE, KERNEL = 2.2, 0.002, 144, 13
RESULTS = Path(__file__).parent / "results" / "blind_kernel_space.csv"

PHOTOGRAPHS = {
    "astronaut": skimage.data.astronaut,
    "camera": skimage.data.camera,
    "chelsea": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
}


@dataclass(frozen=True)
class Row:
    """One scene; PSNR in dB, SSIM, seconds of the fit on the machine as it was."""

    scene: int
    photograph: str
    blur: str
    blurred: float
    restored: float
    refine: float
    known: float
    blurred_ssim: float
    restored_ssim: float
    overlap: float
    steps: int
    seconds: float


def scene(number: int) -> tuple[str, Tensor, BlurField, Tensor]:
    """The photograph's name, the sharp image, its blur, and what the camera sees."""
    name = list(PHOTOGRAPHS)[number % len(PHOTOGRAPHS)]
    pixels = np.atleast_3d(PHOTOGRAPHS[name]())[..., :3] / 255.0
    image = torch.from_numpy(np.moveaxis(pixels, 2, 0)).float()[None]
    side = min(image.shape[2:])
    top, left = ((length - side) // 2 for length in image.shape[2:])
    image = image[..., top : top + side, left : left + side]
    sharp = functional.interpolate(image, [SIDE, SIDE], mode="bilinear", antialias=True)
    basis = 1 if number < len(PHOTOGRAPHS) else 5
    field = camera_shake_field(
        SIDE, SIDE, basis_size=basis, kernel_size=KERNEL, seed=number, gamma=GAMMA
    )
    observed = observe(sharp**GAMMA, field, noise=NOISE, gamma=GAMMA, seed=number)
    return name, sharp, field, observed.clamp(max=1)


def restore(observed: Tensor, field: BlurField) -> Tensor:
    """Richardson-Lucy with any field."""
    operator = blurops.BasisBlur(field.kernels, field.mixing)
    result = blurops.richardson_lucy(observed, operator, iterations=20, tv=0.005, gamma=GAMMA)
    return result.image.clamp(0, 1)


def overlap(found: BlurField, true: BlurField) -> float:
    """Correlation of the two fields' kernels, at its best shift; the mean over a grid of pixels."""
    places = torch.linspace(SIDE / 8, 7 * SIDE / 8, 4).round().long()
    rows, columns = (grid.flatten() for grid in torch.meshgrid(places, places, indexing="ij"))
    values = []
    for a, b in zip(found.kernels_at(rows, columns), true.kernels_at(rows, columns), strict=True):
        match = functional.conv2d(a[None, None], b[None, None], padding=KERNEL)
        values.append(float(match.max() / (a.norm() * b.norm())))
    return mean(values)


def measure(number: int, progress: bool, seed: int = 0, precision: str = "float32") -> Row:
    """One scene."""
    name, sharp, field, observed = scene(number)
    kind = "uniform" if field.kernels.shape[1] == 1 else "basis"
    grid = (1, 1) if kind == "uniform" else (2, 2)
    began = time.perf_counter()
    found = fit_operator(
        observed, operator=kind, gamma=GAMMA, kernel_size=KERNEL, precision=precision, seed=seed,
        progress=progress,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    other = estimate_blind(observed, gamma=GAMMA, kernel_size=KERNEL, grid=grid)
    before = shifted_scores(observed, sharp)
    after = shifted_scores(restore(observed, found.field), sharp)
    return Row(
        scene=number,
        photograph=name,
        blur=kind,
        blurred=before.psnr,
        restored=after.psnr,
        refine=shifted_scores(restore(observed, other), sharp).psnr,
        known=shifted_scores(restore(observed, field), sharp).psnr,
        blurred_ssim=before.ssim,
        restored_ssim=after.ssim,
        overlap=overlap(found.field, field),
        steps=len(found.losses),
        seconds=seconds,
    )


def write(path: Path, rows: list[Row]) -> None:
    """Rows as CSV, over what was there."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        for row in rows:
            values = asdict(row).values()
            writer.writerow(f"{v:.4g}" if isinstance(v, float) else v for v in values)


def read(path: Path) -> list[Row]:
    """The rows of a file."""
    with path.open(newline="") as file:
        return [
            Row(**{field.name: field.type(line[field.name]) for field in fields(Row)})
            for line in csv.DictReader(file)
        ]


def table(rows: list[Row]) -> str:
    """The table of docs/blind-kernel-space.md."""
    lines = [
        "| scene | blur | blurred | **fitted** | gain | `--refine` | known blur | kernels |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.scene} {row.photograph} | {row.blur} | {row.blurred:.2f} | {row.restored:.2f}"
        f" | {row.restored - row.blurred:+.2f} | {row.refine:.2f} | {row.known:.2f}"
        f" | {row.overlap:.2f} |"
        for row in rows
    ]
    columns = ("blurred", "restored", "refine", "known", "overlap")
    means = {name: mean(getattr(row, name) for row in rows) for name in columns}
    lines.append(
        f"| mean | | {means['blurred']:.2f} | {means['restored']:.2f}"
        f" | {means['restored'] - means['blurred']:+.2f} | {means['refine']:.2f}"
        f" | {means['known']:.2f} | {means['overlap']:.2f} |"
    )
    better = sum(row.restored > row.blurred for row in rows)
    lines.append(f"\nBetter than the blurred image in {better} of {len(rows)} scenes.")
    return "\n".join(lines)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", default="0,1,2,3,4,5,6,7,8,9")
    parser.add_argument("--seed", type=int, default=0, help="of the fit, not of the scenes")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--progress", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.report:
        rows = []
        for number in (int(text) for text in args.scenes.split(",")):
            rows.append(measure(number, args.progress, args.seed, args.precision))
            print(rows[-1], flush=True)
        write(args.output, rows)
    print(table(read(args.output)))


if __name__ == "__main__":
    main()
