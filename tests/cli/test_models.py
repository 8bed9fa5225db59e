# SPDX-License-Identifier: BSD-3-Clause
"""What model packages add to the command line, and the blind estimator's commands."""

import json
import os

import pytest
import torch

import blurops
from blurmodels.basis_kernels import TwoHeadsNetwork, blur_map, estimate_field
from blurmodels.basis_kernels.image_refinement import refine_on_image
from blurmodels.evaluation import average_precision
from blurops.cli import _models
from blurops.fields import load_field
from blurops.images import Image, read_image, write_image
from tests.cli.scenes import HEIGHT, WIDTH, scene


@pytest.fixture
def weights(files):
    torch.manual_seed(0)
    TwoHeadsNetwork(basis_size=3, width=2).save_pretrained(files / "w.safetensors")
    return files / "w.safetensors"


def test_deblur_by_a_model_writes_everything(files, weights, succeed):
    out, photo = files / "o.png", files / "photo.png"
    text = succeed(
        *("deblur", photo, "--model", "basis_kernels", "--weights", weights, "-o", out),
        *("--iterations", 3, "--bits", 16, "--gamma", 1.8),
    )
    assert text.startswith(f"{out}: {WIDTH} x {HEIGHT}, B = 3, K = 33, estimated in ")
    pixels = read_image(photo).pixels
    wanted = estimate_field(pixels, TwoHeadsNetwork.from_pretrained(weights), gamma=1.8)
    field = load_field(files / "o-field.safetensors")
    assert torch.equal(field.kernels, wanted.kernels)
    assert field.meta == wanted.meta
    restored = blurops.richardson_lucy(
        pixels, blurops.BasisBlur(wanted.kernels, wanted.mixing), iterations=3, gamma=1.8,
        saturation=blurops.Saturation(),
    ).image  # fmt: skip
    torch.testing.assert_close(read_image(out).pixels, restored.clamp(0, 1), atol=2 / 65535, rtol=0)
    report = json.loads((files / "o-report.json").read_text())
    assert (report["scale"], report["width"], report["iterations"]) == (1.0, WIDTH, 3)
    assert (files / "o-kernels.png").stat().st_size > 1000


def test_scale_works_at_that_size_and_reports_it(files, weights, succeed, monkeypatch):
    monkeypatch.chdir(files)
    write_image("see.png", scene(), like=Image(scene(), alpha=torch.ones(1, 1, HEIGHT, WIDTH)))
    succeed(
        *("deblur", "see.png", "--model", "basis_kernels", "--weights", weights),
        *("--scale", 0.9, "--plug-and-play", "tv", "--iterations", 2),
    )
    restored = read_image("see-deblurred.png")
    size = (round(0.9 * HEIGHT), round(0.9 * WIDTH))
    assert restored.pixels.shape[2:] == size
    assert restored.alpha.shape[2:] == size
    report = json.loads((files / "see-deblurred-report.json").read_text())
    assert (report["scale"], report["height"], report["width"]) == (0.9, *size)
    assert (report["original_height"], report["original_width"]) == (HEIGHT, WIDTH)
    assert (report["restoration"], report["iterations"]) == ("plug-and-play", 2)


@pytest.mark.parametrize(
    "words",
    [
        "deblur ga.png --model basis_kernels --weights W -o o.png",
        "deblur ga.png --model basis_kernels --refine -o o.png",
        "detect ga.png --weights W -o o.png",
    ],
)
def test_gray_with_transparency_is_refused(files, weights, fail, succeed, monkeypatch, words):
    monkeypatch.chdir(files)
    gray = scene(channels=1)
    alpha = torch.rand(1, 1, HEIGHT, WIDTH, generator=torch.manual_seed(0)).round()
    write_image("ga.png", gray, like=Image(gray, alpha=alpha))
    before = {path.name for path in files.iterdir()}
    line = fail(*words.replace("W", str(weights)).split())
    assert "image 'ga.png' must be gray without transparency, or RGB" in line
    assert line.endswith("got gray with transparency\n")
    assert {path.name for path in files.iterdir()} == before
    # Told the blur, the same photograph keeps it.
    succeed("deblur", "ga.png", "--motion", "5,20", "--iterations", 1, "-o", "o.png")
    restored = read_image("o.png")
    assert restored.pixels.shape[1] == 1
    assert torch.equal(restored.alpha, alpha)


def test_deblur_without_weights(files, succeed):
    succeed(
        *("deblur", files / "photo.png", "--model", "basis_kernels", "--refine", "-o"),
        *(files / "o.png", "--kernel-size", 7, "--grid", "1,2", "--iterations", 2),
    )
    assert load_field(files / "o-field.safetensors").kernels.shape == (1, 2, 7, 7)
    report = json.loads((files / "o-report.json").read_text())
    assert report["refine"] == {"kernel_size": 7, "grid": [1, 2]}


def test_weights_are_fitted_to_the_photograph(files, weights, succeed):
    common = ("deblur", files / "photo.png", "--model", "basis_kernels", "--weights", weights)
    succeed(*common, "-o", files / "o.png", "--iterations", 2, "--fit-steps", 3)
    network, pixels = (
        TwoHeadsNetwork.from_pretrained(weights),
        read_image(files / "photo.png").pixels,
    )
    field = estimate_field(pixels, network)
    sharp = blurops.richardson_lucy(
        pixels, blurops.BasisBlur(field.kernels, field.mixing), iterations=2, gamma=2.2,
        saturation=blurops.Saturation(),
    ).image  # fmt: skip
    fitted = refine_on_image(network, pixels, sharp, steps=3)
    wanted = estimate_field(pixels, fitted.network)
    found = load_field(files / "o-field.safetensors").mixing
    torch.testing.assert_close(found, wanted.mixing)
    # Adam's first steps are of known length: three of 1e-4 show, whatever the loss makes of them.
    assert float((found - field.mixing).abs().max()) > 3e-5
    report = json.loads((files / "o-report.json").read_text())["fit"]
    losses = [fitted.losses[0], fitted.losses[-1]]
    assert report == {"steps": 3, "reblur_loss": pytest.approx(losses, rel=1e-5)}


