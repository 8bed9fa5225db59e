# SPDX-License-Identifier: BSD-3-Clause
"""Files of a dataset's folder: found, matched, and refused with their path when they are wrong."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from blurops.images import read_image

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


class Pair(NamedTuple):
    """A blurred photograph and its sharp twin.

    Attributes:
        name: unique in its dataset, such as "GOPR0384_11_00/000001".
        blurred: the blurred file.
        sharp: the sharp file.
    """

    name: str
    blurred: Path
    sharp: Path

    def read(self) -> tuple[Tensor, Tensor]:
        """Both images, (1, C, H, W) in [0, 1].

        Raises:
            OSError: a file is missing.
            ValueError: a file is damaged, or the two differ in size.
        """
        blurred, sharp = (read_colours(path) for path in (self.blurred, self.sharp))
        same_size(blurred, self.blurred, sharp, self.sharp)
        return blurred, sharp


def read_colours(path: str | os.PathLike[str]) -> Tensor:
    """The pixels of a photograph, (1, C, H, W) in [0, 1]; transparency is left out."""
    return read_image(path).pixels


def same_size(first: Tensor, first_path: Path, second: Tensor, second_path: Path) -> None:
    """Raises unless two images have the same channels and size."""
    if first.shape[1:] == second.shape[1:]:
        return
    sizes = [f"{image.shape[3]} x {image.shape[2]} x {image.shape[1]}" for image in (first, second)]
    raise ValueError(
        f"dataset: '{first_path}' must have the size of '{second_path}' ({sizes[1]}),"
        f" got {sizes[0]}"
    )


def folder(path: str | os.PathLike[str]) -> Path:
    """The folder, or an error that names it."""
    found = Path(path)
    if not found.is_dir():
        code = errno.ENOTDIR if found.exists() else errno.ENOENT
        raise OSError(code, os.strerror(code), os.fspath(path))
    return found


def images_in(path: Path) -> list[Path]:
    """The image files right below a folder, by name."""
    found = (each for each in folder(path).iterdir() if each.suffix.lower() in IMAGES)
    return sorted(each for each in found if not each.name.startswith("."))


def folders_in(path: Path) -> list[Path]:
    """The folders right below a folder, by name."""
    return sorted(each for each in folder(path).iterdir() if each.is_dir())


def matched(blurred: Path, sharp: Path, prefix: str = "") -> list[Pair]:
    """Pairs of the files with the same stem in two folders.

    Raises:
        OSError: a folder is missing.
        ValueError: a file has no twin.
    """
    twins = {path.stem: path for path in images_in(sharp)}
    files = images_in(blurred)
    for path in files:
        if path.stem not in twins:
            raise missing_twin(path, sharp / path.name)
    extra = set(twins) - {path.stem for path in files}
    if extra:
        stem = min(extra)
        raise missing_twin(twins[stem], blurred / twins[stem].name)
    return [Pair(prefix + path.stem, path, twins[path.stem]) for path in files]


def missing_twin(path: Path, twin: Path) -> ValueError:
    """The error for a file without its other half."""
    return ValueError(f"dataset: '{path}' must have a twin '{twin}', got none")


def some(pairs: Iterable[Pair], root: Path, layout: str) -> list[Pair]:
    """The pairs as a list, or an error that says what the folder should look like."""
    found = list(pairs)
    if not found:
        raise ValueError(f"dataset: '{root}' must hold {layout}, got nothing like it")
    return found
