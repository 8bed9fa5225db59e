# SPDX-License-Identifier: BSD-3-Clause
"""Photographs, kernels and motion fields of the deconvolution experiment.

Observations are cut out of a larger blurred picture, so that, as in a photograph, nothing is known
beyond their border and nothing is periodic.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
from torch import Tensor

from blurops import MotionBlur, UniformBlur, linear_motion_kernel
from blurops.fields import camera_shake_kernels
from blurops.images import read_image

PHOTOGRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "camera": skimage.data.camera,
    "astronaut": skimage.data.astronaut,
    "chelsea": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "coins": skimage.data.coins,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
    "rocket": skimage.data.rocket,
}
SHAKE_SIDE = 25
LONGEST = 35.0  # of straight motions, pixels (Eboli et al., section 4)
MARGIN = 24  # of the sharp picture around an observation, at least half of any kernel


@dataclass(frozen=True)
class Problem:
    """An observation, the blur that made it (boundary "valid"), and what is to be found."""

    scene: str
    kernel: str
    sigma: float
    observed: Tensor
    blur: UniformBlur | MotionBlur
    sharp: Tensor


def photographs(count: int, size: int | None, folder: Path | None) -> dict[str, Tensor]:
    """(1, 1, H, W) gray values in [0, 1]: crops of ours, or a folder's pictures."""
    if folder is not None:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)[:count]
        if not paths:
            raise SystemExit(f"'{folder}' must hold PNG, JPEG or TIFF pictures, got none")
        found = {p.stem: read_image(p).pixels.mean(1, keepdim=True) for p in paths}
    else:
        found = {}
        for name in list(PHOTOGRAPHS)[:count]:
            values = np.atleast_3d(PHOTOGRAPHS[name]())[..., :3] / 255.0
            found[name] = torch.from_numpy(values).float().mean(-1)[None, None]
    if size is None:
        return found
    side = size + 2 * MARGIN
    return {name: _middle(picture, side) for name, picture in found.items()}


_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def _middle(picture: Tensor, side: int) -> Tensor:
    top, left = ((n - side) // 2 for n in picture.shape[-2:])
    if min(top, left) < 0:
        got = "x".join(map(str, picture.shape[-2:]))
        raise SystemExit(f"pictures must have at least {side}x{side} pixels, got {got}")
    return picture[..., top : top + side, left : left + side]


def small_kernels(count: int) -> dict[str, Tensor]:
    """(K, K) kernels in correlation orientation: camera shake and straight motions in turn."""
    shakes = camera_shake_kernels(count, SHAKE_SIDE, seed=1)
    lines = [(15, 30), (9, 0), (21, 75), (11, 135)]
    found = {}
    for i in range(count):
        length, degrees = lines[i // 2 % len(lines)]
        if i % 2:
            found[f"line {length}, {degrees}"] = linear_motion_kernel(length, math.radians(degrees))
        else:
            found[f"shake {i // 2}"] = shakes[i // 2].float()
    return found


def uniform(
    pictures: dict[str, Tensor], kernels: dict[str, Tensor], sigmas: tuple[float, ...]
) -> Iterator[Problem]:
    """Every photograph with every kernel at every noise level."""
    for scene, picture in pictures.items():
        for name, taps in kernels.items():
            blur = UniformBlur(taps, boundary="valid")
            for sigma in sigmas:
                yield _observe(scene, name, sigma, picture, blur)


def moving(pictures: dict[str, Tensor], sigmas: tuple[float, ...]) -> Iterator[Problem]:
    """Every photograph under a camera that turns and shifts, its paths taken for straight."""
    draw = np.random.default_rng(7)
    for scene, picture in pictures.items():
        turn = draw.uniform(-0.08, 0.08)
        shift = draw.uniform(-8, 8, size=2)
        size = [n - 2 * MARGIN for n in picture.shape[-2:]]
        length, angle = camera_lines(size, turn, shift)
        if float(length.max()) > LONGEST:  # a turn moves the corners of large pictures far
            share = (LONGEST - 1) / (float(length.max()) - 1)
            length = 1 + share * (length - 1)
        blur = MotionBlur(length, angle, boundary="valid")
        for sigma in sigmas:
            yield _observe(scene, f"turn {turn:+.3f}", sigma, picture, blur)


def camera_lines(size: list[int], turn: float, shift: np.ndarray) -> tuple[Tensor, Tensor]:
    """(1, H, W) lengths and angles of straight motions: a turn in radians, a shift in pixels."""
    height, width = size
    y, x = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )  # fmt: skip
    right, down = float(shift[0]) - turn * y, float(shift[1]) + turn * x
    length = 1 + torch.hypot(right, down)
    return length[None], torch.atan2(-down, right)[None]


def _observe(
    scene: str, kernel: str, sigma: float, picture: Tensor, blur: UniformBlur | MotionBlur
) -> Problem:
    """Blur what a kernel reaches of a picture, and add noise."""
    if isinstance(blur, MotionBlur):
        inside = [n + 2 * blur.margin for n in blur.length.shape[-2:]]
    else:
        border = [2 * MARGIN - k + 1 for k in blur.kernels.shape[-2:]]
        inside = [n - b for n, b in zip(picture.shape[-2:], border, strict=True)]
    top, left = ((n - i) // 2 for n, i in zip(picture.shape[-2:], inside, strict=True))
    seen = picture[..., top : top + inside[0], left : left + inside[1]]
    observed = blur @ seen
    generator = torch.Generator().manual_seed(1)
    observed = observed + sigma * torch.randn(observed.shape, generator=generator)
    sharp = picture[..., MARGIN : picture.shape[-2] - MARGIN, MARGIN : picture.shape[-1] - MARGIN]
    return Problem(scene, kernel, sigma, observed, blur, sharp)
