# SPDX-License-Identifier: BSD-3-Clause
"""Sparse priors by ADMM and HQS: with residual compensation, and with conjugate gradients."""

import math

import pytest
import torch

from blurops import (
    MotionBlur,
    NUConv,
    UniformBlur,
    admm_irc,
    cg_deblur,
    difference_filters,
    fft_deblur,
    inverse_blur,
)
from blurops.solvers.splitting import shrink
from tests.deconvolution import kernel, matrix, noisy, picture, psnr, random_blur

ANALYSIS = difference_filters(torch.float64)


def differences(boundary):
    return [UniformBlur(each, boundary=boundary) for each in ANALYSIS]


def objective(image, y, blur, weight, data_weight):
    """Eq. 1 (data_weight 1/2) and eq. 16 (1), with periodic differences."""
    data = data_weight * float(((blur @ image - y) ** 2).sum())
    return data + weight * sum(float((k @ image).abs().sum()) for k in differences("circular"))


class TestThresholds:
    @pytest.mark.parametrize("order", [0, 1])
    @pytest.mark.parametrize(("weight", "penalty"), [(0.3, 2.0), (0.02, 0.1)])
    def test_are_minimisers(self, order, weight, penalty):
        """Against every z on a fine grid."""
        grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)
        values = torch.linspace(-1.5, 1.5, 41, dtype=torch.float64)
        cost = weight * (grid.abs() if order else (grid.abs() > 1e-9).double())
        total = cost + penalty / 2 * (values[:, None] - grid) ** 2
        found = shrink(values, weight, penalty, order)
        own = weight * (found.abs() if order else (found != 0).double())
        own = own + penalty / 2 * (values - found) ** 2
        assert bool((own <= total.amin(1) + 1e-12).all())
        assert bool((found == 0).any())
        assert bool((found != 0).any())


