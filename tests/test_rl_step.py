# SPDX-License-Identifier: BSD-3-Clause
"""One Richardson-Lucy update on every path: its formula, its derivatives, its theory."""

import itertools
import math

import pytest
import torch

import blurops
from blurops import Saturation
from blurops.ops.rl_step import formula
from tests.backends import options
from tests.literal import BOUNDARIES, apply, dense
from tests.rl_problems import DOUBLE, SATURATIONS, problem


def neighbourhood(image, i, j):
    """The 3x3 block around a pixel, without what lies outside the image."""
    return image[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]


def literal_set(estimate, saturation):
    """z0, pixel by pixel."""
    result = torch.empty_like(estimate)
    for n, c in torch.cartesian_prod(*map(torch.arange, estimate.shape[:2])).tolist():
        plane = (estimate[n, c] < saturation.threshold).to(estimate.dtype)
        for test, reduce in ((saturation.erode, torch.min), (saturation.smooth, torch.mean)):
            if test:
                plane = torch.stack(
                    [
                        torch.stack(
                            [reduce(neighbourhood(plane, i, j)) for j in range(plane.shape[1])]
                        )
                        for i in range(plane.shape[0])
                    ]
                )
        result[n, c] = plane
    return result


def literal_divisor(image, tv):
    """1 - tv div(grad U / |grad U|), the divergence as minus the transposed differences."""
    height, width = image.shape[-2:]
    across = torch.zeros_like(image)
    down = torch.zeros_like(image)
    across[..., :-1] = image[..., 1:] - image[..., :-1]
    down[..., :-1, :] = image[..., 1:, :] - image[..., :-1, :]
    length = torch.hypot(across, down)
    across, down = (torch.nan_to_num(g / length) for g in (across, down))
    divergence = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            divergence[..., i, j] += across[..., i, j] + down[..., i, j]
            if j > 0:
                divergence[..., i, j] -= across[..., i, j - 1]
            if i > 0:
                divergence[..., i, j] -= down[..., i - 1, j]
    return 1 - tv * divergence


def literal_step(
    estimate, observed, kernels, mixing, boundary, *, saturation=None, mask=1.0, tv=0.0, eps=1e-6
):
    """The definition with an explicit matrix."""
    sharp, blurred = estimate.shape[-2:], observed.shape[-2:]
    matrix = dense(kernels, mixing, sharp, boundary)
    sums = matrix.sum(1).reshape(-1, 1, *sharp)
    light = apply(matrix, estimate, blurred)
    response, weight = light, torch.ones_like(light)
    if saturation is not None:
        power = torch.exp(saturation.a * (light - saturation.level))
        response = light - torch.log(1 + power) / saturation.a
        weight = 1 / (1 + power)

    def factor(s):
        ratio = observed * s / (response + eps) + 1 - s
        return apply(matrix.transpose(1, 2), ratio, sharp) / sums

    if saturation is None or saturation.threshold == math.inf:
        result = estimate * factor(weight * mask)
    else:
        z0 = literal_set(estimate, saturation)
        if saturation.dilate:
            z = (apply(matrix, 1 - z0, blurred) <= 0.25).to(estimate.dtype)
        else:
            ry, rx = (sharp[0] - blurred[0]) // 2, (sharp[1] - blurred[1]) // 2
            z = z0[..., ry : ry + blurred[0], rx : rx + blurred[1]]
        reliable, bright = factor(weight * mask * z), factor(weight * mask)
        result = z0 * estimate * reliable + (1 - z0) * estimate * bright
    return result / literal_divisor(estimate, tv) if tv else result


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", SATURATIONS)
@pytest.mark.parametrize("tv", [0.0, 0.1])
def test_equals_the_definition(rl_step, boundary, name, tv):
    saturation = SATURATIONS[name]
    tensors = problem(boundary, count=2, size=(6, 7))
    mask = torch.rand(1, 1, *tensors[1].shape[-2:], dtype=DOUBLE)
    expected = literal_step(*tensors, boundary, saturation=saturation, mask=mask, tv=tv)
    result = rl_step(*tensors, mask=mask, saturation=saturation, tv=tv, boundary=boundary)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_the_cases_above_split_the_image():
    """Both sets, damaged and undamaged data must be there, or the comparison shows nothing."""
    estimate, _, kernels, mixing = problem(count=2, size=(6, 7))
    reliable = formula.reliable_set(estimate, SATURATIONS["hard sets"])
    clean = formula.undamaged(reliable, lambda x: blurops.basis_blur(x, kernels, mixing))
    assert 0.2 < reliable.mean() < 0.8
    assert 0.05 < clean.mean() < 0.95


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("name", "tv"), [("linear", 0.0), ("hard sets", 0.1)])
def test_derivatives(rl_step, boundary, name, tv):
    tensors = [t.requires_grad_() for t in problem(boundary, channels=1, size=(3, 4))]
    sharp = tensors[0].shape[-2:]
    sums = (0.5 + torch.rand(1, 1, *sharp, dtype=DOUBLE)).requires_grad_()
    chosen = {"saturation": SATURATIONS[name], "tv": tv, "boundary": boundary}

    def own_sums(*tensors):
        return rl_step(*tensors, **chosen)

    def given_sums(sums, *tensors):
        return rl_step(*tensors, column_sums=sums, **chosen)

    assert torch.autograd.gradcheck(own_sums, tensors)
    assert torch.autograd.gradcheck(given_sums, (sums, *tensors))
    assert torch.autograd.gradgradcheck(given_sums, (sums, *tensors))


