# SPDX-License-Identifier: BSD-3-Clause
"""`blurops evaluate kernel_space`: the paper's tables, from tiny datasets."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.io import savemat

import blurops
from blurmodels import kernel_space
from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator
from blurmodels.datasets import levin_kernels, reds4
from blurmodels.evaluation import psnr
from blurmodels.kernel_space.experiments import columns, evaluate
from blurmodels.kernel_space.experiments.least_squares import apply_kernels, fit_kernels
from blurmodels.kernel_space.experiments.methods import Encoder
from blurmodels.kernel_space.experiments.paper import TABLES
from blurops.fields import BlurField
from blurops.images import read_image
from tests.classifiers import write_alexnet
from tests.cli.test_evaluate import our_rows, put, soft

COMMAND = ("evaluate", "kernel_space")


@pytest.fixture
def alexnet_files(tmp_path):
    return write_alexnet(tmp_path)[0]


def texture(seed, height=72, width=80):
    """A picture that determines kernels."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.6 * soft(image)


@pytest.fixture
def levin(tmp_path):
    (tmp_path / "Levin").mkdir()
    draw = np.random.default_rng(0)
    for index in range(8):
        taps = draw.random((5, 3 + index % 3))
        savemat(tmp_path / f"Levin/im05_flit0{index + 1}.mat", {"f": taps / taps.sum()})
    return tmp_path


def gopro(root, count=4):
    """Pairs whose blurred half is a little soft; the sharp images by number."""
    found = []
    for number in range(count):
        found.append(put(root / f"GoPro/test/GOPR1/sharp/{number}.png", texture(number)))
        put(root / f"GoPro/test/GOPR1/blur/{number}.png", soft(texture(number)))
    return found


class TestTransfers:
    def test_against_the_true_convolutions(self, levin, succeed):
        sharp = gopro(levin)
        words = ("--table", 1, "--data", levin, "--crop", 64, "--kernel-size", 7)
        out = succeed(*COMMAND, *words, "-o", levin / "r.json")
        rows = our_rows(out)
        assert "| the paper " in out
        assert "2 source and 2 target images" in out
        targets = [image[:, :, 4:68, 8:72] for image in (sharp[1], sharp[3])]
        kernels = list(levin_kernels(levin / "Levin").values())
        untouched = [sum(psnr(t, blurops.UniformBlur(k) @ t) for t in targets) / 2 for k in kernels]
        assert rows["sharp image"] == [f"{value:.2f}" for value in untouched]
        ours = [float(cell) for cell in rows["least squares, 7 x 7"]]
        assert min(ours) > 60 > max(map(float, rows["mean kernel"])) > max(untouched)
        report = json.loads((levin / "r.json").read_text())
        assert list(report["least squares, 7 x 7"]) == [f"kernel {n}" for n in range(1, 9)]

    def test_sources_and_targets_are_disjoint_and_each_meets_each(self, levin):
        gopro(levin, 6)
        source = columns.Source(levin, limit=2, crop=64)
        met = set()

        def apply(target, latent):
            met.add((latent, float(target.mean())))
            return target

        encoder = Encoder("e", lambda sharp, blurred: float(sharp.mean()), apply)
        evaluate.transfers(source, [encoder])
        firsts, seconds = ({pair[i] for pair in met} for i in (0, 1))
        assert len(met) == len(firsts) * len(seconds) == 4
        assert not firsts & seconds

    def test_the_mean_kernel_keeps_the_centres(self):
        wide, tall = torch.zeros(1, 5), torch.zeros(3, 1)
        wide[0, 2] = tall[1, 0] = 1
        mean = evaluate._mean([wide, tall])
        assert mean.shape == (3, 5)
        assert mean[1, 2] == 1

    def test_what_is_missing_is_said(self, levin, succeed, fail):
        out = succeed(*COMMAND, "--table", 1, "--data", levin)
        assert f"GoPro: not in {levin} (GoPro or GOPRO_Large or GOPRO)" in out
        assert our_rows(out)["sharp image"] == ["-"] * 8
        gopro(levin)
        err = fail(*COMMAND, "--table", 1, "--data", levin)
        assert "must have sides of at least 256 pixels, got 80 x 72" in err
        (levin / "Levin/im05_flit08.mat").unlink()
        assert "must hold 8 kernels, got 7" in fail(*COMMAND, "--table", 1, "--data", levin)