class TestStages:
    """Two stages by hand, with operators that are inverse to nothing."""

    @pytest.mark.parametrize("splitting", ["admm", "hqs"])
    @pytest.mark.parametrize("norm", [0, 1])
    @pytest.mark.parametrize("inner", [1, 2])
    def test_by_hand(self, splitting, norm, inner):
        blur, filters = random_blur("replicate"), differences("replicate")
        inverses = [UniformBlur(0.2 * kernel(3, 3, seed=s), boundary="zeros") for s in (3, 4, 5)]
        y = noisy(blur @ picture(1, 2, 9, 12), 0.02)
        weight, penalty, rate = 0.02, 0.4, 0.7
        x, betas, images = y, [0, 0], []
        for _ in range(2):
            z = [
                shrink(k @ x + b, weight, penalty, norm)
                for k, b in zip(filters, betas, strict=True)
            ]
            for _ in range(inner):
                rests = [y - blur @ x] + [
                    zi - b - k @ x for zi, b, k in zip(z, betas, filters, strict=True)
                ]
                x = x + sum(d @ r for d, r in zip(inverses, rests, strict=True))
            if splitting == "admm":
                betas = [
                    b + rate * (k @ x - zi) for b, k, zi in zip(betas, filters, z, strict=True)
                ]
            images.append(x)
        seen = []
        result = admm_irc(
            y, blur, inverses, weight=weight, penalty=penalty, norm=norm, rate=rate, stages=2,
            inner=inner, splitting=splitting, callback=lambda *call: seen.append(call),
        )  # fmt: skip
        torch.testing.assert_close(result.image, images[-1])
        torch.testing.assert_close(seen[0][1], images[0])
        residual = float((y - blur @ images[0]).norm() / y.norm())
        assert seen[0][2] == pytest.approx(residual)
        assert result.residuals[1:] == tuple(call[2] for call in seen)
        assert (result.iterations, result.status) == (2, "iterations")

    def test_data_weight_and_penalties_reach_the_inverses(self):
        """Unscaled residuals want inverses for rho / (2 data_weight), for each rho once."""
        blur, shares = random_blur("replicate"), []

        def inverse(share):
            shares.append(share)
            return inverse_blur(blur, size=7, analysis=ANALYSIS, penalty=share)

        y = blur @ picture(1, 1, 9, 12)
        admm_irc(y, blur, inverse, penalty=[0.1, 0.4, 0.4], stages=3, data_weight=1.0)
        assert shares == [0.05, 0.2]
        given = admm_irc(y, blur, inverse, penalty=0.3, stages=2)
        assert shares[2:] == [0.3]
        fixed = inverse_blur(blur, size=7, analysis=ANALYSIS, penalty=0.3)
        same = admm_irc(y, blur, fixed, penalty=0.3, stages=2)
        assert torch.equal(given.image, same.image)
        automatic = admm_irc(y, blur, penalty=0.3, stages=2).image
        fixed = inverse_blur(blur, analysis=ANALYSIS, penalty=0.3)
        assert torch.equal(automatic, admm_irc(y, blur, fixed, penalty=0.3, stages=2).image)

    def test_stops_when_the_image_does(self):
        blur = random_blur("circular")
        y = noisy(blur @ picture(1, 1, 12, 14), 0.01)
        given = {"weight": 1e-3, "penalty": 0.1, "stages": 60}
        full = admm_irc(y, blur, **given, callback=None)
        tol = full.changes[30]
        assert min(full.changes[:30]) > tol
        result = admm_irc(y, blur, **given, tol=tol)
        assert (result.iterations, result.status) == (31, "converged")

    def test_divergence_is_reported(self):
        blur = random_blur("circular")
        y = blur @ picture(1, 1, 12, 14)
        inverses = [UniformBlur(5 * torch.ones(1, 1).double()) for _ in range(3)]
        result = admm_irc(y, blur, inverses, stages=50)
        assert result.status == "diverged"
        assert result.iterations < 20
        best = min(range(len(result.residuals)), key=lambda i: result.residuals[i])
        assert best == 0
        assert torch.equal(result.image, y)

    def test_outputs_are_four_restorations(self):
        length = 3 + 2 * torch.rand(1, 10, 11, generator=torch.Generator().manual_seed(0)).double()
        blur = MotionBlur(length, torch.full_like(length, 0.4), boundary="replicate")
        inverses = inverse_blur(blur, size=7, analysis=ANALYSIS, penalty=0.3)
        y = noisy(blur @ picture(1, 1, 10, 11), 0.02)
        given = {"penalty": 0.3, "weight": 0.01, "stages": 2}
        result = admm_irc(y, blur, inverses, combine="outputs", **given)
        average = 0
        for j in range(4):
            some = [
                NUConv(d.bank, d.index[:, j : j + 1].contiguous(),
                       torch.ones_like(d.weight[:, :1]), boundary="zeros")
                for d in inverses
            ]  # fmt: skip
            share = inverses[0].weight[:, j : j + 1]
            average = average + share * admm_irc(y, blur, some, **given).image
        torch.testing.assert_close(result.image, average)
        mixed = admm_irc(y, blur, inverses, **given)
        assert (mixed.image - result.image).abs().max() > 1e-4


