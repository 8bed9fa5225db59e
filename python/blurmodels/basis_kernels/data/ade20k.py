# SPDX-License-Identifier: BSD-3-Clause
"""Scenes out of the ADE20K data set, as Carbajal et al. choose them."""

import contextlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from blurmodels.scenes import Scene, random_stream

# Objects that move by themselves, by the first of the names that the data set gives them.
CLASSES = ("person", "car")
_LEAST_AREA = 400  # pixels
_SEGMENTS, _ATTRIBUTES = "_seg.png", "_atr.txt"


class ADE20K:
    """Crops of photographs in which people or cars are outlined.

    The folder is searched with all its subfolders for `NAME.jpg` with `NAME_seg.png` and
    `NAME_atr.txt` beside it, the layout of the full data set. The blue channel of NAME_seg.png
    holds the objects: the n-th of its values above 0 is object n. A line of NAME_atr.txt reads
    `number # part level # occluded # class # raw name # attributes`; level 0 are whole objects.

    Carbajal et al. take 5,888 images of the training part that have a person or car of 400 pixels
    or more, and at most three objects of an image (their released generator: five).

    Args:
        folder: the data set or a part of it.
        objects: the largest number of objects of a scene; the largest in the crop are taken.
        least_side: smaller images are left out; the released generator wants more than 400.
        names: paths of the .jpg files below `folder` to take, one a line in a file, for a list that
            was published; None searches, and keeps images that have such an object. To search the
            whole data set takes minutes.
        seed: which crops, and in which order.

    Raises:
        OSError: the folder cannot be read. ValueError: there is no such image in it, or a file that
            belongs to one is missing or damaged; the message names it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        objects: int = 3,
        least_side: int = 401,
        names: str | os.PathLike[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.folder, self.objects, self.seed = Path(folder), objects, seed
        self.least_side = least_side
        if not self.folder.is_dir():
            raise NotADirectoryError(20, "not a folder", os.fspath(folder))
        self.images = self._search() if names is None else self._listed(names)
        if not self.images:
            raise ValueError(
                f"ADE20K: folder must hold NAME.jpg with NAME{_SEGMENTS} and NAME{_ATTRIBUTES} that"
                f" show a {' or '.join(CLASSES)} of {_LEAST_AREA} pixels, and sides of at least"
                f" {least_side}, got none in '{folder}'"
            )
        self._order = lru_cache(maxsize=2)(self._permutation)

    def __len__(self) -> int:
        return len(self.images)

    def scene(self, index: int, height: int, width: int) -> Scene:
        """A random crop of an image; every image comes once in `len` indices, in random order."""
        epoch, position = divmod(index, len(self))
        path = self.images[self._order(epoch)[position]]
        image, objects = _read(path)
        if image.shape[0] < height or image.shape[1] < width:
            raise ValueError(
                f"ADE20K: image '{path}' must have at least {width} x {height} pixels,"
                f" got {image.shape[1]} x {image.shape[0]}"
            )
        random = random_stream(self.seed, "crops", index)
        top = int(random.integers(image.shape[0] - height + 1))
        left = int(random.integers(image.shape[1] - width + 1))
        window = slice(top, top + height), slice(left, left + width)
        seen = [mask[window] for mask in objects]
        seen = sorted((m for m in seen if m.any()), key=np.count_nonzero, reverse=True)
        masks = np.stack([np.ones((height, width), bool), *seen[: self.objects]])
        masks[0] = ~masks[1:].any(0)
        pixels = torch.from_numpy(np.ascontiguousarray(image[window].transpose(2, 0, 1)))
        return Scene(pixels.float() / 255, torch.from_numpy(masks.astype(np.float32)))

    def _search(self) -> list[Path]:
        found = sorted(p for p in self.folder.rglob("*.jpg") if _beside(p, _SEGMENTS).exists())
        return [
            path
            for path in found
            if min(_size(path)) >= self.least_side and _moving(path) and _objects(path)
        ]

    def _listed(self, names: str | os.PathLike[str]) -> list[Path]:
        lines = Path(names).read_text().splitlines()
        paths = [self.folder / line.strip() for line in lines if line.strip()]
        for path in paths:
            if not path.is_file():
                raise ValueError(f"ADE20K: names must list images of the folder, got '{path}'")
        return paths

    def _permutation(self, epoch: int) -> np.ndarray:
        return random_stream(self.seed, "order", epoch).permutation(len(self))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.stem + suffix)


def _moving(path: Path) -> list[int]:
    """Numbers of the whole objects that are people or cars."""
    attributes = _beside(path, _ATTRIBUTES)
    numbers = []
    try:
        lines = attributes.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError as error:
        raise ValueError(f"ADE20K: '{path}' must have '{attributes.name}' beside it") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("#")]
        if len(fields) < 5 or not (fields[0].isdigit() and fields[1].isdigit()):
            raise ValueError(
                f"ADE20K: '{attributes}' must have lines 'number # level # occluded # class # ...',"
                f" got {line[:60]!r} in line {number}"
            )
        if fields[1] == "0" and fields[3].split(",")[0].strip() in CLASSES:
            numbers.append(int(fields[0]))
    return numbers


def _objects(path: Path, size: tuple[int, int] | None = None) -> list[np.ndarray]:
    """(H, W) bool masks of the people and cars that are large enough."""
    segments = _beside(path, _SEGMENTS)
    blue = _pixels(segments)[..., 2]
    if size is not None and blue.shape != size:
        raise ValueError(
            f"ADE20K: '{segments}' must be of the size of its image, {size[1]} x {size[0]},"
            f" got {blue.shape[1]} x {blue.shape[0]}"
        )
    values = np.unique(blue)
    values = values[values > 0]
    masks = [blue == values[n - 1] for n in _moving(path) if 1 <= n <= len(values)]
    return [mask for mask in masks if np.count_nonzero(mask) >= _LEAST_AREA]


def _read(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    image = _pixels(path)
    return image, _objects(path, image.shape[:2])


def _size(path: Path) -> tuple[int, int]:
    with _opened(path) as file:
        return file.size


def _pixels(path: Path) -> np.ndarray:
    """(H, W, 3) of 8 bits."""
    with _opened(path) as file:
        return np.asarray(file.convert("RGB"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError as error:
        raise ValueError(f"ADE20K: '{path}' must be there, got no such file") from error
    # Pillow reports damage by several classes, SyntaxError among them.
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"ADE20K: '{path}' must be a readable image, got {error}") from error
