# SPDX-License-Identifier: BSD-3-Clause
"""`blurops deblur-face` and `blurops face-curves`, with tiny generators and a tiny F in files."""

import pytest
import torch

from blurmodels.kernel_space import KernelWizard
from blurmodels.kernel_space.faces import (
    StyleGAN,
    StyleGAN2,
    curves,
    deblur_face,
    export_published,
    manifold,
)
from blurmodels.kernel_space.faces.operators import downsample, uniform
from blurops.images import read_image, write_image

SHORT = ("--epochs", 2, "--image-steps", 2, "--kernel-steps", 1)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Weights files, a Gaussian and faces, 16 pixels wide and 256."""
    folder = tmp_path_factory.mktemp("faces")
    numbers = torch.get_rng_state()
    torch.manual_seed(0)
    for name, network in (
        ("g.safetensors", StyleGAN2(16, 8, [4, 4, 4])),
        ("large.safetensors", StyleGAN2(256, 8, [4, 4, 4, 2, 2, 2, 2])),
        ("F.safetensors", KernelWizard(2, 4)),
    ):
        network.save_pretrained(folder / name)
    export_published(StyleGAN(16, 8, [4, 4, 4]), folder / "map.pt", folder / "syn.pt")
    torch.set_rng_state(numbers)
    gaussian = {"mean": torch.linspace(-0.2, 0.2, 8), "std": torch.linspace(0.5, 1, 8)}
    torch.save(gaussian, folder / "gaussian.pt")
    torch.save(torch.rand(1, 4, 2, 2, generator=seeded()), folder / "k.pth")
    large = torch.nn.functional.interpolate(
        torch.rand(1, 3, 16, 16, generator=seeded()), 256, mode="bilinear"
    )
    # An edge, beside which a smaller image would be negative.
    large[..., 64:100], large[..., 100:160] = 0, 1
    write_image(folder / "face.png", large)
    write_image(folder / "small.png", downsample(large, 16).clamp(0, 1))
    write_image(folder / "tiny.png", downsample(large, 64).clamp(0, 1))
    write_image(folder / "oblong.png", large[..., :128])
    return folder


@pytest.fixture
def weights(made, tmp_path):
    """The same in a folder of its own, where results go."""
    for file in made.iterdir():
        (tmp_path / file.name).hardlink_to(file)
    return tmp_path


def test_a_face_under_the_encoded_blur(weights, succeed):
    words = (
        *("deblur-face", weights / "face.png", "--generator", weights / "large.safetensors"),
        *("--weights", weights / "F.safetensors", "--latent", weights / "k.pth", "--warm-up", 1),
        *("--gaussian", weights / "gaussian.pt", *SHORT, "-o", weights / "o.png"),
    )
    state = ("--state", weights / "run.safetensors")
    text = succeed(*words, *state, "--plot", weights / "p.svg")
    assert text.startswith(f"{weights / 'o.png'}: loss ")
    assert "(encoded), 6 steps in " in text
    image = read_image(weights / "o.png").pixels
    assert image.shape == (1, 3, 256, 256)
    assert (weights / "p.svg").read_text().rstrip().endswith("</svg>")
    for more in (state, ()):
        # From the state, and by the same seed: the same picture.
        (weights / "o.png").unlink()
        succeed(*words, *more)
        assert torch.equal(read_image(weights / "o.png").pixels, image)


def test_options_arrive(weights, succeed, monkeypatch):
    calls = []

    def record(image, generator, operator, **options):
        calls.append((type(generator), options))
        return deblur_face(image, generator, uniform(3), **options)

    monkeypatch.setattr(manifold, "deblur_face", record)
    common = (weights / "tiny.png", "--gaussian", weights / "gaussian.pt", *SHORT)
    out = weights / "o.png"
    changes = ("--noise", "zero", "--optimiser", "sgdm", "--schedule", "fixed", "--tile-latent")
    more = ("--image-rate", 0.1, "--kernel-rate", 1e-3, "--warm-up", 9, "--seed", 4)
    succeed(
        *("deblur-face", *common, "--generator", weights / "syn.pt", weights / "map.pt"),
        *("--operator", "bicubic", *changes, *more, "-o", out),
    )
    succeed("deblur-face", *common, "--generator", weights / "g.safetensors", "-o", out)
    (one, first), (two, second) = calls
    assert (one, two) == (StyleGAN, StyleGAN2)
    short = manifold.STYLEGAN._replace(epochs=2, image_steps=2, kernel_steps=1)
    assert first["settings"] == short._replace(
        noise="zero", optimiser="sgdm", schedule="fixed", tile_latent=True, image_rate=0.1,
        kernel_rate=1e-3, warm_up=9,
    )  # fmt: skip
    assert first["seed"] == 4
    assert second["settings"].kernel_rate == 5e-4
    assert second["settings"].loss.norm == 1e-4
    assert read_image(out).pixels.shape == (1, 3, 16, 16)


def test_curves_of_three_operators(weights, succeed, monkeypatch):
    drawn = []

    def record(image, found, settings):
        drawn.append((found, curves.plot_curves.__wrapped__(image, found, settings)))
        return drawn[-1][1]

    record.__wrapped__ = curves.plot_curves
    monkeypatch.setattr(curves, "plot_curves", record)
    out = weights / "curves.png"
    text = succeed(
        *("face-curves", weights / "face.png", "--generator", weights / "large.safetensors"),
        *("--weights", weights / "F.safetensors", "--gaussian", weights / "gaussian.pt"),
        *(*SHORT, "--kernel-size", 5, "-o", out),
    )
    (found, figure) = drawn[0]
    assert list(found) == [curves.UNIFORM, curves.BICUBIC, curves.ENCODED]
    assert [len(each.losses) for each in found.values()] == [6, 4, 6]
    assert found[curves.BICUBIC].blurred.shape[2:] == (64, 64)
    panels = [axes for axes in figure.axes if axes.lines]
    for axes, each in zip(panels, found.values(), strict=True):
        loss, error = (line.get_ydata() for line in axes.lines)
        assert list(loss) == each.losses
        assert list(error) == [100 * value for value in each.errors]
    assert [len(axes.patches) for axes in panels] == [2, 0, 2]
    assert panels[0].get_ylim() == panels[2].get_ylim()
    assert text.startswith(f"{out}: 3 operators\n")
    assert read_image(out).pixels.shape[1] == 3
    text = succeed(
        *("face-curves", weights / "small.png", "--generator", weights / "g.safetensors"),
        *("--gaussian", weights / "gaussian.pt", *SHORT, "--kernel-size", 5, "-o", out),
    )
    assert text.startswith(f"{out}: 2 operators, without the encoded kernel, which needs --weights")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("small.png", "--generator", "none.pt"), "none.pt"),
        (("none.png", "--generator", "g.safetensors"), "none.png"),
        (
            ("oblong.png", "--generator", "large.safetensors"),
            "image must be square, with a side that divides the generator's 256 pixels, got 128 x",
        ),
        (
            ("face.png", "--generator", "g.safetensors"),
            "divides the generator's 16 pixels, got 256",
        ),
        (("small.png", "--generator", "map.pt"), "be StyleGAN's two files, of its mapping and its"),
        (("small.png", "--generator", "map.pt", "g.safetensors"), "hold weights of one generator"),
        (("small.png", "--generator", "F.safetensors"), "weights of kernel_space.KernelWizard"),
        (
            ("face.png", "--generator", "large.safetensors", "--weights", "g.safetensors"),
            "hold weights of kernel_space.KernelWizard, got weights of kernel_space.StyleGAN2",
        ),
        (
            ("small.png", "--generator", "g.safetensors", "--weights", "F.safetensors"),
            "image must have a side of at least 256 for the encoded blur, got 16 x 16",
        ),
        (
            ("small.png", "--generator", "g.safetensors", "--kernel-size", "33"),
            "kernel_size must be less than twice the image's side of 16, got 33",
        ),
    ],
)
def test_what_fails_in_one_line(weights, fail, words, text):
    names = [weights / word if "." in word else word for word in words]
    gaussian = ("--gaussian", weights / "gaussian.pt")
    assert text in fail("deblur-face", *names, *gaussian, *SHORT, "-o", weights / "o.png")
    assert not (weights / "o.png").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--operator", "encoded"), "--operator: encoded needs --weights W, those of F"),
        (("--operator", "bicubic", "--weights", "F"), "--weights: goes without --operator bicubic"),
        (("--latent", "K"), "--latent: goes without --operator uniform"),
        (("--weights", "F", "--kernel-size", "5"), "--kernel-size: goes with --operator uniform"),
        (("--epochs", "0"), "argument --epochs: must be at least 1, got 0"),
    ],
)
def test_options_that_do_not_fit(weights, fail, words, text):
    face = ("deblur-face", weights / "small.png", "--generator", weights / "g.safetensors")
    assert text in fail(*face, *words, "-o", weights / "o.png", status=2)
    words = ("--latent", "K", "-o", weights / "o.png")
    assert "goes with --weights only" in fail("face-curves", *face[1:], *words, status=2)


def test_outputs_are_checked_first(weights, fail):
    face = ("deblur-face", weights / "small.png", "--generator", "none.pt")
    for words, text in (
        (("-o", weights / "o.gif"), "o.gif"),
        (("-o", weights / "o.png", "--plot", weights / "p.gif"), "p.gif"),
        (("-o", weights / "o.png", "--state", weights / "no" / "run"), "run"),
    ):
        assert text in fail(*face, *words)
    assert "c.gif" in fail("face-curves", *face[1:], "-o", weights / "c.gif")
