# SPDX-License-Identifier: BSD-3-Clause
"""Tensors to image files."""

import io
import os
import warnings
from pathlib import Path
from typing import IO

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from blurops._atomic import replacing
from blurops.images import _png, _tiff
from blurops.images._image import Image

# The depths each format can hold, smallest first.
SUFFIXES = {
    ".png": (8, 16),
    ".jpg": (8,),
    ".jpeg": (8,),
    ".tif": (8, 16, 32),
    ".tiff": (8, 16, 32),
}
_JPEG_EXIF_LIMIT = 65_533  # a JPEG segment's length field has 16 bits and counts itself


def check_suffix(path: str | os.PathLike[str], bits: int | None = None) -> str:
    """Returns the lower-case suffix of an output file, or raises if no image can be written there.

    Args:
        path: the output file.
        bits: the depth asked for, if one is.

    Raises:
        ValueError: the suffix is not an image's, or the format does not hold that depth.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"write_image: '{os.fspath(path)}' must end in one of {', '.join(SUFFIXES)},"
            f" got {suffix or 'no suffix'}"
        )
    if bits is not None and bits not in SUFFIXES[suffix]:
        choices = " or ".join(map(str, SUFFIXES[suffix]))
        raise ValueError(f"write_image: bits must be {choices} for {suffix}, got {bits}")
    return suffix


def write_image(
    path: str | os.PathLike[str],
    pixels: Tensor,
    *,
    like: Image | None = None,
    bits: int | None = None,
    quality: int = 95,
) -> None:
    """Writes a photograph as PNG, JPEG or TIFF, by the file name's suffix.

    Integer samples are rounded to the nearest, values outside [0, 1] clamped first; 32 bits are
    float samples, written as they are. The file appears whole or not at all.

    Args:
        path: the file, ending in .png, .jpg, .jpeg, .tif or .tiff.
        pixels: (1, C, H, W) floating-point values, C = 1 or 3, finite.
        like: the photograph whose alpha, EXIF block, ICC profile and depth the file takes over; a
            JPEG file cannot hold alpha, and says so in a warning.
        bits: 8, 16 or 32 bits a sample; by default the depth of `like`, or 8, and at most what the
            format holds.
        quality: of JPEG, 1 to 100; colour is not subsampled.

    Raises:
        TypeError: `pixels` is not a floating-point tensor.
        ValueError: the suffix, the shape, the depth or a value does not fit.
        OSError: the file cannot be written; an older one is then as it was.

    Example:
        >>> import os, tempfile, torch
        >>> from blurops.images import read_image, write_image
        >>> name = os.path.join(tempfile.mkdtemp(), "half.png")
        >>> write_image(name, torch.full((1, 3, 2, 2), 0.5))
        >>> (read_image(name).pixels * 255).unique()
        tensor([128.])
    """
    suffix = check_suffix(path, bits)
    _check_pixels(pixels)
    like = like or Image(pixels)
    depth = bits or min(like.bits, SUFFIXES[suffix][-1])
    alpha = like.alpha
    if alpha is not None and suffix in (".jpg", ".jpeg"):
        warnings.warn(
            f"{os.fspath(path)}: JPEG holds no transparency, it is left out", stacklevel=2
        )
        alpha = None
    if alpha is not None and alpha.shape[2:] != pixels.shape[2:]:
        raise ValueError(
            f"write_image: pixels must have the size of like.alpha {tuple(alpha.shape[2:])},"
            f" got {tuple(pixels.shape[2:])}"
        )
    samples = _to_samples(pixels, alpha, depth)
    with replacing(path) as file:
        if suffix in (".tif", ".tiff"):
            _tiff.write_tiff(file, samples, alpha is not None, like.exif, like.icc)
        elif depth == 16:
            file.write(_png.encode16(samples, like.exif, like.icc))
        else:
            _save_8bit(file, samples, suffix, like, quality)


def _check_pixels(pixels: Tensor) -> None:
    if not isinstance(pixels, Tensor) or not pixels.is_floating_point():
        seen = pixels.dtype if isinstance(pixels, Tensor) else type(pixels).__name__
        raise TypeError(f"write_image: pixels must be a floating-point tensor, got {seen}")
    if pixels.ndim != 4 or pixels.shape[0] != 1 or pixels.shape[1] not in (1, 3):
        raise ValueError(
            f"write_image: pixels must be (1, 1 or 3, H, W), got {tuple(pixels.shape)}"
        )
    if pixels.numel() == 0:
        raise ValueError(f"write_image: pixels must not be empty, got {tuple(pixels.shape)}")
    if not bool(torch.isfinite(pixels).all()):
        raise ValueError("write_image: pixels must be finite, got NaN or infinity")


def _to_samples(pixels: Tensor, alpha: Tensor | None, depth: int) -> np.ndarray:
    """(1, S, H, W) values to (H, W, S) samples of the file."""
    values = pixels.detach()[0].to("cpu", torch.float32)
    if alpha is not None:
        values = torch.cat([values, alpha.detach()[0].to("cpu", torch.float32)])
    planes = values.permute(1, 2, 0).contiguous().numpy()
    if depth == 32:
        return planes
    kind = np.uint8 if depth == 8 else np.uint16
    return np.rint(np.clip(planes, 0, 1) * np.float32(np.iinfo(kind).max)).astype(kind)


def _save_8bit(
    file: IO[bytes], samples: np.ndarray, suffix: str, like: Image, quality: int
) -> None:
    image = PIL.Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples)
    metadata: dict[str, bytes] = {}
    if like.icc is not None:
        metadata["icc_profile"] = like.icc
    if like.exif is not None:
        metadata["exif"] = like.exif
    content = io.BytesIO()
    if suffix == ".png":
        image.save(content, "PNG", **metadata)
    else:
        if len(metadata.get("exif", b"")) > _JPEG_EXIF_LIMIT:
            warnings.warn("the EXIF data is too long for a JPEG file and is left out", stacklevel=3)
            del metadata["exif"]
        image.save(content, "JPEG", quality=quality, subsampling=0, **metadata)
    file.write(content.getbuffer())
