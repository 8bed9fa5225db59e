# SPDX-License-Identifier: BSD-3-Clause
"""The command line: what it writes, and that every failure is one line and a status."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import scipy.ndimage
import tifffile
import torch
from PIL.ExifTags import IFD, Base

import blurops
from blurops.cli import main
from blurops.fields import camera_shake_field, linear_motion_kernel, load_field, save_field
from blurops.images import Image, read_image, write_image

COMMANDS = ("demo", "deblur", "blur", "field", "info")
HEIGHT, WIDTH = 40, 56


@pytest.fixture
def run(capsys):
    """Runs a command line; returns its status, stdout and stderr."""

    def runner(*words):
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return runner


@pytest.fixture
def succeed(run):
    def runner(*words):
        status, out, err = run(*words)
        assert (status, err) == (0, "")
        return out

    return runner


@pytest.fixture
def fail(run):
    """Runs a command line that must fail with one line."""

    def runner(*words, status=1):
        got, out, err = run(*words)
        assert (got, out) == (status, "")
        assert err.startswith("blurops: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    return runner


def scene(height=HEIGHT, width=WIDTH, channels=3):
    """A picture with edges and gradients, in [0, 1]."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    checks = ((y // 6 + x // 8) % 2).float()
    planes = [0.15 + 0.6 * checks * (0.5 + 0.5 * torch.sin(x / (5 + c))) for c in range(channels)]
    return torch.stack(planes)[None].clamp(0, 1)


@pytest.fixture
def files(tmp_path):
    """A photograph and a blur field of its size."""
    write_image(tmp_path / "photo.png", scene())
    field = camera_shake_field(HEIGHT, WIDTH, basis_size=3, kernel_size=9, seed=3)
    save_field(tmp_path / "f.safetensors", field.kernels, field.mixing, **field.meta)
    return tmp_path


def psnr(path, truth):
    values = read_image(path).pixels
    return -10 * float(((values - truth) ** 2).mean().log10())


def test_help(run):
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert all(f"\n    {command} " in out for command in COMMANDS)
    assert "examples:" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: blurops {command}")
    assert f"blurops {command}" in out.split("example", 1)[1]
    assert max(map(len, out.splitlines())) <= 100


def test_version(run):
    status, out, _ = run("--version")
    assert (status, out) == (0, f"blurops {blurops.__version__}\n")


def test_info_names_every_backend(succeed):
    out = succeed("info")
    assert f"{blurops.__version__}\n" in out
    assert torch.__version__ in out
    for name, reason in blurops.backends().items():
        line = next(line for line in out.splitlines() if line.startswith(f"{name}:"))
        assert line.endswith("active" if reason is None else " ".join(reason.split()))
        assert ("not active" in line) == (reason is not None)


def test_field_blur_deblur(files, succeed):
    field, blurred, restored = (
        files / n for n in ("new.safetensors", "blurred.tif", "restored.png")
    )
    shake = ("--camera-shake", "--seed", 3, "--basis-size", 3, "--kernel-size", 9)
    out = succeed("field", files / "photo.png", *shake, "-o", field)
    assert out == f"{field}: {WIDTH} x {HEIGHT}, B = 3, K = 9, camera shake with seed 3\n"
    known = load_field(files / "f.safetensors")
    made = load_field(field)
    assert torch.equal(made.kernels, known.kernels)
    assert torch.equal(made.mixing, known.mixing)
    succeed("blur", files / "photo.png", "--field", field, "-o", blurred, "--bits", 32)
    photo = read_image(files / "photo.png").pixels
    expected = blurops.basis_blur(photo**2.2, made.kernels, made.mixing) ** (1 / 2.2)
    # One command line and one call: the same numbers through a float file.
    torch.testing.assert_close(read_image(blurred).pixels, expected)
    options = ("--iterations", 40, "--no-saturation", "--bits", 16)
    out = succeed("deblur", blurred, "--field", field, "-o", restored, *options)
    assert out.startswith(f"{restored}: 40 iterations in ")
    assert psnr(restored, photo) > psnr(blurred, photo) + 4
    operator = blurops.BasisBlur(made.kernels, made.mixing)
    direct = blurops.richardson_lucy(expected, operator, iterations=40, gamma=2.2).image.clamp(0, 1)
    # Half a level of the 16 bits it is stored in, and float32 round-off of another order of sums.
    assert (read_image(restored).pixels - direct).abs().max() < 1e-4