def test_second_derivatives_reach_the_column_sums_it_computes(rl_step):
    tensors = [t.requires_grad_() for t in problem(channels=1, size=(3, 4))]
    assert torch.autograd.gradgradcheck(lambda *t: rl_step(*t), tensors)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_opcheck(backend):
    tensors = [t.requires_grad_() for t in problem(count=2)]
    mask = torch.rand(2, 1, 4, 5, dtype=DOUBLE)
    sums = torch.rand(1, 1, 4, 5, dtype=DOUBLE) + 0.5
    keywords = {"saturated": True, "a": 9.0, "threshold": 0.7, "tv": 0.1, "boundary": "circular"}
    keywords |= options(backend)
    torch.library.opcheck(torch.ops.blurops.rl_step, (*tensors, sums, mask), keywords)


def test_compiles_whole_with_dynamic_shapes(rl_step):
    def step(*tensors):
        return rl_step(*tensors, saturation=SATURATIONS["two sets"], tv=0.1)

    torch.compiler.reset()
    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    for count, size in [(2, (3, 4)), (3, (5, 6))]:
        eager = [t.requires_grad_() for t in problem(count=count, size=size)]
        traced = [t.detach().clone().requires_grad_() for t in eager]
        expected, result = step(*eager), compiled(*traced)
        torch.testing.assert_close(result, expected)
        expected.square().sum().backward()
        result.square().sum().backward()
        for a, b in zip(eager, traced, strict=True):
            torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_flux_of_em_is_the_observed_one(rl_step, boundary):
    """sum_j (H^T 1)_j U_j' = sum_i V_i W_i / (W_i + eps): the flux of V as eps vanishes."""
    tensors = problem(boundary, count=2, size=(8, 9))
    _, observed, kernels, mixing = tensors
    sums = blurops.BasisBlur(kernels, mixing, boundary=boundary).column_sums(observed)
    updated = rl_step(*tensors, eps=1e-300, boundary=boundary)
    flux = (sums * updated).sum((-1, -2))
    torch.testing.assert_close(flux, observed.sum((-1, -2)), rtol=1e-12, atol=0)


def test_em_does_not_decrease_the_poisson_likelihood(rl_step):
    estimate, _, kernels, mixing = problem(size=(12, 11))
    truth = torch.rand_like(estimate)
    observed = blurops.basis_blur(truth, kernels, mixing)

    def likelihood(image):
        blurred = blurops.basis_blur(image, kernels, mixing)
        return float((observed * blurred.log() - blurred).sum())

    values = [likelihood(estimate)]
    for _ in range(20):
        estimate = rl_step(estimate, observed, kernels, mixing, eps=1e-300)
        values.append(likelihood(estimate))
    assert all(later >= earlier for earlier, later in itertools.pairwise(values))
    assert values[-1] > values[0]


@pytest.mark.parametrize("name", SATURATIONS)
def test_a_consistent_estimate_stays(rl_step, name):
    estimate, _, kernels, mixing = problem(size=(7, 6))
    saturation = SATURATIONS[name]
    observed = blurops.basis_blur(estimate, kernels, mixing)
    if saturation:
        observed = blurops.saturate(observed, saturation.a, saturation.level)
    result = rl_step(estimate, observed, kernels, mixing, saturation=saturation, eps=1e-300)
    torch.testing.assert_close(result, estimate, rtol=1e-12, atol=0)


