# SPDX-License-Identifier: BSD-3-Clause
"""Blur estimated from one photograph alone, detected, and taken away with a denoiser."""

import numpy as np
import pytest
import skimage.data
import torch

import blurops
from blurmodels.basis_kernels import (
    blind_steps,
    blur_map,
    estimate_blind,
    load_denoiser,
    plug_and_play,
)
from blurops.fields import BlurField, linear_motion_kernel


@pytest.fixture(scope="module")
def photo():
    """(1, 3, 100, 150), stored values."""
    pixels = skimage.data.coffee()[:400, :600].reshape(100, 4, 150, 4, 3).mean((1, 3)) / 255
    return torch.from_numpy(np.moveaxis(pixels, 2, 0)).float()[None]


def error(image, truth):
    return float((image - truth)[..., 8:-8, 8:-8].square().mean())


def overlap(kernel, truth):
    """Largest normalised correlation of two kernels over all shifts."""
    got = torch.nn.functional.conv2d(kernel[None, None], truth[None, None], padding=truth.shape[0])
    return float(got.max() / (kernel.norm() * truth.norm()))


def test_differences_and_their_adjoint():
    x, y = torch.rand(1, 1, 7, 9).double(), torch.rand(1, 2, 7, 9).double()
    right = (blind_steps.differences(x) * y).sum()
    torch.testing.assert_close((x * blind_steps.differences_adjoint(y)).sum(), right)
    assert float(blind_steps.differences(x)[0, 0, 2, 3]) == float(x[0, 0, 2, 4] - x[0, 0, 2, 3])


def test_kernel_step_finds_the_kernels_of_a_known_image():
    """Asymmetric kernels, two of them, each where it belongs."""
    generator = torch.Generator().manual_seed(0)
    sharp = torch.rand(1, 1, 60, 70, generator=generator)
    kernels = torch.zeros(1, 2, 7, 7)
    kernels[0, 0, 3, 3:6] = torch.tensor([0.5, 0.3, 0.2])
    kernels[0, 1, 1:4, 3] = torch.tensor([0.2, 0.3, 0.5])
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 54, 64)
    mixing = torch.cat([ramp, 1 - ramp], 1)  # slow, so that differences blur as the image does
    observed = blurops.basis_blur(sharp, kernels, mixing, boundary="valid")
    trust = torch.ones_like(observed)
    # What is not trusted must not count.
    trust[..., 10:20, 5:15] = 0
    observed = torch.where(trust > 0, observed, 9.0)
    start = blind_steps.identity(kernels)
    found = blind_steps.kernel_step(sharp, observed, start, mixing, trust)
    # The ridge takes some of it.
    assert float((found - kernels).abs().max()) < 0.05


def test_kernels_are_centred_together():
    kernels = torch.zeros(1, 2, 5, 7)
    kernels[0, 0, 4, 0] = kernels[0, 1, 2, 2] = 1  # centroid: 1 below, 2 left of the middle
    moved = blind_steps.centred(kernels)
    assert moved[0, 0, 3, 2] == moved[0, 1, 1, 4] == 1
    assert moved.sum() == 2


def test_mixing_step_finds_where_each_kernel_belongs():
    generator = torch.Generator().manual_seed(0)
    sharp = torch.rand(1, 1, 70, 102, generator=generator)
    kernels = torch.zeros(1, 2, 7, 7)
    kernels[0, 0, 3, 3] = 1
    kernels[0, 1, 3] = 1 / 7
    true = torch.zeros(1, 2, 64, 96)
    true[0, 0, :, :48] = true[0, 1, :, 48:] = 1
    observed = blurops.basis_blur(sharp, kernels, true, boundary="valid")
    start = torch.full_like(true, 0.5)
    found = blind_steps.mixing_step(sharp, observed, kernels, start, torch.ones_like(observed))
    torch.testing.assert_close(found.sum(1), torch.ones(1, 64, 96))
    assert (found - true).abs().mean() < 0.5 * (start - true).abs().mean()


def test_uniform_blur_of_a_photograph_is_found_and_undone(photo):
    kernel = torch.zeros(9, 9)
    for place, value in {(2, 2): 2, (3, 3): 3, (4, 4): 2, (4, 5): 2, (5, 6): 1, (6, 6): 1}.items():
        kernel[place] = value
    kernel = kernel / kernel.sum()
    blurred = (blurops.UniformBlur(kernel) @ photo**2.2) ** (1 / 2.2)
    before = blurred.clone()
    field = estimate_blind(blurred, kernel_size=9, grid=(1, 1))
    assert torch.equal(blurred, before)
    assert overlap(field.kernels[0, 0], kernel) > 0.85
    # The mirrored kernel is another one: orientation counts.
    assert overlap(kernel.flip(0), kernel) < 0.8
    assert field.boundary == "reflect"
    operator = blurops.BasisBlur(field.kernels, field.mixing)
    restored = blurops.richardson_lucy(blurred, operator, iterations=15, gamma=2.2).image
    shift = min(
        error(restored.roll((down, right), (2, 3)), photo)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    )
    assert shift < 0.6 * error(blurred, photo)


def test_a_grid_of_kernels_is_a_field(photo):
    field = estimate_blind(photo[..., :64, :80], kernel_size=7, grid=(2, 3))
    assert field.kernels.shape == (1, 6, 7, 7)
    torch.testing.assert_close(field.mixing.sum(1), torch.ones(1, 64, 80))
    torch.testing.assert_close(field.kernels.sum((2, 3)), torch.ones(1, 6))
    assert min(field.kernels.min(), field.mixing.min()) >= 0


