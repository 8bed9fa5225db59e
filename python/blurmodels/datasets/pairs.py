# SPDX-License-Identifier: BSD-3-Clause
"""Blurred and sharp photographs in pairs: RealBlur, GoPro, DVD, any two folders; Lai's alone."""

import os
from pathlib import Path

from blurmodels.datasets._files import Pair, folder, folders_in, images_in, matched, some

# The ten videos that Su et al., "Deep Video Deblurring for Hand-held Cameras", test on.
DVD_TEST = (
    "720p_240fps_2", "IMG_0003", "IMG_0021", "IMG_0030", "IMG_0031",
    "IMG_0032", "IMG_0033", "IMG_0037", "IMG_0039", "IMG_0049",
)  # fmt: skip

_SPLITS = ("train", "test")


def realblur(root: str | os.PathLike[str], kind: str = "J", *, split: str = "test") -> list[Pair]:
    """RealBlur (Rim et al., ECCV 2020): photographs taken by two cameras through one lens.

    The layout is that of the archive: lists `RealBlur_J_test_list.txt` in the root, each line the
    sharp and the blurred file, `RealBlur-J_.../scene050/gt/gt_8.png RealBlur-J_.../scene050/blur/
    blur_8.png`, relative to the root. Where there is no list, folders `input` and `target`, or
    `blur` and `gt`, of files with the same names are taken.

    Args:
        root: the folder that holds the lists.
        kind: "J", as the cameras' JPEG, or "R", from raw.
        split: "train" or "test".

    Returns:
        The pairs, in the list's order.

    Raises:
        OSError: the root or a listed file is missing.
        ValueError: kind or split is none of the above, a line of the list is not two paths, or
            there is neither a list nor such folders.
    """
    _choice("realblur", "kind", kind, ("J", "R"))
    _choice("realblur", "split", split, _SPLITS)
    base = folder(root)
    name = f"RealBlur_{kind}_{split}_list.txt"
    if (base / name).exists():
        return some(_listed(base, base / name), base, f"a list '{name}' of pairs")
    for start in (base, base / f"RealBlur_{kind}", base / split / f"RealBlur_{kind}"):
        for blurred, sharp in (("input", "target"), ("blur", "gt")):
            if (start / blurred).is_dir() and (start / sharp).is_dir():
                return some(matched(start / blurred, start / sharp), start, "pairs of images")
    raise ValueError(
        f"realblur: '{base}' must hold '{name}' or folders 'input' and 'target', got neither"
    )


def _listed(base: Path, path: Path) -> list[Pair]:
    pairs = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2:
            raise ValueError(
                f"realblur: line {number} of '{path}' must be two paths, got '{line.strip()}'"
            )
        sharp, blurred = (base / word for word in words[:2])
        for file in (sharp, blurred):
            if not file.is_file():
                raise FileNotFoundError(2, f"no such file, listed in '{path}'", os.fspath(file))
        name = f"{blurred.parent.parent.name}/{blurred.stem}"
        pairs.append(Pair(name, blurred, sharp))
    return pairs


def gopro(root: str | os.PathLike[str], *, split: str = "test", blur: str = "blur") -> list[Pair]:
    """GoPro (Nah et al., CVPR 2017): averages of frames, `test/GOPR0384_11_00/blur/000001.png`.

    Args:
        root: the folder that holds `train` and `test`.
        split: "train" or "test".
        blur: "blur", averages of the frames' values as stored, which most papers take, or
            "blur_gamma", averages in linear light (gamma 2.2).

    Returns:
        The pairs, by sequence and frame; their sharp twins lie in `sharp`.

    Raises:
        OSError: a folder is missing.
        ValueError: a frame has no twin, or there is none at all.
    """
    _choice("gopro", "split", split, _SPLITS)
    _choice("gopro", "blur", blur, ("blur", "blur_gamma"))
    base = folder(root) / split
    pairs = [
        pair
        for sequence in folders_in(base)
        for pair in matched(sequence / blur, sequence / "sharp", f"{sequence.name}/")
    ]
    return some(pairs, base, f"sequences with '{blur}' and 'sharp'")


def dvd(root: str | os.PathLike[str], *, split: str = "test") -> list[Pair]:
    """DVD (Su et al., CVPR 2017): videos with `input` and `GT`, such as `IMG_0030/GT/00000.jpg`.

    Args:
        root: the folder of the videos, or the one that holds them as `quantitative_datasets`.
        split: "test", the ten videos of the paper, or "train", the others.

    Returns:
        The pairs, by video and frame.

    Raises:
        OSError: a folder is missing.
        ValueError: a frame has no twin, or there is none at all.
    """
    _choice("dvd", "split", split, _SPLITS)
    base = folder(root)
    inner = base / "quantitative_datasets"
    base = inner if inner.is_dir() else base
    videos = [each for each in folders_in(base) if (each.name in DVD_TEST) == (split == "test")]
    pairs = [
        pair
        for video in videos
        for pair in matched(video / "input", video / "GT", f"{video.name}/")
    ]
    return some(pairs, base, f"videos of the {split} split with 'input' and 'GT'")


def two_folders(sharp: str | os.PathLike[str], blurry: str | os.PathLike[str]) -> list[Pair]:
    """The files of the same names in two folders, and in the folders right below them.

    Args:
        sharp, blurry: the folders.

    Returns:
        The pairs, by folder and name.

    Raises:
        OSError: a folder is missing.
        ValueError: a file has no twin, or there is none at all.
    """
    sharp, blurry = folder(sharp), folder(blurry)
    pairs = matched(blurry, sharp)
    for name in sorted({each.name for top in (sharp, blurry) for each in folders_in(top)}):
        pairs += matched(blurry / name, sharp / name, f"{name}/")
    return some(pairs, sharp, f"images with twins in '{blurry}'")


def lai(root: str | os.PathLike[str]) -> list[Path]:
    """Lai et al. (CVPR 2016), the real photographs: image files, of which no sharp ones exist.

    Args:
        root: the folder of the images, or the one that holds them as `real_dataset`.

    Returns:
        The files, by name.

    Raises:
        OSError: the folder is missing.
        ValueError: it has no image.
    """
    base = folder(root)
    inner = base / "real_dataset"
    base = inner if inner.is_dir() else base
    files = images_in(base)
    if not files:
        raise ValueError(f"lai: '{base}' must hold PNG or JPEG images, got none")
    return files


def _choice(function: str, argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        listed = ", ".join(choices)
        raise ValueError(f"{function}: {argument} must be one of {listed}, got {value!r}")
