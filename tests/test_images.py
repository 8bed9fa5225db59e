# SPDX-License-Identifier: BSD-3-Clause
"""Image files: every format and depth comes back as it went."""

import io
import struct
import warnings

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile
import torch
from PIL.ExifTags import GPS, IFD, Base

from blurops.images import Image, read_image, write_image
from tests.pictures import LEVELS, picture

INTEGER_CASES = [
    (suffix, bits, channels, alpha)
    for suffix, depths in ((".png", (8, 16)), (".tif", (8, 16)), (".tiff", (8, 16)))
    for bits in depths
    for channels in (1, 3)
    for alpha in (False, True)
]


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
