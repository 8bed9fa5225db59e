# SPDX-License-Identifier: BSD-3-Clause
"""One Richardson-Lucy update: its formula, its derivatives, its limits."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import blurops
from blurops import Saturation, rl_step
from blurops.ops.rl_step import formula
from tests.literal import BOUNDARIES, apply, dense

DOUBLE = torch.float64
SATURATIONS = {
    "linear": None,
    "one set": Saturation(a=9.0, threshold=math.inf),
    "two sets": Saturation(a=9.0, threshold=0.7),
    "hard sets": Saturation(a=9.0, level=0.9, threshold=0.6, erode=False, smooth=False),
    "soft z": Saturation(a=9.0, threshold=0.7, dilate=False),
}


def problem(boundary="reflect", *, seed=0, count=1, channels=2, size=(4, 5), dtype=DOUBLE):
    """Random estimate, observation, kernels and mixing; kernels sum to about 1, some taps are 0."""
    torch.manual_seed(seed)
    shape = (size[0] - 2, size[1] - 2) if boundary == "valid" else size
    kernels = torch.rand(1, 2, 3, 3, dtype=DOUBLE) / 4.5
    kernels[0, 1, 2] = 0
    mixing = torch.rand(count, 2, *shape, dtype=DOUBLE)
    estimate = 0.1 + torch.rand(count, channels, *size, dtype=DOUBLE)
    observed = torch.rand(count, channels, *shape, dtype=DOUBLE)
    return tuple(t.to(dtype) for t in (estimate, observed, kernels, mixing))


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
def test_equals_the_definition(boundary, name, tv):
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
def test_derivatives(boundary, name, tv):
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


def test_second_derivatives_reach_the_column_sums_it_computes():
    tensors = [t.requires_grad_() for t in problem(channels=1, size=(3, 4))]
    assert torch.autograd.gradgradcheck(lambda *t: rl_step(*t), tensors)


# opcheck looks at the .grad of the parts' results while it makes fakes of them.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_opcheck():
    tensors = [t.requires_grad_() for t in problem(count=2)]
    mask = torch.rand(2, 1, 4, 5, dtype=DOUBLE)
    sums = torch.rand(1, 1, 4, 5, dtype=DOUBLE) + 0.5
    keywords = {"saturated": True, "a": 9.0, "threshold": 0.7, "tv": 0.1, "boundary": "circular"}
    torch.library.opcheck(torch.ops.blurops.rl_step, (*tensors, sums, mask), keywords)


def test_compiles_whole_with_dynamic_shapes():
    def step(*tensors):
        return rl_step(*tensors, saturation=SATURATIONS["two sets"], tv=0.1)

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
def test_flux_of_em_is_the_observed_one(boundary):
    """sum_j (H^T 1)_j U_j' = sum_i V_i W_i / (W_i + eps): the flux of V as eps vanishes."""
    tensors = problem(boundary, count=2, size=(8, 9))
    _, observed, kernels, mixing = tensors
    sums = blurops.BasisBlur(kernels, mixing, boundary=boundary).column_sums(observed)
    updated = rl_step(*tensors, eps=1e-300, boundary=boundary)
    flux = (sums * updated).sum((-1, -2))
    torch.testing.assert_close(flux, observed.sum((-1, -2)), rtol=1e-12, atol=0)


def test_em_does_not_decrease_the_poisson_likelihood():
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
def test_a_consistent_estimate_stays(name):
    estimate, _, kernels, mixing = problem(size=(7, 6))
    saturation = SATURATIONS[name]
    observed = blurops.basis_blur(estimate, kernels, mixing)
    if saturation:
        observed = blurops.saturate(observed, saturation.a, saturation.level)
    result = rl_step(estimate, observed, kernels, mixing, saturation=saturation, eps=1e-300)
    torch.testing.assert_close(result, estimate, rtol=1e-12, atol=0)


def test_masked_out_data_have_no_say():
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


