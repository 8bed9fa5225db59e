# SPDX-License-Identifier: BSD-3-Clause
"""How restored images are scored, against what was put in and against other implementations."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from blurmodels.evaluation import (
    Row,
    Scores,
    Table,
    aligned_scores,
    average_precision,
    ecc_homography,
    inside,
    kohler_scores,
    mean_average_precision,
    mean_scores,
    plain_scores,
    psnr,
    shifted_scores,
    show,
    ssim,
    warp,
)

HEIGHT, WIDTH = 144, 192
HOMOGRAPHY = torch.tensor(
    [[1.012, 0.006, 2.3], [-0.004, 0.991, -1.7], [5e-5, -3e-5, 1.0]], dtype=torch.float64
)


def view(homography=None, channels=1):
    """Plane waves of 16 to 48 pixels, without any interpolation: what lies at H p is asked for."""
    y, x = torch.meshgrid(
        torch.arange(HEIGHT, dtype=torch.float64),
        torch.arange(WIDTH, dtype=torch.float64),
        indexing="ij",
    )
    if homography is not None:
        rows = [row[0] * x + row[1] * y + row[2] for row in homography]
        x, y = rows[0] / rows[2], rows[1] / rows[2]
    generator = torch.Generator().manual_seed(3)
    planes = torch.zeros(channels, HEIGHT, WIDTH, dtype=torch.float64)
    for _ in range(24):
        period, angle, phase = torch.rand(3, generator=generator, dtype=torch.float64)
        rate = 2 * math.pi / (16 + 32 * period)
        wave = rate * (torch.cos(6.3 * angle) * x + torch.sin(6.3 * angle) * y) + 6.3 * phase
        weight = 0.2 + 0.8 * torch.rand(channels, generator=generator, dtype=torch.float64)
        planes += weight[:, None, None] * torch.sin(wave)
    return (0.5 + 0.4 * planes / 20)[None]


def corner_error(first, second):
    corners = torch.tensor(
        [[0, 0, 1], [WIDTH - 1, 0, 1], [0, HEIGHT - 1, 1], [WIDTH - 1, HEIGHT - 1, 1]],
        dtype=torch.float64,
    )
    ends = [corners @ matrix.T for matrix in (first, second)]
    return max((ends[0][:, :2] / ends[0][:, 2:] - ends[1][:, :2] / ends[1][:, 2:]).norm(dim=1))


class TestAlignment:
    @pytest.mark.parametrize("gain", [1.0, 0.6])
    def test_a_known_homography_is_recovered_to_a_tenth_of_a_pixel(self, gain):
        sharp = view(channels=3)
        moving = gain * view(torch.linalg.inv(HOMOGRAPHY), channels=3) + 0.05
        found = ecc_homography(sharp, moving)
        assert found.converged
        assert corner_error(found.homography, HOMOGRAPHY) < 0.1
        assert found.correlation > 0.999
        # It was worth something: without it the corners are pixels off.
        assert corner_error(torch.eye(3, dtype=torch.float64), HOMOGRAPHY) > 3

    def test_gain_and_offset_change_nothing(self):
        sharp, moving = view(), view(torch.linalg.inv(HOMOGRAPHY))
        plain = ecc_homography(sharp, moving).homography
        torch.testing.assert_close(
            ecc_homography(3 * sharp - 1, 0.2 * moving + 7).homography, plain, rtol=0, atol=1e-6
        )

    def test_nothing_to_align_is_the_identity(self):
        flat = torch.full((1, 1, 20, 30), 0.5)
        for pair in ((flat, view()[:, :, :20, :30].float()), (flat, flat)):
            found = ecc_homography(*pair)
            assert torch.equal(found.homography, torch.eye(3, dtype=torch.float64))
            assert math.isnan(found.correlation)
            assert not found.converged

    def test_the_warp_is_keys_cubic_with_mirrored_edges(self):
        image = torch.rand(1, 1, 7, 9, dtype=torch.float64)
        shift = torch.eye(3, dtype=torch.float64)
        shift[0, 2] = 0.25
        # Keys' weights for a = -0.75 at distances 1.25, 0.25, 0.75, 1.75.
        far = [-0.75 * (d**3 - 5 * d**2 + 8 * d - 4) for d in (1.25, 1.75)]
        near = [1.25 * d**3 - 2.25 * d**2 + 1 for d in (0.25, 0.75)]
        taps = torch.tensor([far[0], *near, far[1]], dtype=torch.float64)
        padded = torch.cat([image[..., :1], image, image[..., [8, 7]]], dim=3)
        wanted = sum(tap * padded[..., i : i + 9] for i, tap in enumerate(taps))
        torch.testing.assert_close(warp(image, shift), wanted)

    def test_what_lies_outside_is_told_by_the_nearest_pixel(self):
        shift = torch.tensor([[1.0, 0, -0.6], [0, 1, 1.4], [0, 0, 1]])
        wanted = torch.ones(5, 6, dtype=torch.bool)
        wanted[:, 0] = False
        wanted[4] = False
        assert torch.equal(inside(shift, (5, 6))[0, 0], wanted)

    def test_bad_input(self):
        image = torch.rand(1, 3, 20, 20)
        with pytest.raises(ValueError, match=r"moving must have the reference's shape"):
            ecc_homography(image, image[:, :1])
        with pytest.raises(ValueError, match=r"reference must be \(1, C, H, W\)"):
            ecc_homography(image[:, :2], image[:, :2])
        with pytest.raises(TypeError, match="reference must be a tensor, got list"):
            ecc_homography([1.0], [1.0])
        with pytest.raises(ValueError, match="smoothing must be 1, 3 or 5, got 4"):
            ecc_homography(image, image, smoothing=4)


class TestMetrics:
    def test_psnr_counts_the_mask_alone(self):
        truth = torch.zeros(1, 3, 4, 5)
        image = truth + 0.1
        image[..., 2:] = 1
        mask = torch.zeros(1, 1, 4, 5, dtype=torch.bool)
        mask[..., :2] = True
        assert psnr(image, truth, mask) == pytest.approx(20, abs=1e-5)
        assert psnr(image, truth) == pytest.approx(-10 * math.log10((0.01 * 2 + 3) / 5), abs=1e-5)
        assert psnr(truth, truth) == math.inf

    def test_ssim_is_the_equation(self):
        """Wang et al. 2004, by Gaussian filters, at one pixel of the middle."""
        generator = np.random.default_rng(1)
        first, second = generator.random((2, 11, 11))
        mean = [ndimage.gaussian_filter(x, 1.5, truncate=3.5) for x in (first, second)]
        second_moments = [
            ndimage.gaussian_filter(x * y, 1.5, truncate=3.5)
            for x, y in ((first, first), (second, second), (first, second))
        ]
        a, b = mean[0][5, 5], mean[1][5, 5]
        aa, bb, ab = (moment[5, 5] for moment in second_moments)
        wanted = (2 * a * b + 1e-4) * (2 * (ab - a * b) + 9e-4)
        wanted /= (a * a + b * b + 1e-4) * (aa - a * a + bb - b * b + 9e-4)
        pair = [torch.from_numpy(x)[None, None] for x in (first, second)]
        assert ssim(*pair) == pytest.approx(wanted, abs=1e-12)

    def test_ssim_of_a_mask_leaves_the_rest_out(self):
        image = torch.rand(1, 1, 30, 40)
        mask = torch.ones(1, 1, 30, 40, dtype=torch.bool)
        mask[..., 20:] = False
        other = image.clone()
        other[..., 20:] = torch.rand(1, 1, 30, 20)
        assert ssim(image, other, mask) == pytest.approx(1)
        assert ssim(image, other) < 0.9

    def test_average_precision_by_hand(self):
        labels = torch.tensor([True, False, True, True, False])
        scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
        assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
        # Equal scores are called together, wherever they stand.
        ties = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5])
        assert average_precision(ties, labels) == pytest.approx(1 / 3 + 2 / 3 * 3 / 5)
        assert average_precision(ties.flip(0), labels.flip(0)) == pytest.approx(11 / 15)
        assert average_precision(torch.ones(5), labels) == pytest.approx(3 / 5)
        assert math.isnan(average_precision(scores, torch.zeros(5, dtype=torch.bool)))

    def test_the_mean_leaves_out_images_without_blur(self):
        blurred, none = torch.tensor([True, False]), torch.tensor([False, False])
        pairs = [
            (torch.tensor([0.1, 0.2]), blurred),
            (torch.tensor([0.2, 0.1]), blurred),
            (torch.tensor([0.2, 0.1]), none),
        ]
        assert mean_average_precision(pairs) == pytest.approx(0.75)
        with pytest.raises(ValueError, match="must hold an image with a positive pixel"):
            mean_average_precision(pairs[2:])

    def test_bad_input(self):
        image = torch.rand(1, 3, 12, 12)
        with pytest.raises(ValueError, match="image must have the truth's shape"):
            psnr(image[..., 1:], image)
        with pytest.raises(TypeError, match="truth must be a floating tensor, got uint8"):
            psnr(image, image.byte())
        with pytest.raises(ValueError, match="mask must keep a pixel"):
            psnr(image, image, torch.zeros(1, 1, 12, 12, dtype=torch.bool))
        with pytest.raises(ValueError, match="mask must be bool"):
            psnr(image, image, torch.ones(1, 3, 12, 12, dtype=torch.bool))
        with pytest.raises(ValueError, match="image must have sides of at least 11 pixels"):
            ssim(image[..., :10], image[..., :10])
        with pytest.raises(TypeError, match="labels must be a tensor of bool"):
            average_precision(torch.rand(3), torch.rand(3))
        with pytest.raises(ValueError, match="scores must be finite"):
            average_precision(torch.tensor([math.nan]), torch.tensor([True]))


class TestProtocols:
    def test_a_moved_darker_copy_scores_well_once_aligned(self):
        sharp = view(channels=3)
        restored = 0.8 * view(torch.linalg.inv(HOMOGRAPHY), channels=3)
        assert plain_scores(restored, sharp).psnr < 20
        aligned = aligned_scores(restored, sharp)
        assert aligned.psnr > 40
        assert aligned.ssim > 0.98

    def test_alignment_finding_nothing_leaves_the_gain(self):
        sharp = torch.full((1, 1, 16, 16), 0.5)
        assert aligned_scores(0.7 * sharp, sharp).psnr > 200
        assert aligned_scores(torch.zeros_like(sharp), sharp).psnr == pytest.approx(6.02, abs=0.01)

    def test_shifts_are_whole_pixels_both_ways(self):
        full = view(channels=3)
        sharp, moved = full[..., 3:, :-2], full[..., :-3, 2:]
        # sharp[y, x] = moved[y + 3, x - 2], whose light is the same.
        scores = shifted_scores(moved, sharp)
        gain = float((sharp * moved).sum() / moved.square().sum())
        expected = psnr(gain * sharp[..., :-3, 2:], sharp[..., :-3, 2:])
        assert scores.psnr == pytest.approx(expected, abs=1e-6)

    def test_kohler_takes_the_best_frame_that_is_not_the_image_itself(self):
        generator = torch.Generator().manual_seed(1)
        sharp = view().float()

        def noisy(scale):
            return sharp + scale * torch.randn(sharp.shape, generator=generator)

        frames = [noisy(0.1), noisy(0.01), sharp.clone(), noisy(0.05)]
        for homography, score in ((True, aligned_scores), (False, shifted_scores)):
            best = kohler_scores(sharp, iter(frames), homography=homography)
            assert best == score(sharp, frames[1])
        with pytest.raises(ValueError, match="frames must hold one that scores below 60 dB"):
            kohler_scores(sharp, [sharp.clone()], homography=False)

    def test_means(self):
        assert mean_scores([Scores(20, 0.5), Scores(30, 0.7)]) == (25, pytest.approx(0.6))
        with pytest.raises(ValueError, match="must hold at least one"):
            mean_scores([])


class TestTables:
    def test_rows_of_another_length_are_refused(self):
        with pytest.raises(ValueError, match="row 'x' must have 2 cells, got 1"):
            Table("t", ("a", "b"), (Row("x", ("1",)),))

    def test_our_rows_stand_marked_below_the_papers(self):
        table = Table("T", ("a",), (Row("x", ("1",)),)).with_rows([Row("y", ("2",), True)], ["n"])
        lines = show(table).splitlines()
        assert [line.split("|")[1].strip() for line in lines[4:6]] == ["x", "y *"]
        assert lines[-1] == "n"