def test_masked_out_data_have_no_say(rl_step):
    estimate, observed, kernels, mixing = problem(size=(6, 6))
    mask = torch.ones(1, 1, 6, 6, dtype=DOUBLE)
    mask[..., 2, 3] = 0
    other = observed.clone()
    other[..., 2, 3] = 50.0
    first = rl_step(estimate, observed, kernels, mixing, mask=mask)
    assert torch.equal(first, rl_step(estimate, other, kernels, mixing, mask=mask))
    assert not torch.equal(first, rl_step(estimate, observed, kernels, mixing))
    nothing = rl_step(estimate, observed, kernels, mixing, mask=0 * mask)
    torch.testing.assert_close(nothing, estimate)


def test_pixels_that_no_data_see_keep_their_value(rl_step):
    estimate, observed, kernels, _ = problem(size=(9, 9))
    mixing = torch.zeros(1, 2, 9, 9, dtype=DOUBLE)
    mixing[..., :4, :] = 0.5
    result = rl_step(estimate, observed, kernels, mixing)
    assert torch.equal(result[..., 6:, :], estimate[..., 6:, :])
    assert not torch.equal(result[..., :3, :], estimate[..., :3, :])


@pytest.mark.parametrize(
    ("dtype", "column_sum", "updated"),
    [
        (torch.float32, 2e-4, True),
        (torch.float32, 5e-5, False),
        (DOUBLE, 2e-10, True),
        (DOUBLE, 5e-11, False),
    ],
)
def test_a_pixel_counts_as_seen_from_a_tiny_column_sum_on(rl_step, dtype, column_sum, updated):
    """1e-4 in float32 and 1e-10 in float64: below, rounding alone would make the quotient."""
    kernels = torch.full((1, 1, 1, 1), column_sum, dtype=dtype)
    image = torch.full((1, 1, 2, 2), 0.5, dtype=dtype)
    # An observation of twice the reblurred estimate asks for twice the estimate.
    result = rl_step(image, 2 * column_sum * image, kernels, torch.ones_like(image), eps=1e-30)
    torch.testing.assert_close(result, image * (2 if updated else 1))


def test_given_column_sums_are_used(rl_step):
    tensors = problem()
    sums = blurops.BasisBlur(*tensors[2:]).column_sums(tensors[1])
    torch.testing.assert_close(rl_step(*tensors, column_sums=sums), rl_step(*tensors))
    torch.testing.assert_close(rl_step(*tensors, column_sums=2 * sums), rl_step(*tensors) / 2)


class TestSets:
    def test_a_bright_pixel_takes_its_neighbours_along(self):
        values = torch.full((1, 1, 7, 7), 0.5)
        values[..., 3, 3] = 2.0
        hard = formula.reliable_set(values, Saturation(smooth=False))
        expected = torch.ones(7, 7)
        expected[2:5, 2:5] = 0
        assert torch.equal(hard[0, 0], expected)
        alone = formula.reliable_set(values, Saturation(erode=False, smooth=False))
        assert torch.equal(alone[0, 0], (values < 0.99).float()[0, 0])

    def test_the_mean_stays_inside_the_image_unless_told_otherwise(self):
        values = torch.full((1, 1, 5, 6), 0.5)
        assert torch.equal(formula.reliable_set(values, Saturation()), torch.ones(1, 1, 5, 6))
        padded = formula.reliable_set(values, Saturation(), count_outside=True)
        torch.testing.assert_close(padded[0, 0, 0, :2], torch.tensor([4 / 9, 6 / 9]))
        torch.testing.assert_close(padded[0, 0, 1:-1, 1:-1], torch.ones(3, 4))

    def test_the_outside_does_not_erode(self):
        values = torch.full((1, 1, 3, 3), 0.5)
        assert bool(formula.reliable_set(values, Saturation(smooth=False)).all())

    def test_a_pixel_is_damaged_when_a_quarter_of_its_kernel_is(self):
        reliable = torch.ones(1, 1, 1, 9)
        reliable[..., 4] = 0
        for share, damaged in ((0.24, False), (0.26, True)):
            kernels = torch.tensor([[[[share, 1 - share, 0.0]]]])
            blur = blurops.BasisBlur(kernels, torch.ones(1, 1, 1, 9), boundary="zeros")
            clean = formula.undamaged(reliable, blur.forward)
            # The kernel's left tap reads pixel p - 1: pixel 5 holds that share of pixel 4.
            assert bool(clean[..., 5] == 0) == damaged
            assert clean[..., 4] == 0