def test_noise_is_seeded(files, succeed):
    def blurred(name, *words):
        path = files / name
        common = ("--field", files / "f.safetensors", "-o", path, "--bits", 16)
        succeed("blur", files / "photo.png", *common, *words)
        return read_image(path).pixels

    clean = blurred("clean.png")
    noisy = blurred("noisy.png", "--noise", 0.01, "--seed", 5)
    assert torch.equal(noisy, blurred("again.png", "--noise", 0.01, "--seed", 5))
    assert not torch.equal(noisy, blurred("other.png", "--noise", 0.01, "--seed", 6))
    deviation = float((noisy**2.2 - clean**2.2).std())
    # The standard deviation of n samples is known to 1 / sqrt(2 n) of itself; four times that.
    assert abs(deviation / 0.01 - 1) < 4 / (2 * clean.numel()) ** 0.5
    bright = blurred("response.png", "--saturation", "--gamma", 1)
    assert float(bright.max()) < float(blurred("linear.png", "--gamma", 1).max()) + 1e-4


def test_metadata_goes_through(files, succeed):
    exif = PIL.Image.Exif()
    exif[Base.Artist], exif[Base.Orientation] = "A. Person", 6
    exif[IFD.Exif] = {Base.ExposureTime: 0.125}
    icc = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    alpha = torch.linspace(0, 65535, HEIGHT * WIDTH).round().view(1, 1, HEIGHT, WIDTH) / 65535
    like = Image(scene(), 16, alpha, exif.tobytes(), icc)
    write_image(files / "in.png", scene(), like=like)
    succeed(
        "deblur", files / "in.png", "--motion", "1,0", "-o", files / "out.tif", "--iterations", 1
    )
    before, after = read_image(files / "in.png"), read_image(files / "out.tif")
    assert before.pixels.shape[2:] == (WIDTH, HEIGHT)  # turned upright
    assert (after.bits, after.icc) == (16, icc)
    assert torch.equal(after.alpha, before.alpha)
    kept = PIL.Image.Exif()
    kept.load(after.exif)
    assert (kept[Base.Artist], kept[Base.Orientation]) == ("A. Person", 1)
    assert float(kept.get_ifd(IFD.Exif)[Base.ExposureTime]) == 0.125
    # A motion of one pixel is none: what was stored comes back.
    assert (after.pixels - before.pixels).abs().max() < 2 / 255


def test_kernel_is_a_point_spread_function(files, succeed):
    """A point of light blurred by the kernel shows the picture of the kernel, not a turned one."""
    psf = np.zeros((9, 9))
    psf[1:5, 2] = (4, 3, 2, 1)
    psf[4, 4:8] = 1
    PIL.Image.fromarray((psf * 60).astype(np.uint8)).save(files / "psf.png")
    PIL.Image.fromarray((psf[::-1, ::-1] * 60).astype(np.uint8)).save(files / "turned.png")
    sharp = scene(channels=1)
    light = sharp[0, 0].numpy() ** 2.2
    blurred = scipy.ndimage.convolve(light, psf / psf.sum(), mode="mirror") ** (1 / 2.2)
    write_image(files / "b.tif", torch.tensor(blurred)[None, None], bits=32)

    def restore(kernel, *words):
        out = files / "restored.tif"
        common = ("--kernel", files / kernel, "-o", out, "--iterations", 30, "--no-saturation")
        succeed("deblur", files / "b.tif", *common, *words)
        return psnr(out, sharp)

    good = restore("psf.png")
    assert good > psnr(files / "b.tif", sharp) + 6
    assert restore("turned.png") < good - 6
    assert restore("turned.png", "--orientation", "correlation") == pytest.approx(good, abs=1e-3)


def test_motion_is_in_pixels_and_degrees_counter_clockwise(files, succeed):
    sharp = scene(channels=1)
    kernel = linear_motion_kernel(9, np.radians(30))
    blurred = scipy.ndimage.convolve(sharp[0, 0].numpy(), kernel.numpy(), mode="nearest")
    write_image(files / "b.tif", torch.tensor(blurred)[None, None], bits=32)
    out = files / "restored.tif"
    quality = {}
    for angle in (30, -30, 210):
        common = ("--gamma", 1, "--no-saturation", "--boundary", "replicate", "-o", out)
        succeed("deblur", files / "b.tif", f"--motion=9,{angle}", *common)
        quality[angle] = psnr(out, sharp)
    assert quality[30] > psnr(files / "b.tif", sharp) + 3
    assert quality[30] > quality[-30] + 3
    assert quality[210] == pytest.approx(quality[30], abs=1e-3)


