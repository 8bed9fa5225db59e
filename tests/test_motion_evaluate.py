# SPDX-License-Identifier: BSD-3-Clause
"""`blurops evaluate irc`: the paper's rows, and ours of networks whose scores are known."""

import pytest
import torch

from blurmodels.evaluation import mean_scores, plain_scores
from blurmodels.irc import BlindDeblurrer, IRCNet, MotionNet
from blurmodels.irc.motion_data import CameraBlurs, CameraSettings
from blurmodels.irc.motion_evaluate import (
    PAPER,
    blind_table,
    known_motion_table,
    kohler_table,
    motion_table,
)
from blurmodels.irc.motion_score import motion_mse
from blurmodels.scenes import DeadLeaves
from blurops.cli import main
from blurops.images import write_image


def still(observed):
    return torch.ones_like(observed[:, 0]), torch.zeros_like(observed[:, 0])


def own(table):
    return {row.method: row.cells for row in table.rows if row.ours}


def test_motion_table_scores_both_levels():
    scenes = DeadLeaves(2, objects=0)
    rows = own(motion_table(still, scenes, 2, (16, 20)))
    for column, most in enumerate((21, 35)):
        blurs = CameraBlurs(scenes, (16, 20), CameraSettings(most))
        want = motion_mse(still, blurs, range(2))
        assert rows["blurops"][column] == rows["no motion"][column] == f"{want.still:.2f}"
        assert rows["the best constant motion"][column] == f"{want.constant:.2f}"
    assert float(rows["blurops"][2]) >= 0


def test_known_motion_is_told_to_the_network():
    scenes = DeadLeaves(1, objects=0)
    example = CameraBlurs(scenes, (16, 20), CameraSettings(9))[0]

    def network(observed, length, angle):
        assert torch.equal(length[0], example.length)
        assert torch.equal(angle[0], example.angle)
        return example.sharp[None] + 0.1 * (observed - example.sharp)

    rows = own(known_motion_table(network, scenes, 1, (16, 20), max_length=9))
    before, after = (float(rows[name][0]) for name in ("blurred", "blurops"))
    assert before + 19.5 < after < before + 20.5


def test_blind_tables_score_what_comes_out(tmp_path):
    images = torch.rand(3, 1, 3, 16, 18)
    for level in ("moderate", "severe"):
        for k, part in enumerate(("blurred", "sharp")):
            (tmp_path / level / part).mkdir(parents=True)
            write_image(tmp_path / level / part / "a.png", images[k + (level == "severe")])
    rows = own(blind_table(lambda y: y, tmp_path, DeadLeaves(), None))
    stored = (images * 255).round() / 255
    for column, k in ((0, 0), (2, 1)):
        scores = mean_scores([plain_scores(stored[k], stored[k + 1])])
        assert rows["blurops"][column : column + 2] == (f"{scores.psnr:.2f}", f"{scores.ssim:.3f}")
    made = own(blind_table(lambda y: y, None, DeadLeaves(2, objects=0), 1, (20, 24)))
    assert float(made["blurops"][0]) > 10
    write_image(tmp_path / "Blurry1_1.png", images[0])
    (tmp_path / "Image1" / "Kernel1").mkdir(parents=True)
    write_image(tmp_path / "Image1" / "Kernel1" / "GroundTruth1_1_1.png", images[0] * 0.9)
    assert float(own(kohler_table(lambda y: y, tmp_path))["blurops"][0]) > 30


def test_the_command_prints_every_table(tmp_path, capsys):
    torch.manual_seed(0)
    estimator = MotionNet(18, width=2, blocks=(1, 1, 1, 1)).eval()
    network = IRCNet(1, 1, max_length=5, size=7)
    estimator.save_pretrained(tmp_path / "2.safetensors")
    network.save_pretrained(tmp_path / "3.safetensors")
    BlindDeblurrer(estimator, network).save_pretrained(tmp_path / "4.safetensors")
    for table in (2, 3, 4):
        words = f"evaluate irc --table {table} --weights {tmp_path}/{table}.safetensors --count 1"
        output = tmp_path / f"{table}.md"
        assert main([*words.split(), "--size", "24,20", "-o", str(output)]) == 0
        text = capsys.readouterr().out
        assert text == output.read_text()
        assert "blurops *" in text
        assert PAPER[table].rows[0].method in text
    words = f"evaluate irc --table 5 --weights {tmp_path}/4.safetensors".split()
    assert main(words) == 2
    assert "5 needs --data DIR" in capsys.readouterr().err


@pytest.mark.parametrize("table", PAPER)
def test_tables_are_whole(table):
    assert PAPER[table].title.startswith(f"Table {table}:")
    assert [row.method for row in PAPER[table].rows if "Eboli" in row.method]
