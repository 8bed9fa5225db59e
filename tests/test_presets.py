# SPDX-License-Identifier: BSD-3-Clause
"""The presets reproduce what they are named after."""

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from blurops import BasisBlur, Saturation, UniformBlur, richardson_lucy
from blurops.solvers.authors import SOBEL8_TV_LIMIT, sobel8_divisor
from blurops.solvers.settings import DEFAULT, PRESETS
from tests.authors import (
    authors_restore,
)
from tests.restoration import GAMMA, VARIANTS, assert_round_off, scene


class TestCarbajal2021:
    @pytest.mark.parametrize("variant", VARIANTS)
    @pytest.mark.parametrize("gamma", [1.0, GAMMA])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_reproduces_the_authors_update(self, variant, gamma, dtype):
        _, blur, v = scene()
        blur, v = blur.to(dtype), v.to(dtype)
        chosen = {"gamma": gamma, "variant": variant, "iterations": 5}
        expected, _ = authors_restore(v, blur, **chosen)
        result = richardson_lucy(v, blur, preset="carbajal2021", **chosen)
        assert_round_off(result.image, expected, 5)

    @pytest.mark.parametrize("switch", ["erode", "smooth", "dilate"])
    def test_with_its_switches(self, switch):
        _, blur, v = scene()
        blur, v = blur.to(torch.float64), v.to(torch.float64)
        chosen = {"erode": True, "smooth": True, "dilate": False}
        chosen[switch] = not chosen[switch]
        # A mean of nine ones is exactly one here, and need not be in the authors' convolution.
        expected, _ = authors_restore(v, blur, gamma=GAMMA, iterations=5, threshold=0.8, **chosen)
        result = richardson_lucy(
            v, blur, preset="carbajal2021", gamma=GAMMA, iterations=5,
            saturation=Saturation(threshold=0.8, **chosen),
        )  # fmt: skip
        assert_round_off(result.image, expected, 5)

    def test_the_switches_matter_here(self):
        _, blur, v = scene()
        plain, _ = authors_restore(v, blur, gamma=GAMMA, iterations=5, threshold=0.8)
        for switch in ({"erode": False}, {"smooth": False}, {"dilate": True}):
            other, _ = authors_restore(v, blur, gamma=GAMMA, iterations=5, threshold=0.8, **switch)
            assert float((plain - other).abs().max()) > 1e-3

    def test_stops_where_the_authors_stop(self):
        _, blur, v = scene(noise=0.03)
        blur, v = blur.to(torch.float64), v.to(torch.float64)
        expected, updates = authors_restore(v, blur, gamma=GAMMA, iterations=60)
        assert 0 < updates < 60
        result = richardson_lucy(v, blur, preset="carbajal2021", gamma=GAMMA, iterations=60)
        assert result.iterations == updates
        assert len(result.losses) == updates + 1
        assert_round_off(result.image, expected, updates)

    @pytest.mark.parametrize("variant", ["basic", "function", "masked"])
    def test_stops_only_the_combined_variant(self, variant):
        _, blur, v = scene(noise=0.03)
        result = richardson_lucy(v, blur, preset="carbajal2021", variant=variant, iterations=40)
        assert result.iterations == 40
        result = richardson_lucy(
            v, blur, preset="carbajal2021", variant=variant, iterations=40, stop_tol=math.inf
        )
        assert result.iterations == 1

    def test_loss_leaves_the_response_out_and_clamps(self):
        _, blur, v = scene()
        bright = torch.full_like(v, 1.3)
        result = richardson_lucy(v, blur, preset="carbajal2021", gamma=2.0, initial=bright)
        expected = float(((torch.tensor(1.5) ** 0.5 - v) ** 2).mean())
        assert result.losses[0] == pytest.approx(expected, rel=1e-5)

    def test_needs_a_basis_blur_that_reflects(self):
        _, blur, v = scene()
        for other in (
            UniformBlur(blur.kernels[0, 0]),
            BasisBlur(blur.kernels, blur.mixing, boundary="zeros"),
        ):
            with pytest.raises(
                ValueError, match=r"operator must be a BasisBlur with boundary 'refl"
            ):
                richardson_lucy(v, other, preset="carbajal2021")

    def test_explicit_arguments_win(self):
        _, blur, v = scene()
        result = richardson_lucy(
            v, blur, preset="carbajal2021", tv=0.0, adjoint="exact", normalise=True,
            combine="linear", saturation=Saturation(), stop_tol=-math.inf, iterations=4,
        )  # fmt: skip
        expected = richardson_lucy(v, blur, saturation=Saturation(), iterations=4)
        torch.testing.assert_close(result.image, expected.image)


