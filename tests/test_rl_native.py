# SPDX-License-Identifier: BSD-3-Clause
"""The compiled Richardson-Lucy update against its formula: values, derivatives, sets, threads."""

import functools
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import blurops
from blurops import Saturation, _native
from blurops.ops.rl_step import buffers, formula
from blurops.testing import Shape, accuracy, relative_error
from tests.literal import BOUNDARIES
from tests.rl_problems import DOUBLE, LAYOUTS, REFERENCE, SENSORS, call, sample

pytestmark = pytest.mark.usefixtures("native")


def native_step(*tensors, method="direct", **keywords):
    return blurops.rl_step(*tensors, backend="native", method=method, **keywords)


each_sensor = pytest.mark.parametrize("name", SENSORS)
each_method = pytest.mark.parametrize("method", ["direct", "fft"])
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=lambda d: str(d)[6:])


# What else a call can choose: seed, column sums given, mask given, tv.
SETTINGS = (
    (0, False, False, 0.0),
    (1, True, True, 0.2),
    (0, True, False, 0.2),
    (1, False, True, 0.0),
)


def tolerance(tensors, given, masked, *, saturation, tv, boundary):
    """How far a result may be from that of the exact formula, pixel by pixel.

    The errors that the contract allows a blur and an adjoint, and a few roundings of each
    operation, carried to first order through the formula.
    """
    unit = torch.finfo(tensors[0].dtype).eps
    estimate, observed, kernels, mixing, sums, mask = (t.double() for t in tensors)
    peak = accuracy(tensors[0].dtype, kernels[0].numel()).peak
    family = {"boundary": boundary, **REFERENCE}
    blurred = blurops.basis_blur(estimate, kernels, mixing, **family).requires_grad_()
    transpose = functools.partial(
        blurops.basis_blur_adjoint, kernels=kernels, mixing=mixing, **family
    )
    if not given:
        sums = transpose(torch.ones_like(observed[:, :1]))
    response, weight = formula.data_terms(blurred, mask if masked else None, saturation)
    ratio = formula.ratio(observed, response, weight, 1e-6) + 0 * blurred
    (slope,) = torch.autograd.grad(ratio.sum(), blurred)
    bend = 0 if saturation is None else saturation.a * (blurred + abs(saturation.level))
    size = ((ratio + 1) * (1 + bend)).detach()  # bounds both sets' ratios and what rounds in them
    wrong_ratio = slope.abs() * peak * blurred.detach().max() + 8 * unit * size
    wrong = 2 * transpose(wrong_ratio) + 2 * peak * transpose(size).max()
    seen = sums > formula.smallest_column_sum(tensors[0].dtype)
    safe = torch.where(seen, sums, 1)
    relative = peak * sums.max() / safe
    factor = torch.where(seen, wrong / safe + transpose(size) / safe * relative, 0)
    wrong = estimate * (factor + 64 * unit * (1 + transpose(size) / safe))
    return wrong / formula.tv_divisor(estimate, tv) if tv else wrong


def assert_near(result, exact, limit):
    assert bool(((result.double() - exact).abs() <= limit).all())


@pytest.mark.parametrize("boundary", BOUNDARIES)
@each_sensor
@each_dtype
@each_method
def test_equals_the_exact_formula(boundary, name, dtype, method):
    for shape in (s for s in LAYOUTS if s.allows(boundary)):
        for seed, given, masked, tv in SETTINGS:
            tensors = sample(shape, boundary, dtype, seed)
            keywords = {"saturation": SENSORS[name], "tv": tv, "boundary": boundary}
            result = call(native_step, tensors, given, masked, **keywords, method=method)
            exact = [t.double() for t in tensors]
            truth = call(blurops.rl_step, exact, given, masked, **keywords, **REFERENCE)
            assert result.dtype == dtype
            assert_near(result, truth, tolerance(tensors, given, masked, **keywords))


