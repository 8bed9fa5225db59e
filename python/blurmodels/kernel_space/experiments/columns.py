# SPDX-License-Identifier: BSD-3-Clause
"""What each column of the tables measures: which images of the datasets, and what blurs them."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import blurops
from blurmodels import datasets
from blurmodels.datasets import Pair
from blurmodels.kernel_space.experiments.methods import Encoder

# Where a dataset may lie below the data folder: our name for it, then that of its archive.
FOLDERS = {
    "levin": ("Levin", "Levin09blindData"),
    "reds": ("REDS",),
    "gopro": ("GoPro", "GOPRO_Large", "GOPRO"),
    "hide": ("HIDE", "HIDE_dataset"),
    "ffhq": ("FFHQ", "ffhq-dataset"),
    "celeba_hq": ("CelebA-HQ", "celeba_hq"),
}
FACES = ("ffhq", "celeba_hq")
_READERS: dict[str, Callable[[Path], list[Pair]]] = {
    "reds": datasets.reds4,
    "gopro": datasets.gopro,
    "hide": datasets.hide,
}
SIDE = 256  # of the images that the paper's networks take
_LENGTHS = (5.0, 25.0)  # of the straight motions that stand for imgaug's, pixels

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Source:
    """Datasets, and how much of them.

    Attributes:
        data: the folder that holds them.
        limit: only so many images of each, drawn by the seed; the table's own number by default.
        crop: side of the square in the middle that is taken; the table's own by default.
        faces: a key of `FOLDERS`, what table 4 blurs.
        seed: of everything that is drawn.
    """

    data: Path
    limit: int | None = None
    crop: int | None = None
    faces: str = FACES[0]
    seed: int = 0

    def find(self, dataset: str) -> Path | None:
        """The folder of a dataset, or None where the user has none."""
        for name in FOLDERS[dataset]:
            if (self.data / name).is_dir():
                return self.data / name
        return None

    def missing(self, dataset: str) -> str:
        """The note for a dataset that is not there."""
        names = FOLDERS[dataset]
        return f"{names[0]}: not in {self.data} ({' or '.join(names)})"

    def pairs(self, dataset: str, most: int | None = None) -> list[Pair] | None:
        """The pairs to measure on; None where the user has no such dataset."""
        root = self.find(dataset)
        return None if root is None else self.some(_READERS[dataset](root), most)

    def some(self, items: Sequence[_Item], most: int | None) -> list[_Item]:
        """As many of them as are wanted, at random and in their order."""
        count = self.limit or most or len(items)
        if count >= len(items):
            return list(items)
        chosen = np.random.default_rng(self.seed).choice(len(items), count, replace=False)
        return [items[i] for i in sorted(chosen)]


class Shot(NamedTuple):
    """One image to restore.

    Attributes:
        name: unique in its column.
        read: the blurred and the sharp image, (1, C, H, W) in [0, 1].
    """

    name: str
    read: Callable[[], tuple[Tensor, Tensor]]


class Column(NamedTuple):
    """Images under one heading.

    Attributes:
        folder: what restored images of it are filed under.
        shots: the images; None where a dataset is missing.
        note: what a reader must know, or which dataset is missing.
    """

    folder: str
    shots: list[Shot] | None
    note: str


def columns(number: str, source: Source, encoder: Encoder | None = None) -> list[Column]:
    """The columns of table 2, 4 or 5.

    Args:
        number: of the table.
        source: the datasets.
        encoder: transfers the blur of pairs to the faces of table 4.
    """
    if number == "2":
        return [_paired("REDS", "reds", source, None), _paired("GOPRO", "gopro", source, None)]
    if number == "5":
        return [_paired("GOPRO", "gopro", source, 500), _paired("HIDE", "hide", source, 500)]
    if encoder is None:
        raise ValueError(f"columns: encoder must be given for table {number}, got none")
    return [
        _straight(source),
        _encoded("REDS", "reds", source, encoder),
        _encoded("GOPRO", "gopro", source, encoder),
    ]


def middle(image: Tensor, side: int | None, path: Path) -> Tensor:
    """The square in the middle; the whole image for None.

    Raises:
        ValueError: the image is smaller.
    """
    if side is None:
        return image
    height, width = image.shape[2:]
    if min(height, width) < side:
        raise ValueError(
            f"dataset: '{os.fspath(path)}' must have sides of at least {side} pixels,"
            f" got {width} x {height}"
        )
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, :, top : top + side, left : left + side]


def read_pair(pair: Pair, side: int | None) -> tuple[Tensor, Tensor]:
    """The blurred and the sharp image of a pair, cut out of their middle."""
    blurred, sharp = pair.read()
    return middle(blurred, side, pair.blurred), middle(sharp, side, pair.sharp)


def _paired(folder: str, dataset: str, source: Source, most: int | None) -> Column:
    pairs = source.pairs(dataset, most)
    if pairs is None:
        return Column(folder, None, source.missing(dataset))
    shots = [Shot(pair.name, lambda pair=pair: read_pair(pair, source.crop)) for pair in pairs]
    what = "whole images" if source.crop is None else _square(source.crop)
    return Column(folder, shots, f"{folder}: {len(shots)} images, {what}.")


def _square(side: int) -> str:
    return f"the middle {side} x {side}"


def _straight(source: Source) -> Column:
    """Faces under straight motions, uniform over the image, as imgaug's motion blur."""

    def blur(sharp: Tensor, random: np.random.Generator) -> Tensor:
        length, angle = random.uniform(*_LENGTHS), random.uniform(0, math.pi)
        return blurops.UniformBlur(blurops.linear_motion_kernel(length, angle)) @ sharp

    low, high = _LENGTHS
    return _faces("imgaug", source, blur, f"straight motions of {low:g} to {high:g} pixels")