@pytest.mark.parametrize("preset", ["carbajal2021", "carbajal2021-paper"])
def test_presets(files, succeed, preset):
    photo, field = files / "photo.png", files / "f.safetensors"
    out = files / "out.tif"
    words = ("-o", out, "--bits", 32, "--preset", preset, "--iterations", 3)
    pixels = read_image(photo).pixels
    known = load_field(field)
    blurs = {
        ("--field", field): blurops.BasisBlur(known.kernels, known.mixing),
        ("--motion", "5,20"): blurops.BasisBlur(
            linear_motion_kernel(5, np.radians(20))[None, None], torch.ones(1, 1, HEIGHT, WIDTH)
        ),
    }
    for blur, operator in blurs.items():
        for switch, choices in (((), {}), (("--no-saturation",), {"variant": "basic"})):
            succeed("deblur", photo, *blur, *words, *switch)
            expected = blurops.richardson_lucy(
                pixels, operator, preset=preset, gamma=2.2, iterations=3, **choices
            )
            torch.testing.assert_close(read_image(out).pixels, expected.image)


def test_valid_boundary(tmp_path, succeed):
    write_image(tmp_path / "photo.png", scene(), like=Image(scene(), alpha=scene(channels=1)))
    words = ("--camera-shake", "--boundary", "valid", "--basis-size", 2, "--kernel-size", 9)
    field = tmp_path / "f.safetensors"
    pictures = ("--picture", tmp_path / "p.png")
    succeed("field", tmp_path / "photo.png", *words, "-o", field, *pictures)
    assert load_field(field).size == (HEIGHT - 8, WIDTH - 8)
    blurred, restored = tmp_path / "b.png", tmp_path / "r.png"
    succeed("blur", tmp_path / "photo.png", "--field", field, "-o", blurred)
    succeed("deblur", blurred, "--field", field, "-o", restored, "--iterations", 20)
    photo = read_image(tmp_path / "photo.png")
    middle = (..., slice(4, -4), slice(4, -4))
    assert torch.equal(read_image(restored).alpha, photo.alpha[middle])
    assert psnr(restored, photo.pixels[middle]) > psnr(blurred, photo.pixels[middle]) + 2


def test_progress_only_when_asked_or_on_a_terminal(files, run, monkeypatch):
    words = ("deblur", files / "photo.png", "--motion", "3,0", "-o", files / "o.png")
    assert run(*words)[2] == ""
    assert "30/30" in run(*words, "--progress")[2]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "30/30" in run(*words)[2]
    assert run(*words, "--no-progress")[2] == ""


def test_threads(files, succeed):
    before = torch.get_num_threads()
    for count in (1, 2):
        out = files / f"{count}.png"
        succeed("deblur", files / "photo.png", "--motion", "3,0", "-o", out, "--threads", count)
    assert (files / "1.png").read_bytes() == (files / "2.png").read_bytes()
    assert torch.get_num_threads() == before


def test_demo(tmp_path, succeed):
    out = tmp_path / "new" / "out"
    small = ("--crop", 96, "--basis-size", 4, "--kernel-size", 15, "--iterations", 12)
    text = succeed("demo", "-o", out, *small)
    names = {
        *("sheet.png", "sharp.png", "blurred.png", "restored.png", "kernel-field.png", "basis.png"),
        *("field.safetensors", "clock-blurred.png", "clock-restored.png", "report.json"),
    }
    assert set(os.listdir(out)) == names
    report = json.loads((out / "report.json").read_text())
    sharp = read_image(out / "sharp.png").pixels
    assert sharp.shape == (1, 3, 96, 96)
    assert load_field(out / "field.safetensors").size == (96, 96)
    for state in ("blurred", "restored"):
        # The pictures are rounded to levels, the report is of what was rounded.
        assert psnr(out / f"{state}.png", sharp) == pytest.approx(report[f"psnr_{state}"], abs=0.1)
        assert 0 < report[f"ssim_{state}"] < 1
        assert f"{report[f'psnr_{state}']:.2f} dB" in text
    assert report["psnr_restored"] > report["psnr_blurred"] + 2
    assert report["ssim_restored"] > report["ssim_blurred"]
    assert len(report["losses"]) == 13
    assert report["losses"] == sorted(report["losses"], reverse=True)
    assert report["seconds_per_iteration"] > 0
    assert report["peak_memory_mb"] >= report["peak_memory_before_restoration_mb"] > 10
    assert report["backend"] in blurops.backends()
    assert report["versions"]["torch"] == torch.__version__
    clock = [read_image(out / f"clock-{state}.png").pixels for state in ("blurred", "restored")]
    assert clock[0].shape == clock[1].shape == (1, 1, 96, 96)
    assert clock[1].std() > clock[0].std()


