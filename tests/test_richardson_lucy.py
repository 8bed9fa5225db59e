# SPDX-License-Identifier: BSD-3-Clause
"""Richardson-Lucy restoration: its updates, its presets, its limits."""

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import BOUNDARIES

import blurops
from blurops import BasisBlur, Saturation, UniformBlur, richardson_lucy
from blurops.operators import Operator
from blurops.solvers.authors import SOBEL8_TV_LIMIT, sobel8_divisor
from blurops.solvers.settings import DEFAULT, PRESETS

VARIANTS = ("basic", "function", "masked", "combined")
GAMMA = 2.2


def scene(*, size=(30, 26), seed=0, basis=3, side=7, noise=0.002, boundary="reflect"):
    """A smooth random scene with highlights above 1, its blur, and a noisy saturated picture."""
    torch.manual_seed(seed)
    blurred = tuple(n - side + 1 for n in size) if boundary == "valid" else size
    kernels = torch.rand(1, basis, side, side) ** 6
    kernels = kernels / kernels.sum((-1, -2), keepdim=True)
    mixing = F.interpolate(torch.randn(1, basis, 4, 4), blurred, mode="bicubic").mul(3).softmax(1)
    sharp = F.interpolate(torch.rand(1, 3, 9, 8), size, mode="bilinear").clamp(0, 1) ** GAMMA
    sharp[..., 10:16, 6:12] = 4.0
    blur = BasisBlur(kernels, mixing, boundary=boundary)
    light = blurops.saturate(blur @ sharp + noise * torch.randn(1, 3, *blurred))
    return sharp, blur, light.clamp(min=0) ** (1 / GAMMA)


def psnr(image, truth):
    return -10 * math.log10(float(((image.clamp(0, 1) - truth.clamp(0, 1)) ** 2).mean()))


# --- The authors' update, transcribed from its description, independently of the package.


def authors_blur(image, kernels, mixing):
    radius = kernels.shape[-1] // 2
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    result = torch.zeros_like(image)
    for channel in range(image.shape[1]):
        for basis in range(kernels.shape[1]):
            plane = F.conv2d(padded[:, channel : channel + 1], kernels[:, basis : basis + 1])
            result[:, channel] += mixing[:, basis] * plane[:, 0]
    return result


def authors_response(light):
    light = light.clamp(max=1.5)
    power = torch.exp(50 * (light - 1))
    return (light - torch.log(1 + power) / 50).clamp(min=0), 1 / (1 + power)


def authors_each_channel(image, kernel):
    planes = [F.conv2d(image[:, c : c + 1], kernel, padding="same") for c in range(image.shape[1])]
    return torch.cat(planes, dim=1)


def authors_divergence(values):
    across = torch.tensor([[[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]]], dtype=values.dtype)
    down = across.transpose(-1, -2)
    gx, gy = authors_each_channel(values, across), authors_each_channel(values, down)
    norm = torch.sqrt(gx**2 + gy**2)
    flat = norm < 1e-9
    gx = torch.where(flat, torch.full_like(gx, 1e-9), gx / norm)
    gy = torch.where(flat, torch.full_like(gy, 1e-9), gy / norm)
    return authors_each_channel(gx, across) + authors_each_channel(gy, down)


def authors_sets(values, kernels, threshold, erode, smooth, dilate):
    ones = torch.ones(1, 1, 3, 3, dtype=values.dtype)
    z0 = (values < threshold).to(values.dtype)
    if erode:
        z0 = 1 - (authors_each_channel(1 - z0, ones) > 0).to(values.dtype)
    if smooth:
        z0 = authors_each_channel(z0, ones) / 9
    z = z0
    if dilate:
        total = kernels.sum(1, keepdim=True)
        support = (total > 0.25 * total.max()).to(values.dtype)
        lost = (z0 < 1).to(values.dtype)
        z = 1 - (authors_each_channel(lost, support) > 0).to(values.dtype)
    return z0, z


