# SPDX-License-Identifier: BSD-3-Clause
"""Köhler et al. (ECCV 2012): 4 pictures x 12 recorded camera shakes, with every sharp frame."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from blurmodels.datasets._files import folder, images_in, read_colours
from blurmodels.datasets._matlab import variables

IMAGES, SHAKES = 4, 12
# Shakes of more than 33 pixels, which table 2 of the paper's first version also leaves out.
LARGE_SHAKES = (8, 9, 10, 11)

_FRAMES = "groundTruthMatFiles"
_BLURRED = ("BlurryImages", ".")
# The set's own evaluation leaves out frame 30 of picture 1, shake 3, which is missing.
_MISSING_FRAMES = {(1, 3): (29,)}


class KohlerShot(NamedTuple):
    """A blurred photograph and the sharp frames of its trajectory.

    Attributes:
        image: which picture, from 1 to 4.
        shake: which camera shake, from 1 to 12.
        blurred: the blurred file.
        sharp: a .mat file with `GroundTruth` (H, W, 3, frames) from 0 to 255, or a folder of PNGs.
    """

    image: int
    shake: int
    blurred: Path
    sharp: Path

    @property
    def name(self) -> str:
        """Such as "1_12"."""
        return f"{self.image}_{self.shake}"

    def read(self) -> Tensor:
        """The blurred image, (1, 3, H, W) in [0, 1]."""
        return read_colours(self.blurred)

    def frames(self) -> Iterator[Tensor]:
        """The sharp frames, one after the other, (1, 3, H, W) in [0, 1].

        Raises:
            OSError: the file is missing.
            ValueError: it is damaged, or holds no such array.
        """
        if self.sharp.is_dir():
            yield from map(read_colours, _by_number(self.sharp))
            return
        truth = _ground_truth(self.sharp)
        for index in range(truth.shape[3]):
            if index not in _MISSING_FRAMES.get((self.image, self.shake), ()):
                frame = np.ascontiguousarray(truth[:, :, :, index].transpose(2, 0, 1))
                yield torch.from_numpy(frame)[None].float() / 255


def kohler(root: str | os.PathLike[str], *, large: bool = True) -> list[KohlerShot]:
    """The shots of Köhler's set.

    `BlurryImages/Blurry1_1.png` (or the same in the root), and the frames either in
    `groundTruthMatFiles/GroundTruth1_1.mat`, as its evaluation code has them, or in `Image1/
    Kernel1/GroundTruth1_1_1.png`, as the archives do.

    Args:
        root: the folder that holds these.
        large: False leaves out shakes 8 to 11, which exceed 33 x 33 pixels.

    Returns:
        The shots that there are, by picture and shake.

    Raises:
        OSError: the root is missing, or the frames of a blurred image are.
        ValueError: there is no blurred image.
    """
    base = folder(root)
    shots = []
    for image in range(1, IMAGES + 1):
        for shake in range(1, SHAKES + 1):
            name = f"Blurry{image}_{shake}.png"
            found = [base / part / name for part in _BLURRED if (base / part / name).is_file()]
            if found and (large or shake not in LARGE_SHAKES):
                shots.append(KohlerShot(image, shake, found[0], _sharp(base, image, shake)))
    if not shots:
        raise ValueError(f"kohler: '{base}' must hold 'BlurryImages/Blurry1_1.png', got none")
    return shots


def _sharp(base: Path, image: int, shake: int) -> Path:
    matlab = base / _FRAMES / f"GroundTruth{image}_{shake}.mat"
    pictures = base / f"Image{image}" / f"Kernel{shake}"
    if matlab.is_file():
        return matlab
    if pictures.is_dir():
        return pictures
    raise FileNotFoundError(2, f"no such file, nor a folder '{pictures}'", os.fspath(matlab))


def _by_number(path: Path) -> list[Path]:
    """The frames in the order of the numbers that their names end in."""
    files = images_in(path)
    if not files:
        raise ValueError(f"kohler: '{path}' must hold sharp frames, got none")
    return sorted(files, key=lambda file: (len(file.stem), file.stem))


def _ground_truth(path: Path) -> Any:
    content = variables(path, ("GroundTruth",))
    truth = content.get("GroundTruth")
    wanted = "hold a variable 'GroundTruth' (H, W, 3, frames)"
    if truth is None or truth.ndim != 4 or truth.shape[2] != 3:
        got = "none" if truth is None else f"one of {truth.shape}"
        raise ValueError(f"kohler: '{path}' must {wanted}, got {got}")
    return truth
