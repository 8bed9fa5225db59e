# SPDX-License-Identifier: BSD-3-Clause
"""REDS (Nah et al., NTIRE 2019): its training half, and the four clips of it that are tested on."""

import os
from collections.abc import Callable
from pathlib import Path

from blurmodels.datasets._files import Pair, folder, folders_in, matched, some

# The clips that restoration papers keep from training, since Wang et al., "EDVR", 2019.
REDS4 = ("000", "011", "015", "020")


def reds(root: str | os.PathLike[str]) -> list[Pair]:
    """The training half without the four test clips, which is what networks learn from.

    Args, errors: as of `reds4`.

    Returns:
        The pairs, by clip and frame.
    """
    base, pairs = _of_clips(root, lambda clip: clip not in REDS4)
    return some(pairs, base, "clips besides REDS4 in 'train_blur'")


def reds4(root: str | os.PathLike[str]) -> list[Pair]:
    """The pairs of the four test clips, `train_blur/000/00000000.png` and `train_sharp/...`.

    Args:
        root: the folder that holds `train_blur` and `train_sharp`, or `train` with these in it, as
            the archives unpack.

    Returns:
        The pairs of those of the clips that are there, by clip and frame.

    Raises:
        OSError: a folder is missing.
        ValueError: a frame has no twin, or there is none at all.
    """
    base, pairs = _of_clips(root, REDS4.__contains__)
    return some(pairs, base, f"the clips {', '.join(REDS4)} in 'train_blur'")


def _of_clips(
    root: str | os.PathLike[str], wanted: Callable[[str], bool]
) -> tuple[Path, list[Pair]]:
    """Where the clips are, and the pairs of those that are wanted."""
    base = folder(root)
    base = base / "train" if (base / "train").is_dir() else base
    blurred, sharp = folder(base / "train_blur"), folder(base / "train_sharp")
    return base, [
        pair
        for clip in folders_in(blurred)
        if wanted(clip.name)
        for pair in matched(clip, sharp / clip.name, f"{clip.name}/")
    ]
