# SPDX-License-Identifier: BSD-3-Clause
"""Sharp photographs and high-speed videos to make blur from, and Bahat's blurred photographs."""

import os
from pathlib import Path

from blurmodels.datasets._files import Pair, folder, folders_in, images_in, matched, some

LEVELS = ("moderate", "severe")


def voc(root: str | os.PathLike[str], *, split: str | None = None) -> list[Path]:
    """Photographs of PASCAL VOC 2012 (Everingham et al.), `VOC2012/JPEGImages/2007_000027.jpg`.

    Args:
        root: the folder that holds `JPEGImages`, or `VOC2012`, or `VOCdevkit`.
        split: a list in `ImageSets/Main`, such as "train" or "val"; None takes all photographs.

    Returns:
        The files, by name.

    Raises:
        OSError: a folder, the list or a listed photograph is missing.
        ValueError: there is no photograph.
    """
    base = folder(root)
    inner = [base / part for part in (".", "VOC2012", "VOCdevkit/VOC2012")]
    base = next((each for each in inner if (each / "JPEGImages").is_dir()), base)
    images = base / "JPEGImages"
    if split is None:
        files = images_in(images)
    else:
        listed = (base / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
        files = sorted(folder(images) / f"{name}.jpg" for name in listed)
        for path in files:
            if not path.is_file():
                raise FileNotFoundError(2, f"no such file, listed in '{split}'", os.fspath(path))
    if not files:
        raise ValueError(f"voc: '{images}' must hold photographs, got none")
    return files


def photographs(root: str | os.PathLike[str]) -> list[Path]:
    """The image files right below a folder, or those of PASCAL VOC 2012 where it holds them.

    Args:
        root: the folder.

    Returns:
        The files, by name.

    Raises:
        OSError: the folder is missing.
        ValueError: there is no photograph.
    """
    base = folder(root)
    files = images_in(base)
    if files:
        return files
    if any((base / part).is_dir() for part in ("JPEGImages", "VOC2012", "VOCdevkit")):
        return voc(base)
    raise ValueError(f"photographs: '{base}' must hold photographs, got none")


def gopro_frames(root: str | os.PathLike[str], *, split: str = "train") -> list[list[Path]]:
    """Frames of the GoPro set (Nah et al., CVPR 2017) as they were filmed, 240 a second.

    The layout is that of the archive `GOPRO_Large_all`: `train/GOPR0372_07_00/000047.png`.

    Args:
        root: the folder that holds `train` and `test`.
        split: "train" or "test".

    Returns:
        The frames of each video, in their order.

    Raises:
        OSError: a folder is missing.
        ValueError: the split is another, or there is no frame.
    """
    if split not in ("train", "test"):
        raise ValueError(f"gopro_frames: split must be one of train, test, got {split!r}")
    base = folder(root) / split
    videos = [found for each in folders_in(base) if (found := images_in(each))]
    if not videos:
        raise ValueError(f"gopro_frames: '{base}' must hold folders of frames, got none")
    return videos


def bahat(root: str | os.PathLike[str], level: str = "moderate") -> list[Pair]:
    """The blurred photographs of Bahat, Efrat and Irani (ICCV 2017), moderate or severe.

    No paper describes how their archive is laid out. Taken are files of the same names in
    `moderate/blurred` and `moderate/sharp`, or in `blurry` and `gt`.

    Args:
        root: the folder that holds `moderate` and `severe`.
        level: which.

    Returns:
        The pairs, by name.

    Raises:
        OSError: a folder is missing.
        ValueError: the level is another, a file has no twin, or there is none.
    """
    if level not in LEVELS:
        raise ValueError(f"bahat: level must be one of {', '.join(LEVELS)}, got {level!r}")
    base = folder(Path(root) / level)
    for blurred, sharp in (("blurred", "sharp"), ("blurry", "gt")):
        if (base / blurred).is_dir():
            return some(matched(base / blurred, base / sharp), base, "pairs of images")
    raise ValueError(f"bahat: '{base}' must hold folders 'blurred' and 'sharp', got neither")