def test_the_tolerance_is_small():
    """It would let nothing pass that changes a digit in which anybody is interested."""
    tensors = sample(LAYOUTS[2], "reflect", torch.float32)
    keywords = {"saturation": SENSORS["two sets"], "tv": 0.2, "boundary": "reflect"}
    result = call(native_step, tensors, False, True, **keywords)
    limit = tolerance(tensors, False, True, **keywords)
    assert float(torch.linalg.vector_norm(limit) / torch.linalg.vector_norm(result)) < 2e-3


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@each_sensor
@each_dtype
@each_method
def test_every_instruction_set_of_this_machine(native, isa, name, dtype, method):
    if isa not in native.available_isas():
        pytest.skip(f"this processor has no {isa}")
    native.force_isa(isa)
    tensors = sample(LAYOUTS[0], "replicate", dtype, 1)
    keywords = {"saturation": SENSORS[name], "tv": 0.1, "boundary": "replicate"}
    result = call(native_step, tensors, True, True, **keywords, method=method)
    exact = [t.double() for t in tensors]
    truth = call(blurops.rl_step, exact, True, True, **keywords, **REFERENCE)
    assert_near(result, truth, tolerance(tensors, True, True, **keywords))
    if dtype == DOUBLE:
        assert_same_gradients(tensors, True, True, method, **keywords)


def gradients(step, tensors, given, masked, **keywords):
    inputs = [t.clone().requires_grad_() for t in tensors]
    result = call(step, inputs, given, masked, **keywords)
    weight = torch.linspace(-1, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
    used = [t for t, use in zip(inputs, (True,) * 4 + (given, masked), strict=True) if use]
    return torch.autograd.grad((weight * result).sum(), used)


def assert_same_gradients(tensors, given, masked, method="direct", **keywords):
    found = gradients(native_step, tensors, given, masked, method=method, **keywords)
    expected = gradients(blurops.rl_step, tensors, given, masked, **keywords, **REFERENCE)
    # Roundings, magnified by data over dark pixels and by short slopes.
    limit = 1e6 * torch.finfo(tensors[0].dtype).eps
    for position, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert float((a - b).abs().max()) <= limit * (1 + float(b.abs().max())), position


@pytest.mark.parametrize("boundary", BOUNDARIES)
@each_sensor
@each_method
def test_derivatives_are_those_of_the_formula(boundary, name, method):
    for shape in (s for s in LAYOUTS if s.allows(boundary)):
        for seed, given, masked, tv in SETTINGS:
            tensors = sample(shape, boundary, DOUBLE, seed)
            tensors[0] += 0.01
            keywords = {"saturation": SENSORS[name], "tv": tv, "boundary": boundary}
            assert_same_gradients(tensors, given, masked, method, **keywords)


@each_sensor
def test_values_and_derivatives_with_negative_kernels(name):
    """Where the blurred light, the response or a correction is cut off at zero."""
    tensors = sample(LAYOUTS[2], "reflect", DOUBLE)
    tensors[2] -= 0.9 * tensors[2].mean()
    keywords = {"saturation": SENSORS[name], "eps": 0.01}
    family = {"kernels": tensors[2], "mixing": tensors[3], **REFERENCE}
    blurred = blurops.basis_blur(tensors[0], **family)
    assert 0.05 < float((blurred < 0).double().mean()) < 0.95
    expected = call(blurops.rl_step, tensors, True, True, **keywords, **REFERENCE)
    assert bool((expected[tensors[0] > 0] == 0).any())  # a correction below zero
    result = call(native_step, tensors, True, True, **keywords)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)
    assert_same_gradients(tensors, True, True, **keywords)


@each_sensor
def test_derivatives_in_float32_err_as_plain_torch_does(name):
    tensors = sample(LAYOUTS[2], "reflect", torch.float32, 1)
    tensors[0] += 0.01
    keywords = {"saturation": SENSORS[name], "tv": 0.1}
    exact = gradients(
        blurops.rl_step, [t.double() for t in tensors], True, True, **keywords, **REFERENCE
    )
    plain = gradients(blurops.rl_step, tensors, True, True, **keywords, **REFERENCE)
    found = gradients(native_step, tensors, True, True, **keywords)
    for a, b, truth in zip(found, plain, exact, strict=True):
        allowed = accuracy(torch.float32).relative + 4 * relative_error(b, truth)
        assert relative_error(a, truth) <= allowed


