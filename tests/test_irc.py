# SPDX-License-Identifier: BSD-3-Clause
"""Iterative residual compensation: the iteration, its rate, its end, its inverses."""

import math

import pytest
import torch
import torch.nn.functional as F

import blurops
from blurops import (
    BasisBlur,
    MotionBlur,
    NUConv,
    UniformBlur,
    check_adjoint,
    difference_filters,
    interpolate_motion,
    inverse_blur,
    inverse_filters,
    irc,
    linear_motion_bank,
    spectral_radius,
)
from blurops.solvers.compensation import Correction
from blurops.solvers.inverse_blur import ZeroPadded
from tests.deconvolution import kernel, matrix, noisy, picture, psnr, random_blur


def motions(height, width, longest=7.0):
    """(1, H, W) maps that vary over the image."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    length = 1 + (longest - 1) * ((x + y) / (height + width - 2)).double()
    angle = 0.3 + (y / height).double()
    return length[None], angle[None]


class TestIteration:
    def test_is_algorithm_2_1(self):
        """Two samples, three channels, asymmetric kernels: x <- x + D (y - H x) from y."""
        blur, inverse = random_blur(), random_blur("zeros", (3, 7), seed=5)
        y = noisy(blur @ picture(2, 3, 12, 15), 0.05)
        x = y
        expected = [x]
        for _ in range(3):
            x = x + inverse @ (y - blur @ x)
            expected.append(x)
        seen = []
        result = irc(y, blur, inverse, iterations=3, callback=lambda *call: seen.append(call))
        torch.testing.assert_close(result.image, expected[-1])
        assert [call[0] for call in seen] == [1, 2, 3]
        for (_, image, residual), wanted in zip(seen, expected[1:], strict=True):
            torch.testing.assert_close(image, wanted)
            assert residual == pytest.approx(float((y - blur @ wanted).norm() / y.norm()))
        assert result.residuals[1:] == tuple(call[2] for call in seen)
        assert result.residuals[0] == pytest.approx(
            float((y - blur @ expected[0]).norm() / y.norm())
        )
        change = (expected[3] - expected[2]).norm() / expected[3].norm()
        assert result.changes[2] == pytest.approx(float(change))
        assert (result.iterations, result.status) == (3, "iterations")

    def test_with_analysis_filters(self):
        blur, analysis = random_blur("replicate"), [kernel(3, 3, seed=1), kernel(1, 3, seed=2)]
        filters = [UniformBlur(each, boundary="replicate") for each in analysis]
        inverses = [random_blur("zeros", seed=seed) for seed in (3, 4, 5)]
        y, targets = picture(1, 2, 9, 11), [picture(1, 2, 9, 11, seed=s) for s in (1, 2)]
        x = start = picture(1, 2, 9, 11, seed=3)
        for _ in range(2):
            rests = [y - blur @ x, *(z - k @ x for k, z in zip(filters, targets, strict=True))]
            x = x + sum(d @ r for d, r in zip(inverses, rests, strict=True))
        given = {"analysis": analysis, "targets": targets, "iterations": 2}
        result = irc(y, blur, inverses, initial=start, **given)
        torch.testing.assert_close(result.image, x)
        total = sum(float((z**2).sum()) for z in (y, *targets))
        rests = [y - blur @ x, *(z - k @ x for k, z in zip(filters, targets, strict=True))]
        last = math.sqrt(sum(float((r**2).sum()) for r in rests) / total)
        assert result.residuals[-1] == pytest.approx(last)
        assert torch.equal(irc(y, blur, inverses, **given | {"iterations": 0}).image, y)

    def test_stops_at_the_tolerance(self):
        blur = random_blur("circular")
        y = blur @ picture(1, 1, 16, 18)
        (inverse,) = inverse_blur(blur, size=9, boundary="circular")
        full = irc(y, blur, inverse, iterations=8)
        tol = (full.residuals[3] + full.residuals[4]) / 2
        assert full.residuals[3] > tol > full.residuals[4]
        result = irc(y, blur, inverse, iterations=8, tol=tol)
        assert (result.iterations, result.status) == (4, "converged")
        assert result.residuals == full.residuals[:5]
        last = irc(y, blur, inverse, iterations=4, tol=tol)
        assert (last.iterations, last.status) == (4, "converged")
        assert irc(y, blur, inverse, iterations=3, tol=tol).status == "iterations"

    def test_gradients_reach_filters_and_blur(self):
        y = picture(1, 1, 6, 7)
        taps, filters = kernel(3, 3), kernel(3, 3, seed=4)

        def restored(taps, filters):
            return irc(
                y, UniformBlur(taps), UniformBlur(filters, boundary="zeros"), iterations=2
            ).image

        assert torch.autograd.gradcheck(restored, (taps.requires_grad_(), filters.requires_grad_()))

    def test_progress(self, capsys):
        blur = random_blur()
        irc(picture(1, 1, 8, 8), blur, random_blur("zeros"), iterations=1, progress=True)
        assert "IRC: 100%" in capsys.readouterr().err


class TestRate:
    @staticmethod
    def problem():
        blur = random_blur("circular", (5, 5))
        (inverse,) = inverse_blur(blur, size=7, ridge=0.05, boundary="circular")
        size = (12, 14)
        return blur, inverse, size

    def test_radius_is_that_of_the_matrix_and_the_observed_rate(self):
        blur, inverse, size = self.problem()
        count = size[0] * size[1]
        error = torch.eye(count, dtype=torch.float64) - matrix(inverse, size) @ matrix(blur, size)
        exact = float(torch.linalg.eigvals(error).abs().max())
        assert 0.1 < exact < 0.9
        estimate = spectral_radius(blur, inverse, (1, 1, *size))
        assert estimate == pytest.approx(exact, rel=1e-2)
        sharp = noisy(picture(1, 1, *size), 0.3)
        errors = []
        irc(
            blur @ sharp, blur, inverse, iterations=40,
            callback=lambda i, image, r: errors.append(float((image - sharp).norm())),
        )  # fmt: skip
        rate = (errors[-1] / errors[-11]) ** 0.1
        assert rate == pytest.approx(estimate, rel=2e-2)

    def test_radius_with_analysis_filters(self):
        size, analysis = (8, 9), difference_filters(torch.float64)
        blur = random_blur("replicate")
        inverses = inverse_blur(blur, size=7, analysis=analysis, penalty=0.1)
        filters = [UniformBlur(each, boundary="replicate") for each in analysis]
        pairs = zip(inverses, (blur, *filters), strict=True)
        error = torch.eye(72, dtype=torch.float64)
        error = error - sum(matrix(d, size) @ matrix(k, size) for d, k in pairs)
        exact = float(torch.linalg.eigvals(error).abs().max())
        found = spectral_radius(blur, inverses, (1, 1, *size), analysis=analysis)
        assert found == pytest.approx(exact, rel=2e-2)

    def test_divergence_is_reported(self):
        """An inverse three times too strong: the radius is 2, the smallest residual is kept."""
        blur, inverse, size = self.problem()
        strong = UniformBlur(3 * inverse.kernels, boundary="circular")
        radius = spectral_radius(blur, strong, (1, 1, *size))
        assert 1.8 < radius < 2.3
        y, images = blur @ picture(1, 1, *size), []
        result = irc(
            y, blur, strong, initial=y, iterations=50,
            callback=lambda i, image, r: images.append(image),
        )  # fmt: skip
        assert result.status == "diverged"
        assert result.iterations < 10
        assert result.residuals[-1] > 2 * min(result.residuals)
        best = min(range(len(images) + 1), key=lambda i: result.residuals[i])
        assert torch.equal(result.image, ([y, *images])[best])
        broken = UniformBlur(torch.full((1, 1), 1e300, dtype=torch.float64))
        assert irc(y, blur, broken, initial=y, iterations=9).status == "diverged"

    def test_rounding_is_no_divergence(self):
        blur, inverse, size = self.problem()
        y = blur @ picture(1, 1, *size)
        result = irc(y, blur, inverse, iterations=300)
        assert result.status == "iterations"
        assert result.residuals[-1] < 1e-13


class TestInverses:
    def test_of_uniform_blurs_one_per_sample(self):
        kernels = torch.stack([kernel(3, 5, seed=s) for s in (1, 2)])[:, None]
        analysis = difference_filters(torch.float64)
        found = inverse_blur(UniformBlur(kernels), size=7, analysis=analysis, penalty=0.3)
        bank = inverse_filters(kernels[:, 0], size=7, analysis=analysis, penalty=0.3)
        x = picture(2, 1, 8, 9)
        assert len(found) == 3
        for i, each in enumerate(found):
            expected = torch.cat([
                F.conv2d(F.pad(x[n : n + 1], (3,) * 4), bank[n, i][None, None]) for n in range(2)
            ])  # fmt: skip
            torch.testing.assert_close(each @ x, expected)

    @pytest.mark.parametrize("mode", ["softmax", "nearest"])
    def test_of_motion_blur(self, mode):
        """The whole bank, gathered; only its entries that occur were computed."""
        length, angle = motions(14, 11)
        blur = MotionBlur(length, angle, boundary="replicate")
        (found,) = inverse_blur(blur, size=9, mode=mode, max_length=9)
        bank = inverse_filters(linear_motion_bank(9), size=9).double()[:, 0]
        index, weight = interpolate_motion(length, angle, max_length=9, mode=mode)
        assert found.bank.shape[0] == len(index.unique()) < len(bank)
        x = picture(1, 3, 14, 11)
        expected = blurops.nu_conv(x, bank, index, weight, boundary="zeros")
        torch.testing.assert_close(found @ x, expected, rtol=1e-5, atol=1e-6)
        # Without a longest length the bank reaches as far as the motions do.
        (other,) = inverse_blur(blur, size=9, mode=mode)
        index, weight = interpolate_motion(length, angle, max_length=7, mode=mode)
        bank = inverse_filters(linear_motion_bank(7), size=9).double()[:, 0]
        expected = blurops.nu_conv(x, bank, index, weight, boundary="zeros")
        torch.testing.assert_close(other @ x, expected, rtol=1e-5, atol=1e-6)

    def test_of_a_gathered_bank_of_blurs(self):
        bank = torch.stack([kernel(3, 3, seed=s) for s in range(4)])
        generator = torch.Generator().manual_seed(0)
        index = torch.randint(4, (1, 2, 7, 8), generator=generator, dtype=torch.int32)
        weight = torch.rand(1, 2, 7, 8, generator=generator, dtype=torch.float64)
        (found,) = inverse_blur(NUConv(bank, index, weight), size=5)
        filters = inverse_filters(bank, size=5)[:, 0]
        x = picture(1, 2, 7, 8)
        expected = blurops.nu_conv(x, filters, index, weight, boundary="zeros")
        torch.testing.assert_close(found @ x, expected)

    @pytest.mark.parametrize("kind", ["uniform", "motion", "gathered"])
    def test_for_valid_blurs_reach_the_sharp_size(self, kind):
        length, angle = motions(10, 12)
        bank = torch.stack([kernel(7, 7, seed=s) for s in range(3)])
        index = torch.randint(3, (1, 2, 10, 12), dtype=torch.int32)
        weight = torch.full((1, 2, 10, 12), 0.5, dtype=torch.float64)
        blur = {
            "uniform": lambda: random_blur("valid", (7, 7)),
            "motion": lambda: MotionBlur(length, angle, boundary="valid"),
            "gathered": lambda: NUConv(bank, index, weight, boundary="valid"),
        }[kind]()
        sharp = picture(1, 1, 16, 18)
        inverses = inverse_blur(
            blur, size=9, analysis=difference_filters(torch.float64), penalty=0.1
        )
        y = blur @ sharp
        assert y.shape[-2:] == (10, 12)
        assert [
            d.forward(v).shape[-2:] for d, v in zip(inverses, (y, sharp, sharp), strict=True)
        ] == [(16, 18)] * 3
        assert check_adjoint(inverses[0], y.shape) < 1e-12

        # It is the inverse in a larger image, whose maps go on beyond the border, with zeros there.
        def larger(maps):
            return F.pad(maps.double(), (3,) * 4, mode="replicate").to(maps.dtype)

        same = {
            "uniform": lambda: random_blur("zeros", (7, 7)),
            "motion": lambda: MotionBlur(
                larger(length[None])[0], larger(angle[None])[0], boundary="zeros"
            ),
            "gathered": lambda: NUConv(bank, larger(index), larger(weight), boundary="zeros"),
        }[kind]()
        (inverse,) = inverse_blur(blur, size=9)
        (expected,) = inverse_blur(same, size=9)
        torch.testing.assert_close(inverse @ y, expected @ F.pad(y, (3,) * 4))
        if kind == "uniform":
            inner = (..., slice(3, -3), slice(3, -3))
            result = irc(y, blur, inverse, iterations=3).image
            assert psnr(result[inner], sharp[inner]) > psnr(y, sharp[inner]) + 2

    def test_restores_a_moving_picture(self):
        length, angle = motions(48, 40)
        blur = MotionBlur(length, angle, boundary="replicate")
        sharp = picture(1, 1, 48, 40)
        y = noisy(blur @ sharp, 0.002)
        result = irc(y, blur, *inverse_blur(blur, size=21), iterations=4)
        assert psnr(result.image, sharp) > psnr(y, sharp) + 4

    @pytest.mark.parametrize("count", [1, 2])
    def test_filters_that_share_transforms_are_their_sum(self, count):
        """Two samples of three channels, a border that only one of three filters lacks."""
        kernels = [
            torch.stack([kernel(5, 3, seed=10 * i + n) for n in range(count)])[:, None]
            for i in range(3)
        ]
        filters = [UniformBlur(k.requires_grad_(), boundary="zeros") for k in kernels]
        inverses = [ZeroPadded(filters[0], (3, 5)), *filters[1:]]
        residuals = [picture(2, 3, 8, 9, seed=1), *(picture(2, 3, 10, 13, seed=s) for s in (2, 3))]
        found = Correction(inverses)(residuals)
        expected = sum(d @ r for d, r in zip(inverses, residuals, strict=True))
        torch.testing.assert_close(found, expected)
        grads = [torch.autograd.grad((r**2).sum(), kernels) for r in (found, expected)]
        torch.testing.assert_close(*grads)
        # Not alike: another border, another size.
        for other in (
            UniformBlur(kernels[1]),
            UniformBlur(kernels[1][..., 1:-1, :], boundary="zeros"),
        ):
            some = [inverses[0], other, filters[2]]
            expected = sum(d @ r for d, r in zip(some, residuals, strict=True))
            torch.testing.assert_close(Correction(some)(residuals), expected)

    def test_method_and_grid_reach_the_filters(self):
        blur = random_blur("zeros", (3, 5))
        (found,) = inverse_blur(blur, size=7, ridge=0.1, method="fft", grid=21)
        expected = inverse_filters(blur.kernels[:, 0], size=7, ridge=0.1, method="fft", grid=21)
        torch.testing.assert_close(found.kernels, expected)

    @pytest.mark.parametrize(
        ("operator", "reason"),
        [
            (lambda: BasisBlur(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 5, 5)), "BasisBlur"),
            (
                lambda: NUConv(
                    torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 5, 5, dtype=torch.int32),
                    torch.ones(1, 1, 5, 5),
                ),
                "NUConv",
            ),
        ],
    )  # fmt: skip
    def test_refuses_other_blurs(self, operator, reason):
        with pytest.raises(TypeError, match=rf"operator must be a UniformBlur, .* got {reason}"):
            inverse_blur(operator())


class TestOutputs:
    def test_is_the_average_of_four_restorations(self):
        length, angle = motions(12, 13)
        blur = MotionBlur(length, angle, boundary="replicate")
        (inverse,) = inverse_blur(blur, size=9)
        y = noisy(blur @ picture(1, 2, 12, 13), 0.02)
        mixed = irc(y, blur, inverse, iterations=2)
        result = irc(y, blur, inverse, iterations=2, combine="outputs")
        average, residuals = 0, []
        for j in range(4):
            alone = NUConv(
                inverse.bank, inverse.index[:, j : j + 1].contiguous(),
                torch.ones_like(inverse.weight[:, :1]), boundary="zeros",
            )  # fmt: skip
            part = irc(y, blur, alone, iterations=2)
            average = average + inverse.weight[:, j : j + 1] * part.image
            residuals.append(part.residuals)
        torch.testing.assert_close(result.image, average)
        assert result.residuals == max(residuals, key=lambda each: each[-1])
        assert (result.image - mixed.image).abs().max() > 1e-3
        # One iteration is linear in the filters.
        once = irc(y, blur, inverse, iterations=1, combine="outputs").image
        torch.testing.assert_close(once, irc(y, blur, inverse, iterations=1).image)

    def test_needs_gathered_inverses(self):
        with pytest.raises(ValueError, match="inverse must be NUConv for combine 'outputs', got U"):
            irc(picture(1, 1, 8, 8), random_blur(), random_blur("zeros"), combine="outputs")


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"observed": torch.full((1, 1, 8, 8), math.nan).double()}, ValueError,
         "observed must be finite"),
        ({"observed": torch.ones(1, 1, 8, 8)}, TypeError, "operator must have the dtype of obs"),
        ({"observed": torch.ones(8, 8).double()}, ValueError, r"observed must be \(N, C, H, W\)"),
        ({"operator": torch.ones(3, 3)}, TypeError, "operator must be a blurops Operator"),
        ({"inverse": [torch.ones(3, 3)]}, TypeError, "operator must be a blurops Operator"),
        ({"inverse": [random_blur(), random_blur()]}, ValueError, "inverse must hold one operator"),
        ({"inverse": random_blur("valid")}, ValueError, "inverse must give images of the sharp"),
        ({"iterations": -1}, ValueError, "iterations must be at least 0, got -1"),
        ({"tol": -1.0}, ValueError, "tol must be at least 0"),
        ({"combine": "mean"}, ValueError, "combine must be one of filters, outputs"),
        ({"initial": torch.ones(1, 1, 8, 9).double()}, ValueError, r"initial must be \(1, 1, 8, 8"),
        ({"targets": [torch.ones(1, 1, 8, 8).double()]}, ValueError, "targets must be as many as"),
        ({"analysis": [torch.ones(2, 2)]}, ValueError, "analysis must have odd sides"),
        ({"callback": 3}, TypeError, "callback must be callable, got int"),
        ({"inverse": None, "analysis": [torch.ones(1, 1)],
          "targets": [torch.ones(1, 1, 8, 8).double()]}, ValueError, "inverse must be given with"),
    ],
)  # fmt: skip
def test_rejects(change, error, reason):
    given = {
        "observed": picture(1, 1, 8, 8), "operator": random_blur(), "inverse": random_blur("zeros"),
    } | change  # fmt: skip
    with pytest.raises(error, match=f"irc: {reason}"):
        irc(given.pop("observed"), given.pop("operator"), given.pop("inverse"), **given)
