# SPDX-License-Identifier: BSD-3-Clause
"""Default Richardson-Lucy against the released update of Carbajal et al., in PSNR.

The scene of `blurops demo` and crops of ten photographs that ship with scikit-image, highlights
pushed past the sensor's level, blurred by camera shake (B = 25, K = 33), with sensor response,
noise in linear light and gamma 2.2. Both methods restore the same observation with the true field:
with TV off, and with matched TV (the default's number is 8 times the preset's). PSNR is taken in
the interior and in the K-pixel border band, at the iteration where each method ends and at its
best one.

    python benchmarks/rl_quality.py            # about ten minutes on two cores
    python benchmarks/rl_quality.py --scenes 2 --size 160
"""

import argparse
import csv
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import skimage.data
import torch
from torch import Tensor
from tqdm import tqdm

import blurops
from blurops.cli.demo import brighten_highlights
from blurops.fields import camera_shake_field, observe

GAMMA = 2.2
KERNEL_SIZE = 33
SIGMAS = (0.002, 0.01)
PRESET_TVS = (0.0, 1e-3)
STOP_TOL = 1e-6  # of the preset, which is run to the end here and read where it would have stopped

SCENES: dict[str, Callable[[], np.ndarray]] = {
    "astronaut": skimage.data.astronaut,
    "camera": skimage.data.camera,
    "chelsea": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "coins": skimage.data.coins,
    "hubble": skimage.data.hubble_deep_field,
    "ihc": skimage.data.immunohistochemistry,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
    "retina": skimage.data.retina,
    "rocket": skimage.data.rocket,
}

DEMO = "demo"

METHODS = ("default", "default without saturation", "carbajal2021")


@dataclass(frozen=True)
class Row:
    """One restoration."""

    scene: str
    sigma: float
    preset_tv: float
    method: str
    blurred_interior: float
    blurred_border: float
    iterations: int
    interior: float
    border: float
    best_iteration: int
    best_interior: float
    best_border: float
    first_loss: float
    final_loss: float


def demo_scene() -> Tensor:
    """(1, 3, 400, 600) what `blurops demo` blurs, with seed 0."""
    picture = torch.from_numpy(skimage.data.coffee() / 255.0).float()
    return brighten_highlights(picture.permute(2, 0, 1)[None] ** GAMMA)


def sharp_scene(name: str, seed: int, size: int) -> Tensor:
    """(1, C, size, size) a crop in linear light; what is bright in the photograph exceeds 1."""
    if name == DEMO:
        return demo_scene()
    picture = np.atleast_3d(SCENES[name]())[..., :3] / 255.0
    draw = np.random.default_rng(seed)
    top, left = (int(draw.integers(0, n - size + 1)) for n in picture.shape[:2])
    crop = torch.from_numpy(picture[top : top + size, left : left + size]).float()
    light = crop.permute(2, 0, 1)[None] ** GAMMA
    brightest = light.amax(dim=1, keepdim=True)
    return light * (1 + 2 * ((brightest - 0.6) / 0.4).clamp(min=0) ** 2)


class Quality(NamedTuple):
    """PSNR of display values in [0, 1]."""

    whole: float
    interior: float
    border: float


def quality(image: Tensor, truth: Tensor) -> Quality:
    """PSNR of the whole image, of its interior, and of a border band as wide as the kernel."""
    error = (image.clamp(0, 1) - truth) ** 2
    inside = torch.zeros_like(error, dtype=torch.bool)
    inside[..., KERNEL_SIZE:-KERNEL_SIZE, KERNEL_SIZE:-KERNEL_SIZE] = True
    parts = (error, error[inside], error[~inside])
    return Quality(*(-10 * math.log10(float(part.double().mean())) for part in parts))


def restore(
    method: str, observed: Tensor, blur: blurops.BasisBlur, preset_tv: float, truth: Tensor
) -> tuple[list[Quality], tuple[float, ...]]:
    """PSNRs and losses before the first and after each of 30 iterations."""
    track = [quality(observed, truth)]

    def follow(iteration: int, image: Tensor, loss: float) -> None:
        track.append(quality(image, truth))

    if method == "carbajal2021":
        choices = {"preset": method, "tv": preset_tv, "stop_tol": -math.inf}
    else:
        saturation = None if "without" in method else blurops.Saturation()
        choices = {"saturation": saturation, "tv": 8 * preset_tv}
    result = blurops.richardson_lucy(observed, blur, gamma=GAMMA, callback=follow, **choices)
    return track, result.losses


def observation(
    scene: str, seed: int, size: int, sigma: float
) -> tuple[Tensor, blurops.BasisBlur, Tensor]:
    """The picture, its blur, and the display values to be found."""
    sharp = sharp_scene(scene, seed, size)
    height, width = sharp.shape[-2:]
    field = camera_shake_field(height, width, basis_size=25, kernel_size=KERNEL_SIZE, seed=seed)
    blur = blurops.BasisBlur(field.kernels, field.mixing, method="fft")
    observed = observe(
        sharp, blur, noise=sigma, saturation=blurops.Saturation(), gamma=GAMMA, seed=seed
    )
    return observed, blur, sharp.clamp(max=1) ** (1 / GAMMA)


