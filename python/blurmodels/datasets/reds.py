# SPDX-License-Identifier: BSD-3-Clause
"""REDS (Nah et al., NTIRE 2019) as it is tested on: four clips of its training half."""

import os

from blurmodels.datasets._files import Pair, folder, matched, some

# The clips that restoration papers keep from training, since Wang et al., "EDVR", 2019.
REDS4 = ("000", "011", "015", "020")


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
    base = folder(root)
    base = base / "train" if (base / "train").is_dir() else base
    blurred, sharp = folder(base / "train_blur"), folder(base / "train_sharp")
    pairs = [
        pair
        for clip in REDS4
        if (blurred / clip).is_dir()
        for pair in matched(blurred / clip, sharp / clip, f"{clip}/")
    ]
    return some(pairs, base, f"the clips {', '.join(REDS4)} in 'train_blur'")