def test_sobel8_divisor_stays_positive_up_to_its_limit():
    bound = 1 - SOBEL8_TV_LIMIT * (8 + 4 * math.sqrt(2))
    assert bound > 0
    torch.manual_seed(0)
    images = [torch.rand(100, 1, 9, 9), torch.eye(9).expand(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)]
    # The worst image is a dark point: every neighbour slopes down to it.
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    for image in (*images, point, 1 - point):
        divisor = sobel8_divisor(image, SOBEL8_TV_LIMIT)
        assert float(divisor.min()) > bound - 1e-6
    assert float(sobel8_divisor(1 - point, SOBEL8_TV_LIMIT).min()) < bound + 1e-6


class TestCarbajal2021Paper:
    def test_is_the_equations_as_printed(self):
        _, blur, v = scene()
        blur, v = blur.to(torch.float64), v.to(torch.float64)
        u = light = v**GAMMA
        for _ in range(2):
            blurred = blur @ u
            power = torch.exp(50 * (blurred - 1))
            response, slope = blurred - torch.log(1 + power) / 50, 1 / (1 + power)
            dark = F.pad((u < 0.99**GAMMA).double(), (1,) * 4)
            inside = F.pad(torch.ones_like(u), (1,) * 4)
            box = torch.ones(3, 1, 3, 3, dtype=u.dtype)
            z0 = F.conv2d(dark, box, groups=3) / F.conv2d(inside, box, groups=3)
            z = ((blur @ (1 - z0)) <= 0.25).double()
            q_u = light * slope * z / (response + 1e-6) + 1 - slope * z
            q_s = light * slope / (response + 1e-6) + 1 - slope
            unregularised = z0 * u * (blur.T @ q_u) + (1 - z0) * u * (blur.T @ q_s)
            gx = F.pad(u[..., 1:] - u[..., :-1], (0, 1))
            gy = F.pad(u[..., 1:, :] - u[..., :-1, :], (0, 0, 0, 1))
            norm = torch.hypot(gx, gy)
            gx, gy = torch.nan_to_num(gx / norm), torch.nan_to_num(gy / norm)
            divergence = (
                gx - F.pad(gx, (1, 0))[..., :-1] + gy - F.pad(gy, (0, 0, 1, 0))[..., :-1, :]
            )
            u = unregularised / (1 - 8e-3 * divergence)
        result = richardson_lucy(
            v, blur, preset="carbajal2021-paper", gamma=GAMMA, iterations=2, stop_tol=-math.inf
        )
        assert_round_off(result.image, u ** (1 / GAMMA), 2)

    def test_stops_when_the_loss_no_longer_falls(self):
        _, blur, v = scene()
        result = richardson_lucy(v, blur, preset="carbajal2021-paper", gamma=GAMMA)
        falls = [a - b for a, b in itertools.pairwise(result.losses)]
        assert 0 < result.iterations < 30
        assert all(fall > 0 for fall in falls[:-1])
        assert falls[-1] <= 0

    def test_its_loss_has_the_response_in_it(self):
        sharp, blur, v = scene(noise=0.0)
        result = richardson_lucy(
            v, blur, preset="carbajal2021-paper", gamma=GAMMA, initial=sharp ** (1 / GAMMA)
        )
        assert result.losses[0] < 1e-10


def test_presets_are_written_out():
    """The table of the documentation, literally: a changed default must be changed there too."""
    rest = {"iterations": 30, "variant": "combined", "normalise": False}
    assert dataclasses.asdict(PRESETS["carbajal2021"]) == rest | {
        "saturation": dataclasses.asdict(Saturation(50, 1, 0.99, True, True, False)),
        "tv": 1e-3, "stop_tol": 1e-6, "adjoint": "authors", "combine": "pixel",
        "tv_form": "sobel8", "loss_form": "clamped",
    }  # fmt: skip
    assert dataclasses.asdict(PRESETS["carbajal2021-paper"]) == rest | {
        "saturation": dataclasses.asdict(Saturation(50, 1, 0.99, False, True, True)),
        "tv": 8e-3, "stop_tol": 0.0, "adjoint": "exact", "combine": "linear",
        "tv_form": "forward", "loss_form": "response",
    }  # fmt: skip
    assert (DEFAULT.iterations, DEFAULT.saturation, DEFAULT.tv) == (30, None, 0.0)
    assert (DEFAULT.adjoint, DEFAULT.normalise, DEFAULT.stop_tol) == ("exact", True, None)