def reds(root, count=1):
    pairs = []
    for number in range(count):
        sharp = put(root / f"REDS/train/train_sharp/011/{number}.png", texture(20 + number))
        blurred = put(root / f"REDS/train/train_blur/011/{number}.png", soft(sharp))
        pairs.append((sharp, blurred))
    return pairs


class TestRetrievals:
    def test_one_dataset_of_two(self, tmp_path, succeed):
        ((sharp, blurred),) = reds(tmp_path)
        words = ("--table", 3, "--data", tmp_path, "--crop", 64, "--kernel-size", 5, "--grid", 2)
        rows = our_rows(succeed(*COMMAND, *words))
        sharp, blurred = (image[:, :, 4:68, 8:72] for image in (sharp, blurred))
        assert rows["sharp image"] == [f"{psnr(sharp, blurred):.2f}", "-"]
        kernels = fit_kernels(sharp, blurred, kernel_size=5, grid=2)
        score = psnr(apply_kernels(sharp, kernels).clamp(0, 1), blurred)
        assert rows["least squares, 5 x 5, 2 x 2 kernels"] == [f"{score:.2f}", "-"]

    def test_retrieval_and_g_alone(self, tmp_path):
        reds(tmp_path)
        encoder = Encoder(
            "e", lambda s, b: 0.0, lambda s, k: s + k, retrieve=lambda s, b: (b - s).mean()
        )
        table, scores = evaluate.retrievals(columns.Source(tmp_path, crop=64), [encoder])
        found = {name: values["011/0"] for name, values in scores["REDS4"].items()}
        assert found["e, G alone"] == found["sharp image"]
        assert found["e"] > found["sharp image"]
        assert [row.method for row in table.rows if row.ours] == ["sharp image", "e", "e, G alone"]


class TestRestorations:
    def test_supplement_with_every_kind_of_row(self, tmp_path, succeed, alexnet_files):
        from blurmodels.kernel_space.experiments.lpips import LPIPS

        (sharp,) = gopro(tmp_path, 1)
        torch.manual_seed(0)
        network = DeblurGANGenerator(width=2, blocks=1).eval()
        network.save(tmp_path / "g.safetensors")
        put(tmp_path / "done/GOPRO/GOPR1/0.png", sharp)
        for part in ("test/test-close-ups", "GT"):
            put(tmp_path / f"HIDE/{part}/1.png", texture(9))
        put(tmp_path / "done/HIDE/test-close-ups/1.png", texture(8))
        words = ["--table", 5, "--data", tmp_path, "--generator", f"G={tmp_path}/g.safetensors"]
        words += ["--restored", f"mine={tmp_path}/done"]
        for path in alexnet_files:
            words += ["--lpips", path]
        rows = our_rows(succeed(*COMMAND, *words))
        blurred = read_image(tmp_path / "GoPro/test/GOPR1/blur/0.png").pixels
        with torch.no_grad():
            restored = torch.round(network(blurred) * 255) / 255
        distance = LPIPS(alexnet_files)
        for name, image in (("blurred input", blurred), ("G", restored), ("mine", sharp)):
            cell = f"{psnr(image, sharp):.2f} / {distance(image, sharp):.3f}"
            assert rows[name][0] == cell
        assert rows["mine"][0] == "inf / 0.000"
        assert rows["blurred input"][1].startswith("inf")
        assert not rows["mine"][1].startswith("inf")

    def test_networks_on_both_datasets(self, tmp_path, succeed):
        gopro(tmp_path, 3)
        ((sharp, blurred),) = reds(tmp_path)
        out = succeed(*COMMAND, "--table", 2, "--data", tmp_path, "--limit", 2)
        assert our_rows(out)["blurred input"][0] == f"{psnr(blurred, sharp):.2f}"
        assert "REDS: 1 images, whole images." in out
        assert "GOPRO: 2 images" in out
        assert "| SRN-Deblur, blur-swapped data | 29.43      | 28.49" in out

    def test_faces_under_each_blur(self, tmp_path, succeed):
        reds(tmp_path)
        for name in ("00000/00000", "00000/00001"):
            put(tmp_path / f"FFHQ/{name}.png", texture(int(name[-1]) + 40, 150, 140))
        words = ("--table", 4, "--data", tmp_path, "--crop", 64, "--kernel-size", 5)
        out = succeed(*COMMAND, *words)
        cells = our_rows(out)["blurred input"]
        assert cells[2] == "-"
        assert "imgaug: 2 faces of FFHQ, 64 x 64, straight motions of 5 to 25 pixels." in out
        assert "blur of REDS's pairs by least squares, 5 x 5, 3 x 3 kernels." in out
        assert succeed(*COMMAND, *words) == out
        # The faces are as small as wanted, and have the blur of the pair: a box of 3 x 3.
        source = columns.Source(tmp_path, crop=64)
        encoder = Encoder("box", lambda s, b: psnr(s, b), lambda s, k: soft(s))
        _, seen, _ = columns.columns("4", source, encoder)
        blurred, sharp = seen.shots[1].read()
        square = read_image(tmp_path / "FFHQ/00000/00001.png").pixels[:, :, 5:145]
        small = torch.nn.functional.interpolate(square, (64, 64), mode="bicubic", antialias=True)
        assert torch.equal(sharp, small.clamp(0, 1))
        assert (blurred - soft(sharp)).abs().max() < 1 / 500
        assert seen.shots[1].name == "00000/00001"
        assert our_rows(
            succeed(*COMMAND, *words, "--faces", "celeba_hq")
        )["blurred input"] == ["-"] * 3  # fmt: skip