def authors_restore(
    v, blur, *, gamma, iterations=30, variant="combined", threshold=0.99, tv=1e-3,
    erode=True, smooth=True, dilate=False, stop=True,
):  # fmt: skip
    """Specification of the released code: 5.1 to 5.4 of its description. Returns (u, updates)."""
    kernels, mixing, turned = blur.kernels, blur.mixing, blur.kernels.flip(-1, -2)
    light, u, previous = v**gamma, v.clone(), 1000.0
    for done in range(iterations):
        current = u**gamma
        blurred = authors_blur(current, kernels, mixing)
        response, slope = authors_response(blurred)
        if variant == "combined":
            z0, z = authors_sets(u, kernels, threshold, erode, smooth, dilate)
            q_u = light * slope * z / (response + 1e-6) + 1 - slope * z
            q_s = light * slope / (response + 1e-6) + 1 - slope
            f_u = z0 * u
            f_s = u - f_u
            f_u = (f_u**gamma * authors_blur(q_u, turned, mixing)) ** (1 / gamma)
            f_s = (f_s**gamma * authors_blur(q_s, turned, mixing)) ** (1 / gamma)
            new = f_u + f_s
        else:
            q = light / (blurred + 1e-6)
            if variant == "function":
                q = light * slope / (response + 1e-6) + 1 - slope
            if variant == "masked":
                t = (v < threshold).to(v.dtype)
                q = light * t / (blurred + 1e-6) + 1 - t
            new = (current * authors_blur(q, turned, mixing)) ** (1 / gamma)
        new = new / (1 - tv * authors_divergence(u))
        if variant == "combined" and stop:
            loss = float(((blurred.clamp(max=1.5) ** (1 / gamma) - v) ** 2).mean())
            if previous - loss < 1e-6:
                return u, done
            previous = loss
        u = new
    return u, iterations


def assert_round_off(result, expected, iterations):
    """Each update multiplies by sums of B K^2 products, and repeats what the last one erred."""
    eps = torch.finfo(result.dtype).eps
    error = torch.linalg.vector_norm(result - expected) / torch.linalg.vector_norm(expected)
    assert float(error) <= 30 * iterations * eps


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