def test_detect(files, weights, succeed):
    field = load_field(files / "f.safetensors")
    norms = field.kernels.flatten(2).norm(dim=2).flatten().sort().values
    limit = round(float(norms[0] + norms[1]) / 2, 4)
    truth = scene(channels=1) > 0.4
    write_image(files / "mask.png", truth.float())
    out = succeed(
        *("detect", files / "photo.png", "--field", files / "f.safetensors", "--limit", limit),
        *("-o", files / "m.tif", "--truth", files / "mask.png"),
    )
    scores = blur_map(field, limit)
    assert 0.05 < scores.mean() < 0.95
    torch.testing.assert_close(read_image(files / "m.tif").pixels, scores, atol=1 / 255, rtol=0)
    assert f"average precision {average_precision(scores, truth):.4f}" in out
    succeed("detect", files / "photo.png", "--weights", weights, "-o", files / "n.png")
    assert read_image(files / "n.png").pixels.shape == (1, 1, HEIGHT, WIDTH)


MODEL = ("deblur", "{photo}", "--model", "basis_kernels", "-o", "{tmp}/o.png")
BAD = {
    "no weights": (MODEL, "needs --weights W, or --refine to do without", 2),
    "missing weights": ((*MODEL, "--weights", "{tmp}/no"), "{tmp}/no: No such file", 1),
    "weights are a picture": (
        (*MODEL, "--weights", "{photo}"),
        "must be a complete safetensors file, or a state dict as torch.save writes it",
        1,
    ),
    "weights are a field": ((*MODEL, "--weights", "{field}"), "2 unknown (kernels; mixing)", 1),
    "small image": (
        ("deblur", "{tmp}/small.png", *MODEL[2:], "--weights", "{tmp}/w.safetensors"),
        "must have sides of at least 32 pixels, got 40 x 31",
        1,
    ),
    "reduced too far": (
        (*MODEL, "--weights", "{tmp}/w.safetensors", "--scale", "0.5"),
        "must have sides of at least 32 pixels, got 28 x 20",
        1,
    ),
    "too small to refine": ((*MODEL, "--refine"), "at least twice the kernel size 25", 1),
    "refine with weights": (
        (*MODEL, "--refine", "--weights", "w"),
        "argument --refine: goes without --weights",
        2,
    ),
    "fit without weights": (
        (*MODEL, "--refine", "--fit-steps", "3"),
        "argument --fit-steps: goes with --weights only",
        2,
    ),
    "grid without refine": (
        (*MODEL, "--weights", "w", "--grid", "2,2"),
        "argument --grid: goes with --refine only",
        2,
    ),
    "no denoiser": (
        (*MODEL, "--weights", "{tmp}/w.safetensors", "--plug-and-play", "{photo}"),
        "must be one of tv, wavelet, or a program",
        1,
    ),
    "weights without a model": (
        ("deblur", "{photo}", "--motion", "3,0", "--weights", "w", "-o", "{tmp}/o.png"),
        "argument --weights: goes with --model only",
        2,
    ),
    "no output without a model": (("deblur", "{photo}", "--motion", "3,0"), "required: -o/", 2),
    "unknown model": (("deblur", "{photo}", "--model", "magic"), "invalid choice: 'magic'", 2),
    "method of a model": ((*MODEL, "--refine", "--method", "irc"), "goes without --orient", 2),
    "truth of another size": (
        (
            *("detect", "{photo}", "--field", "{field}", "-o", "{tmp}/m.png"),
            *("--truth", "{tmp}/small.png"),
        ),
        "must be 56 x 40 pixels",
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_writes_nothing(files, weights, fail, name):
    words, expected, status = BAD[name]
    write_image(files / "small.png", scene(31, 40))
    places = {"tmp": files, "photo": files / "photo.png", "field": files / "f.safetensors"}
    before = set(os.listdir(files))
    line = fail(*(word.format(**places) for word in words), status=status)
    assert expected.format(**places) in line
    assert set(os.listdir(files)) == before


def test_models_need_not_be_there(monkeypatch, run):
    monkeypatch.setattr(_models, "_ROOT", "no_such_models")
    _models.models.cache_clear()
    try:
        assert _models.models() == {}
        status, out, _ = run("--help")
        assert status == 0
        assert "detect" not in out
    finally:
        _models.models.cache_clear()


def test_a_package_registers_training_and_evaluation(monkeypatch, tmp_path, succeed, fail):
    package = tmp_path / "some_models" / "toy"
    package.mkdir(parents=True)
    (tmp_path / "some_models" / "__init__.py").touch()
    (tmp_path / "some_models" / "plain").mkdir()
    (tmp_path / "some_models" / "plain" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "commands.py").write_text(
        "from blurops.cli import options\n"
        "def register_train(models):\n"
        "    parser = options.add_command(models, 'toy', lambda args: print('trained'), help='h')\n"
        "    options.add_running(parser)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_models, "_ROOT", "some_models")
    _models.models.cache_clear()
    try:
        assert succeed("train", "toy") == "trained\n"
        assert "invalid choice: 'evaluate'" in fail("evaluate", "toy", status=2)
    finally:
        _models.models.cache_clear()