class Shade(torch.nn.Module):
    """F(x, k) = k x, G the ratio of the means: stand-ins for the networks."""

    @classmethod
    def from_pretrained(cls, path):
        assert path.endswith("w.safetensors")
        return cls()

    def extract_kernel(self, sharp, blurry):
        return (blurry.mean() / sharp.mean()).reshape(1, 1, 1, 1)

    def apply_blur(self, sharp, kernel):
        return sharp * kernel


class TestNetworks:
    @pytest.fixture(autouse=True)
    def _stand_ins(self, monkeypatch):
        calls = []

        def fit_operator(blurred, *, operator):
            calls.append(operator)
            meta = {"boundary": "reflect", "gamma": 2.2, "orientation": "correlation"}
            kernels = torch.zeros(1, 1, 3, 3)
            kernels[..., 1, 1] = 1
            field = BlurField(kernels, torch.ones(1, 1, *blurred.shape[2:]), meta)
            return SimpleNamespace(field=field)

        def deblur_encoded(blurred, apply_blur):
            return SimpleNamespace(image=apply_blur(blurred, 0.5))

        for name, value in (
            ("KernelWizard", Shade), ("fit_operator", fit_operator),
            ("deblur_encoded", deblur_encoded),
        ):  # fmt: skip
            monkeypatch.setattr(kernel_space, name, value, raising=False)
        self.calls = calls

    def test_the_encoder_of_the_weights(self, tmp_path, succeed):
        sharp = put(tmp_path / "REDS/train_sharp/000/0.png", texture(0))
        blurred = put(tmp_path / "REDS/train_blur/000/0.png", 0.5 * texture(0))
        words = ("--table", 3, "--data", tmp_path, "--crop", 72, "--weights", "w.safetensors")
        rows = our_rows(succeed(*COMMAND, *words))
        sharp, blurred = sharp[..., 4:76], blurred[..., 4:76]
        score = psnr(sharp * blurred.mean() / sharp.mean(), blurred)
        assert rows["blurops, w.safetensors, G alone"] == [f"{score:.2f}", "-"]
        assert float(rows["blurops, w.safetensors"][0]) >= round(score, 2)
        assert list(rows)[3].startswith("least squares")

    def test_blind_rows(self, tmp_path, succeed, fail):
        (sharp,) = gopro(tmp_path, 1)
        words = [*COMMAND, "--table", 2, "--data", tmp_path]
        words += ["--blind", "uniform", "--blind", "encoded"]
        rows = our_rows(succeed(*words, "--weights", "w.safetensors"))
        blurred = read_image(tmp_path / "GoPro/test/GOPR1/blur/0.png").pixels
        half = psnr(columns.stored(0.5 * blurred), sharp)
        assert rows["blind, encoded"] == ["-", f"{half:.2f}"]
        # A kernel that does nothing, and values far from saturation: the image as it is.
        assert float(rows["blind, uniform"][1]) == pytest.approx(
            float(rows["blurred input"][1]), abs=0.3
        )
        assert self.calls == ["uniform"]
        assert "--blind encoded: needs --weights W" in fail(*words, status=2)


def test_time(tmp_path, succeed):
    DeblurGANGenerator(width=2, blocks=1).save(tmp_path / "g.safetensors")
    words = ("--table", "time", "--generator", f"G={tmp_path}/g.safetensors")
    out = succeed(*COMMAND, *words, "-o", tmp_path / "r.json")
    assert "209.53" in out
    calls = json.loads((tmp_path / "r.json").read_text())["G"]
    assert our_rows(out)["G"] == [f"{min(calls):.2f}"]
    assert len(calls) == 3


