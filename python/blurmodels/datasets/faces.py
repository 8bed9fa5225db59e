# SPDX-License-Identifier: BSD-3-Clause
"""Folders of sharp faces: FFHQ (Karras et al. 2019), CelebA-HQ (Karras et al. 2018), any other."""

import os
from pathlib import Path

from blurmodels.datasets._files import IMAGES, folder


def faces(root: str | os.PathLike[str]) -> list[Path]:
    """The image files in a folder and below it, `images1024x1024/00000/00000.png` for FFHQ.

    Args:
        root: the folder; where it holds the faces in several sizes, name the folder of one.

    Returns:
        The files, by path.

    Raises:
        OSError: the folder is missing.
        ValueError: it has no image.
    """
    base = folder(root)
    files = sorted(
        path
        for path in base.rglob("*")
        if path.suffix.lower() in IMAGES and not path.name.startswith(".")
    )
    if not files:
        raise ValueError(f"faces: '{base}' must hold PNG, JPEG or TIFF images, got none")
    return files