@pytest.mark.slow
def test_demo_gains_four_decibels(tmp_path, succeed):
    """The demo as it is run, at full size."""
    succeed("demo", "-o", tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["basis_size"], report["kernel_size"], report["noise"]) == (25, 33, 0.002)
    assert 20 <= report["psnr_blurred"] <= 23
    assert report["psnr_restored"] >= report["psnr_blurred"] + 4


# Every failure: the words after the paths are filled in, part of the line, and the status.
BAD = {
    "missing image": (
        ("deblur", "{tmp}/no.png", "--motion", "3,0", "-o", "{tmp}/o.png"),
        "No such",
    ),
    "image is a folder": (("deblur", "{tmp}", "--motion", "3,0", "-o", "{tmp}/o.png"), "directory"),
    "truncated image": (
        ("blur", "{tmp}/cut.png", "--field", "{field}", "-o", "{tmp}/o.png"),
        "must be a whole image file, got a damaged or truncated one",
    ),
    "text as image": (
        ("field", "{tmp}/text.png", "--camera-shake", "-o", "{tmp}/o.safetensors"),
        "must be a PNG, JPEG or TIFF image",
    ),
    "gigantic image": (
        ("deblur", "{photo}", "--motion", "3,0", "-o", "{tmp}/o.png", "--max-pixels", "1e3"),
        "must have at most 1000 pixels, got 56 x 40 = 2240",
    ),
    "NaN in the image": (
        ("deblur", "{tmp}/nan.tif", "--motion", "3,0", "-o", "{tmp}/o.png"),
        "must hold finite values, got NaN or infinity",
    ),
    "field of another size": (
        ("deblur", "{tmp}/small.png", "--field", "{field}", "-o", "{tmp}/o.png"),
        "must be 20 x 24 pixels, the size of '{tmp}/small.png', got 56 x 40",
    ),
    "field of another size to blur": (
        ("blur", "{tmp}/small.png", "--field", "{field}", "-o", "{tmp}/o.png"),
        "must be 20 x 24 pixels",
    ),
    "missing field": (
        ("blur", "{photo}", "--field", "{tmp}/no.safetensors", "-o", "{tmp}/o.png"),
        "{tmp}/no.safetensors: No such file",
    ),
    "field is a picture": (
        ("deblur", "{photo}", "--field", "{photo}", "-o", "{tmp}/o.png"),
        "photo.png' must be a complete safetensors file",
    ),
    "output in a missing folder": (
        ("deblur", "{photo}", "--motion", "3,0", "-o", "{tmp}/none/o.png"),
        "{tmp}/none/o.png: the folder '{tmp}/none' does not exist",
    ),
    "output is a folder": (
        ("deblur", "{photo}", "--motion", "3,0", "-o", "{tmp}/folder.png"),
        "{tmp}/folder.png: Is a directory",
    ),
    "unknown suffix": (
        ("deblur", "{photo}", "--motion", "3,0", "-o", "{tmp}/o.webp"),
        "must end in one of .png, .jpg, .jpeg, .tif, .tiff, got .webp",
    ),
    "depth the format lacks": (
        ("deblur", "{photo}", "--motion", "3,0", "-o", "{tmp}/o.jpg", "--bits", "16"),
        "bits must be 8 for .jpg, got 16",
    ),
    "field output suffix": (
        ("field", "{photo}", "--camera-shake", "-o", "{photo}"),
        "must end in .safetensors",
    ),
    "picture suffix": (
        ("field", "{photo}", "--camera-shake", "-o", "{tmp}/o.safetensors", "--picture", "a.gif"),
        "'a.gif' must end in one of .png, .pdf, .svg, got .gif",
    ),
    "even kernel picture": (
        ("deblur", "{photo}", "--kernel", "{tmp}/even.png", "-o", "{tmp}/o.png"),
        "must have odd sides, so that it has a centre pixel, got 4 x 5",
    ),
    "colour kernel picture": (
        ("deblur", "{photo}", "--kernel", "{tmp}/colour.png", "-o", "{tmp}/o.png"),
        "must be gray, got a colour image",
    ),
    "black kernel picture": (
        ("deblur", "{photo}", "--kernel", "{tmp}/black.png", "-o", "{tmp}/o.png"),
        "must not be black all over",
    ),
    "negative kernel": (
        ("deblur", "{photo}", "--kernel", "{tmp}/negative.tif", "-o", "{tmp}/o.png"),
        "must not be negative, got -1",
    ),
    "kernel larger than reflect allows": (
        ("deblur", "{tmp}/small.png", "--kernel", "{tmp}/long.png", "-o", "{tmp}/o.png"),
        "reflect",
    ),
    "motion longer than the image": (
        ("deblur", "{photo}", "--motion", "1e9,0", "-o", "{tmp}/o.png"),
        "--motion must be at most the 56 pixels",
    ),
    "even kernel size": (
        ("field", "{photo}", "--camera-shake", "-o", "{tmp}/o.safetensors", "--kernel-size", "8"),
        "kernel_size must be odd, got 8",
    ),
    "valid kernel larger than the image": (
        (
            *("field", "{photo}", "--camera-shake", "-o", "{tmp}/o.safetensors"),
            *("--kernel-size", "41", "--boundary", "valid"),
        ),
        "--kernel-size must be at most 40 for boundary valid",
    ),
    "preset without reflect": (
        (
            *("deblur", "{photo}", "--field", "{field}", "-o", "{tmp}/o.png"),
            *("--preset", "carbajal2021", "--boundary", "zeros"),
        ),
        "reflect",
    ),
    "demo folder is a file": (("demo", "-o", "{photo}"), "photo.png: File exists"),
}