def test_a_picture_without_edges_is_not_blurred():
    field = estimate_blind(torch.full((1, 1, 32, 40), 0.5), kernel_size=5, grid=(1, 1))
    assert torch.equal(field.kernels, blind_steps.identity(field.kernels))


@pytest.mark.parametrize(
    ("shape", "options", "text"),
    [
        ((1, 2, 60, 60), {}, "without transparency, got (1, 2, 60, 60)"),
        ((1, 3, 40, 60), {}, "at least twice the kernel size 25, got 60 x 40"),
        ((1, 3, 60, 60), {"kernel_size": 8}, "kernel_size must be odd and at least 5, got 8"),
        ((1, 3, 60, 60), {"grid": (0, 1)}, "grid must be two positive integers, got (0, 1)"),
        ((1, 3, 60, 60), {"sparsity": 0}, "sparsity must be positive, got 0"),
    ],
)
def test_what_estimate_blind_refuses(shape, options, text):
    with pytest.raises(ValueError) as caught:
        estimate_blind(torch.rand(shape), **options)
    assert text in str(caught.value)


def test_blur_map_counts_kernels_below_the_limit():
    kernels = torch.zeros(1, 3, 5, 5)
    kernels[0, 0, 2, 2] = 1  # norm 1
    kernels[0, 1, 0, :] = 0.2  # norm 0.447
    kernels[0, 2] = 0.04  # norm 0.2
    mixing = torch.rand(1, 3, 4, 6).softmax(1)
    field = BlurField(kernels, mixing, {})
    torch.testing.assert_close(blur_map(field), mixing[:, 2:])
    torch.testing.assert_close(blur_map(field, 0.5), mixing[:, 1:2] + mixing[:, 2:])


@pytest.mark.parametrize("name", ["tv", "wavelet"])
def test_denoisers_denoise_and_restore(photo, name):
    if name == "wavelet":
        pytest.importorskip("pywt", reason="PyWavelets is not installed")
    denoise = load_denoiser(name)
    noisy = photo + 0.1 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    assert error(denoise(noisy, 0.1), photo) < 0.5 * error(noisy, photo)
    operator = blurops.UniformBlur(linear_motion_kernel(15.0, 0.5))
    blurred = operator @ photo
    result = plug_and_play(blurred, operator, denoiser=denoise)
    assert result.iterations == len(result.losses) == 30
    # A decibel; without its adjoint or its denoiser it loses some.
    assert error(result.image, photo) < 0.8 * error(blurred, photo)


def test_plug_and_play_is_the_iteration_as_written():
    """Two steps with a denoiser that tells the level, an asymmetric blur and a gamma."""
    generator = torch.Generator().manual_seed(0)
    kernel = torch.rand(3, 5, generator=generator)
    operator = blurops.UniformBlur(kernel / kernel.sum(), boundary="circular")
    observed = torch.rand(1, 2, 12, 10, generator=generator)
    levels, seen = [], []

    def denoise(image, sigma):
        levels.append(sigma)
        return image + sigma

    result = plug_and_play(
        observed, operator, denoiser=denoise, iterations=2, sigmas=(0.2, 0.05), step=0.5,
        decay=1.0, gamma=2.0, callback=lambda done, image, loss: seen.append((image, loss)),
    )  # fmt: skip
    assert levels == pytest.approx([0.2, 0.05, 0.05])
    # The kernel's sum is 1, so is the norm of a circular blur; the power method adds a tenth.
    estimate, step = observed, 0.5 / 1.1
    for done, sigma in ((1, 0.2), (2, 0.05)):
        z = (estimate + sigma) ** 2
        residual = operator @ z - observed**2
        estimate = (z - step / done * (operator.T @ residual)).clamp(min=0) ** 0.5
        torch.testing.assert_close(seen[done - 1][0], estimate, rtol=1e-3, atol=1e-3)
        assert seen[done - 1][1] == pytest.approx(float(residual.square().mean()), rel=1e-2)
    torch.testing.assert_close(result.image, seen[1][0] + 0.05)
    stopped = plug_and_play(observed, operator, denoiser=denoise, stop_tol=1e3)
    assert stopped.iterations == 2


def test_a_denoiser_from_a_file(tmp_path):
    class Shrink(torch.nn.Module):
        def forward(self, image, sigma):
            return image * (1 - sigma)

    torch.export.save(
        torch.export.export(Shrink(), (torch.rand(1, 3, 8, 8), torch.tensor(0.1))),
        tmp_path / "d.pt2",
    )
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(load_denoiser(tmp_path / "d.pt2")(image, 0.25), image * 0.75)
    (tmp_path / "bad.pt2").write_text("no program")
    with pytest.raises(ValueError, match="must be one of tv, wavelet, or a program"):
        load_denoiser(tmp_path / "bad.pt2")
    with pytest.raises(FileNotFoundError):
        load_denoiser("median")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"iterations": 0}, "iterations must be a positive integer, got 0"),
        ({"step": 2}, r"step must be in \(0, 2\), got 2"),
        ({"sigmas": (0.1, 0)}, "sigmas must be two positive numbers"),
        ({"decay": -1}, r"decay must be in \[0, 1\], got -1"),
    ],
)
def test_what_plug_and_play_refuses(options, text):
    operator = blurops.UniformBlur(torch.ones(1, 1))
    with pytest.raises(ValueError, match=text):
        plug_and_play(torch.rand(1, 1, 8, 8), operator, **options)
    with pytest.raises(ValueError, match="finite and not negative"):
        plug_and_play(-torch.rand(1, 1, 8, 8), operator)
