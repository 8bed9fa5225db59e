# SPDX-License-Identifier: BSD-3-Clause
"""Image files to tensors."""

import os
import warnings
from typing import IO, NamedTuple

import numpy as np
import torch
from PIL.Image import Exif
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor

from blurops.images import _exif, _png, _tiff
from blurops.images._image import Image

MAX_PIXELS = 100_000_000
_JPEG_MAGIC = b"\xff\xd8\xff"
_BIT_DEPTH = 24  # where the PNG header says the bits a sample


class _Samples(NamedTuple):
    """A decoded file as it lies, before it is turned upright."""

    samples: np.ndarray  # (H, W, S)
    colours: int
    exif: Exif
    icc: bytes | None
    frames: int


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Reads a PNG, JPEG or TIFF photograph of 8, 16 or 32 bits a sample.

    The EXIF orientation is applied to the pixels and its tag reset. A palette becomes RGB; of
    several pages or frames the first is read, with a warning. What the file is, is told from its
    content and not from its name.

    Args:
        path: the file.
        max_pixels: the largest width times height to decode; checked from the header, before any
            memory is taken for the pixels.

    Returns:
        The pixels with their transparency, EXIF block, ICC profile and depth.

    Raises:
        OSError: the file is missing, a folder, or cannot be read.
        ValueError: it is no image of these kinds, is damaged, has too many pixels, or holds NaN
            or infinity.

    Example:
        >>> import os, tempfile, torch
        >>> from blurops.images import read_image, write_image
        >>> name = os.path.join(tempfile.mkdtemp(), "gray.png")
        >>> write_image(name, torch.full((1, 1, 4, 6), 0.5), bits=16)
        >>> image = read_image(name)
        >>> image.bits, tuple(image.pixels.shape)
        (16, (1, 1, 4, 6))
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        magic = file.read(8)
        file.seek(0)
        if magic == _png.MAGIC:
            decode = _decode_png
        elif magic.startswith(_JPEG_MAGIC):
            decode = _decode_jpeg
        elif magic[:4] in _tiff.MAGICS:
            decode = _decode_tiff
        else:
            seen = f"a file that starts with {magic!r}" if magic else "an empty file"
            raise ValueError(f"read_image: '{name}' must be a PNG, JPEG or TIFF image, got {seen}")
        try:
            raw = decode(file, name, max_pixels)
        except (_Refused, MemoryError) as error:
            raise ValueError(f"read_image: '{name}' must {_reason(error)}") from error
        # A damaged file makes the decoders raise nearly anything (struct.error, SyntaxError,
        # EOFError, KeyError, their own classes): all of it means the same to the caller.
        except Exception as error:
            raise ValueError(
                f"read_image: '{name}' must be a whole image file, got a damaged or truncated one"
                f" ({_first_line(error)})"
            ) from error
        # Still inside the block: EXIF directories are read from the file as they are asked for.
        return _finish(raw, name)


class _Refused(Exception):
    """A file that is sound, but not one to read; the text follows "must"."""


def _reason(error: Exception) -> str:
    return "fit in memory, got a larger one" if isinstance(error, MemoryError) else str(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise _Refused(f"have at least one pixel, got {width} x {height}")
    if width * height > max_pixels:
        raise _Refused(
            f"have at most {max_pixels} pixels, got {width} x {height} = {width * height}"
        )


# The plugin classes are opened directly, and not through PIL.Image.open: that tries every format
# Pillow knows, and has one limit of size for the whole process.
def _decode_png(file: IO[bytes], name: str, max_pixels: int) -> _Samples:
    with PngImageFile(file, name) as image:
        _check_size(*image.size, max_pixels)
        file.seek(_BIT_DEPTH)
        deep = file.read(1) == b"\x10"
        frames = getattr(image, "n_frames", 1)
        file.seek(0)
        data = file.read() if deep else b""
    # Opened again: the file has been moved under the first one, and EXIF may follow the pixels.
    file.seek(0)
    with PngImageFile(file, name) as image:
        image.load()
        exif, icc = image.getexif(), image.info.get("icc_profile")
        if deep:
            samples = _png.decode16(data)
        else:
            if image.mode == "P" or image.has_transparency_data:
                gray = image.mode in ("1", "L", "LA")
                transparent = image.has_transparency_data
                image = image.convert(("LA" if gray else "RGBA") if transparent else "RGB")
            elif image.mode == "1":
                image = image.convert("L")
            samples = np.atleast_3d(np.asarray(image))
    return _Samples(samples, 3 if samples.shape[-1] >= 3 else 1, exif, icc, frames)


def _decode_jpeg(file: IO[bytes], name: str, max_pixels: int) -> _Samples:
    with JpegImageFile(file, name) as image:
        _check_size(*image.size, max_pixels)
        if image.mode not in ("L", "RGB"):
            raise _Refused(f"be gray or RGB, got {image.mode}")
        samples = np.atleast_3d(np.asarray(image))
        exif, icc = image.getexif(), image.info.get("icc_profile")
    return _Samples(samples, samples.shape[-1], exif, icc, 1)


def _decode_tiff(file: IO[bytes], name: str, max_pixels: int) -> _Samples:
    page = _tiff.open_tiff(file)
    _check_size(*page.size, max_pixels)
    try:
        samples, colours = page.decode()
    except NotImplementedError as error:
        raise _Refused(str(error)) from error
    if samples.dtype.kind not in "uf":
        raise _Refused(f"hold unsigned or float samples, got {samples.dtype}")
    return _Samples(samples, colours, page.exif, page.icc, page.pages)


def _finish(raw: _Samples, name: str) -> Image:
    """Turns upright, splits off alpha and scales to [0, 1]."""
    if raw.frames > 1:
        warnings.warn(f"{name}: holds {raw.frames} images, only the first is read", stacklevel=3)
    samples = _exif.upright(raw.samples, _exif.orientation(raw.exif))
    height, width = samples.shape[:2]
    pixels = _to_tensor(samples[..., : raw.colours])
    if not bool(torch.isfinite(pixels).all()):
        raise ValueError(f"read_image: '{name}' must hold finite values, got NaN or infinity")
    alpha = None
    if samples.shape[-1] > raw.colours:
        alpha = _to_tensor(samples[..., raw.colours : raw.colours + 1]).clamp_(0, 1)
    integer = samples.dtype.kind == "u"
    return Image(
        pixels=pixels,
        bits=min(8 * samples.dtype.itemsize, 32) if integer else 32,
        alpha=alpha,
        exif=_exif.exif_bytes(raw.exif, width, height, name),
        icc=raw.icc,
    )


def _to_tensor(samples: np.ndarray) -> Tensor:
    """(H, W, S) samples to (1, S, H, W) float32."""
    planes = np.ascontiguousarray(np.moveaxis(samples, -1, 0)[None], dtype=np.float32)
    if samples.dtype.kind == "u":
        planes /= np.float32(np.iinfo(samples.dtype).max)
    return torch.from_numpy(planes)
