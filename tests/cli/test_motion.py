# SPDX-License-Identifier: BSD-3-Clause
"""`blurops motion` and `blurops train motion`."""

import pytest
import torch

from blurmodels import training
from blurmodels.irc import MotionNet
from blurops import load_motion_field
from blurops.cli import main
from blurops.images import read_image, write_image


@pytest.fixture
def photo(tmp_path):
    write_image(tmp_path / "photo.png", torch.rand(1, 3, 40, 52))
    torch.manual_seed(0)
    network = MotionNet(18, width=2, blocks=(1, 1, 1, 1))
    torch.nn.init.normal_(network.last.weight, std=0.3)
    network.save_pretrained(tmp_path / "w.safetensors")
    return tmp_path


def test_field_and_picture(photo, capsys):
    words = ["motion", str(photo / "photo.png"), "--weights", str(photo / "w.safetensors")]
    assert main([*words, "-o", str(photo / "f.mat"), "--picture", str(photo / "p.png")]) == 0
    found = load_motion_field(photo / "f.mat")
    network = MotionNet.from_pretrained(photo / "w.safetensors")
    with torch.no_grad():
        length, angle = network(read_image(photo / "photo.png").pixels)
    torch.testing.assert_close(found.length, length)
    torch.testing.assert_close(found.angle, angle, atol=1e-5, rtol=0)
    assert read_image(photo / "p.png").pixels.shape[1] >= 3
    assert "52 x 40, motions of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ([], 2, "one of the arguments -o, --picture is required"),
        (["-o", "f.txt"], 1, "'f.txt' must end in .mat"),
        (["--picture", "p.gif"], 1, "'p.gif' must end in one of .png, .pdf, .svg"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(photo, capsys, change, status, text):
    before = sorted(photo.iterdir())
    words = ["motion", str(photo / "photo.png"), "--weights", str(photo / "w.safetensors")]
    assert main([*words, *change]) == status
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert sorted(photo.iterdir()) == before


def test_train(tmp_path, capsys):
    words = (
        f"train motion {tmp_path / 'out'} --recipe small --width 2 --size 24 --epoch 4"
        " --max-length 5 --batch-size 2 --steps 2 --log-every 1 --threads 1 --held-out 1"
    ).split()
    assert main(words) == 0
    assert "held out: squared error" in capsys.readouterr().out
    network = MotionNet.from_pretrained(tmp_path / "out" / training.WEIGHTS)
    assert network.architecture["width"] == 2
    write_image(tmp_path / "p.png", torch.rand(1, 1, 30, 20))
    field = str(tmp_path / "f.mat")
    weights = str(tmp_path / "out" / training.WEIGHTS)
    assert main(["motion", str(tmp_path / "p.png"), "--weights", weights, "-o", field]) == 0
    assert main([*words, "--flow", "x"]) == 2
    assert "argument --flow: goes with --gopro only" in capsys.readouterr().err
    assert main([*words, "--voc", str(tmp_path / "none")]) == 1
    assert "none: No such file" in capsys.readouterr().err