class TestDefault:
    @pytest.mark.parametrize("saturation", [None, Saturation()])
    def test_is_rl_step_repeated(self, saturation):
        _, blur, v = scene()
        linear = saturation and dataclasses.replace(saturation, threshold=0.99**GAMMA)
        u = v**GAMMA
        for _ in range(4):
            u = blurops.rl_step(u, v**GAMMA, blur.kernels, blur.mixing, saturation=linear, tv=0.01)
        result = richardson_lucy(v, blur, gamma=GAMMA, saturation=saturation, tv=0.01, iterations=4)
        torch.testing.assert_close(result.image, u ** (1 / GAMMA))
        assert (result.iterations, result.losses) == (4, ())

    def test_function_variant_is_one_set_with_the_response(self):
        _, blur, v = scene()
        one_set = Saturation(threshold=math.inf)
        result = richardson_lucy(v, blur, variant="function", iterations=3)
        expected = richardson_lucy(v, blur, saturation=one_set, iterations=3)
        assert torch.equal(result.image, expected.image)

    def test_masked_variant_ignores_bright_observations(self):
        _, blur, v = scene()
        mask = (v < 0.99).float()
        assert 0 < float(1 - mask.mean()) < 0.5
        result = richardson_lucy(v, blur, variant="masked", iterations=3)
        expected = richardson_lucy(v, blur, mask=mask, iterations=3)
        assert torch.equal(result.image, expected.image)
        half = torch.full((1, 1, *v.shape[-2:]), 0.5)
        both = richardson_lucy(v, blur, variant="masked", mask=half, iterations=3)
        expected = richardson_lucy(v, blur, mask=half * mask, iterations=3)
        assert torch.equal(both.image, expected.image)

    @pytest.mark.parametrize("boundary", BOUNDARIES)
    def test_restores(self, boundary):
        sharp, blur, v = scene(size=(48, 50), boundary=boundary)
        result = richardson_lucy(v, blur, gamma=GAMMA, saturation=Saturation())
        truth = sharp ** (1 / GAMMA)
        assert result.image.shape == sharp.shape
        start = v if boundary != "valid" else F.pad(v, (3,) * 4, mode="replicate")
        # Light enters from outside the scene at circular, zero and valid borders: look inside.
        inner = (..., slice(7, -7), slice(7, -7))
        gain = psnr(result.image[inner], truth[inner]) - psnr(start[inner], truth[inner])
        assert gain > 2

    def test_the_division_by_the_column_sums_is_what_makes_it_work(self):
        sharp, blur, v = scene(size=(48, 50))
        truth = sharp ** (1 / GAMMA)
        quality = {
            normalise: psnr(richardson_lucy(v, blur, gamma=GAMMA, normalise=normalise).image, truth)
            for normalise in (True, False)
        }
        assert quality[True] > quality[False] + 3

    def test_every_choice_can_be_combined(self):
        _, blur, v = scene()
        seen = set()
        for variant in VARIANTS:
            for adjoint in ("exact", "authors"):
                for combine in ("linear", "pixel"):
                    for tv_form in ("forward", "sobel8"):
                        for normalise in (True, False):
                            image = richardson_lucy(
                                v, blur, gamma=GAMMA, variant=variant, adjoint=adjoint,
                                combine=combine, tv_form=tv_form, normalise=normalise,
                                tv=1e-2, iterations=2,
                            ).image  # fmt: skip
                            assert bool(torch.isfinite(image).all())
                            seen.add(round(float(image.double().sum()), 3))
        # The authors' adjoint of ones is one, so normalising it changes nothing; `combine` says
        # nothing where there is one set. All the rest must differ.
        adjoints, tv_forms, one_set, combines = 3, 2, 3, 2
        assert len(seen) == adjoints * tv_forms * (one_set + combines)

    def test_authors_adjoint_is_normalised_by_its_own_sums(self):
        _, blur, v = scene()
        scaled = BasisBlur(blur.kernels, 0.5 * blur.mixing)
        u = v
        for _ in range(3):
            ratio = v / (scaled @ u + 1e-6)
            turned = blurops.flip(blur.kernels)
            u = u * blurops.basis_blur(ratio, turned, blur.mixing)
        result = richardson_lucy(v, scaled, adjoint="authors", iterations=3)
        torch.testing.assert_close(result.image, u)


class TestFollowing:
    def test_callback_gets_every_image_and_its_loss(self):
        _, blur, v = scene()
        calls = []
        result = richardson_lucy(
            v, blur, gamma=GAMMA, iterations=4, callback=lambda *call: calls.append(call)
        )
        assert [call[0] for call in calls] == [1, 2, 3, 4]
        assert torch.equal(calls[-1][1], result.image)
        assert result.losses[1:] == tuple(call[2] for call in calls)
        for image, loss in [(v, result.losses[0]), *((c[1], c[2]) for c in calls)]:
            reblurred = (blur @ image**GAMMA) ** (1 / GAMMA)
            assert loss == pytest.approx(float(((reblurred - v) ** 2).mean()), rel=1e-4)

    @pytest.mark.parametrize("saturation", [None, Saturation()])
    def test_following_does_not_change_the_result(self, saturation):
        _, blur, v = scene()
        chosen = {"saturation": saturation, "tv": 0.01, "gamma": GAMMA, "iterations": 5}
        alone = richardson_lucy(v, blur, **chosen)
        followed = richardson_lucy(v, blur, stop_tol=-math.inf, **chosen)
        torch.testing.assert_close(alone.image, followed.image)
        assert len(followed.losses) == 6

    def test_stops_at_the_first_small_fall(self):
        _, blur, v = scene()
        full = richardson_lucy(v, blur, stop_tol=-math.inf).losses
        falls = [a - b for a, b in itertools.pairwise(full)]
        tol = (falls[6] + falls[7]) / 2
        assert all(fall > tol for fall in falls[:7])
        result = richardson_lucy(v, blur, stop_tol=tol)
        assert result.iterations == 8
        assert result.losses == full[:9]

    def test_loss_ignores_what_the_mask_ignores(self):
        _, blur, v = scene()
        mask = torch.ones(1, 1, *v.shape[-2:])
        mask[..., :5] = 0
        other = v.clone()
        other[..., :5] = 0.9
        initial = torch.full_like(v, 0.4)
        losses = [
            richardson_lucy(
                image, blur, mask=mask, initial=initial, stop_tol=-math.inf, iterations=3
            ).losses
            for image in (v, other)
        ]
        assert losses[0] == losses[1]
        assert losses[0][0] == pytest.approx(float(((0.4 - v[..., 5:]) ** 2).mean()), rel=1e-4)

    def test_progress_is_drawn_on_request(self, capsys):
        _, blur, v = scene()
        richardson_lucy(v, blur, iterations=3)
        assert capsys.readouterr().err == ""
        richardson_lucy(v, blur, iterations=3, progress=True)
        assert "3/3" in capsys.readouterr().err


