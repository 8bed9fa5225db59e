# SPDX-License-Identifier: BSD-3-Clause
"""`blurops evaluate basis_kernels`: the paper's tables, from tiny datasets."""

import json

import numpy as np
import pytest
import torch
from scipy.io import savemat

from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator
from blurmodels.basis_kernels.estimate import estimate_field
from blurmodels.basis_kernels.experiments.columns import COLUMNS
from blurmodels.basis_kernels.experiments.paper import TABLES
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.evaluation import aligned_scores, plain_scores, shifted_scores
from blurops import BasisBlur, Saturation, richardson_lucy
from blurops.images import read_image, write_image
from tests.cli.scenes import scene

COMMAND = ("evaluate", "basis_kernels")


def soft(image):
    """A little blurred, and darker."""
    return 0.9 * torch.nn.functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)


def put(path, image):
    """Stores an image; returns what is read back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)
    return read_image(path).pixels


def stored(image):
    """Truncated to 8 bits, as the authors save."""
    return torch.floor(image.clamp(0, 1) * 255 + 1e-3) / 255


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "w.safetensors"
    TwoHeadsNetwork(basis_size=15, width=2).save_pretrained(path)
    return path


def our_rows(out):
    """The cells of the rows marked as ours, by name."""
    lines = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return {line[0][:-2]: line[1:] for line in cells if line[0].endswith(" *")}


class TestRestoration:
    def test_kohler(self, tmp_path, succeed, weights):
        sharp = scene()
        blurred = put(tmp_path / "Kohler/BlurryImages/Blurry1_2.png", soft(sharp))
        frames = torch.stack([sharp.roll(1, dims=3), sharp, 0.5 * sharp])
        frames = (frames * 255).round().byte()[:, 0].permute(2, 3, 1, 0).numpy()
        truth = tmp_path / "Kohler/groundTruthMatFiles"
        truth.mkdir()
        savemat(truth / "GroundTruth1_2.mat", {"GroundTruth": frames})
        out = succeed(
            *COMMAND, "--table", 1, "--data", tmp_path, "--weights", weights, "--preset", "none",
            "-o", tmp_path / "report.json",
        )  # fmt: skip
        assert "| the paper " in out
        assert "28.39/0.82" in out
        each = [
            torch.from_numpy(np.ascontiguousarray(frames[..., i].transpose(2, 0, 1)))[None] / 255
            for i in range(3)
        ]
        network = TwoHeadsNetwork.from_pretrained(weights)
        field = estimate_field(blurred, network, gamma=1.0)
        operator = BasisBlur(field.kernels, field.mixing)
        restored = stored(richardson_lucy(blurred, operator, variant="basic").image)
        scores = {
            name: max((aligned_scores(image, frame) for frame in each), key=lambda s: s.psnr)
            for name, image in (("blurred input", blurred), ("blurops, w.safetensors", restored))
        }
        rows = our_rows(out)
        assert rows == {name: [f"{s.psnr:.2f}/{s.ssim:.2f}"] for name, s in scores.items()}
        report = json.loads((tmp_path / "report.json").read_text())
        ((_, methods),) = report.items()
        assert methods["blurred input"]["1_2"] == pytest.approx(list(scores["blurred input"]))

    def test_kohler_of_the_first_version_without_homography(self, tmp_path, succeed):
        sharp = scene()
        truth = tmp_path / "Kohler/groundTruthMatFiles"
        truth.mkdir(parents=True)
        expected = []
        for shake, image in ((1, soft(sharp)), (8, 0.5 * soft(soft(sharp)))):
            blurred = put(tmp_path / f"Kohler/Blurry1_{shake}.png", image)
            frames = (sharp * 255).round().byte().permute(2, 3, 1, 0).numpy()
            savemat(truth / f"GroundTruth1_{shake}.mat", {"GroundTruth": frames})
            frame = torch.from_numpy(frames[..., 0].transpose(2, 0, 1).copy())[None] / 255
            expected.append(shifted_scores(blurred, frame).psnr)
        out = succeed(*COMMAND, "--paper", "first", "--table", 2, "--data", tmp_path)
        assert our_rows(out)["blurred input"] == [
            f"{sum(expected) / 2:.2f}",
            f"{expected[0]:.2f}",
        ]

    def test_realblur_where_one_half_is_there(self, tmp_path, succeed, weights):
        sharp = put(tmp_path / "RealBlur/RealBlur_J/target/1.png", scene())
        blurred = put(tmp_path / "RealBlur/RealBlur_J/input/1.png", soft(scene()))
        put(tmp_path / "RealBlur/RealBlur_R/target/1.png", scene())
        put(tmp_path / "RealBlur/RealBlur_R/input/1.png", scene())
        put(tmp_path / "done/RealBlur-J/1.png", scene())
        put(tmp_path / "done/RealBlur-R/1.png", scene())
        words = ("--data", tmp_path, "--restored", f"mine={tmp_path}/done")
        out = succeed(*COMMAND, "--table", 2, *words)
        score = aligned_scores(blurred, sharp)
        rows = our_rows(out)
        assert rows["blurred input"][1] == f"{score.psnr:.2f}/{score.ssim:.3f}"
        assert float(rows["mine"][1].split("/")[0]) > score.psnr + 10
        assert rows["mine"][1] == rows["mine"][0]
        # Table 4 is the same set, under the basis size of the network.
        out = succeed(*COMMAND, "--table", 4, "--data", tmp_path, "--weights", weights)
        field = estimate_field(blurred, TwoHeadsNetwork.from_pretrained(weights), gamma=2.2)
        operator = BasisBlur(field.kernels, field.mixing)
        image = richardson_lucy(blurred, operator, preset="carbajal2021", gamma=2.2).image
        score = aligned_scores(stored(image), sharp)
        assert our_rows(out)["blurops, w.safetensors"] == [f"{score.psnr:.2f}", "-", "-"]
        out = succeed(
            *COMMAND, "--table", 4, "--data", tmp_path, "--weights", weights, "--preset", "none"
        )
        image = richardson_lucy(blurred, operator, saturation=Saturation(), gamma=2.2).image
        score = aligned_scores(stored(image), sharp)
        assert our_rows(out)["blurops, w.safetensors"][0] == f"{score.psnr:.2f}"

    def test_gopro_with_a_generator_and_a_limit(self, tmp_path, succeed):
        torch.manual_seed(0)
        network = DeblurGANGenerator(width=2, blocks=1).eval()
        network.save(tmp_path / "g.safetensors")
        base = tmp_path / "GOPRO_Large/test/GOPR1"
        for name in ("000001", "000002"):
            sharp = put(base / "sharp" / f"{name}.png", scene(seed_of(name)))
            blurred = put(base / "blur" / f"{name}.png", soft(scene(seed_of(name))))
            if name == "000001":
                with torch.no_grad():
                    score = plain_scores(stored(network(blurred)), sharp)
        out = succeed(
            *COMMAND, "--table", 3, "--data", tmp_path, "--limit", 1,
            "--generator", f"G={tmp_path}/g.safetensors",
        )  # fmt: skip
        assert our_rows(out)["G"] == [f"{score.psnr:.2f}/{score.ssim:.2f}"]
        assert "1 images, a part." in out

    def test_sets_that_are_not_there_are_said_to_be_missing(self, tmp_path, succeed):
        put(tmp_path / "DVD/IMG_0030/input/00000.jpg", soft(scene()))
        put(tmp_path / "DVD/IMG_0030/GT/00000.jpg", scene())
        out = succeed(*COMMAND, "--paper", "first", "--table", 1, "--data", tmp_path)
        cells = our_rows(out)["blurred input"]
        assert cells[:2] == ["-", "-"]
        assert "/" in cells[2]
        assert f"GoPro: not in {tmp_path} (GoPro or GOPRO_Large)" in out


def seed_of(name):
    """A height, so that scenes differ."""
    return 40 + 8 * int(name[-1])


class TestDetection:
    def test_cuhk(self, tmp_path, succeed, weights):
        put(tmp_path / "CUHK/image/motion0001.png", scene())
        mask = torch.zeros(1, 1, 40, 56)
        mask[..., :14] = 1
        put(tmp_path / "CUHK/gt/motion0001.png", mask)
        words = (*COMMAND, "--paper", "first", "--table", 4, "--data", tmp_path)
        rows = our_rows(succeed(*words, "--weights", weights))
        # A quarter of the pixels is blurred, which is what a map without information scores.
        assert rows["all alike"] == ["0.2500"]
        assert 0 < float(rows["blurops, w.safetensors"][0]) <= 1
        out = succeed(*words, "--white", "sharp")
        assert our_rows(out)["all alike"] == ["0.7500"]
        assert "taken as sharp" in out
        out = succeed(*COMMAND, "--paper", "first", "--table", 4, "--data", tmp_path / "CUHK")
        assert "CUHK: not in" in out


class TestErrors:
    def test_each_is_one_line(self, tmp_path, fail, weights):
        (tmp_path / "data").mkdir()
        table = (*COMMAND, "--table", 2)
        data = (*table, "--data", tmp_path / "data")
        assert "needs --data DIR" in fail(*table, status=2)
        assert "nowhere: no such folder of datasets" in fail(*table, "--data", "nowhere")
        assert "must be NAME=PATH" in fail(*data, "--restored", "x", status=2)
        assert "names of their own" in fail(
            *data, "--restored", "a=b", "--restored", "a=c", status=2
        )
        assert "must end in .json" in fail(*data, "-o", tmp_path / "r.txt")
        fail(*data, "--weights", tmp_path / "none.safetensors")
        fail(*COMMAND, status=2)

    def test_files_are_named(self, tmp_path, fail, weights):
        words = (*COMMAND, "--table", 4, "--data", tmp_path)
        for kind in "RJ":
            for part in ("input", "target"):
                put(tmp_path / f"RealBlur/RealBlur_{kind}/{part}/1.png", scene())
        err = fail(*words, "--restored", f"mine={tmp_path}/done")
        assert f"{tmp_path}/done/RealBlur-J/1.png: no restored image" in err
        put(tmp_path / "done/RealBlur-J/1.png", scene(48))
        assert "must be 56 x 40 pixels" in fail(*words, "--restored", f"mine={tmp_path}/done")
        torch.manual_seed(0)
        TwoHeadsNetwork(basis_size=3, width=2).save_pretrained(weights)
        assert "got B = 3" in fail(*words, "--weights", weights)
        path = tmp_path / "RealBlur/RealBlur_J/input/1.png"
        path.write_bytes(path.read_bytes()[:70])
        assert "input/1.png' must be a whole image file" in fail(*words)


def test_every_column_of_the_paper_has_its_protocol():
    for version, tables in TABLES.items():
        for number, table in tables.items():
            if (version, number) not in (("first", "4"), ("second", "4")):
                assert len(COLUMNS[version][number]) == len(table.columns)
                heads = [head.split()[0] for head in table.columns]
                folders = [column.folder for column in COLUMNS[version][number]]
                if (version, number) != ("first", "2"):
                    assert [head.replace("ö", "o") for head in heads] == folders
            assert any(
                row.method.startswith(("the paper", "DeblurGAN, the", "L2")) for row in table.rows
            )