def measure(scene: str, seed: int, size: int, sigma: float) -> list[Row]:
    """Every method on one scene at one noise level."""
    observed, blur, truth = observation(scene, seed, size, sigma)
    rows = []
    for preset_tv in PRESET_TVS:
        for method in METHODS:
            track, losses = restore(method, observed, blur, preset_tv, truth)
            for label, end in endings(method, losses):
                setting = (scene, sigma, preset_tv, label)
                rows.append(Row(*setting, *outcome(track, losses, end)))
    return rows


def endings(method: str, losses: tuple[float, ...]) -> list[tuple[str, int]]:
    """Under which names a run is reported, and the iteration it ends at."""
    last = len(losses) - 1
    if method != "carbajal2021":
        return [(method, last)]
    stops = (t for t in range(1, last + 1) if losses[t - 1] - losses[t] <= STOP_TOL)
    return [(method, next(stops, last)), (f"{method}, never stopped", last)]


def outcome(track: list[Quality], losses: tuple[float, ...], end: int) -> tuple:
    """The measured fields of a :class:`Row`."""
    best = max(range(len(track)), key=lambda t: track[t].whole)
    first, last, top = track[0], track[end], track[best]
    return (
        first.interior, first.border, end, last.interior, last.border,
        best, top.interior, top.border, losses[0], losses[end],
    )  # fmt: skip


def pick(rows: list[Row], sigma: float, preset_tv: float, method: str) -> list[Row]:
    """The rows of one method in one setting, by scene."""
    key = (sigma, preset_tv, method)
    return [row for row in rows if (row.sigma, row.preset_tv, row.method) == key]


def setting(sigma: float, preset_tv: float) -> str:
    """``sigma 0.002, TV 0.008``: named by the default's TV number."""
    return f"sigma {sigma:g}, TV {8 * preset_tv:g}" if preset_tv else f"sigma {sigma:g}, no TV"


def summary(rows: list[Row]) -> str:
    """Mean PSNR of each method in each setting, as a markdown table."""
    columns = (
        "setting", "method", "iterations", "interior", "border",
        "best iteration", "interior there", "border there", "reblur loss, first and last",
    )  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    methods = list(dict.fromkeys(row.method for row in rows))
    for sigma in SIGMAS:
        for preset_tv in PRESET_TVS:
            for method in methods:
                some = pick(rows, sigma, preset_tv, method)

                def average(name: str, some: list[Row] = some) -> float:
                    return mean(getattr(row, name) for row in some)

                lines.append(
                    f"| {setting(sigma, preset_tv)} | {method} | {average('iterations'):.1f} "
                    f"| {average('interior'):.2f} | {average('border'):.2f} "
                    f"| {average('best_iteration'):.1f} | {average('best_interior'):.2f} "
                    f"| {average('best_border'):.2f} "
                    f"| {average('first_loss'):.1e}, {average('final_loss'):.1e} |"
                )
    return "\n".join(lines)


def differences(rows: list[Row]) -> str:
    """Default minus preset, scene by scene, interior / border, as a markdown table."""
    settings = [(sigma, preset_tv) for sigma in SIGMAS for preset_tv in PRESET_TVS]
    lines = [
        "| scene | blurred | " + " | ".join(setting(*s) for s in settings) + " |",
        "|---" * (len(settings) + 2) + "|",
    ]
    pairs = [
        list(zip(pick(rows, *s, "default"), pick(rows, *s, "carbajal2021"), strict=True))
        for s in settings
    ]
    for index, (first, _) in enumerate(pairs[0]):
        cells = [f"{first.blurred_interior:.2f} / {first.blurred_border:.2f}"]
        for pair in pairs:
            ours, theirs = pair[index]
            interior, border = ours.interior - theirs.interior, ours.border - theirs.border
            cells.append(f"{interior:+.2f} / {border:+.2f}")
        lines.append(f"| {first.scene} | " + " | ".join(cells) + " |")
    means = [
        f"{mean(a.interior - b.interior for a, b in pair):+.2f} / "
        f"{mean(a.border - b.border for a, b in pair):+.2f}"
        for pair in pairs
    ]
    lines.append("| **mean** | | " + " | ".join(f"**{cell}**" for cell in means) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scenes", type=int, default=len(SCENES), help="how many, besides the demo"
    )
    parser.add_argument("--size", type=int, default=256, help="side of the crops in pixels")
    default = Path(__file__).parent / "results" / "rl_quality.csv"
    parser.add_argument("--csv", type=Path, default=default, help="where the rows go")
    options = parser.parse_args()
    rows: list[Row] = []
    scenes = [(DEMO, 0), *((name, seed) for seed, name in enumerate(SCENES))]
    chosen = scenes[: options.scenes + 1]
    for sigma, (name, seed) in tqdm([(sigma, scene) for sigma in SIGMAS for scene in chosen]):
        rows += measure(name, seed, options.size, sigma)
    options.csv.parent.mkdir(parents=True, exist_ok=True)
    with options.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    print(summary(rows), differences(rows), sep="\n\n")


if __name__ == "__main__":
    main()