def test_only_the_derivatives_that_are_wanted_are_computed(monkeypatch):
    tensors = sample(LAYOUTS[0], "reflect", DOUBLE)
    estimate = tensors[0].requires_grad_()
    result = call(native_step, tensors, True, True, saturation=SENSORS["two sets"])
    launched = []
    launch = _native.call
    monkeypatch.setattr(_native, "call", lambda *a: launched.append(a[0]) or launch(*a))
    result.sum().backward()
    assert estimate.grad is not None
    assert "rl_grad_update_cpu" in launched
    assert not any("grad_kernels" in name or "grad_mixing" in name for name in launched)


def test_a_graph_of_the_gradient_goes_through_the_formula():
    """Tensors made from one another must not be counted twice there."""
    base = torch.rand(1, 1, 5, 6, dtype=DOUBLE).add(0.2).requires_grad_()

    def step(base):
        kernels = base[..., :3, :3] / 5
        return native_step(base, base.square(), kernels, base.sqrt(), tv=0.1)

    assert torch.autograd.gradcheck(step, base)
    assert torch.autograd.gradgradcheck(step, base)
    (fused,) = torch.autograd.grad(step(base).sum(), base)
    (composed,) = torch.autograd.grad(step(base).sum(), base, create_graph=True)
    torch.testing.assert_close(composed, fused)


LARGE = Shape(2, 3, 301, 203, 2, 3, 3, mixing_shared=False)


@each_method
def test_many_tiles_equal_the_exact_formula(method):
    tensors = sample(LARGE, "reflect", torch.float32)
    keywords = {"saturation": SENSORS["two sets"], "tv": 0.1, "boundary": "reflect"}
    result = call(native_step, tensors, True, True, **keywords, method=method)
    exact = [t.double() for t in tensors]
    truth = call(blurops.rl_step, exact, True, True, **keywords, **REFERENCE)
    assert_near(result, truth, tolerance(tensors, True, True, **keywords))


@pytest.mark.parametrize("name", ["linear", "two sets"])
@each_method
def test_repeats_bit_for_bit_on_any_thread_count(name, method, threads):
    tensors = sample(LARGE, "reflect", torch.float32)
    keywords = {"saturation": SENSORS[name], "tv": 0.1, "method": method}
    results = []
    for count in (1, 1, 2, 3, 5):
        threads(count)
        results.append(
            [
                call(native_step, tensors, True, True, **keywords),
                *gradients(native_step, tensors, False, True, **keywords),
            ]
        )
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


