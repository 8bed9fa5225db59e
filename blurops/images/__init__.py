# SPDX-License-Identifier: BSD-3-Clause
"""Photographs in and out of files: PNG, JPEG and TIFF with 8, 16 and 32 bits, EXIF and ICC kept.

Pillow reads and writes 8 bits, tifffile every TIFF, and imagecodecs the 16-bit colour PNG that
Pillow would cut down to 8 bits.
"""

from blurops.images._image import Image
from blurops.images._read import MAX_PIXELS, read_image
from blurops.images._write import SUFFIXES, check_suffix, write_image

__all__ = ["MAX_PIXELS", "SUFFIXES", "Image", "check_suffix", "read_image", "write_image"]