def test_no_iterations_return_the_start():
    _, blur, v = scene()
    result = richardson_lucy(v, blur, gamma=GAMMA, iterations=0)
    torch.testing.assert_close(result.image, v)
    initial = torch.rand_like(v)
    result = richardson_lucy(v, blur, gamma=GAMMA, iterations=0, initial=initial)
    torch.testing.assert_close(result.image, initial)


def test_valid_starts_from_the_replicated_observation():
    _, blur, v = scene(boundary="valid")
    result = richardson_lucy(v, blur, iterations=0)
    assert torch.equal(result.image, F.pad(v, (3,) * 4, mode="replicate"))


def test_samples_of_a_batch_do_not_mix():
    first, second = scene(seed=1), scene(seed=2)
    kernels = torch.cat((first[1].kernels, second[1].kernels))
    mixing = torch.cat((first[1].mixing, second[1].mixing))
    batch = richardson_lucy(
        torch.cat((first[2], second[2])),
        BasisBlur(kernels, mixing),
        saturation=Saturation(),
        iterations=5,
    )
    for n, (_, blur, v) in enumerate((first, second)):
        alone = richardson_lucy(v, blur, saturation=Saturation(), iterations=5)
        torch.testing.assert_close(batch.image[n : n + 1], alone.image)


def test_inputs_are_not_written():
    _, blur, v = scene()
    tensors = [v, torch.rand_like(v), torch.rand(1, 1, *v.shape[-2:]), blur.kernels, blur.mixing]
    before = [t.clone() for t in tensors]
    for preset in (None, "carbajal2021", "carbajal2021-paper"):
        richardson_lucy(v, blur, initial=tensors[1], mask=tensors[2], preset=preset, iterations=2)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    _, blur, v = scene()
    blur, v = blur.to(dtype), v.to(dtype)
    mask = torch.rand(1, 1, *v.shape[-2:]).to(dtype)
    result = richardson_lucy(v, blur, mask=mask, initial=v, gamma=GAMMA, iterations=5)
    single = richardson_lucy(
        v.float(), blur.to(torch.float32), mask=mask.float(), gamma=GAMMA, iterations=5
    )
    assert result.image.dtype == dtype
    assert torch.equal(result.image, single.image.to(dtype))


@pytest.mark.parametrize("preset", [None, "carbajal2021"])
def test_gradients_pass_through_the_iterations(preset):
    torch.manual_seed(0)
    tensors = [
        torch.rand(shape, dtype=torch.float64).add(0.2).requires_grad_()
        for shape in ((1, 1, 4, 4), (1, 2, 3, 3), (1, 2, 4, 4))
    ]

    def restore(v, kernels, mixing):
        blur = BasisBlur(kernels / kernels.sum(), mixing)
        return richardson_lucy(
            v, blur, gamma=GAMMA, preset=preset, saturation=Saturation(threshold=0.8, erode=False),
            iterations=2, tv=0.02, stop_tol=-math.inf,
        ).image  # fmt: skip

    assert torch.autograd.gradcheck(restore, tensors)