class TestMinimalSteps:
    """Steps that minimise, against least squares over the directions, sample by sample."""

    @staticmethod
    def step(x, rests, forward, weights, directions):
        """The best image in x + span(directions), and what is left."""
        moved = [[k @ p for k in forward] for p in directions]
        image, left = x.clone(), [r.clone() for r in rests]
        for n in range(len(x)):
            columns = [
                torch.cat(
                    [math.sqrt(w) * e[n].flatten() for w, e in zip(weights, each, strict=True)]
                )
                for each in moved
            ]
            right = torch.cat(
                [math.sqrt(w) * r[n].flatten() for w, r in zip(weights, rests, strict=True)]
            )
            share = torch.linalg.lstsq(torch.stack(columns, dim=1), right).solution
            for s, p, each in zip(share, directions, moved, strict=True):
                image[n] += s * p[n]
                for r, e in zip(left, each, strict=True):
                    r[n] -= s * e[n]
        return image, left

    @pytest.mark.parametrize("penalties", [[0.4, 0.4], [0.4, 0.1]])
    @pytest.mark.parametrize("inner", [1, 2])
    def test_by_hand(self, penalties, inner):
        """Stage 2 goes along stage 1's last direction again, unless its penalty is another."""
        blur, filters = random_blur("replicate"), differences("replicate")
        inverses = [UniformBlur(0.2 * kernel(3, 3, seed=s), boundary="zeros") for s in (3, 4, 5)]
        y = noisy(blur @ picture(2, 2, 9, 12), 0.02)
        y[1] *= 3
        weight, data_weight, forward = 0.02, 0.8, (blur, *filters)
        x, betas, kept = y, [0, 0], []
        for stage, penalty in enumerate(penalties):
            weights = [data_weight, penalty / 2, penalty / 2]
            z = [shrink(k @ x + b, weight, penalty, 1) for k, b in zip(filters, betas, strict=True)]
            targets = [y, *(zi - b for zi, b in zip(z, betas, strict=True))]
            rests = [t - k @ x for k, t in zip(forward, targets, strict=True)]
            kept = kept if stage and penalty == penalties[stage - 1] else []
            if kept:
                x, rests = self.step(x, rests, forward, weights, kept)
            for _ in range(inner):
                latest = sum(d @ r for d, r in zip(inverses, rests, strict=True))
                x, rests = self.step(x, rests, forward, weights, [*kept, latest])
                kept = (
                    [latest] if not kept else [self.orthogonal(latest, kept[0], forward, weights)]
                )
            betas = [b + k @ x - zi for b, k, zi in zip(betas, filters, z, strict=True)]
        result = admm_irc(
            y, blur, lambda share: inverses, weight=weight, penalty=penalties, stages=2,
            inner=inner, memory=1, data_weight=data_weight,
        )  # fmt: skip
        torch.testing.assert_close(result.image, x)

    @staticmethod
    def orthogonal(latest, before, forward, weights):
        """A direction less its part along another, by what the operators make of both."""

        def product(a, b):
            terms = zip(weights, forward, strict=True)
            return sum(w * ((k @ a) * (k @ b)).sum((1, 2, 3), keepdim=True) for w, k in terms)

        return latest - product(latest, before) / product(before, before) * before

    def test_cannot_diverge(self):
        """Five times the identity for an inverse: without memory, the steps find their length."""
        blur = random_blur("circular")
        sharp = picture(1, 1, 12, 14)
        y = blur @ sharp
        inverses = [UniformBlur(5 * torch.ones(1, 1).double(), boundary="zeros")] * 3
        result = admm_irc(y, blur, inverses, weight=1e-6, stages=30, inner=3, memory=0)
        assert result.status == "iterations"
        assert result.residuals[-1] < result.residuals[0] / 3
        zeros = torch.zeros_like(y)
        assert torch.equal(admm_irc(zeros, blur, inverses, memory=2).image, zeros)