class TestSets:
    @staticmethod
    def lost(image, **how):
        """1 - z0 of the native pass, or None where it finds no bright pixel."""
        how = {"threshold": 0.7, "erode": True, "smooth": True, **how}
        count, channels, height, width = image.shape
        step = _native.fill(
            "RlStep", dtype=_native.DTYPE_CODES[image.dtype], count=count, channels=channels,
            height=height, width=width, estimate=image,
        )  # fmt: skip
        out = torch.full_like(image, math.nan)
        found = _native.call("rl_lost_cpu", step, *how.values(), out)
        return out if found else None

    @each_dtype
    @pytest.mark.parametrize("erode", [False, True])
    @pytest.mark.parametrize("smooth", [False, True])
    def test_equal_the_formula_bit_for_bit(self, dtype, erode, smooth):
        saturation = Saturation(threshold=0.7, erode=erode, smooth=smooth)
        torch.manual_seed(0)
        for size in ((1, 1), (1, 9), (9, 1), (2, 2), (15, 64), (16, 63), (17, 65), (50, 130)):
            image = torch.rand(2, 3, *size, dtype=dtype) ** 0.2
            image[0, 0] = 0.1
            image[-1, -1, size[0] // 2, size[1] // 2] = math.nan
            found = self.lost(image, erode=erode, smooth=smooth)
            assert torch.equal(found, 1 - formula.reliable_set(image, saturation))

    def test_one_bright_pixel_anywhere_is_found(self):
        for y, x in itertools.product((0, 15, 16, 40), (0, 31, 32, 70)):
            image = torch.full((2, 2, 41, 71), 0.5)
            assert self.lost(image) is None
            image[1, 0, y, x] = 0.7
            assert self.lost(image) is not None
            assert self.lost(image, threshold=0.71) is None

    @pytest.mark.parametrize("dilate", [False, True])
    def test_without_bright_pixels_one_set_is_the_same(self, dilate):
        tensors = sample(LAYOUTS[2], "reflect", torch.float32)
        tensors[0] *= 0.3
        one, two = (
            Saturation(a=9.0, threshold=threshold, dilate=dilate) for threshold in (math.inf, 0.6)
        )
        expected = call(native_step, tensors, False, True, saturation=one)
        assert torch.equal(call(native_step, tensors, False, True, saturation=two), expected)


@each_dtype
@pytest.mark.parametrize(("a", "level"), [(50.0, 1.0), (3.0, 0.5), (200.0, 2.0)])
def test_the_response_is_exact_to_rounding(dtype, a, level):
    """Of a blur that changes nothing, where the result is U (V s / (r + eps) + 1 - s)."""
    # Up to the powers that leave the range of the dtype, on both sides of the level.
    reach = 120 / a if dtype == torch.float32 else 800 / a
    light = torch.linspace(max(level - reach, 1e-3), level + reach, 5000, dtype=dtype)
    light = torch.cat((light, torch.tensor([1e-6, level, 1e6], dtype=dtype))).reshape(1, 1, 1, -1)
    # Not where R crosses zero and its digits cancel.
    own = blurops.saturate(light.double(), a, level) > light.clamp(max=level) / 4
    light = light[own].reshape(1, 1, 1, -1)
    one, field = torch.ones(1, 1, 1, 1, dtype=dtype), torch.ones_like(light)
    sensor = Saturation(a=a, level=level, threshold=math.inf)
    result = native_step(light, field, one, field, saturation=sensor, eps=1e-30)
    exact = light.double()
    response = blurops.saturate(exact, a, level)
    slope = blurops.saturate_derivative(exact, a, level)
    unit = torch.finfo(dtype).eps
    # t = a (x - level) is rounded, and s carries that as its relative error.
    wrong_slope = slope * (1 - slope) * 2 * unit * a * (exact + level) + 8 * unit * slope
    wrong_response = slope * 4 * unit * (exact + level) + 8 * unit * response
    limit = (wrong_slope * (1 + 1 / response) + wrong_response * slope / response**2) + 4 * unit
    assert_near(result, exact * (slope / response + 1 - slope), exact * limit)


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("name", ["linear", "one set", "two sets", "soft z"])
def test_nan_spreads_as_in_the_formula(position, name):
    tensors = sample(LAYOUTS[0], "reflect", torch.float32)
    tensors[position].view(-1)[tensors[position].numel() // 3] = math.nan
    keywords = {"saturation": SENSORS[name], "tv": 0.1}
    expected = call(blurops.rl_step, tensors, True, True, **keywords, **REFERENCE)
    result = call(native_step, tensors, True, True, **keywords)
    assert torch.equal(result.isnan(), expected.isnan())
    # A pixel whose column sum is NaN counts as unseen.
    assert bool(result.isnan().any()) == (position != 4)


@each_sensor
def test_extreme_light_stays_finite(name):
    tensors = sample(LAYOUTS[0], "reflect", torch.float32)
    for light, data in itertools.product((0.0, 1e-30, 1e6), repeat=2):
        scaled = [light * tensors[0], data * tensors[1], *tensors[2:]]
        result = call(native_step, scaled, False, False, saturation=SENSORS[name], tv=0.2)
        assert bool(torch.isfinite(result).all())
        assert bool((result >= 0).all())


@each_sensor
@each_dtype
def test_a_solve_that_follows_its_loss_blurs_no_more_than_it_must(name, dtype, monkeypatch):
    """It knows H U already, and gets the very bits of one that does not."""
    tensors = sample(LAYOUTS[2], "reflect", dtype)
    blur = blurops.BasisBlur(*tensors[2:4], backend="native", method="direct")
    keywords = {"saturation": SENSORS[name], "tv": 0.05, "iterations": 3}
    alone = blurops.richardson_lucy(tensors[1], blur, **keywords).image
    launched = []
    launch = _native.call
    monkeypatch.setattr(_native, "call", lambda *a: launched.append(a[0]) or launch(*a))
    followed = blurops.richardson_lucy(tensors[1], blur, stop_tol=-math.inf, **keywords)
    assert torch.equal(followed.image, alone)
    assert launched.count("basis_blur_cpu") == 4  # of the start and of each estimate
    assert launched.count("rl_ratios_of_cpu") == 3
    assert "rl_ratios_cpu" not in launched


class TestBackends:
    def test_the_reference_launches_nothing(self, monkeypatch):
        monkeypatch.setattr(_native, "call", None)
        tensors = sample(LAYOUTS[0], "reflect", DOUBLE)
        gradients(blurops.rl_step, tensors, True, True, saturation=Saturation(), **REFERENCE)

    def test_a_method_that_is_not_there_is_refused(self):
        tensors = sample(LAYOUTS[0], "reflect", DOUBLE)[:4]
        with pytest.raises(ValueError, match=r"^rl_step: method must be one of"):
            blurops.rl_step(*tensors, method="magic")

    def test_half_types_have_derivatives_too(self):
        tensors = [t.bfloat16() for t in sample(LAYOUTS[0], "reflect", DOUBLE)]
        found = gradients(native_step, tensors, True, True, tv=0.1)
        expected = gradients(blurops.rl_step, tensors, True, True, tv=0.1, **REFERENCE)
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == torch.bfloat16
            assert relative_error(a, b) <= 4 * accuracy(torch.bfloat16).relative


class TestMemory:
    @staticmethod
    def images(run, image):
        """The most memory that tensors hold at a time while it runs, in images."""
        with torch.autograd.profiler.profile(profile_memory=True) as profile:
            run()
        held = most = 0
        for event in profile.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                most = max(most, held)
        return most / (image.numel() * image.element_size())

    @pytest.mark.parametrize(
        ("name", "forward", "backward"), [("linear", 2, 8), ("two sets", 5, 12)]
    )
    def test_is_what_the_module_says(self, name, forward, backward):
        """Images beside the result, or beside the gradients; planes of one channel come on top."""
        tensors = sample(Shape(1, 3, 200, 230, 9, 3, 3), "reflect", torch.float32)[:4]
        image = tensors[0]
        keywords = {"saturation": SENSORS[name], "tv": 0.1}
        used = self.images(lambda: native_step(*tensors, **keywords), image)
        planes = 1
        assert forward <= used - 1 <= forward + planes
        inputs = [t.requires_grad_() for t in tensors]
        result = native_step(*inputs, **keywords)
        used = self.images(lambda: torch.autograd.grad(result.sum(), inputs), image)
        results = sum(t.numel() for t in inputs) / image.numel()
        assert used - results <= backward + 1 + planes

    def test_a_solve_uses_its_memory_again(self):
        tensors = sample(Shape(1, 3, 100, 90, 2, 3, 3), "reflect", torch.float32)
        taken = []
        with buffers.kept():
            for _ in range(3):
                call(native_step, tensors, True, True, saturation=SENSORS["two sets"])
                taken.append(sorted(t.data_ptr() for t in buffers._kept.free))
        assert len(taken[0]) == 4
        assert taken[0] == taken[1] == taken[2]
        assert buffers._kept.free is None

    def test_solves_in_threads_do_not_share_it(self):
        def solve(seed):
            tensors = sample(Shape(1, 3, 40, 50, 2, 3, 3), "reflect", torch.float32, seed)
            blur = blurops.BasisBlur(*tensors[2:4], backend="native", method="direct")
            saturation = SENSORS["two sets"]
            return blurops.richardson_lucy(tensors[1], blur, saturation=saturation).image

        expected = [solve(seed) for seed in range(4)]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(solve, [0, 1, 2, 3] * 3))
        assert all(torch.equal(r, expected[i % 4]) for i, r in enumerate(results))