@pytest.fixture
def bad(files):
    """The files that BAD speaks of."""
    whole = (files / "photo.png").read_bytes()
    (files / "cut.png").write_bytes(whole[: len(whole) // 2])
    (files / "text.png").write_text("no image")
    (files / "folder.png").mkdir()
    write_image(files / "small.png", scene(24, 20))
    tifffile.imwrite(files / "nan.tif", np.full((40, 56), np.nan, np.float32))
    tifffile.imwrite(files / "negative.tif", np.full((3, 3), -1, np.float32))
    write_image(files / "even.png", torch.ones(1, 1, 5, 4))
    write_image(files / "long.png", torch.ones(1, 1, 1, 41))
    write_image(files / "colour.png", torch.rand(1, 3, 5, 5, generator=torch.manual_seed(0)))
    write_image(files / "black.png", torch.zeros(1, 1, 5, 5))
    return files


def test_field_of_camera_motion(bad, succeed):
    names = ("turn.safetensors", "p.png", "basis.svg", "curve.pdf")
    field, picture, basis, curve = (bad / name for name in names)
    motion = ("--rotation=4,0,0", "--translation=-2,1", "--zoom", 1.02)
    size = ("--basis-size", 6, "--kernel-size", 9)
    drawn = ("--picture", picture, "--basis-picture", basis, "--error-curve", curve)
    out = succeed("field", bad / "small.png", *motion, *size, *drawn, "-o", field)
    lines = out.splitlines()
    assert lines[0].startswith(f"{field}: 20 x 24, B = 6, K = 9, relative error 0.")
    errors = [float(line.split("error ")[1].split(",")[0]) for line in lines[1:]]
    assert errors == sorted(errors, reverse=True)
    made, (expected, _) = (
        load_field(field),
        blurops.fields.camera_motion_field(
            24,
            20,
            rotation=(np.radians(4), 0, 0),
            translation=(-2, 1),
            zoom=1.02,
            basis_size=6,
            kernel_size=9,
        ),
    )
    assert torch.equal(made.kernels, expected.kernels)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in basis.read_bytes()
    assert curve.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(bad, fail, name):
    words, expected = BAD[name]
    places = {"tmp": bad, "photo": bad / "photo.png", "field": bad / "f.safetensors"}
    before = set(os.listdir(bad))
    line = fail(*(word.format(**places) for word in words))
    assert expected.format(**places) in line
    assert set(os.listdir(bad)) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "the following arguments are required: COMMAND (see 'blurops --help')"),
        (("sharpen",), "invalid choice: 'sharpen'"),
        (
            ("deblur", "a.png", "-o", "b.png"),
            "one of the arguments --field --kernel --motion is req",
        ),
        (("deblur", "a.png", "--motion", "3", "-o", "b.png"), "must be LENGTH,ANGLE, got '3'"),
        (("deblur", "a.png", "--motion", "3,x", "-o", "b.png"), "must be a number, got 'x'"),
        (
            ("deblur", "a.png", "--motion", "0.5,0", "-o", "b.png"),
            "LENGTH must be at least 1 pixel",
        ),
        (
            ("deblur", "a", "--motion", "3,0", "-o", "b", "--iterations", "-1"),
            "must be at least 0, got -1",
        ),
        (
            ("deblur", "a", "--motion", "3,0", "-o", "b", "--gamma", "0"),
            "must be greater than 0, got 0",
        ),
        (
            ("deblur", "a", "--motion", "3,0", "-o", "b", "--gamma", "nan"),
            "must be a number, got 'nan'",
        ),
        (("deblur", "a", "--motion", "3,0", "-o", "b", "--bits", "12"), "invalid choice"),
        (
            ("deblur", "a", "--motion", "3,0", "-o", "b", "--boundary", "mirror"),
            "invalid choice: 'mirr",
        ),
        (
            ("deblur", "a", "--motion", "3,0", "-o", "b.png", "--orientation", "correlation"),
            "--kernel",
        ),
        (("blur", "a.png", "-o", "b.png"), "required: --field (see 'blurops blur --help')"),
        (("field", "a.png", "-o", "f.safetensors"), "give either --camera-shake or some of --rota"),
        (("field", "a", "-o", "f", "--camera-shake", "--zoom", "1.1"), "either --camera-shake or"),
        (("field", "a", "-o", "f", "--camera-shake", "--seed", "1.5"), "must be a whole number"),
    ],
)
def test_wrong_usage_is_one_line(fail, words, expected):
    assert expected in fail(*words, status=2)


