# SPDX-License-Identifier: BSD-3-Clause
"""`blurops deblur --model kernel_space`."""

import json

import pytest
import torch

from blurmodels import kernel_space
from blurmodels.kernel_space import fit_operator
from blurops.fields import load_field
from blurops.images import read_image, write_image
from tests.cli.scenes import HEIGHT, WIDTH

MODEL = ("--model", "kernel_space")


def test_explicit_kernels_without_weights(files, succeed):
    photo, out = files / "photo.png", files / "o.png"
    text = succeed(
        *("deblur", photo, *MODEL, "--steps", 3, "--kernel-size", 5, "--grid", "1,2"),
        *("--iterations", 2, "--seed", 4, "--precision", "bfloat16"),
        *("--state", files / "run.safetensors", "-o", out),
    )
    assert text.startswith(f"{out}: B = 2, K = 5, 3 steps in ")
    assert "the paper's losses" in text
    wanted = fit_operator(
        read_image(photo).pixels, kernel_size=5, grid=(1, 2), steps=3, seed=4, precision="bfloat16"
    ).field
    field = load_field(files / "o-field.safetensors")
    assert torch.equal(field.kernels, wanted.kernels)
    assert torch.equal(field.mixing, wanted.mixing)
    report = json.loads((files / "o-report.json").read_text())
    assert (report["operator"], report["steps"], report["losses"]) == ("basis", 3, "paper")
    assert read_image(out).pixels.shape[2:] == (HEIGHT, WIDTH)
    assert (files / "o-kernels.png").stat().st_size > 1000


def test_encoded_kernels_by_weights(files, succeed, monkeypatch):
    class Wizard(torch.nn.Module):
        """Stands for the network, which is far too large here."""

        @classmethod
        def from_pretrained(cls, path):
            assert str(path) == "W"
            return cls()

        def apply_blur(self, sharp, kernel):
            return sharp + 0 * kernel.mean()

    monkeypatch.setattr(kernel_space, "KernelWizard", Wizard, raising=False)
    calls = []

    def deblur(image, apply_blur, **options):
        calls.append(options)
        return kernel_space.Deblurred(apply_blur(image, torch.zeros(1)), torch.zeros(1), [0.5])

    monkeypatch.setattr("blurmodels.kernel_space.blind_encoded.deblur_encoded", deblur)
    write_image(files / "gray.png", torch.rand(1, 1, 130, 140))
    text = succeed(
        "deblur", files / "gray.png", *MODEL, "--weights", "W", "-o", files / "o.png", "--steps", 1
    )
    assert "the paper's losses, without VGG19" in text
    assert read_image(files / "o.png").pixels.shape == (1, 1, 130, 140)
    assert calls[0]["steps"] == 1
    assert "losses" not in calls[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--operator", "encoded"), "--operator: encoded needs --weights"),
        (("--operator", "basis", "--weights", "W"), "--weights: goes without --operator basis"),
        (("--operator", "uniform", "--grid", "1,2"), "--grid: goes with --operator basis only"),
        (("--scheme", "algorithm1"), "--scheme: algorithm1 goes with --operator encoded only"),
        (("--losses", "paper"), "--losses: goes without --operator basis"),
        (("--weights", "W", "--precision", "bfloat16"), "--precision: goes without --operator enc"),
        (("--weights", "W", "--losses", "authors"), "--losses: authors needs --vgg W"),
        (("--weights", "W", "--vgg", "V"), "--vgg: goes with --losses authors only"),
        (("--refine",), "--refine: goes with --model basis_kernels only"),
    ],
)
def test_options_that_do_not_fit(files, fail, words, text):
    assert text in fail("deblur", files / "photo.png", *MODEL, *words, status=2)


def test_a_photograph_that_is_too_small(files, fail):
    out = files / "o.png"
    text = fail("deblur", files / "photo.png", *MODEL, "--kernel-size", 65, "-o", out)
    assert "image must have sides of at least 260 pixels for kernels of 65" in text
    assert not out.exists()


def test_missing_weights_of_vgg(files, fail, monkeypatch):
    class Wizard(torch.nn.Module):
        from_pretrained = classmethod(lambda cls, path: cls())
        apply_blur = None

    monkeypatch.setattr(kernel_space, "KernelWizard", Wizard, raising=False)
    write_image(files / "large.png", torch.rand(1, 3, 130, 140))
    text = fail(
        *("deblur", files / "large.png", *MODEL, "--weights", "W", "--losses", "authors"),
        *("--vgg", files / "vgg.pth", "-o", files / "o.png"),
    )
    assert "vgg.pth" in text
    assert not (files / "o.png").exists()
