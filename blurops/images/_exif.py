# SPDX-License-Identifier: BSD-3-Clause
"""EXIF blocks: kept from the file read to the file written, the orientation applied once."""

import warnings
from typing import IO

import numpy as np
from PIL.ExifTags import IFD, Base
from PIL.Image import Exif

UPRIGHT = 1

# TIFF tags that say how the pixels lie in the file (TIFF 6.0, section 8 and part 2). They describe
# the file read, not the picture, and the file written has its own.
# fmt: off
_LAYOUT_TAGS = frozenset((
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288,
    289, 290, 291, 292, 293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333,
    334, 336, 337, 338, 339, 340, 341, 342, 347, *range(512, 522), 529, 530, 531, 532,
    34675,  # the ICC profile, which travels by itself
    37724,  # Photoshop's copy of its layers
))
# fmt: on
_PIXEL_SIZE_TAGS = (Base.ExifImageWidth, Base.ExifImageHeight)
# How rows and columns of the file become an upright picture: transposed first, then flipped along
# the axes named (EXIF 2.32, table 6).
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    1: (False, ()),
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}


def orientation(exif: Exif | None) -> int:
    """The orientation tag, 1 to 8; upright where it is missing or makes no sense."""
    value = exif.get(Base.Orientation, UPRIGHT) if exif else UPRIGHT
    return value if isinstance(value, int) and value in _TURNS else UPRIGHT


def upright(samples: np.ndarray, turn: int) -> np.ndarray:
    """Turns an (H, W, ...) array of a file with that orientation tag upright; a view."""
    transpose, flips = _TURNS[turn]
    return np.flip(np.swapaxes(samples, 0, 1) if transpose else samples, flips)


def load_tiff_exif(file: IO[bytes], offset: int, byte_order: str, big: bool) -> Exif:
    """Reads the tags of the TIFF directory at `offset`, its EXIF and GPS directories included."""
    exif = Exif()
    exif.endian, exif.bigtiff = byte_order, big
    exif.load_from_fp(file, offset)
    return exif


def exif_bytes(exif: Exif | None, width: int, height: int, name: str) -> bytes | None:
    """Packs what describes the picture, for an upright picture of that size.

    The thumbnail is left out (it would show the blurred photograph for ever), and so is what
    describes the old file's layout.
    """
    if not exif:
        return None
    try:
        kept = Exif()
        for tag, value in exif.items():
            if tag not in _LAYOUT_TAGS and tag not in (IFD.Exif, IFD.GPSInfo):
                kept[tag] = value
        for directory in (IFD.Exif, IFD.GPSInfo):
            tags = dict(exif.get_ifd(directory))
            if directory == IFD.Exif and IFD.Interop in tags:
                tags[IFD.Interop] = exif.get_ifd(IFD.Interop)
            for tag, size in zip(_PIXEL_SIZE_TAGS, (width, height), strict=True):
                if directory == IFD.Exif and tag in tags:
                    tags[tag] = size
            if tags:
                kept[directory] = tags
        if Base.Orientation in kept:
            kept[Base.Orientation] = UPRIGHT
        return kept.tobytes() if len(kept) else None
    # Cameras and editors write EXIF in many broken ways and Pillow raises as many kinds of error;
    # none of them is worth losing the photograph for.
    except Exception as error:
        warnings.warn(f"{name}: the EXIF data is damaged and is left out ({error})", stacklevel=3)
        return None
