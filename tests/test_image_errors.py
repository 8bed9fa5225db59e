# SPDX-License-Identifier: BSD-3-Clause
"""Image files that are bad or cannot be written: why in one sentence, and nothing is lost."""

import errno
import os
import resource
import stat
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile
import torch

from blurops._atomic import check_output, replacing
from blurops.images import Image, read_image, write_image
from tests.pictures import picture


def gigantic_png(side):
    """A file of under 100 bytes whose header announces side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")):
        check = zlib.crc32(kind + content)
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
    return data


def test_size_is_checked_from_the_header(tmp_path):
    (tmp_path / "big.png").write_bytes(gigantic_png(60_000))
    with pytest.raises(
        ValueError, match=r"at most 100000000 pixels, got 60000 x 60000 = 3600000000$"
    ):
        read_image(tmp_path / "big.png")
    tifffile.imwrite(
        tmp_path / "big.tif",
        shape=(20_000, 20_000),
        dtype="u2",
        compression="adobe_deflate",
        data=iter([b"x"]),
        rowsperstrip=20_000,
    )
    with pytest.raises(ValueError, match="at most 100000000 pixels, got 20000 x 20000"):
        read_image(tmp_path / "big.tif")
    write_image(tmp_path / "a.jpg", picture())
    with pytest.raises(ValueError, match="at most 233 pixels, got 18 x 13 = 234"):
        read_image(tmp_path / "a.jpg", max_pixels=233)
    assert read_image(tmp_path / "a.jpg", max_pixels=234).pixels.shape[2:] == (13, 18)


@pytest.mark.parametrize("name", ["a8.png", "a16.png", "a8.tif", "a16.tif", "a32.tif", "a8.jpg"])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.95])
def test_truncated(tmp_path, name, keep):
    bits = int("".join(filter(str.isdigit, name)))
    path = tmp_path / name
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    write_image(path, pixels, bits=bits)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(
        ValueError, match=f"read_image: '.*{name}' must be a whole image file, got a damaged"
    ):
        read_image(path)


def test_what_is_no_image(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("Dear diary")
    with pytest.raises(
        ValueError, match="must be a PNG, JPEG or TIFF image, got a file that starts with"
    ):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="must be a PNG, JPEG or TIFF image, got an empty file"):
        read_image(path)
    PIL.Image.new("RGB", (4, 4)).save(path, "GIF")
    with pytest.raises(ValueError, match="must be a PNG, JPEG or TIFF image"):
        read_image(path)
    PIL.Image.new("CMYK", (4, 4)).save(path, "JPEG")
    with pytest.raises(ValueError, match="must be gray or RGB, got CMYK"):
        read_image(path)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "missing.png")
    with pytest.raises(IsADirectoryError):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("array", "options", "reason"),
    [
        (np.zeros((4, 4), np.int16), {}, "unsigned or float samples, got int16"),
        (np.zeros((4, 4), np.complex64), {}, "unsigned or float samples, got complex64"),
        (np.full((4, 4), np.nan, np.float32), {}, "finite values, got NaN or infinity"),
        (
            np.zeros((4, 4, 4), np.uint8),
            {"photometric": "separated"},
            "gray or RGB, got a TIFF of kind",
        ),
        (
            np.zeros((4, 4, 6), np.uint8),
            {"photometric": "rgb", "extrasamples": [0, 0, 0], "planarconfig": "contig"},
            "at most one more for alpha, got 6",
        ),
    ],
)
def test_tiff_that_is_no_photograph(tmp_path, array, options, reason):
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    with pytest.raises(ValueError, match=reason):
        read_image(tmp_path / "a.tif")


def test_write_rejects(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of .*, got \.bmp"):
        write_image(tmp_path / "a.bmp", picture())
    with pytest.raises(ValueError, match="got no suffix"):
        write_image(tmp_path / "a", picture())
    with pytest.raises(TypeError, match="floating-point tensor, got ndarray"):
        write_image(tmp_path / "a.png", np.zeros((1, 3, 2, 2)))
    with pytest.raises(TypeError, match=r"got torch\.uint8"):
        write_image(tmp_path / "a.png", torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"must be \(1, 1 or 3, H, W\), got \(1, 2, 2, 2\)"):
        write_image(tmp_path / "a.png", torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="must not be empty"):
        write_image(tmp_path / "a.png", torch.zeros(1, 3, 0, 2))
    with pytest.raises(ValueError, match="must be finite"):
        write_image(tmp_path / "a.png", torch.full((1, 3, 2, 2), torch.inf))
    with pytest.raises(ValueError, match=r"size of like\.alpha \(13, 18\), got \(12, 18\)"):
        write_image(tmp_path / "a.png", picture(height=12), like=Image(picture(), alpha=picture(1)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "deep.png"])
def test_full_disk_leaves_the_old_file_whole(tmp_path, name):
    """The system itself refuses to write on, as on a full disk: here at a limit of file size."""
    path = tmp_path / name
    path.write_bytes(b"the old picture")
    pixels = torch.rand(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            write_image(path, pixels, bits=16 if name == "deep.png" else None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"the old picture"
    assert os.listdir(tmp_path) == [name]


def test_disk_full_at_the_last_moment(tmp_path, monkeypatch):
    """Network file systems report a full disk only when the file is flushed."""
    path = tmp_path / "a.png"
    path.write_bytes(b"the old picture")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_image(path, picture())
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"the old picture"
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    def interrupted():
        with replacing(tmp_path / "a.bin") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_mode_and_link_of_an_old_file_stay(tmp_path):
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_image(link, picture())
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert read_image(real).pixels.shape == (1, 3, 13, 18)


def test_a_new_file_has_the_usual_mode(tmp_path):
    old = os.umask(0o027)
    try:
        write_image(tmp_path / "a.png", picture())
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_outputs_that_cannot_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_output(tmp_path / "missing" / "a.png")
    with pytest.raises(NotADirectoryError):
        check_output(tmp_path / "file" / "a.png")
    with pytest.raises(IsADirectoryError):
        check_output(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        check_output(tmp_path / "pipe.png")


def test_a_folder_without_write_permission(tmp_path, monkeypatch):
    # Root may write anywhere, so the system's answer is given by hand.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="is not writable"):
        check_output(tmp_path / "a.png")
