# SPDX-License-Identifier: BSD-3-Clause
"""Blind deblurring in a kernel space: operators, schemes, and whole runs."""

import statistics

import numpy as np
import pytest
import skimage.data
import torch
from torch.nn import functional

import blurops
from blurmodels import evaluation
from blurmodels.kernel_space import (
    ImageDIP,
    KernelDIP,
    blind,
    blind_encoded,
    deblur_encoded,
    fit_operator,
    losses_blind,
)
from blurmodels.kernel_space.blind_operators import BasisKernels, EncodedKernel, UniformKernel
from blurmodels.kernel_space.blind_schemes import Problem, optimise
from blurmodels.kernel_space.priors import draw_noise


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def tiny_priors():
    torch.manual_seed(0)
    image = ImageDIP(4, width=4, skip=2, scales=2, non_local=None)
    return {"image_prior": image, "kernel_prior": KernelDIP(4, 8, blocks=1)}


class Shift(torch.nn.Module):
    """A family of blurs with one parameter too many: k says how to weigh an image and its shift."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, k):
        share = k.mean().sigmoid()
        return self.scale * ((1 - share) * x + share * x.roll(3, dims=3))


def test_explicit_operators_are_simplices_and_blur():
    basis = BasisKernels(5, (40, 44), (1, 2), seeded())
    torch.nn.init.normal_(basis.network[-1].weight, std=0.5)
    sharp = torch.rand(1, 1, 44, 48, generator=seeded(1))
    kernels, mixing = basis.field((40, 44))
    torch.testing.assert_close(kernels.sum((2, 3)), torch.ones(1, 2))
    torch.testing.assert_close(mixing.sum(1), torch.ones(1, 40, 44))
    responses = functional.conv2d(sharp, kernels.permute(1, 0, 2, 3))
    torch.testing.assert_close(basis(sharp), (responses * mixing).sum(1, keepdim=True))
    finer = BasisKernels(7, (57, 62), (1, 2), seeded(), kernels.detach())
    finer.follow(basis)
    apart = functional.interpolate(mixing, (57, 62), mode="bilinear") - finer.mixing()
    assert float(apart.detach().abs().mean()) < 0.1
    moved = torch.zeros(1, 1, 5, 5)
    moved[0, 0, 4, 1] = 1  # centred, and not lost
    assert int(UniformKernel(5, moved).kernel().argmax()) == 12


def test_a_joint_step_is_adam_on_both_and_schemes_move_what_they_say():
    def problem(scheme_seed=0):
        priors = tiny_priors()
        generator = seeded(scheme_seed)
        blur = EncodedKernel(Shift(), (128, 128), generator, latent=torch.ones(1, 8, 1, 1))
        noise = draw_noise(4, (20, 24), generator)
        observed = torch.rand(1, 3, 20, 24, generator=seeded(3))
        return Problem(
            observed, priors["image_prior"], noise, blur, losses_blind.PaperLoss(), generator
        )

    one, two = problem(), problem()
    optimise(one, scheme="joint", steps=2)
    everything = [*two.prior.parameters(), *two.blur.parameters()]
    adam = torch.optim.Adam(everything, lr=5e-4)
    for _ in range(2):
        jitter = 0.001 * torch.randn(two.noise.shape, generator=two.generator)
        x = two.prior(two.noise + jitter)
        y = Shift()(x, two.blur.latent)
        loss = ((y - two.observed) ** 2 + 1e-6).sqrt().mean() + 6e-4 * two.blur.latent.norm()
        loss = loss + 2e-2 * losses_blind.hyper_laplacian(x)
        adam.zero_grad()
        loss.backward()
        adam.step()
    # The biases before a normalisation do nothing, and follow round-off.
    for a, b in zip(one.prior.parameters(), two.prior.parameters(), strict=True):
        if a.ndim == 4:
            torch.testing.assert_close(a, b, atol=1e-4 * 5e-4, rtol=1e-4)
    torch.testing.assert_close(one.blur.latent, two.blur.latent)
    assert float((one.blur.latent.detach() - 1).abs().max()) > 5e-4

    turns, before = problem(), problem()
    optimise(turns, scheme="alternate", steps=3, inner=3)
    pairs = zip(turns.prior.parameters(), before.prior.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    anew = problem()
    seen = []
    optimise(
        anew, scheme="algorithm1", steps=6, inner=2,
        after=lambda step, losses: seen.append(anew.blur.latent.detach().clone()) or False,
    )  # fmt: skip
    # The latent kernel stays in the image's step, and jumps where it starts anew.
    assert torch.equal(seen[1], seen[2])
    assert float((seen[3] - seen[2]).abs().mean()) > 0.1
    assert not any(
        torch.equal(a, b)
        for a, b in zip(anew.prior.parameters(), before.prior.parameters(), strict=True)
        if a.ndim == 4
    )


def test_rates_fall_every_thousand_steps(monkeypatch):
    monkeypatch.setattr("blurmodels.kernel_space.blind_schemes.DECAY_EVERY", 2)
    blur = EncodedKernel(Shift(), (128, 128), seeded(), latent=torch.ones(1, 8, 1, 1))
    noise, observed = torch.rand(1, 4, 20, 24), torch.rand(1, 3, 20, 24)
    prior = tiny_priors()["image_prior"]
    problem = Problem(observed, prior, noise, blur, losses_blind.PaperLoss(), seeded())
    optimise(problem, scheme="joint", steps=5)
    rates = [o.param_groups[0]["lr"] for o in problem.optimisers.values()]
    assert rates == pytest.approx([5e-4 * 0.7**2] * 2)


@pytest.fixture(scope="module")
def photo():
    """(1, 3, 80, 96), stored values."""
    pixels = skimage.data.coffee()[40:360, 100:484].reshape(80, 4, 96, 4, 3).mean((1, 3)) / 255
    return torch.from_numpy(np.moveaxis(pixels, 2, 0)).float()[None]


def overlap(a, b):
    match = functional.conv2d(a[None, None], b[None, None], padding=7)
    return float(match.max() / (a.norm() * b.norm()))


def closest_round(kernel):
    """The overlap of the closest Gaussian: what is found without knowing a direction."""
    r = torch.arange(9.0) - 4
    rows = [(-(r**2) / (2 * width**2)).exp() for width in torch.linspace(0.2, 4, 39)]
    return max(overlap(torch.outer(row, row), kernel) for row in rows)


def test_uniform_blur_of_a_photograph_is_found(photo):
    kernel = torch.zeros(7, 7)
    for place, value in {(1, 1): 2, (2, 2): 3, (3, 3): 2, (3, 4): 2, (4, 5): 1, (5, 5): 1}.items():
        kernel[place] = value
    kernel = kernel / kernel.sum()
    blurred = (blurops.UniformBlur(kernel) @ photo**2.2) ** (1 / 2.2)
    before, numbers = blurred.clone(), torch.get_rng_state()
    worse = evaluation.shifted_scores(blurred, photo).psnr
    right, turned, gains = [], [], []
    # Rounding alone moves a fit by decibels, and by a fifth of its overlap, so it is judged against
    # what no right fit does: to know no direction, a wrong one, or to restore nothing.
    for seed in range(3):
        found = fit_operator(
            blurred, operator="uniform", kernel_size=9, steps=110, width=8, seed=seed
        )
        kernels = found.field.kernels
        right.append(overlap(kernels[0, 0], kernel))
        turned.append(overlap(kernels[0, 0].flip(0), kernel))
        operator = blurops.BasisBlur(kernels, found.field.mixing)
        restored = blurops.richardson_lucy(blurred, operator, iterations=15, gamma=2.2).image
        gains.append(evaluation.shifted_scores(restored.clamp(0, 1), photo).psnr - worse)
    assert torch.equal(blurred, before)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert found.sharp.shape == (1, 1, 80, 96)
    assert statistics.median(right) > closest_round(kernel)
    assert statistics.median(turned) < closest_round(kernel)
    assert statistics.median(gains) > 0


@pytest.mark.parametrize("patience", [None, 2])
def test_a_run_goes_on_bit_for_bit(photo, tmp_path, monkeypatch, patience):
    monkeypatch.setattr(blind, "_SAVE_EVERY", 2)
    small = photo[..., :48, :52]
    options = {"kernel_size": 9, "grid": (1, 2), "steps": 5, "width": 4, "patience": patience}
    whole = fit_operator(small, **options)

    class Stop(Exception):
        pass

    def interrupt(at):
        def callback(done, total, image, losses):
            assert (total, len(losses), image.ndim) == (15, done, 4)
            if done == at:
                raise Stop

        return callback

    path = tmp_path / "run.safetensors"
    for at in (4, 8, len(whole.losses)):  # on the first level, on the second, in the last step
        with pytest.raises(Stop):
            fit_operator(small, state=path, callback=interrupt(at), **options)
    again = fit_operator(small, state=path, **options)
    assert again.losses == whole.losses
    assert torch.equal(again.field.kernels, whole.field.kernels)
    assert torch.equal(again.field.mixing, whole.field.mixing)
    assert torch.equal(again.sharp, whole.sharp)
    for other, text in (
        ({"seed": 1}, "seed 0"),
        ({"precision": "bfloat16"}, "precision 'float32'"),
    ):
        with pytest.raises(ValueError, match=f"must be of the same image and settings, got {text}"):
            fit_operator(small, state=path, **other, **options)


def test_half_precision_is_near_the_whole_and_is_of_the_prior_alone(photo):
    small = photo[..., :64, :64]
    options = {"operator": "uniform", "kernel_size": 5, "steps": 8, "width": 8}
    whole = fit_operator(small, **options)
    half = fit_operator(small, precision="bfloat16", **options)
    assert half.field.kernels.dtype == half.sharp.dtype == torch.float32
    # Eight bits for the numbers of a dozen layers; the first loss has seen no step yet.
    assert 0 < abs(half.losses[0] - whole.losses[0]) < 2**-8 * 12 * whole.losses[0]
    assert half.losses[-1] < 0.9 * half.losses[0]


def test_encoded_deblurring(tmp_path, monkeypatch):
    """With a family of two blurs for F: fits, goes on, leaves F alone, crops."""
    monkeypatch.setattr(blind_encoded, "_SAVE_EVERY", 2)
    image = torch.rand(1, 1, 130, 140, generator=seeded())
    family = Shift()
    options = {"steps": 5, "warm_up": 2, "scheme": "alternate", "inner": 2}
    latent = torch.full((1, 8, 2, 2), 0.5)
    whole = deblur_encoded(image, family, warm_latent=latent, **options, **tiny_priors())
    assert whole.image.shape == (1, 3, 130, 140)
    assert whole.latent.shape == (1, 8, 2, 2)
    assert float(family.scale.detach()) == 1
    path = tmp_path / "run.safetensors"

    def callback(done, total, image, losses):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deblur_encoded(
            image, family, warm_latent=latent, state=path, callback=callback, **options,
            **tiny_priors(),
        )  # fmt: skip
    again = deblur_encoded(
        image, family, warm_latent=latent, state=path, **options, **tiny_priors()
    )
    assert again.losses == whole.losses
    assert torch.equal(again.image, whole.image)
    assert torch.equal(again.latent, whole.latent)
    with pytest.raises(ValueError, match="warm_latent must be of shape"):
        deblur_encoded(image, family, warm_latent=latent[:, :3], **options, **tiny_priors())


@pytest.mark.parametrize(
    ("shape", "options", "text"),
    [
        ((1, 3, 50, 90), {}, "sides of at least 60 pixels for kernels of 15, got 90 x 50"),
        ((1, 2, 90, 90), {}, "without transparency, got (1, 2, 90, 90)"),
        ((1, 3, 90, 90), {"operator": "encoded"}, "one of uniform, basis, got encoded"),
        ((1, 3, 90, 90), {"kernel_size": 8}, "kernel_size must be odd and at least 5, got 8"),
        ((1, 3, 90, 90), {"grid": (0, 1)}, "grid must be two positive integers, got (0, 1)"),
        ((1, 3, 90, 90), {"steps": 0}, "steps must be a positive integer, got 0"),
        ((1, 3, 90, 90), {"patience": 0}, "patience must be a positive integer, got 0"),
        ((1, 3, 90, 90), {"scheme": "algorithm1"}, "one of joint, alternate, got algorithm1"),
        ((1, 3, 90, 90), {"precision": "float16"}, "one of float32, bfloat16, got float16"),
        ((1, 3, 90, 90), {"gamma": -1}, "gamma must be positive, got -1"),
    ],
)
def test_what_fit_operator_refuses(shape, options, text):
    with pytest.raises(ValueError) as caught:
        fit_operator(torch.rand(shape), **options)
    assert text in str(caught.value)


def test_what_deblur_encoded_refuses():
    for options, text in (
        ({"scheme": "best"}, "one of joint, alternate, algorithm1, got best"),
        ({"losses": "mine"}, "one of paper, authors, got mine"),
        ({"losses": "authors"}, "vgg must be a file of VGG19's weights"),
        ({"inner": 0}, "inner must be a positive integer, got 0"),
    ):
        with pytest.raises(ValueError, match=text):
            deblur_encoded(torch.rand(1, 3, 140, 140), Shift(), **options)
    with pytest.raises(ValueError, match="sides of at least 129 pixels, got 200 x 128"):
        deblur_encoded(torch.rand(1, 3, 128, 200), Shift())


def test_latent_kernels_from_files(tmp_path):
    latent = torch.randn(1, 4, 2, 2)
    torch.save(latent, tmp_path / "k.pth")
    assert torch.equal(blind_encoded.read_latent(tmp_path / "k.pth"), latent)
    torch.save({"a": latent, "b": latent}, tmp_path / "k.pth")
    with pytest.raises(ValueError, match="must hold one tensor"):
        blind_encoded.read_latent(tmp_path / "k.pth")
    (tmp_path / "k.pth").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match="a damaged file"):
        blind_encoded.read_latent(tmp_path / "k.pth")
