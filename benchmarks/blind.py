# SPDX-License-Identifier: BSD-3-Clause
"""The blind estimate without weights on photographs that nothing about it was chosen by.

    python -m benchmarks.blind [--set held-out | tuned] [--out FILE]

Photographs that come with scikit-image and matplotlib, 300 pixels wide, blurred in linear light by
hand tremor or by a shift with a turn, noise of 0.003, stored in 8 bits. The settings of
`estimate_blind` were chosen on the set "tuned"; the pictures, kernels and motions of "held-out"
were first looked at when its scores were taken. PSNR is of stored values 12 pixels inside the
border, aligned by a shift: one of the kernels cannot be told from one of the image.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.cbook
import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor

import blurops
from blurmodels.basis_kernels.blind import estimate_blind
from blurmodels.evaluation import psnr, shifted_scores
from blurops.fields import BlurField, camera_motion_field, camera_shake_kernels, observe

GAMMA, WIDTH, MARGIN, NOISE = 2.2, 300, 12, 0.003

SETS = {
    "tuned": (("coffee", "astronaut", "chelsea", "rocket"), 3, (0, 2), ((7, 4), (1.5, 4.0))),
    "held-out": (
        ("camera", "coins", "immunohistochemistry", "stereo_motorcycle", "grace_hopper", "page"),
        1003, (0, 1), ((5, -6), (1.0, 3.0)),
    ),
}  # fmt: skip


class Row(NamedTuple):
    """One photograph under one blur; PSNR in dB."""

    photograph: str
    blur: str
    blurred: float
    blind: float
    true_blur: float

    @property
    def gain(self) -> float:
        """Of the blind restoration over the photograph as it was."""
        return self.blind - self.blurred


def photograph(name: str) -> Tensor:
    """(1, C, H, WIDTH) values in [0, 1]."""
    if name == "grace_hopper":
        with matplotlib.cbook.get_sample_data(f"{name}.jpg") as file, Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    else:
        pixels = getattr(skimage.data, name)()
        pixels = np.asarray(pixels[0] if isinstance(pixels, tuple) else pixels)
    picture = torch.from_numpy(pixels.copy()).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
    size = (round(WIDTH * picture.shape[1] / picture.shape[2]), WIDTH)
    return torch.nn.functional.interpolate(
        picture[None].float() / 255, size, mode="bilinear", antialias=True
    )


def blurs(chosen: str, size: tuple[int, int]) -> Iterator[tuple[str, BlurField, dict]]:
    """Name, true field, and the options of the estimate for each blur of a set."""
    _, seed, which, (shift, turns) = SETS[chosen]
    kernels = camera_shake_kernels(4, kernel_size=17, seed=seed)
    for index in which:
        one = kernels[None, index : index + 1]
        field = BlurField(one, torch.ones(1, 1, *size), {"boundary": "reflect"})
        yield f"kernel {index}", field, {"kernel_size": 21, "grid": (1, 1)}
    for turn in turns:
        roll = float(np.deg2rad(turn))
        field, _ = camera_motion_field(*size, rotation=(roll, 0, 0), translation=shift)
        yield f"shift, and turn of {turn:g} degrees", field, {}


def inside(image: Tensor) -> Tensor:
    """Without the border."""
    return image[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def score(name: str, truth: Tensor, blur: str, field: BlurField, options: dict) -> Row:
    """Blurs, estimates, restores with both fields."""
    seen = observe(truth**GAMMA, field, gamma=GAMMA, noise=NOISE, seed=0)
    seen = (seen.clamp(0, 1) * 255).round() / 255
    found = estimate_blind(seen, gamma=GAMMA, **options)
    scores = []
    for each in (found, field):
        operator = blurops.BasisBlur(each.kernels, each.mixing, boundary="reflect")
        restored = blurops.richardson_lucy(
            seen, operator, iterations=20, tv=0.005, gamma=GAMMA,
            saturation=blurops.Saturation(),
        ).image.clamp(0, 1)  # fmt: skip
        scores.append(shifted_scores(inside(restored), inside(truth)).psnr)
    return Row(name, blur, psnr(inside(seen), inside(truth)), *scores)


def main() -> None:
    """Score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--set", choices=tuple(SETS), default="held-out")
    parser.add_argument("--out", type=Path, help="CSV file (default: in benchmarks/results)")
    chosen = parser.parse_args()
    rows = []
    for name in SETS[chosen.set][0]:
        truth = photograph(name)
        for blur in blurs(chosen.set, tuple(truth.shape[2:])):
            rows.append(row := score(name, truth, *blur))
            print(
                f"| {row.photograph} | {row.blur} | {row.blurred:.2f} | {row.blind:.2f} |"
                f" {row.gain:+.2f} | {row.true_blur:.2f} |",
                flush=True,
            )
    helped = sum(row.gain > 0 for row in rows)
    print(
        f"better {helped} of {len(rows)}, mean gain {np.mean([row.gain for row in rows]):+.2f} dB"
    )
    out = chosen.out or Path(__file__).parent / "results" / f"blind-{chosen.set}.csv"
    with out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow((*Row._fields, "gain"))
        table.writerows([*row[:2], *(f"{v:.3f}" for v in (*row[2:], row.gain))] for row in rows)


if __name__ == "__main__":
    main()