class TestAgreement:
    """Three ways to solve for x on a periodic image end in the same minimum."""

    @pytest.mark.parametrize("data_weight", [0.5, 1.0])
    def test_all_solvers_find_the_minimum(self, data_weight):
        blur = random_blur("circular", (3, 5))
        y = noisy(blur @ picture(1, 1, 12, 16), 0.03)
        given = {"weight": 4e-3, "penalty": 0.1, "data_weight": data_weight, "stages": 150}
        inverses = inverse_blur(
            blur, size=15, analysis=ANALYSIS, penalty=0.1 / (2 * data_weight), ridge=1e-4,
            boundary="circular",
        )  # fmt: skip
        found = {
            "irc": admm_irc(y, blur, inverses, inner=3, **given),
            "cg": cg_deblur(y, blur, iterations=30, inner_tol=1e-8, **given),
            "fft": fft_deblur(y, blur, borders="none", **given),
        }
        costs = {k: objective(r.image, y, blur, 4e-3, data_weight) for k, r in found.items()}
        best = min(costs.values())
        assert all(cost < best * (1 + 1e-4) for cost in costs.values())
        for each in found.values():
            torch.testing.assert_close(each.image, found["fft"].image, rtol=0, atol=3e-3)
        # A minimum: no step leads down by more than those differences.
        generator = torch.Generator().manual_seed(1)
        for size in (0.1, 0.01):
            step = size * torch.randn(y.shape, generator=generator, dtype=y.dtype)
            image = found["fft"].image + step
            assert objective(image, y, blur, 4e-3, data_weight) > best
        other = objective(found["fft"].image, y, blur, 4e-3, 1.5 - data_weight)
        same = fft_deblur(y, blur, borders="none", **given | {"data_weight": 1.5 - data_weight})
        assert objective(same.image, y, blur, 4e-3, 1.5 - data_weight) < other * (1 - 1e-3)


class TestConjugateGradients:
    @pytest.mark.parametrize("boundary", ["reflect", "zeros"])
    def test_least_squares(self, boundary):
        """All the way: the solution of the normal equations."""
        blur = UniformBlur(kernel(3, 3), boundary=boundary)
        y = picture(1, 1, 6, 7)
        dense = matrix(blur, (6, 7))
        expected = torch.linalg.solve(dense, y.flatten()).view(1, 1, 6, 7)
        result = cg_deblur(y, blur, iterations=300, inner_tol=1e-12)
        assert result.status == "converged"
        assert result.iterations < 300
        torch.testing.assert_close(result.image, expected, rtol=0, atol=1e-7)

    def test_valid_blurs_have_a_larger_image(self):
        """Fewer equations than unknowns: the solution that is nearest to the start."""
        blur = random_blur("valid", (3, 5))
        y, start = blur @ picture(1, 1, 8, 9), picture(1, 1, 8, 9, seed=2)
        dense = matrix(blur, (8, 9))
        step = torch.linalg.lstsq(dense, (y - blur @ start).flatten(), driver="gelsd").solution
        expected = start + step.view(1, 1, 8, 9)
        result = cg_deblur(y, blur, initial=start, iterations=500, inner_tol=1e-13)
        torch.testing.assert_close(result.image, expected, rtol=0, atol=1e-6)
        assert cg_deblur(y, blur, iterations=2).image.shape == (1, 1, 8, 9)

    def test_standing_still_is_not_converging(self):
        """No iteration of conjugate gradients, but multipliers that go on: all stages are made."""
        blur = random_blur()
        y = noisy(blur @ picture(1, 1, 9, 12), 0.05)
        result = cg_deblur(y, blur, weight=1e-3, inner_tol=1e9, stages=4)
        assert (result.iterations, result.status) == (4, "iterations")

    def test_what_is_reported_is_true(self):
        blur, seen = random_blur(), []
        y = noisy(blur @ picture(1, 2, 9, 12), 0.05)
        result = cg_deblur(y, blur, iterations=4, callback=lambda *call: seen.append(call))
        assert (result.iterations, result.status, len(seen)) == (4, "iterations", 4)
        for (_, image, residual), listed in zip(seen, result.residuals[1:], strict=True):
            assert residual == listed == pytest.approx(float((y - blur @ image).norm() / y.norm()))
        assert list(result.residuals) == sorted(result.residuals, reverse=True)
        assert cg_deblur(y, blur, iterations=0).image is not None

    def test_samples_do_not_meet(self):
        kernels = torch.stack([kernel(3, 3, seed=s) for s in (0, 1)])[:, None]
        y = noisy(picture(2, 1, 9, 12), 0.1)
        y[1] *= 100
        both = cg_deblur(y, UniformBlur(kernels), iterations=5, inner_tol=0.0).image
        for i in range(2):
            alone = cg_deblur(y[i : i + 1], UniformBlur(kernels[i : i + 1]), iterations=5,
                              inner_tol=0.0)  # fmt: skip
            torch.testing.assert_close(both[i : i + 1], alone.image)

    def test_a_moving_picture(self):
        y_, x_ = torch.meshgrid(torch.arange(30), torch.arange(32), indexing="ij")
        length, angle = 1 + 5 * (x_ / 31).double()[None], (y_ / 30).double()[None]
        blur = MotionBlur(length, angle, boundary="replicate")
        sharp = picture(1, 1, 30, 32)
        y = noisy(blur @ sharp, 0.003)
        result = cg_deblur(y, blur, weight=1e-4, splitting="hqs", stages=5)
        assert psnr(result.image, sharp) > psnr(y, sharp) + 6


