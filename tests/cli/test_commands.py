# SPDX-License-Identifier: BSD-3-Clause
"""What each command writes and prints."""

import json
import os
import sys

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import scipy.ndimage
import torch
from PIL.ExifTags import IFD, Base

import blurops
from blurops.fields import linear_motion_kernel, load_field
from blurops.images import Image, read_image, write_image
from tests.cli.scenes import HEIGHT, WIDTH, scene

COMMANDS = ("demo", "deblur", "blur", "field", "detect", "info")


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


def test_field_of_camera_motion(files, succeed):
    write_image(files / "small.png", scene(24, 20))
    names = ("turn.safetensors", "p.png", "basis.svg", "curve.pdf")
    field, picture, basis, curve = (files / name for name in names)
    motion = ("--rotation=4,0,0", "--translation=-2,1", "--zoom", 1.02)
    size = ("--basis-size", 6, "--kernel-size", 9)
    drawn = ("--picture", picture, "--basis-picture", basis, "--error-curve", curve)
    out = succeed("field", files / "small.png", *motion, *size, *drawn, "-o", field)
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


@pytest.fixture
def moving(tmp_path, monkeypatch):
    """A photograph blurred by a motion that differs from pixel to pixel, and its field."""
    monkeypatch.setenv("BLUROPS_CACHE", str(tmp_path / "cache"))
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    length, angle = 3 + 4 * (x / WIDTH)[None], 0.5 + 0.5 * (y / HEIGHT)[None]
    blurops.save_motion_field(tmp_path / "m.mat", length, angle)
    blurred = blurops.motion_blur(scene() ** 2.2, length, angle, boundary="replicate")
    write_image(tmp_path / "b.tif", blurred.clamp(min=0) ** (1 / 2.2), bits=32)
    return tmp_path


@pytest.mark.parametrize("method", ["rl", "irc"])
def test_motion_fields(moving, succeed, method):
    out = moving / "out.tif"
    words = ("--motion-field", moving / "m.mat", "--method", method, "-o", out)
    rest = ("--boundary", "replicate", "--no-saturation") if method == "rl" else ()
    line = succeed("deblur", moving / "b.tif", *words, *rest)
    assert line.startswith(f"{out}: {'30 iterations' if method == 'rl' else '10 stages'} in ")
    assert psnr(out, scene()) > psnr(moving / "b.tif", scene()) + 2
    field = blurops.load_motion_field(moving / "m.mat")
    operator = blurops.MotionBlur(field.length, field.angle, boundary="replicate")
    pixels = read_image(moving / "b.tif").pixels
    if method == "rl":
        expected = blurops.richardson_lucy(pixels, operator, gamma=2.2).image
    else:
        expected = blurops.admm_irc(pixels**2.2, operator).image.clamp(min=0) ** (1 / 2.2)
    torch.testing.assert_close(read_image(out).pixels, expected, rtol=0, atol=1e-4)


def test_irc_of_one_motion_keeps_its_filters(moving, succeed):
    kernel = linear_motion_kernel(7, 0.4)
    blur = blurops.UniformBlur(kernel, boundary="replicate")
    write_image(moving / "b.tif", blur @ scene(), bits=32)
    out = moving / "out.tif"
    degrees = f"--motion=7,{np.degrees(0.4)}"
    words = ("--method", "irc", "--gamma", 1, "--threshold", 0.01, "--iterations", 3, "-o", out)
    succeed("deblur", moving / "b.tif", degrees, *words)
    expected = blurops.admm_irc(blur @ scene(), blur, weight=8.1e-5, stages=3).image.clamp(min=0)
    torch.testing.assert_close(read_image(out).pixels, expected, rtol=0, atol=1e-4)
    assert len(os.listdir(moving / "cache")) == 1
    succeed("deblur", moving / "b.tif", degrees, *words, "--boundary", "valid")
    assert read_image(out).pixels.shape == (1, 3, HEIGHT, WIDTH)
    assert len(os.listdir(moving / "cache")) == 1
