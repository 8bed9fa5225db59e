# SPDX-License-Identifier: BSD-3-Clause
"""A blind pipeline made of two weights files and trained by the command."""

from pathlib import Path

import pytest
import torch

from blurmodels.irc import BlindDeblurrer, IRCNet, MotionNet
from blurops.cli import main
from blurops.images import write_image


class TestPipelineFromTwoFiles:
    """`blurops train irc --motion M --weights W`."""

    WORDS = "train irc {} --recipe small --patch 24 --epoch 4 --batch-size 2 --steps {} --threads 1"

    @pytest.fixture
    def parts(self, tmp_path, monkeypatch):
        torch.manual_seed(0)
        MotionNet(18, width=2, blocks=(1, 1, 1, 1)).save_pretrained(tmp_path / "m.safetensors")
        IRCNet(1, 1, max_length=3, size=7).save_pretrained(tmp_path / "n.safetensors")
        write_image(tmp_path / "photo.png", torch.rand(1, 3, 40, 48))
        monkeypatch.chdir(tmp_path)
        return MotionNet.from_pretrained("m.safetensors"), IRCNet.from_pretrained("n.safetensors")

    def test_both_learn_and_the_result_restores_blindly(self, parts, capsys):
        words = self.WORDS + " --motion m.safetensors --weights n.safetensors"
        extra = " --combine outputs --checkpoint-every 1 --held-out 1 --learning-rate 1e-2"
        assert main((words.format("out", 2) + extra).split()) == 0
        text = capsys.readouterr().out
        assert "dB before" in text
        assert "squared error of the motion: " in text
        pipeline = BlindDeblurrer.from_pretrained("out/weights.safetensors")
        assert pipeline.combine == "outputs"
        for before, after in zip(parts, (pipeline.estimator, pipeline.network), strict=True):
            assert after.architecture == before.architecture
            old = before.state_dict()
            moved = [name for name, value in after.state_dict().items()
                     if not torch.equal(value, old[name])]  # fmt: skip
            assert {"last.weight", "bank"} & set(moved)
            step = max(float((value - old[name]).abs().max())
                       for name, value in after.state_dict().items())  # fmt: skip
            assert step <= 2 * 1.1e-2  # Adam's: it started from the files, not anew
        words = "deblur photo.png --model irc --weights {}"
        assert main(words.format("out/weights.safetensors").split()) == 0
        assert "estimated in" in capsys.readouterr().out

    def test_without_weights_the_recipe_makes_the_irc_net(self, parts, capsys):
        words = self.WORDS + " --motion m.safetensors --stages 1 --inner 1 --max-length 5 --size 7"
        assert main(words.format("out", 1).split()) == 0
        pipeline = BlindDeblurrer.from_pretrained("out/weights.safetensors")
        assert (pipeline.network.max_length, pipeline.network.stages) == (5, 1)

    @pytest.mark.parametrize(
        ("words", "status", "expected"),
        [
            ("--motion n.safetensors", 1, "hold weights of irc.MotionNet, got weights of irc.IRC"),
            ("M --weights m.safetensors", 1, "hold weights of irc.IRCNet, got weights of irc.Mot"),
            ("M N --max-length 5", 1, "max_length must be at most 3 pixels, the longest motion"),
            ("M N --stages 2", 2, "--stages: goes without --weights"),
            ("M --pipeline n.safetensors", 2, "--pipeline: goes without --motion"),
            ("N --reblur 1", 2, "--reblur: goes with --motion and --pipeline only"),
            ("M N --reblur -1", 2, "--reblur: must be at least 0, got -1"),
            ("N --combine outputs", 2, "--combine: goes with --motion only"),
            ("--motion absent.safetensors", 1, "absent.safetensors"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, parts, capsys, words, status, expected):
        files = words.replace("M ", "--motion m.safetensors ")
        files = files.replace("N ", "--weights n.safetensors ")
        assert main((self.WORDS.format("out", 1) + " " + files).split()) == status
        found = capsys.readouterr().err
        assert expected in found
        assert found.count("\n") == 1
        assert not Path("out").exists()