def test_pixels_that_no_data_see_keep_their_value():
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
def test_a_pixel_counts_as_seen_from_a_tiny_column_sum_on(dtype, column_sum, updated):
    """1e-4 in float32 and 1e-10 in float64: below, rounding alone would make the quotient."""
    kernels = torch.full((1, 1, 1, 1), column_sum, dtype=dtype)
    image = torch.full((1, 1, 2, 2), 0.5, dtype=dtype)
    # An observation of twice the reblurred estimate asks for twice the estimate.
    result = rl_step(image, 2 * column_sum * image, kernels, torch.ones_like(image), eps=1e-30)
    torch.testing.assert_close(result, image * (2 if updated else 1))


def test_given_column_sums_are_used():
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["linear", "two sets"])
def test_half_types_are_computed_in_float32(dtype, name):
    tensors = problem(dtype=dtype)
    chosen = {"saturation": SATURATIONS[name], "tv": 0.05}
    expected = rl_step(*(t.float() for t in tensors), **chosen).to(dtype)
    result = rl_step(*tensors, **chosen)
    assert result.dtype == dtype
    assert torch.equal(result, expected)


def test_float16_does_not_overflow():
    estimate, observed, kernels, mixing = problem(dtype=torch.float16)
    result = rl_step(estimate, torch.full_like(observed, 6e4), kernels / 1000, mixing)
    assert bool(torch.isfinite(result).all())
    assert float(result.max()) == torch.finfo(torch.float16).max