def test_values_below_zero_are_cut_off_with_a_warning(files, run):
    pixels = scene()
    pixels[..., :2] = -0.01
    write_image(files / "neg.tif", pixels, bits=32)
    words = ("--motion", "3,0", "-o", files / "o.tif")
    status, _, err = run("deblur", files / "neg.tif", *words)
    count = 3 * HEIGHT * 2
    assert status == 0
    assert err == f"blurops: warning: {files / 'neg.tif'}: {count} values below 0 are taken as 0\n"


def test_full_disk_leaves_the_old_output(files, fail):
    out = files / "out.png"
    out.write_bytes(b"the old picture")
    before = set(os.listdir(files))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        line = fail("deblur", files / "photo.png", "--motion", "3,0", "-o", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert line == f"blurops: {out}: {os.strerror(errno.EFBIG)}\n"
    assert out.read_bytes() == b"the old picture"
    assert set(os.listdir(files)) == before


def test_unwritable_folder(files, fail, monkeypatch):
    # Root may write anywhere, so the system's answer is given by hand.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    line = fail("deblur", files / "photo.png", "--motion", "3,0", "-o", files / "out.png")
    assert line == f"blurops: {files / 'out.png'}: the folder '{files}' is not writable\n"


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (KeyboardInterrupt(), 130, "blurops: interrupted\n"),
        (MemoryError(), 1, "blurops: not enough memory for an image of this size\n"),
        (
            RuntimeError("[enforce fail] not enough memory: you tried"),
            1,
            "blurops: not enough memory",
        ),
        (
            KeyError("lost"),
            1,
            "blurops: internal error, run again with --debug to see where: KeyError",
        ),
        (ValueError("basis_blur: image must\n  be right"), 1, "blurops: image must be right\n"),
    ],
)
def test_unforeseen_failures(fail, monkeypatch, error, status, expected):
    def broken():
        raise error

    monkeypatch.setattr("blurops.cli.info.describe", broken)
    assert fail("info", status=status).startswith(expected)


def test_debug_shows_where(run, monkeypatch):
    def broken():
        raise KeyError("lost")

    monkeypatch.setattr("blurops.cli.info.describe", broken)
    status, _, err = run("info", "--debug")
    assert status == 1
    assert err.startswith("Traceback")
    assert "in broken" in err


def test_as_a_module(tmp_path):
    """A process of its own: the entry point, the status, and a reader that goes away."""
    command = [sys.executable, "-m", "blurops"]
    bad = subprocess.run(
        [*command, "blur", "no.png", "--field", "no", "-o", "o.png"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == f"blurops: no: {os.strerror(errno.ENOENT)}\n"
    reader, writer = os.pipe()
    os.close(reader)
    closed = subprocess.run(
        [*command, "info"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (closed.returncode, closed.stderr) == (1, "")
    assert closed.returncode != -signal.SIGPIPE