def test_experiments(tmp_path, succeed, monkeypatch):
    from blurmodels.kernel_space.experiments import small

    fields = {"pairs": 2, "side": 48, "patch": 40, "kernel_size": 9, "width": 2, "blocks": 1}
    for name, value in {**fields, "held_out": 1, "batch_size": 1, "grid": 1}.items():
        # Defaults of a dataclass are those of its __init__.
        position = list(small.Options.__dataclass_fields__).index(name)
        defaults = list(small.Options.__init__.__defaults__)
        defaults[position] = value
        monkeypatch.setattr(small.Options.__init__, "__defaults__", tuple(defaults))
    out = succeed(*COMMAND, "--experiment", "swap", "--steps", 1, "--seeds", 2)
    assert "Table 2: deblurring networks" in out
    assert "Blur-swapping on generated scenes" in out
    assert "seeds: 2." in out
    words = ("--experiment", "augment", "--steps", 1, "-o", tmp_path / "r.json")
    out = succeed(*COMMAND, *words)
    assert "Table 4: deblurring networks" in out
    ((_, straight, combined),) = [
        list(run) for run in json.loads((tmp_path / "r.json").read_text())
    ]
    assert straight in our_rows(out)
    assert combined in our_rows(out)


def test_transfer_is_an_experiment(tmp_path, succeed, fail, monkeypatch):
    from blurmodels.kernel_space.experiments import transfer

    def compare(options, progress):
        return {"F and G": [30.0 + options.seed, 40.0], "sharp image": [20.0, float(options.steps)]}

    monkeypatch.setattr(transfer, "compare", compare)
    words = ("--experiment", "transfer", "--steps", 3, "--seeds", 2, "--seed", 5)
    out = succeed(*COMMAND, *words, "-o", tmp_path / "r.json")
    assert "Table 1: " in out
    assert our_rows(out)["F and G"] == ["35.00", "40.00", "37.75"]
    assert "3 steps" in out
    assert json.loads((tmp_path / "r.json").read_text())[1]["F and G"] == [36.0, 40.0]
    assert "trains its own" in fail(*COMMAND, *words, "--weights", "w", status=2)


def test_errors_are_one_line(tmp_path, fail):
    (tmp_path / "data").mkdir()
    data = ("--data", tmp_path / "data")
    assert "needs --data DIR" in fail(*COMMAND, "--table", 1, status=2)
    assert "time: needs --blind or --generator" in fail(*COMMAND, "--table", "time", status=2)
    assert "no such folder of datasets" in fail(*COMMAND, "--table", 1, "--data", "nowhere")
    assert "must be odd, got 8" in fail(*COMMAND, "--table", 1, *data, "--kernel-size", 8, status=2)
    twice = ("--restored", "a=b", "--restored", "a=c")
    assert "names of their own" in fail(*COMMAND, "--table", 5, *data, *twice, status=2)
    assert "must end in .json" in fail(*COMMAND, "--table", 1, *data, "-o", tmp_path / "r.txt")
    fail(*COMMAND, "--table", 5, *data, "--lpips", tmp_path / "none.pth")
    fail(*COMMAND, status=2)


def test_every_number_of_the_paper():
    """Sums of the rows as printed, so that a digit that slips is seen."""
    sums = {
        number: round(sum(float(cell) for row in table.rows for cell in row.cells), 2)
        for number, table in TABLES.items()
    }
    assert sums == {
        "1": 408.42, "2": 118.82, "3": 131.53, "4": 156.41, "5": 151.60, "time": 209.53,
    }  # fmt: skip
    assert list(TABLES["5"].columns) == ["GOPRO", "HIDE"]


def test_samples_are_drawn_by_the_seed(tmp_path):
    items = list(range(50))
    one, same, other = (
        columns.Source(tmp_path, 9, seed=seed).some(items, None) for seed in (0, 0, 1)
    )
    assert one == same == sorted(one) != other
    assert len(set(one)) == 9
    assert columns.Source(tmp_path).some(items, 60) == items
    assert len(columns.Source(tmp_path).some(items, 20)) == 20
    reds(tmp_path, 2)
    assert [pair.name for pair in reds4(tmp_path / "REDS")] == ["011/0", "011/1"]
