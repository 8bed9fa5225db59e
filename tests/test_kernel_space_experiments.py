# SPDX-License-Identifier: BSD-3-Clause
"""Least squares, encoders, and the experiments in small: that they do what they say."""

from dataclasses import replace

import pytest
import torch

import blurops
from blurmodels.evaluation import psnr, show
from blurmodels.kernel_space.experiments import augmentation, small, swapping
from blurmodels.kernel_space.experiments.least_squares import (
    apply_kernels,
    fit_kernels,
    grid_mixing,
)
from blurmodels.kernel_space.experiments.methods import Encoder, by_least_squares, by_networks
from blurops.testing import accuracy

TINY = small.Options(
    steps=3, batch_size=2, patch=40, pairs=4, side=48, kernel_size=9, width=4, blocks=1, held_out=2
)  # fmt: skip


def random(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestLeastSquares:
    def test_the_true_kernel_is_found_whatever_the_border(self):
        kernel = random(1, 1, 7, 7, dtype=torch.float64)
        image = random(1, 2, 40, 37, seed=1, dtype=torch.float64)
        for boundary in ("reflect", "zeros", "circular"):
            ones = torch.ones(1, 1, 40, 37, dtype=torch.float64)
            blurred = blurops.basis_blur(image, kernel, ones, boundary=boundary)
            found = fit_kernels(image, blurred, kernel_size=7, iterations=200)
            assert (found - kernel).norm() / kernel.norm() < 1e-8

    def test_it_is_the_minimum(self):
        """The gradient of the sum of squares, written with convolutions, vanishes."""
        sharp = random(1, 1, 24, 26, dtype=torch.float64)
        blurred = random(1, 1, 24, 26, seed=1, dtype=torch.float64)
        found = fit_kernels(sharp, blurred, kernel_size=3, iterations=100).requires_grad_()

        def channels(image):
            moves = image[:, :, 1:, 1:] - image[:, :, 1:, :-1], image.diff(dim=2)[..., 1:]
            return 0.1 * image[:, :, 1:, 1:], *moves

        pairs = zip(channels(sharp), channels(blurred), strict=True)
        loss = sum(
            (torch.nn.functional.conv2d(x, found) - y[:, :, 1:-1, 1:-1]).square().sum()
            for x, y in pairs
        )
        (gradient,) = torch.autograd.grad(loss, found)
        assert gradient.norm() < 1e-8 * loss.detach()

    def test_a_grid_follows_the_place(self):
        """Another kernel at each end: one kernel cannot, two rows of two can nearly."""
        assert torch.allclose(grid_mixing(3, 11, 17).sum(1), torch.ones(1, 11, 17))
        ends = torch.zeros(1, 4, 5, 5)
        ends[:, :2, 2, 4], ends[:, 2:, 0, 2] = 1, 1
        image = random(1, 1, 48, 52)
        blurred = apply_kernels(image, ends)
        one, four = (fit_kernels(image, blurred, kernel_size=5, grid=g) for g in (1, 2))
        middle = (..., slice(4, -4), slice(4, -4))
        scores = [psnr(apply_kernels(image, k)[middle], blurred[middle]) for k in (one, four)]
        assert scores[1] > scores[0] + 15
        # The upper ones move light to the left, the lower ones downwards.
        assert four[0, :2, 2, 4].min() > 0.8
        assert four[0, 2:, 0, 2].min() > 0.8

    def test_a_transfer_is_the_true_blur(self):
        kernel, tolerance = random(1, 1, 5, 5), accuracy(torch.float32).relative
        blur = blurops.UniformBlur(kernel / kernel.sum())
        sharp, target = random(1, 3, 64, 64, seed=1), random(1, 3, 40, 51, seed=2)
        encoder = by_least_squares(5)
        assert encoder.name == "least squares, 5 x 5"
        found, truth = encoder.transfer(target, sharp, blur @ sharp), blur @ target
        assert (found - truth).norm() / truth.norm() < 100 * tolerance
        # Kernels that an image cannot determine are made smaller.
        assert by_least_squares(33).extract(target, target).shape == (1, 1, 13, 13)

    def test_errors(self):
        image = random(1, 1, 9, 12)
        with pytest.raises(
            ValueError, match=r"blurred must have the shape of sharp, \(1, 1, 9, 12"
        ):
            fit_kernels(image, image[..., 1:])
        with pytest.raises(ValueError, match=r"below the sides .*, 12 x 9, got 9"):
            fit_kernels(image, image, kernel_size=9)


class Powers:
    """F(x, k) = x^k and G that is a little off: stand-ins with a known answer."""

    def extract_kernel(self, sharp, blurry):
        true = (blurry.log() / sharp.log()).mean()
        return 1.2 * true[None]

    def apply_blur(self, sharp, kernel):
        return sharp**kernel


def test_networks_are_encoders_and_retrieval_improves_on_g():
    encoder = by_networks(Powers(), "powers", steps=60)
    sharp, target = 0.1 + 0.8 * random(1, 3, 8, 8), random(1, 3, 6, 6, seed=1)
    blurred = sharp**0.5
    latent = encoder.extract(sharp, blurred)
    assert latent.item() == pytest.approx(0.6, rel=1e-3)
    assert torch.equal(encoder.transfer(target, sharp, blurred), target**latent)
    found = encoder.retrieve(sharp, blurred)
    assert found.item() == pytest.approx(0.5, abs=0.01)
    assert not found.requires_grad


class TestSwapping:
    def test_every_scene_gets_anothers_blur(self):
        generated = small.Generated(TINY, 0, 4, 0.5)
        marks = []

        def extract(sharp, blurred):
            marks.append(blurred.mean().item())
            return blurred

        encoder = Encoder("mark", extract, lambda sharp, kernel: kernel)
        pairs, others = swapping.swap(generated, encoder, 0)
        original = generated.pairs()
        assert sorted(others) == [0, 1, 2, 3]
        assert all(i != j for i, j in enumerate(others))
        assert torch.equal(pairs.sharp, original.sharp)
        for i, j in enumerate(others):
            assert (pairs.blurred[i] - original.blurred[j]).abs().max() < 1 / 500
            assert marks[i] == pytest.approx(original.blurred[j].mean().item())

    def test_the_truth_of_a_swap(self):
        generated = small.Generated(TINY, 0, 2, 0.5)
        own = generated.under(1, 1)
        # The scene's own blur, up to the noise of the observation.
        assert psnr(own, generated.pairs().blurred[1:]) > 35
        assert psnr(generated.under(1, 0), own) < psnr(own, generated.pairs().blurred[1:]) - 3

    def test_the_table(self):
        run = swapping.compare(TINY)
        assert run == swapping.compare(TINY)
        assert len(set(run.restored.values())) == 3
        least = run.swapped["least squares, 9 x 9, 2 x 2 kernels"]
        assert least > run.swapped[swapping.UNBLURRED]
        table = show(swapping.as_table([run, run], TINY))
        loss = run.restored[swapping.SWAPPED] - run.restored[swapping.ORIGINAL]
        assert f"{loss:+.2f}, {loss:+.2f} dB" in table
        assert f"| {run.restored[swapping.SWAPPED]:.2f}" in table

    def test_equal_pairs_are_one_training(self):
        """What differs between two rows is the blur of their pairs alone."""
        pairs = small.Generated(TINY, 0, 4, 0.5).pairs()
        one, same = (small.trained(pairs, TINY).state_dict() for _ in range(2))
        assert all(torch.equal(one[name], same[name]) for name in one)


class TestAugmentation:
    def test_the_combined_set_has_both_in_turn(self, monkeypatch):
        seen = []

        def trained(pairs, options, progress):
            seen.append(pairs)
            return lambda image: image

        monkeypatch.setattr(augmentation, "trained", trained)
        flat = Encoder("flat", lambda sharp, blurred: None, lambda sharp, kernel: 0 * sharp)
        run = augmentation.compare(TINY, encoder=flat)
        straight, combined = seen
        assert torch.equal(combined.blurred[::2], straight.blurred)
        assert (combined.blurred[1::2] == 0).all()
        assert torch.equal(combined.sharp[1::2], straight.sharp)
        assert run[augmentation.BLURRED] == run[augmentation.STRAIGHT]

    def test_the_table(self):
        options = replace(TINY, steps=2)
        run = augmentation.compare(options)
        table = show(augmentation.as_table([run], options))
        gain = run[augmentation.COMBINED][2] - run[augmentation.STRAIGHT][2]
        assert f"unseen dataset, seed by seed: {gain:+.2f} dB" in table
        assert len({*run[augmentation.STRAIGHT], *run[augmentation.COMBINED]}) == 6

    def test_encoded_blur_is_that_of_the_pairs_in_turn(self):
        sharp = random(3, 3, 8, 8)
        pairs = small.Pairs(torch.stack([sharp[0], 0 * sharp[0]]), sharp[:2])
        shade = Encoder("shade", lambda sharp, blurred: blurred, lambda sharp, kernel: kernel)
        made = augmentation.encoded(sharp, pairs, shade)
        assert torch.equal(made.sharp, sharp)
        assert [bool(each.any()) for each in made.blurred] == [True, False, True]


def test_crops_are_addressed_by_the_step_and_turn_alike():
    pairs = small.Generated(TINY, 0, 4, 0.5).pairs()
    task = small.Deblurring(None, small.Pairs(pairs.sharp, pairs.sharp), TINY)
    crops = task.samples(5, 9, slice(None))
    assert crops.shape == (4, 2, 3, 40, 40)
    assert torch.equal(crops[:, 0], crops[:, 1])
    assert torch.equal(task.samples(5, 9, slice(1, None, 2)), crops[1::2])
    # Scene 5 modulo 4, whichever way it was turned.
    values = set(pairs.sharp[1].flatten().tolist())
    assert set(crops[0, 0].flatten().tolist()) <= values
