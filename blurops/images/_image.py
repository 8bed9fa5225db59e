# SPDX-License-Identifier: BSD-3-Clause
"""What a photograph file holds."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Image:
    """A photograph with all that a restored copy of it should keep.

    Attributes:
        pixels: (1, C, H, W) float32, C = 1 (gray) or 3 (RGB), upright; the file's integers divided
            by their largest value, so in [0, 1], or a float file's numbers as they are.
        bits: 8 or 16 for integer samples, 32 for float (and for 32-bit integer) samples.
        alpha: (1, 1, H, W) float32 in [0, 1], or None where the file has no transparency.
        exif: the EXIF block, its orientation reset to upright and its thumbnail left out, or None.
        icc: the ICC colour profile, or None.
    """

    pixels: Tensor
    bits: int = 8
    alpha: Tensor | None = None
    exif: bytes | None = None
    icc: bytes | None = None
