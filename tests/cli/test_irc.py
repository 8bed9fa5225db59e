# SPDX-License-Identifier: BSD-3-Clause
"""`blurops deblur --model irc`: with a known motion, and blindly."""

import json

import pytest
import torch
from torch import nn

from blurmodels.irc import BlindDeblurrer, IRCNet, joint
from blurops import load_motion_field, save_motion_field
from blurops.images import read_image, write_image
from tests.cli.scenes import HEIGHT, WIDTH, scene


class Slanted(nn.Module):
    """Says that everything moves alike."""

    name = "slanted"

    def __init__(self):
        super().__init__()
        self.architecture = {}

    def forward(self, image):
        still = torch.ones(len(image), *image.shape[2:])
        return 3.5 * still, 0.3 * still


@pytest.fixture
def trained(tmp_path):
    network = IRCNet(2, 1, max_length=5, size=7, mode="bilinear", method="fft")
    network.save_pretrained(tmp_path / "n.safetensors")
    pipeline = BlindDeblurrer(Slanted(), network, combine="outputs")
    pipeline.save_pretrained(tmp_path / "p.safetensors")
    write_image(tmp_path / "photo.png", scene())
    still = torch.ones(1, HEIGHT, WIDTH)
    save_motion_field(tmp_path / "f.mat", 3.5 * still, 0.3 * still)
    save_motion_field(tmp_path / "long.mat", 9 * still, 0 * still)
    save_motion_field(tmp_path / "wide.mat", still[..., :30], still[..., :30])
    return tmp_path


def restored(network, combine="filters", gamma=2.2):
    light = scene().mul(255).round().div(255) ** gamma
    still = torch.ones(1, HEIGHT, WIDTH)
    with torch.no_grad():
        image = network(light, 3.5 * still, 0.3 * still, combine=combine)
    return (image.clamp(min=0) ** (1 / gamma)).clamp(0, 1)


def test_known_motion(trained, succeed):
    out = trained / "o.png"
    text = succeed(
        *(
            "deblur",
            trained / "photo.png",
            "--model",
            "irc",
            "--weights",
            trained / "n.safetensors",
        ),
        *("--motion-field", trained / "f.mat", "--bits", 16, "--gamma", 1.8, "-o", out),
    )
    assert text.startswith(f"{out}: {WIDTH} x {HEIGHT}, motion of up to 3.5 pixels, known, ")
    wanted = restored(IRCNet.from_pretrained(trained / "n.safetensors"), gamma=1.8)
    # Reading the field turns degrees into radians: angles differ by rounding, light by less.
    torch.testing.assert_close(read_image(out).pixels, wanted, atol=4 / 65535, rtol=0)
    assert json.loads((trained / "o-report.json").read_text())["combine"] == "filters"


def test_blind(trained, succeed, monkeypatch):
    monkeypatch.setitem(joint.ESTIMATORS, "slanted", Slanted)
    monkeypatch.chdir(trained)
    text = succeed("deblur", "photo.png", "--model", "irc", "--weights", "p.safetensors")
    assert "estimated in" in text
    wanted = restored(IRCNet.from_pretrained("n.safetensors"), "outputs")
    found = read_image("photo-deblurred.png").pixels
    torch.testing.assert_close(found, wanted, atol=0.6 / 255, rtol=0)
    field = load_motion_field("photo-deblurred-motion.mat")
    torch.testing.assert_close(field.length, torch.full((1, HEIGHT, WIDTH), 3.5))
    torch.testing.assert_close(field.angle, torch.full((1, HEIGHT, WIDTH), 0.3))


@pytest.mark.parametrize(
    ("words", "expected", "status"),
    [
        ("--weights n.safetensors --motion-field wide.mat", "must be 56 x 40 pixels", 1),
        ("--weights n.safetensors --motion-field long.mat", "at most 5 pixels, the longest", 1),
        ("--weights n.safetensors", "must be of irc.BlindDeblurrer, which estimates motion", 1),
        ("--weights p.safetensors", "estimator is 'slanted', of those known", 1),
        ("--weights photo.png", "safetensors", 1),
        ("", "irc needs --weights W", 2),
        ("--weights n.safetensors --iterations 3", "--iterations: goes without --model irc", 2),
        ("--weights n.safetensors --field f", "--field: not allowed with argument --model", 2),
    ],
)
def test_failures_leave_nothing_behind(trained, fail, monkeypatch, words, expected, status):
    monkeypatch.chdir(trained)
    before = {path.name for path in trained.iterdir()}
    line = fail("deblur", "photo.png", "--model", "irc", *words.split(), status=status)
    assert expected in line
    assert {path.name for path in trained.iterdir()} == before


def test_other_models_are_not_told(trained, fail):
    line = fail(
        *("deblur", trained / "photo.png", "--model", "basis_kernels", "--motion-field"),
        trained / "f.mat", status=2,
    )  # fmt: skip
    assert "--model: not allowed with argument --motion-field" in line
