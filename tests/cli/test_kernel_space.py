# SPDX-License-Identifier: BSD-3-Clause
"""`blurops transfer`, `sample-blur`, `retrieve`, `augment` and `train kernel_space`."""

import pytest
import torch

from blurmodels import datasets, training
from blurmodels.kernel_space import KernelWizard, pairs
from blurmodels.kernel_space.synthesis import retrieve, sample, transfer
from blurmodels.kernel_space.task import initialise
from blurops.cli import main
from blurops.images import read_image, write_image


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Pictures of 140 x 130 pixels, a gray target of 128 x 100, weights with and without VAE."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(2)
    for name, shape in (("s/a", (3, 130, 140)), ("b/a", (3, 130, 140)), ("t/x", (1, 100, 128))):
        (tmp_path / name).parent.mkdir()
        write_image(f"{name}.png", torch.rand(1, *shape, generator=generator))
    for name, vae in (("w", False), ("vae", True)):
        network = KernelWizard(2, 4, vae=vae)
        initialise(network, 1)
        # At the start F is nearly the identity, which would hide what is applied.
        network.recon_trunk[-1].weight.data *= 100
        network.save_pretrained(f"{name}.safetensors")
    return tmp_path


def pixels(path):
    return read_image(path).pixels.expand(-1, 3, -1, -1)


def network(name="w"):
    return KernelWizard.from_pretrained(f"{name}.safetensors").requires_grad_(False)


def near(path, wanted):
    return float((pixels(path) - wanted).abs().max()) < 0.51 / 255 + 1e-6


def test_transfer(files, capsys):
    command = ["transfer", "s/a.png", "b/a.png", "t/x.png", "--weights", "w.safetensors"]
    assert main([*command, "-o", "o.png"]) == 0
    wanted = transfer(network(), pixels("s/a.png"), pixels("b/a.png"), pixels("t/x.png"))
    assert read_image("o.png").pixels.shape == (1, 1, 100, 128)
    assert near("o.png", wanted.mean(1, keepdim=True))
    write_image("b/a.png", torch.rand(1, 3, 130, 150))
    assert main([*command, "-o", "p.png"]) != 0
    assert "blurry must have the shape of sharp" in capsys.readouterr().err
    assert not (files / "p.png").exists()


def test_retrieve_is_better_than_the_extracted_kernel(files, capsys):
    sharp = pixels("s/a.png")
    truth = network().apply_blur(sharp, torch.rand(1, 4, 2, 2)).clamp(0, 1)
    write_image("b/a.png", truth)
    command = ["retrieve", "s/a.png", "b/a.png", "--weights", "w.safetensors", "-o", "o.png"]
    assert main([*command, "--steps", "6"]) == 0
    printed = float(capsys.readouterr().out.split("PSNR ")[1].split(" dB")[0])
    six = retrieve(network(), sharp, pixels("b/a.png"), steps=6)
    assert printed == pytest.approx(six.psnr, abs=0.006)  # two digits
    assert near("o.png", six.image)
    found = retrieve(network(), sharp, pixels("b/a.png"), steps=0)
    assert torch.equal(found.k, network().extract_kernel(sharp, pixels("b/a.png")))
    assert six.psnr > found.psnr


def test_samples_need_a_vae(files, capsys):
    command = ["sample-blur", "s/a.png", "-o", "o.png", "--seed", "3", "--weights"]
    assert main([*command, "vae.safetensors"]) == 0
    assert near("o.png", sample(network("vae"), pixels("s/a.png"), seed=3))
    assert not torch.equal(*(sample(network("vae"), pixels("s/a.png"), seed=n) for n in (3, 4)))
    assert main([*command, "w.safetensors"]) != 0
    assert "network must be one with a VAE" in capsys.readouterr().err


def test_augment(files):
    command = ["augment", "s", "b", "t", "--weights", "vae.safetensors", "-n", "2"]
    for name in ("one", "two"):
        assert main([*command, "-o", name]) == 0
    for number in (0, 1):
        names = [f"{kind}/000/{number:08d}.png" for kind in ("sharp", "blur")]
        assert torch.equal(pixels(f"one/{names[0]}"), pixels("t/x.png"))
        assert not torch.equal(*(pixels(f"one/{name}") for name in names))
        assert torch.equal(*(pixels(f"{folder}/{names[1]}") for folder in ("one", "two")))


def test_train(files, capsys):
    command = ["train", "kernel_space", "out", "--width", "2", "--kernel-dim", "4", "--side", "129"]
    command += ["--batch-size", "1", "--steps", "2", "--log-every", "1", "--pairs", "s"]
    assert main([*command, "b", "--repeat", "2", "--start", "w.safetensors"]) == 0
    assert KernelWizard.from_pretrained(files / "out" / training.WEIGHTS).architecture["width"] == 2
    assert main([*command, "s"]) != 0
    assert "must be that of the training" in capsys.readouterr().err
    assert main(["train", "kernel_space", "other"]) != 0
    assert "--reds, --gopro, --pairs and --lmdb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("repeat", "text"),
    [
        ("1,x", "argument --repeat: must be a whole number"),
        ("0", "argument --repeat: must be at least 1"),
        ("1,2", "argument --repeat: must have a number for each of 1 sources, got 2"),
    ],
)
def test_train_refuses_repeats(files, capsys, repeat, text):
    command = ["train", "kernel_space", "out", "--pairs", "s", "b", "--repeat", repeat]
    assert main(command) == 2
    assert text in capsys.readouterr().err
    assert not (files / "out").exists()


def test_train_mixes_as_the_authors(monkeypatch):
    chosen = []

    def mixed(sources, weights):
        chosen.append(weights)
        raise ValueError("no pair is read here")

    for name in ("reds", "gopro"):
        monkeypatch.setattr(datasets, name, lambda root, **_: [root])
    monkeypatch.setattr(pairs, "Mixed", mixed)
    command = ["train", "kernel_space", "out", "--reds", "r", "--gopro", "g"]
    for more in ([], ["--recipe", "mix"], ["--recipe", "mix", "--repeat", "2,3"]):
        assert main([*command, *more]) != 0
    assert chosen == [[1, 1], [1, 10], [2, 3]]