def test_autocast_computes_in_float32():
    tensors = problem(dtype=torch.float32)
    mixed = [t.bfloat16() if i > 1 else t for i, t in enumerate(tensors)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = rl_step(*mixed)
    assert result.dtype == torch.float32
    assert torch.equal(result, rl_step(*(t.float() for t in mixed)))


@pytest.mark.parametrize("name", SATURATIONS)
def test_gradients_are_finite_at_zeros_and_flat_pixels(name):
    for level in (0.0, 0.5):
        tensors = problem()
        tensors[0].fill_(level)
        tensors[1].fill_(level)
        tensors[2].mul_(0 if level == 0 else 1)
        inputs = [t.requires_grad_() for t in tensors]
        result = rl_step(*inputs, saturation=SATURATIONS[name], tv=0.2)
        first = torch.autograd.grad(result.sum(), inputs, create_graph=True)
        assert all(bool(torch.isfinite(g).all()) for g in first)
        second = torch.autograd.grad(
            sum(g.square().sum() for g in first), inputs, allow_unused=True
        )
        assert all(g is None or bool(torch.isfinite(g).all()) for g in second)


_level = st.sampled_from([0.0, 1e-30, 1e-7, 1e-3, 0.5, 1.0, 1.5, 3.0, 1e3, 1e6])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    level=_level,
    data_level=_level,
    sparsity=st.floats(0, 1),
    name=st.sampled_from(sorted(SATURATIONS)),
    boundary=st.sampled_from(BOUNDARIES),
    method=st.sampled_from(["direct", "fft"]),
    tv=st.sampled_from([0.0, 0.1, 0.2499]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_finite_input_gives_finite_non_negative_output(
    level, data_level, sparsity, name, boundary, method, tv, size, masked, seed
):
    generator = torch.Generator().manual_seed(seed)

    def sparse(*shape):
        values = torch.rand(shape, generator=generator)
        return values * (torch.rand(shape, generator=generator) >= sparsity)

    sides = [3 if n >= 3 else 1 for n in size]
    kernels = sparse(1, 2, *sides) / (sides[0] * sides[1])
    blurred = blurops.ops.basis_blur.shapes.blurred_size(size, sides, boundary)
    mixing = sparse(1, 2, *blurred)
    result = rl_step(
        level * sparse(2, 1, *size),
        data_level * sparse(2, 1, *blurred),
        kernels,
        mixing,
        mask=sparse(1, 1, *blurred) if masked else None,
        saturation=SATURATIONS[name],
        tv=tv,
        boundary=boundary,
        method=method,
    )
    assert bool(torch.isfinite(result).all())
    assert bool((result >= 0).all())


def test_tv_divisor_stays_positive_up_to_its_limit():
    """A pixel below both neighbours it compares with, above none: the largest divergence."""
    image = torch.tensor([[[[9.0, 2.0, 9.0], [2.0, 1.0, 2.0], [9.0, 2.0, 9.0]]]])
    bound = 1 - 0.25 * (2 + math.sqrt(2))
    divisor = formula.tv_divisor(image, 0.25)
    assert bool((divisor > bound - 1e-6).all())
    torch.manual_seed(0)
    worst = formula.tv_divisor(torch.rand(100, 1, 9, 9), 0.25).min()
    assert float(worst) > bound


def test_inputs_are_not_written_and_output_is_contiguous():
    tensors = [
        t.to(memory_format=torch.channels_last)
        for t in problem(count=2, channels=3, size=(6, 7), dtype=torch.float32)
    ]
    before = [t.clone() for t in tensors]
    result = rl_step(*tensors, saturation=SATURATIONS["two sets"], tv=0.1)
    assert result.is_contiguous()
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_nan_propagates():
    estimate, observed, kernels, mixing = problem(size=(5, 5))
    observed[..., 2, 2] = math.nan
    assert bool(torch.isnan(rl_step(estimate, observed, kernels, mixing)).any())


def test_an_empty_batch():
    tensors = problem()
    empty = rl_step(tensors[0][:0], tensors[1][:0], *tensors[2:], saturation=Saturation())
    assert empty.shape == (0, 2, 4, 5)


U, V, K, M = problem(dtype=torch.float32)


@pytest.mark.parametrize(
    ("tensors", "keywords", "error", "text"),
    [
        (([1.0], V, K, M), {}, TypeError, "estimate must be a tensor"),
        ((U.int(), V, K, M), {}, TypeError, "estimate must have dtype .*, got int32"),
        ((U.cfloat(), V, K, M), {}, TypeError, "estimate must have dtype .*, got complex64"),
        ((U[0], V, K, M), {}, ValueError, r"estimate must be \(N, C, H, W\), got \(2, 4, 5\)"),
        ((U, V.double(), K, M), {}, TypeError, "observed must have the dtype of estimate"),
        ((U, V.to("meta"), K, M), {}, ValueError, "observed must be on the device of estimate"),
        ((U, V[..., :4], K, M), {}, ValueError, r"observed must be \(1, 2, 4, 5\), got"),
        ((U, V, K[..., :2], M), {}, ValueError, "kernels must have odd sides"),
        ((U, V, K.expand(3, -1, -1, -1), M), {}, ValueError, "kernels must have a leading size"),
        ((U, V, K, M[:, :1]), {}, ValueError, r"mixing must be \(N or 1, 2, 4, 5\), got"),
        ((U, V, K, M), {"column_sums": M}, ValueError, "column_sums must be"),
        ((U, V, K, M), {"column_sums": V[0]}, ValueError, "column_sums must be"),
        ((U, V, K, M), {"mask": M[..., 1:]}, ValueError, "mask must be"),
        ((U, V, K, M), {"mask": V.double()}, TypeError, "mask must have the dtype of estimate"),
        ((U, V, K, M), {"tv": 0.25}, ValueError, r"tv must be in \[0, 0.25\), got 0.25"),
        ((U, V, K, M), {"tv": -0.1}, ValueError, r"tv must be in \[0, 0.25\), got -0.1"),
        ((U, V, K, M), {"tv": math.nan}, ValueError, r"tv must be in \[0, 0.25\), got nan"),
        ((U, V, K, M), {"eps": 0.0}, ValueError, "eps must be positive and finite, got 0.0"),
        ((U, V, K, M), {"boundary": "mirror"}, ValueError, "boundary must be one of"),
        (
            (U, V, torch.ones(1, 2, 9, 9), M), {}, ValueError,
            "kernels must have Kh//2 < H and Kw//2 < W for boundary 'reflect' on a 4x5 image",
        ),
    ],
)  # fmt: skip
def test_bad_arguments(tensors, keywords, error, text):
    with pytest.raises(error, match=f"^rl_step: {text}"):
        rl_step(*tensors, **keywords)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"a": 0.0}, "a must be positive and finite, got 0.0"),
        ({"level": math.nan}, "level must be finite, got nan"),
        ({"threshold": 0.0}, "threshold must be positive, got 0.0"),
        ({"threshold": math.nan}, "threshold must be positive, got nan"),
    ],
)
def test_bad_saturation(keywords, text):
    with pytest.raises(ValueError, match=f"^Saturation: {text}"):
        Saturation(**keywords)