def test_gradients_are_finite_at_black_pixels():
    _, blur, v = scene()
    v[..., :8, :8] = 0
    v.requires_grad_()
    richardson_lucy(v, blur, gamma=GAMMA, iterations=3, tv=0.01).image.sum().backward()
    assert bool(torch.isfinite(v.grad).all())


_level = st.sampled_from([0.0, 1e-20, 1e-6, 0.1, 0.999, 1.0, 2.0, 1e3, 1e6])


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    level=_level,
    sparsity=st.floats(0, 1),
    preset=st.sampled_from([None, *PRESETS]),
    variant=st.sampled_from(VARIANTS),
    combine=st.sampled_from(["linear", "pixel"]),
    tv=st.sampled_from([0.0, 0.0599]),
    gamma=st.sampled_from([1.0, 2.2]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    boundary=st.sampled_from(BOUNDARIES),
    method=st.sampled_from(["direct", "fft"]),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_finite_input_gives_finite_output(
    level, sparsity, preset, variant, combine, tv, gamma, size, boundary, method, masked, seed
):
    generator = torch.Generator().manual_seed(seed)

    def sparse(*shape):
        values = torch.rand(shape, generator=generator)
        return values * (torch.rand(shape, generator=generator) >= sparsity)

    boundary = "reflect" if preset == "carbajal2021" else boundary
    sides = [3 if n >= 3 else 1 for n in size]
    kernels = sparse(1, 2, *sides)
    blurred = blurops.ops.basis_blur.shapes.blurred_size(size, sides, boundary)
    blur = BasisBlur(kernels, sparse(1, 2, *blurred), boundary=boundary, method=method)
    v = level * sparse(1, 1, *blurred)
    mask = sparse(1, 1, *blurred) if masked else None
    result = richardson_lucy(
        v, blur, preset=preset, variant=variant, combine=combine, tv=tv, gamma=gamma, mask=mask,
        iterations=40,
    )  # fmt: skip
    assert bool(torch.isfinite(result.image).all())
    assert bool((result.image >= 0).all())
    assert all(math.isfinite(loss) for loss in result.losses)


def test_pixels_that_no_data_hold_cannot_run_away():
    """With nothing observed, strong TV drives a chequered image up without end."""
    v = 1 + 0.01 * ((torch.arange(64).reshape(1, 1, 8, 8) + torch.arange(8)[:, None]) % 2)
    nothing = torch.zeros_like(v)
    blur = UniformBlur(torch.full((3, 3), 1 / 9))
    result = richardson_lucy(v, blur, mask=nothing, tv=0.2499, iterations=3000)
    assert bool(torch.isfinite(result.image).all())


class Halving(Operator):
    """An operator of a user's own."""

    def forward(self, x):
        return x / 2

    def adjoint(self, y):
        return y / 2

    def to(self, *args, **options):
        return self


def test_accepts_any_operator_of_the_protocol():
    v = torch.rand(1, 3, 5, 6)
    for saturation in (None, Saturation(threshold=math.inf)):
        result = richardson_lucy(v / 4, Halving(), saturation=saturation)
        torch.testing.assert_close(result.image, v / 2, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="operator must be a BasisBlur with a boundary other than"):
        richardson_lucy(v, Halving(), adjoint="authors")
    with pytest.raises(ValueError, match="operator must be a BasisBlur for combine 'pixel' with"):
        richardson_lucy(v, Halving(), combine="pixel", saturation=Saturation())


_, BLUR, V = scene()
MASK = torch.ones(1, 1, *V.shape[-2:])


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"observed": [1.0]}, TypeError, "observed must be a tensor of shape .*, got list"),
        ({"observed": V.int()}, TypeError, "observed must have dtype .*, got int32"),
        ({"observed": V.cfloat()}, TypeError, "observed must have dtype .*, got complex64"),
        ({"observed": V[0]}, ValueError, r"observed must be \(N, C, H, W\), got \(3, 30, 26\)"),
        ({"observed": V[..., :0]}, ValueError, "observed must have at least one pixel"),
        ({"observed": V * math.nan}, ValueError, "observed must be finite, got NaN or infinity"),
        ({"observed": V * math.inf}, ValueError, "observed must be finite, got NaN or infinity"),
        ({"observed": V - 0.5}, ValueError, "observed must be non-negative, got a minimum of -0"),
        ({"operator": BLUR.kernels}, TypeError, "operator must be a blurops Operator .*got Tensor"),
        (
            {"operator": BasisBlur(BLUR.kernels, BLUR.mixing * math.nan)}, ValueError,
            "operator must hold finite numbers, got NaN or infinity in its column sums",
        ),
        ({"operator": BLUR.to(torch.float64)}, TypeError, "operator must have the dtype of obs"),
        ({"observed": V.half()}, TypeError, r"operator must have the dtype of observed \(float16"),
        ({"iterations": -1}, ValueError, "iterations must be at least 0, got -1"),
        ({"iterations": 2.5}, TypeError, "iterations must be an int, got float"),
        ({"iterations": True}, TypeError, "iterations must be an int, got bool"),
        ({"saturation": 0.9}, TypeError, "saturation must be a blurops.Saturation, got float"),
        (
            {"saturation": Saturation(), "variant": "basic"}, ValueError,
            "saturation must be left out of variant 'basic', got one",
        ),
        ({"tv": 0.25}, ValueError, r"tv must be in \[0, 0.25\), got 0.25"),
        ({"tv": -0.1}, ValueError, r"tv must be in \[0, 0.25\), got -0.1"),
        ({"tv": math.nan}, ValueError, r"tv must be in \[0, 0.25\), got nan"),
        ({"tv": 0.06, "tv_form": "sobel8"}, ValueError, r"tv must be in \[0, 0.06\), got 0.06"),
        ({"gamma": 0.0}, ValueError, "gamma must be positive and finite, got 0.0"),
        ({"gamma": math.nan}, ValueError, "gamma must be positive and finite, got nan"),
        ({"eps": 0.0}, ValueError, "eps must be positive and finite, got 0.0"),
        ({"stop_tol": math.nan}, ValueError, "stop_tol must be a number, got nan"),
        ({"callback": 3}, TypeError, "callback must be callable, got int"),
        (
            {"preset": "whyte"}, ValueError,
            "preset must be one of carbajal2021, carbajal2021-paper, got 'whyte'",
        ),
        ({"variant": "fast"}, ValueError, "variant must be one of basic, function, masked, comb"),
        ({"adjoint": "wrong"}, ValueError, "adjoint must be one of exact, authors, got 'wrong'"),
        ({"combine": "log"}, ValueError, "combine must be one of linear, pixel, got 'log'"),
        ({"tv_form": "l2"}, ValueError, "tv_form must be one of forward, sobel8, got 'l2'"),
        ({"loss_form": "l1"}, ValueError, "loss_form must be one of response, clamped, got 'l1'"),
        ({"initial": V[..., 1:]}, ValueError, r"initial must be \(1, 3, 30, 26\), got"),
        ({"initial": V - 0.5}, ValueError, "initial must be non-negative, got a minimum of -0"),
        ({"initial": V * math.nan}, ValueError, "initial must be finite, got NaN"),
        ({"initial": V.double()}, TypeError, "initial must have the dtype of observed"),
        ({"mask": MASK[..., 1:]}, ValueError, r"mask must be \(1 or 1, 3 or 1, 30, 26\), got"),
        ({"mask": 2 * MASK}, ValueError, r"mask must be in \[0, 1\], got values from 2 to 2"),
        ({"mask": MASK * math.nan}, ValueError, r"mask must be in \[0, 1\], got values from nan"),
        ({"mask": MASK.bool()}, TypeError, "mask must have dtype .*, got bool"),
    ],
)  # fmt: skip
def test_bad_arguments(keywords, error, text):
    arguments = {"observed": V, "operator": BLUR} | keywords
    observed, operator = arguments.pop("observed"), arguments.pop("operator")
    with pytest.raises(error, match=f"^richardson_lucy: {text}"):
        richardson_lucy(observed, operator, **arguments)
