# SPDX-License-Identifier: BSD-3-Clause
"""Image files: every format and depth comes back as it went, and every bad one says why."""

import errno
import io
import os
import resource
import stat
import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile
import torch
from PIL.ExifTags import GPS, IFD, Base

from blurops._atomic import check_output, replacing
from blurops.images import Image, read_image, write_image

LEVELS = {8: 255, 16: 65535}
INTEGER_CASES = [
    (suffix, bits, channels, alpha)
    for suffix, depths in ((".png", (8, 16)), (".tif", (8, 16)), (".tiff", (8, 16)))
    for bits in depths
    for channels in (1, 3)
    for alpha in (False, True)
]


def picture(channels=3, bits=8, height=13, width=18, seed=0):
    """Values that lie exactly on the levels of that depth."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, channels, height, width)
    return torch.randint(0, LEVELS[bits] + 1, shape, generator=generator) / LEVELS[bits]


@pytest.fixture(scope="module")
def icc():
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def camera_exif(orientation=1):
    exif = PIL.Image.Exif()
    exif[Base.Make], exif[Base.Model] = "Maker", "Model 7"
    exif[Base.Artist] = "A. Person"
    exif[Base.Orientation] = orientation
    exif[Base.XResolution] = 300.0
    exif[IFD.Exif] = {
        Base.ExposureTime: 0.125,
        Base.DateTimeOriginal: "2026:01:02 03:04:05",
        Base.ExifImageWidth: 18,
        Base.ExifImageHeight: 13,
        Base.MakerNote: b"\x01\x02\x03\x00\xff" * 9,
        IFD.Interop: {1: "R98"},
    }
    exif[IFD.GPSInfo] = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 30.0, 15.5)}
    return exif


def read_exif(path):
    """The EXIF block as Pillow finds it in the file, all its directories read."""
    exif = PIL.Image.Exif()
    with open(path, "rb") as file:
        if path.suffix in (".tif", ".tiff"):
            exif.load_from_fp(file)
        else:
            with PIL.Image.open(file) as image:
                exif = image.getexif()
        for directory in (IFD.Exif, IFD.GPSInfo, IFD.Interop):
            exif.get_ifd(directory)
    return exif


def check_camera_exif(exif):
    assert exif[Base.Make] == "Maker"
    assert exif[Base.Model] == "Model 7"
    assert exif[Base.Artist] == "A. Person"
    assert float(exif[Base.XResolution]) == 300.0
    details = exif.get_ifd(IFD.Exif)
    assert float(details[Base.ExposureTime]) == 0.125
    assert details[Base.DateTimeOriginal] == "2026:01:02 03:04:05"
    assert details[Base.MakerNote] == b"\x01\x02\x03\x00\xff" * 9
    assert exif.get_ifd(IFD.Interop)[1] == "R98"
    assert [float(v) for v in exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude]] == [48.0, 30.0, 15.5]


@pytest.mark.parametrize(("suffix", "bits", "channels", "alpha"), INTEGER_CASES)
def test_lossless_round_trip(tmp_path, icc, suffix, bits, channels, alpha):
    path = tmp_path / f"image{suffix}"
    pixels = picture(channels, bits)
    exif = camera_exif().tobytes()
    opacity = picture(1, bits, seed=1) if alpha else None
    write_image(path, pixels, like=Image(pixels, bits, opacity, exif, icc))
    image = read_image(path)
    assert image.bits == bits
    assert image.icc == icc
    torch.testing.assert_close(image.pixels, pixels, rtol=0, atol=0)
    if alpha:
        torch.testing.assert_close(image.alpha, opacity, rtol=0, atol=0)
    else:
        assert image.alpha is None
    check_camera_exif(read_exif(path))
    # Nothing creeps from copy to copy.
    copies = [tmp_path / f"{name}{suffix}" for name in ("second", "third")]
    for source, copy in zip([path, *copies], copies, strict=False):
        write_image(copy, read_image(source).pixels, like=read_image(source))
    assert copies[0].read_bytes() == copies[1].read_bytes()
    check_camera_exif(read_exif(copies[1]))


@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiff_keeps_its_numbers(tmp_path, channels):
    pixels = torch.randn(1, channels, 9, 7, generator=torch.Generator().manual_seed(2)) * 3
    path = tmp_path / "float.tif"
    write_image(path, pixels, bits=32, like=Image(pixels, exif=camera_exif().tobytes()))
    image = read_image(path)
    assert image.bits == 32
    assert torch.equal(image.pixels, pixels)
    assert tifffile.imread(path).dtype == np.float32
    check_camera_exif(read_exif(path))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_metadata(tmp_path, icc, channels):
    ramp = torch.linspace(0, 1, 64).expand(1, channels, 48, 64).contiguous()
    path = tmp_path / "photo.jpg"
    write_image(path, ramp, like=Image(ramp, 8, None, camera_exif().tobytes(), icc))
    image = read_image(path)
    assert (image.bits, image.icc, image.pixels.shape) == (8, icc, ramp.shape)
    assert (image.pixels - ramp).abs().max() < 4 / 255
    check_camera_exif(read_exif(path))
    with PIL.Image.open(path) as stored:
        assert stored.format == "JPEG"


@pytest.mark.parametrize("bits", [8, 16])
def test_other_readers_see_the_same(tmp_path, bits):
    pixels = picture(3, bits)
    expected = (pixels[0].permute(1, 2, 0) * LEVELS[bits]).round().numpy().astype(f"u{bits // 8}")
    write_image(
        tmp_path / "a.tif", pixels, bits=bits, like=Image(pixels, exif=camera_exif().tobytes())
    )
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), expected)
    write_image(tmp_path / "a.png", pixels, bits=bits)
    with PIL.Image.open(tmp_path / "a.png") as stored:
        stored.verify()  # check sums of every chunk
    if bits == 8:
        with PIL.Image.open(tmp_path / "a.tif") as stored:
            assert np.array_equal(np.asarray(stored), expected)


def test_rounds_and_clamps(tmp_path):
    values = torch.tensor([-0.5, 0.49 / 255, 0.51 / 255, 254.51 / 255, 1.7]).view(1, 1, 1, 5)
    write_image(tmp_path / "a.png", values)
    assert (read_image(tmp_path / "a.png").pixels * 255).flatten().tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, suffix, orientation):
    ramp = np.add.outer(np.arange(13) * 12, np.arange(18) * 5).astype(np.uint8)
    stored = PIL.Image.fromarray(np.stack([ramp] * 3, axis=-1))
    path = tmp_path / f"turned{suffix}"
    exif = camera_exif(orientation)
    if suffix == ".tif":
        tag = (Base.Orientation, "H", 1, orientation)
        tifffile.imwrite(path, np.asarray(stored), photometric="rgb", extratags=[tag])
    else:
        stored.save(path, exif=exif.tobytes(), quality=100, subsampling=0)
    stored.getexif()[Base.Orientation] = orientation
    expected = PIL.ImageOps.exif_transpose(stored)
    image = read_image(path)
    height, width = image.pixels.shape[2:]
    assert (width, height) == expected.size
    difference = image.pixels[0].permute(1, 2, 0) * 255 - torch.tensor(np.array(expected))
    assert difference.abs().max() <= (2 if suffix == ".jpg" else 1e-4)
    out = tmp_path / f"out{suffix}"
    write_image(out, image.pixels, like=image)
    written = read_exif(out)
    assert written[Base.Orientation] == 1
    if suffix != ".tif":
        details = written.get_ifd(IFD.Exif)
        assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == (width, height)
    again = read_image(out).pixels
    assert (again - image.pixels).abs().max() <= (3 / 255 if suffix == ".jpg" else 1e-6)


def test_thumbnail_is_left_out(tmp_path):
    exif = camera_exif()
    thumbnail = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), "red").save(thumbnail, "JPEG")
    block = bytearray(exif.tobytes().removeprefix(b"Exif\0\0"))
    entries = struct.unpack_from(">H", block, 8)[0]
    link = 10 + 12 * entries
    struct.pack_into(">I", block, link, len(block))
    start = len(block) + 2 + 24 + 4
    block += (
        struct.pack(">HHHIIHHIII", 2, 513, 4, 1, start, 514, 4, 1, len(thumbnail.getvalue()), 0)
        + thumbnail.getvalue()
    )
    path = tmp_path / "thumb.jpg"
    PIL.Image.new("RGB", (18, 13)).save(path, exif=b"Exif\0\0" + bytes(block))
    with PIL.Image.open(path) as stored:
        assert stored.getexif().get_ifd(IFD.IFD1)  # the file really has one
    image = read_image(path)
    assert thumbnail.getvalue() not in image.exif
    check = PIL.Image.Exif()
    check.load(image.exif)
    check_camera_exif(check)


def test_damaged_exif_does_not_cost_the_photograph(tmp_path):
    path = tmp_path / "a.jpg"
    block = bytearray(camera_exif().tobytes())
    block[40:60] = b"\xff" * 20
    PIL.Image.new("RGB", (8, 8), (9, 9, 9)).save(path, exif=bytes(block))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        image = read_image(path)
        write_image(tmp_path / "b.tif", image.pixels, like=image)
    assert read_image(tmp_path / "b.tif").pixels.shape == (1, 3, 8, 8)


def test_palette_becomes_colour_and_keeps_transparency(tmp_path):
    palette = PIL.Image.new("P", (4, 2))
    palette.putpalette([255, 0, 0, 0, 0, 255] + [0] * 750)
    palette.putdata([0, 1, 0, 1, 1, 0, 1, 0])
    palette.save(tmp_path / "opaque.png")
    palette.save(tmp_path / "clear.png", transparency=1)
    opaque, clear = read_image(tmp_path / "opaque.png"), read_image(tmp_path / "clear.png")
    assert opaque.alpha is None
    assert opaque.pixels[0, :, 0, :2].T.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert torch.equal(opaque.pixels, clear.pixels)
    assert clear.alpha[0, 0].tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    palette.save(tmp_path / "palette.tif")
    assert torch.equal(read_image(tmp_path / "palette.tif").pixels, opaque.pixels)


def test_black_and_white(tmp_path):
    bits = PIL.Image.fromarray(np.array([[0, 255, 255], [255, 0, 0]], np.uint8)).convert("1")
    for suffix, options in ((".png", {}), (".tif", {}), (".tiff", {"compression": "group4"})):
        bits.save(tmp_path / f"bits{suffix}", **options)
        image = read_image(tmp_path / f"bits{suffix}")
        assert image.bits == 8
        assert image.pixels[0, 0].tolist() == [[0, 1, 1], [1, 0, 0]]


TIFF_LAYOUTS = [
    {},
    {"tile": (16, 16)},
    {"tile": (16, 16), "compression": "lzw", "predictor": True},
    {"compression": "adobe_deflate", "byteorder": ">"},
    {"planarconfig": "separate"},
    {"bigtiff": True},
]


@pytest.mark.parametrize("layout", TIFF_LAYOUTS, ids=lambda layout: "-".join(layout) or "plain")
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_tiff_layouts(tmp_path, layout, kind):
    array = np.random.default_rng(0).random((37, 41, 3))
    array = (array * 200).astype(kind)
    stored = np.moveaxis(array, -1, 0) if "planarconfig" in layout else array
    if kind == np.float32 and "predictor" in layout:
        layout = {**layout, "predictor": 3}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", software="Maker 1.0", **layout)
    image = read_image(tmp_path / "a.tif")
    top = 1 if kind == np.float32 else np.iinfo(kind).max
    assert np.array_equal(
        (image.pixels[0].permute(1, 2, 0) * top).round().numpy(),
        np.rint(array) if kind == np.float32 else array,
    )
    assert b"Maker 1.0" in image.exif


def test_tiff_kinds(tmp_path):
    path = tmp_path / "a.tif"
    gray = np.arange(0, 240, dtype=np.uint8).reshape(15, 16)
    tifffile.imwrite(path, gray, photometric="miniswhite")
    assert torch.equal(
        read_image(path).pixels[0, 0] * 255, 255 - torch.tensor(gray, dtype=torch.float)
    )
    tifffile.imwrite(path, gray.astype(np.uint16) * 17, bitspersample=12)
    image = read_image(path)
    assert image.bits == 16
    assert (image.pixels[0, 0] * 4095 - torch.tensor(gray * 17.0)).abs().max() < 0.05
    tifffile.imwrite(path, gray.astype(np.uint32) * 2**24)
    assert read_image(path).bits == 32
    tifffile.imwrite(path, gray.astype(np.float64) / 7)
    assert torch.equal(read_image(path).pixels[0, 0], torch.tensor(gray / 7).float())
    colour = np.stack([gray // 2] * 3 + [np.full_like(gray, 128)], axis=-1)
    tifffile.imwrite(path, colour, photometric="rgb", extrasamples=["assocalpha"])
    image = read_image(path)
    wanted = np.minimum(np.rint((gray // 2).astype(float) * 255 / 128), 255)
    assert np.array_equal((image.pixels[0, 0] * 255).round().numpy(), wanted)
    assert torch.all(image.alpha == 128 / 255)


def test_first_page_with_a_warning(tmp_path):
    first, second = np.zeros((5, 6), np.uint8), np.ones((5, 6), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", first)
    tifffile.imwrite(tmp_path / "a.tif", second, append=True)
    with pytest.warns(UserWarning, match="holds 2 images, only the first is read"):
        assert read_image(tmp_path / "a.tif").pixels.abs().max() == 0


def test_jpeg_output_says_that_alpha_is_lost(tmp_path):
    pixels = picture()
    with pytest.warns(UserWarning, match="JPEG holds no transparency"):
        write_image(tmp_path / "a.jpg", pixels, like=Image(pixels, alpha=picture(1)))
    assert read_image(tmp_path / "a.jpg").alpha is None


def test_depth_follows_the_input_and_the_format(tmp_path):
    pixels = picture(3, 16)
    for name, bits, expected in (
        ("a.jpg", 16, 8),
        ("a.png", 32, 16),
        ("a.png", 8, 8),
        ("a.tif", 32, 32),
    ):
        write_image(tmp_path / name, pixels, like=Image(pixels, bits))
        assert read_image(tmp_path / name).bits == expected
    with pytest.raises(ValueError, match=r"bits must be 8 or 16 for \.png, got 32"):
        write_image(tmp_path / "a.png", pixels, bits=32)


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
