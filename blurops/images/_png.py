# SPDX-License-Identifier: BSD-3-Clause
"""PNG with 16 bits a sample, in gray and in colour, with its ICC profile and EXIF block."""

import struct
import zlib

import imagecodecs
import numpy as np

MAGIC = b"\x89PNG\r\n\x1a\n"
_AFTER_HEADER = len(MAGIC) + 25  # the IHDR chunk: length, name, 13 bytes, check sum


def decode16(data: bytes) -> np.ndarray:
    """Decodes a PNG file of 16 bits a sample to (H, W, S) uint16; S = 2 and 4 end in alpha."""
    return np.atleast_3d(imagecodecs.png_decode(data))


def encode16(samples: np.ndarray, exif: bytes | None, icc: bytes | None) -> bytes:
    """Encodes (H, W, S) uint16 as a PNG file; S = 2 and 4 end in alpha."""
    data = imagecodecs.png_encode(np.ascontiguousarray(samples), level=6)
    chunks = b""
    if icc is not None:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if exif is not None:
        chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return data[:_AFTER_HEADER] + chunks + data[_AFTER_HEADER:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