def _refused(solver, change, error, reason):
    given = {"observed": picture(1, 1, 12, 12), "operator": random_blur()} | change
    with pytest.raises(error, match=f"{solver.__name__}: {reason}"):
        solver(given.pop("observed"), given.pop("operator"), **given)


@pytest.mark.parametrize("solver", [admm_irc, cg_deblur, fft_deblur])
@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"observed": torch.full((1, 1, 8, 8), math.inf).double()}, ValueError,
         "observed must be finite"),
        ({"observed": torch.ones(1, 1, 8, 8).half()}, TypeError, "operator must have the dtype"),
        ({"operator": 3}, TypeError, "operator must be a blurops Operator"),
        ({"weight": -1.0}, ValueError, "weight must be at least 0"),
        ({"penalty": 0.0, "weight": 1.0}, ValueError, "penalty must be greater than 0"),
        ({"penalty": [0.1, 0.2]}, ValueError, "penalty must be one number, or one for each of the"),
        ({"norm": 2}, ValueError, "norm must be 0 or 1, got 2"),
        ({"data_weight": 0.0}, ValueError, "data_weight must be greater than 0"),
        ({"stages": -1}, ValueError, "stages must be at least 0"),
        ({"splitting": "osb"}, ValueError, "splitting must be one of admm, hqs"),
        ({"callback": 1}, TypeError, "callback must be callable"),
        ({"weight": 1.0, "analysis": [torch.ones(2, 3)]}, ValueError, "analysis must have odd"),
    ],
)  # fmt: skip
def test_rejects(solver, change, error, reason):
    _refused(solver, change, error, reason)


@pytest.mark.parametrize(
    ("solver", "change", "error", "reason"),
    [
        (admm_irc, {"memory": -1}, ValueError, "memory must be at least 0, got -1"),
        (admm_irc, {"inner": 0}, ValueError, "inner must be at least 1, got 0"),
        (admm_irc, {"inverse": [random_blur()]}, ValueError, "inverse must hold one operator for"),
        (admm_irc, {"inverse": [random_blur()] * 3, "penalty": [1.0, 2.0], "stages": 2}, ValueError,
         "inverse must be a function of the penalty"),
        (admm_irc, {"combine": "outputs"}, ValueError, "inverse must be NUConv"),
        (cg_deblur, {"initial": torch.ones(1, 1, 5, 5).double()}, ValueError, "initial must be"),
        (cg_deblur, {"inner_tol": -1.0}, ValueError, "inner_tol must be at least 0"),
        (fft_deblur, {"borders": "care"}, ValueError, "borders must be one of taper, none"),
        (fft_deblur, {"prior": "l2"}, ValueError, "prior must be one of sparse, laplacian"),
        (fft_deblur, {"operator": random_blur().T}, TypeError, "operator must be a UniformBlur"),
        (fft_deblur, {"observed": torch.ones(1, 1, 3, 9).double(), "borders": "none"}, ValueError,
         "operator must have a kernel no larger than the image"),
    ],
)  # fmt: skip
def test_rejects_its_own(solver, change, error, reason):
    _refused(solver, change, error, reason)
