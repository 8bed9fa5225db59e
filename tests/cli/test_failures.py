# SPDX-License-Identifier: BSD-3-Clause
"""Every failure of the command line is one line and a status, and no file is lost."""

import errno
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch

from blurops import save_motion_field
from blurops.images import write_image
from tests.cli.scenes import HEIGHT, scene

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
    "motion field of another size": (
        ("deblur", "{tmp}/small.png", "--motion-field", "{tmp}/m.mat", "-o", "{tmp}/o.png"),
        "must be 20 x 24 pixels, the size of '{tmp}/small.png', got 56 x 40",
    ),
    "motion field with long motions": (
        ("deblur", "{photo}", "--motion-field", "{tmp}/long.mat", "-o", "{tmp}/o.png"),
        "must have motions of at most the 56 pixels of '{photo}', got 90",
    ),
    "motion field is a picture": (
        ("deblur", "{photo}", "--motion-field", "{photo}", "-o", "{tmp}/o.png"),
        "photo.png' must be a MATLAB file of version 5, got",
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
    for name, length in (("m.mat", 3.0), ("long.mat", 90.0)):
        save_motion_field(files / name, torch.full((1, 40, 56), length), torch.zeros(1, 40, 56))
    return files


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
            "one of the arguments --field --motion-field --kernel --motion --model is req",
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
        (
            ("deblur", "a", "--field", "f", "-o", "b.png", "--method", "irc"),
            "--method: irc goes with --motion-field, --kernel and --motion",
        ),
        (
            ("deblur", "a", "--motion", "3,0", "-o", "b.png", "--method", "irc", "--tv", "0.1"),
            "--tv: goes with --method rl only",
        ),
        (
            ("deblur", "a", "--motion", "3,0", "-o", "b.png", "--threshold", "0.1"),
            "--threshold: goes with --method irc only",
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
