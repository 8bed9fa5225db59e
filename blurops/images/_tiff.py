# SPDX-License-Identifier: BSD-3-Clause
"""TIFF of every depth, striped or tiled, through tifffile, and the EXIF block inside it."""

import struct
import warnings
from typing import IO, NamedTuple

import numpy as np
import tifffile
from PIL.ExifTags import IFD
from PIL.Image import Exif

from blurops.images._exif import load_tiff_exif

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COLOURS = {
    tifffile.PHOTOMETRIC.MINISBLACK: 1,
    tifffile.PHOTOMETRIC.MINISWHITE: 1,
    tifffile.PHOTOMETRIC.PALETTE: 1,
    tifffile.PHOTOMETRIC.RGB: 3,
    tifffile.PHOTOMETRIC.YCBCR: 3,
}
_FIELD_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_POINTERS = (IFD.Exif, IFD.GPSInfo, IFD.Interop)


class TiffPage(NamedTuple):
    """The first page of a TIFF file: the header's facts, and a page to decode."""

    page: tifffile.TiffPage
    exif: Exif
    icc: bytes | None
    pages: int

    @property
    def size(self) -> tuple[int, int]:
        return self.page.imagewidth, self.page.imagelength

    def decode(self) -> tuple[np.ndarray, int]:
        """The samples as (H, W, S), colours first and then alpha, and how many are colours."""
        page = self.page
        colours = _COLOURS.get(page.photometric)
        if colours is None or page.imagedepth != 1:
            kind = getattr(page.photometric, "name", page.photometric)
            raise NotImplementedError(f"be gray or RGB, got a TIFF of kind {kind}")
        if page.samplesperpixel - colours not in (0, 1):
            raise NotImplementedError(
                f"have {colours} samples a pixel and at most one more for alpha,"
                f" got {page.samplesperpixel}"
            )
        samples = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
        samples = np.atleast_3d(samples)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            # The map is (3, 2^bits) of 16 bits, in practice 8-bit colours in the upper byte.
            colour = np.moveaxis(page.colormap[:, samples[..., 0]], 0, -1)
            return (colour >> 8).astype(np.uint8), 3
        return self._unassociated(self._whole_range(samples, colours), colours), colours

    def _whole_range(self, samples: np.ndarray, colours: int) -> np.ndarray:
        """Integers of 1 to 31 bits scaled to fill 8, 16 or 32, black at 0."""
        kind, bits = samples.dtype.kind, self.page.bitspersample
        if kind == "b":
            samples, bits = samples.astype(np.uint8), 1
        if samples.dtype.kind == "u" and bits != 8 * samples.dtype.itemsize:
            top = np.iinfo(samples.dtype).max
            exact = samples.astype(np.float64) * (top / (2**bits - 1))
            samples = np.rint(exact).astype(samples.dtype)
        if self.page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and samples.dtype.kind == "u":
            samples = samples.copy()
            samples[..., :colours] = np.iinfo(samples.dtype).max - samples[..., :colours]
        return samples

    def _unassociated(self, samples: np.ndarray, colours: int) -> np.ndarray:
        """Colours that a file stores times alpha, divided by it again."""
        if tifffile.EXTRASAMPLE.ASSOCALPHA not in self.page.extrasamples:
            return samples
        top = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
        alpha = samples[..., colours:].astype(np.float64) / top
        colour = samples[..., :colours] / np.where(alpha > 0, alpha, 1)
        if samples.dtype.kind != "f":
            colour = np.rint(np.minimum(colour, top))
        return np.concatenate([colour.astype(samples.dtype), samples[..., colours:]], axis=-1)


def open_tiff(file: IO[bytes]) -> TiffPage:
    """Reads the directory of the first page, and no pixel."""
    tiff = tifffile.TiffFile(file)
    page = tiff.pages.first
    exif = load_tiff_exif(file, page.offset, tiff.byteorder, tiff.is_bigtiff)
    icc = page.tags.get(34675)
    return TiffPage(page, exif, bytes(icc.value) if icc else None, len(tiff.pages))


def write_tiff(
    file: IO[bytes], samples: np.ndarray, alpha: bool, exif: bytes | None, icc: bytes | None
) -> None:
    """Writes (H, W, S) uint8, uint16 or float32; deflated with a predictor where integer."""
    block = exif.removeprefix(b"Exif\0\0") if exif else b""
    whole = samples.dtype.kind == "u"
    colours = samples.shape[-1] - alpha
    tifffile.imwrite(
        file,
        samples if samples.shape[-1] > 1 else samples[..., 0],
        byteorder=">" if block[:2] == b"MM" else "<",
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if samples.shape[-1] > 1 else None,
        extrasamples=["unassalpha"] if alpha else None,
        compression="adobe_deflate" if whole else None,
        predictor=True if whole else None,
        iccprofile=icc,
        metadata=None,
        software=False,
    )
    if block:
        _graft_exif(file, block)


def _graft_exif(file: IO[bytes], block: bytes) -> None:
    """Adds an EXIF block to a TIFF file just written, byte for byte.

    An EXIF block is a small TIFF itself: it is appended, its offsets are moved by where it now
    lies, and a new first directory holds the picture's own tags and the block's.
    """
    order = ">" if block[:2] == b"MM" else "<"
    file.seek(0)
    head = file.read(8)
    if head[:4] not in MAGICS[:2]:
        warnings.warn("the EXIF data is left out of a TIFF file larger than 4 GB", stacklevel=4)
        return
    own = _entries(file, order, struct.unpack_from(order + "I", head, 4)[0])
    base = file.seek(0, 2)
    if base % 2:
        base += file.write(b"\0")
    moved = bytearray(block)
    added = _move(moved, order, struct.unpack_from(order + "I", block, 4)[0], base)
    file.write(moved + b"\0" * (len(moved) % 2))
    directory = file.tell()
    entries = sorted((own | added).items())
    file.write(struct.pack(order + "H", len(entries)) + b"".join(raw for _, raw in entries))
    file.write(struct.pack(order + "I", 0))
    file.seek(4)
    file.write(struct.pack(order + "I", directory))


def _entries(file: IO[bytes], order: str, offset: int) -> dict[int, bytes]:
    """The 12-byte entries of a TIFF directory by tag."""
    file.seek(offset)
    (count,) = struct.unpack(order + "H", file.read(2))
    raw = [file.read(12) for _ in range(count)]
    return {struct.unpack_from(order + "H", entry)[0]: entry for entry in raw}


def _move(block: bytearray, order: str, offset: int, base: int) -> dict[int, bytes]:
    """Adds `base` to each offset in the directory at `offset` and those below it."""
    (count,) = struct.unpack_from(order + "H", block, offset)
    entries = {}
    for start in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, length, value = struct.unpack_from(order + "HHII", block, start)
        if tag in _POINTERS:
            _move(block, order, value, base)
        if tag in _POINTERS or _FIELD_BYTES[kind] * length > 4:
            struct.pack_into(order + "I", block, start + 8, value + base)
        entries[tag] = bytes(block[start : start + 12])
    return entries