def _encoded(folder: str, dataset: str, source: Source, encoder: Encoder) -> Column:
    """Faces under the blur of a dataset's pairs."""
    root = source.find(dataset)
    if root is None:
        return Column(folder, None, source.missing(dataset))
    pairs = _READERS[dataset](root)

    def blur(sharp: Tensor, random: np.random.Generator) -> Tensor:
        blurred, own = read_pair(pairs[int(random.integers(len(pairs)))], source.crop or SIDE)
        return encoder.transfer(sharp, own, blurred)

    return _faces(folder, source, blur, f"blur of {folder}'s pairs by {encoder.name}")


def _faces(
    folder: str,
    source: Source,
    blur: Callable[[Tensor, np.random.Generator], Tensor],
    how: str,
) -> Column:
    root = source.find(source.faces)
    if root is None:
        return Column(folder, None, source.missing(source.faces))
    files = source.some(datasets.faces(root), 500)
    side = source.crop or SIDE

    def read(index: int) -> tuple[Tensor, Tensor]:
        sharp = face(files[index], side)
        random = np.random.default_rng([source.seed, index])
        return stored(blur(sharp, random)), sharp

    names = [os.fspath(path.relative_to(root).with_suffix("")) for path in files]
    shots = [Shot(name, lambda i=i: read(i)) for i, name in enumerate(names)]
    faces = FOLDERS[source.faces][0]
    return Column(
        folder, shots, f"{folder}: {len(shots)} faces of {faces}, {side} x {side}, {how}."
    )


def face(path: Path, side: int) -> Tensor:
    """The square in the middle of a picture, made as small as is wanted."""
    image = datasets.read_colours(path)
    square = middle(image, min(image.shape[2:]), path)
    if min(square.shape[2:]) < side:
        return middle(square, side, path)
    size = (side, side)
    return functional.interpolate(square, size, mode="bicubic", antialias=True).clamp(0, 1)


def stored(image: Tensor) -> Tensor:
    """Rounded to 8 bits, as the authors' saved images are."""
    return torch.round(image.clamp(0, 1) * 255) / 255
