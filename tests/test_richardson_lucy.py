# SPDX-License-Identifier: BSD-3-Clause
"""Richardson-Lucy restoration: its default, its choices, its limits."""

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import blurops
from blurops import BasisBlur, Saturation, UniformBlur, richardson_lucy
from blurops.operators import Operator
from blurops.solvers.settings import PRESETS
from tests.literal import BOUNDARIES
from tests.restoration import GAMMA, VARIANTS, psnr, scene


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
