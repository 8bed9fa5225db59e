# SPDX-License-Identifier: BSD-3-Clause
"""The Triton kernels of the Richardson-Lucy step and of the sensor's response, interpreted."""

import math

import pytest
import torch

import blurops
from blurops import Saturation, _native
from blurops._check import BOUNDARIES
from blurops.ops.basis_blur import native
from blurops.ops.rl_step import triton as step
from blurops.ops.rl_step.op import from_blurred
from blurops.testing import Shape, accuracy, relative_error
from tests.backends import options
from tests.rl_problems import REFERENCE, SENSORS, call, sample

DOUBLE = torch.float64
# More pixels than a block; one pixel; every broadcast.
LAYOUTS = (
    Shape(2, 2, 5, 35, 2, 3, 3, kernels_shared=False),
    Shape(1, 3, 4, 5, 1, 1, 1, kernels_shared=False, mixing_shared=False),
    Shape(1, 1, 1, 1, 1, 1, 1),
)


@pytest.fixture(autouse=True)
def _triton_is_there():
    options("triton")


def _gradients(tensors, given, masked, **chosen):
    inputs = [t.clone().requires_grad_() for t in tensors]
    result = call(blurops.rl_step, inputs, given, masked, **chosen)
    weight = torch.linspace(-1, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
    used = [t for t, use in zip(inputs, (True,) * 4 + (given, masked), strict=True) if use]
    return torch.autograd.grad((weight * result).sum(), used)


class TestStep:
    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch):
        monkeypatch.setattr(step, "BLOCK", 64)

    @pytest.mark.parametrize("name", SENSORS)
    def test_equals_the_reference(self, name):
        number = list(SENSORS).index(name)
        for i, shape in enumerate(LAYOUTS):
            dtype = (DOUBLE, torch.float32)[(number + i) % 2]
            boundary = BOUNDARIES[(number + i) % 5]
            boundary = boundary if shape.allows(boundary) else "zeros"
            tensors = sample(shape, boundary, dtype, number + i)
            chosen = {
                "saturation": SENSORS[name], "boundary": boundary, "tv": 0.1 * (i < 2), "eps": 1e-3,
            }  # fmt: skip
            given, masked = i % 2 == 0, number % 2 == 0
            result = call(blurops.rl_step, tensors, given, masked, **chosen, backend="triton")
            exact = [t.double() for t in tensors]
            exact = call(blurops.rl_step, exact, given, masked, **chosen, **REFERENCE)
            assert result.dtype == dtype
            # A few operations on values that the adjoint's tolerance covers.
            assert relative_error(result, exact) <= 4 * accuracy(dtype).relative

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_computed_in_float32(self, dtype):
        tensors = sample(LAYOUTS[1], "reflect", dtype)
        chosen = {"saturation": Saturation(a=9.0, threshold=0.7), "tv": 0.1, "backend": "triton"}
        expected = call(blurops.rl_step, [t.float() for t in tensors], True, True, **chosen)
        assert torch.equal(call(blurops.rl_step, tensors, True, True, **chosen), expected.to(dtype))

    def test_two_passes_around_the_blur_and_the_adjoint(self, triton_launches):
        tensors = sample(LAYOUTS[1], "reflect", torch.float32)
        call(blurops.rl_step, tensors, True, False, backend="triton")
        assert triton_launches == ["blur", "ratios", "adjoint", "update"]
        triton_launches.clear()
        saturation = Saturation(a=9.0, threshold=0.7)
        call(blurops.rl_step, tensors, False, False, saturation=saturation, backend="triton")
        assert sorted(triton_launches) == sorted(
            ["adjoint", "blur", "blur", "ratios", "adjoint", "update"]
        )

    @pytest.mark.parametrize("name", ["linear", "two sets"])
    def test_takes_the_blurs_of_the_native_module(self, name, triton_launches, monkeypatch):
        options("native")
        monkeypatch.setattr(step, "blurs", lambda *_: native)
        into, fill, filled = native.basis_blur_into, _native.fill, {}

        def note(struct, **fields):
            filled.update(fields)
            return fill(struct, **fields)

        def on_cpu(launcher, *args, **how):
            """The CPU's epilogue; it stores what the second set adds to the first."""
            assert launcher == "rl_ratios_cuda"
            into("rl_ratios_cpu", *args, **how)
            if filled["clean"] is not None:
                first, second = filled["ratios"].chunk(2, dim=1)
                second += first

        monkeypatch.setattr(_native, "fill", note)
        monkeypatch.setattr(native, "basis_blur_into", on_cpu)
        tensors = sample(LAYOUTS[1], "reflect", DOUBLE)
        chosen = {"saturation": SENSORS[name], "tv": 0.1}
        result = call(blurops.rl_step, tensors, False, True, **chosen, backend="triton")
        exact = call(blurops.rl_step, tensors, False, True, **chosen, backend="reference")
        assert relative_error(result, exact) <= 100 * accuracy(DOUBLE).relative
        assert triton_launches == ["update"]

    def test_a_blur_that_is_known_is_not_computed_again(self, triton_launches):
        tensors = sample(LAYOUTS[1], "reflect", DOUBLE)
        chosen = {
            "tv": 0.1, "eps": 1e-6, "boundary": "reflect", "method": "auto",
            "precision": "default", "backend": "triton",
        }  # fmt: skip
        expected = call(blurops.rl_step, tensors, True, True, **chosen)
        known = blurops.basis_blur(tensors[0], *tensors[2:4], backend="triton")
        triton_launches.clear()
        result = from_blurred(known, *tensors, saturation=None, **chosen)
        assert torch.equal(result, expected)
        assert triton_launches == ["ratios", "adjoint", "update"]

    @pytest.mark.parametrize("name", SENSORS)
    def test_the_fused_backward_is_that_of_the_formula(self, name, triton_launches):
        number = list(SENSORS).index(name)
        for i in (0, 1):
            shape, boundary = LAYOUTS[(number + i) % len(LAYOUTS)], BOUNDARIES[(number + i) % 5]
            boundary = boundary if shape.allows(boundary) else "zeros"
            tensors = sample(shape, boundary, DOUBLE, number + i)
            tensors[0] += 0.01
            given, masked = i == 0, (number + i) % 3 > 0
            chosen = {"saturation": SENSORS[name], "boundary": boundary, "tv": 0.2}
            found = _gradients(tensors, given, masked, **chosen, backend="triton")
            expected = _gradients(tensors, given, masked, **chosen, **REFERENCE)
            for position, (a, b) in enumerate(zip(found, expected, strict=True)):
                # Roundings, magnified by data over dark pixels and by short slopes.
                limit = 1e6 * torch.finfo(DOUBLE).eps * (1 + float(b.abs().max()))
                assert float((a - b).abs().max()) <= limit, (position, i)
        assert {"grad_update", "grad_tv", "grad_ratios", "grad_kernels", "grad_mixing"} <= set(
            triton_launches
        )

    def test_the_backward_with_negative_kernels(self):
        """Where the blurred light, the response or a correction is cut off at zero."""
        tensors = sample(LAYOUTS[0], "reflect", DOUBLE)
        tensors[2] -= 0.9 * tensors[2].mean()
        for name in ("linear", "two sets"):
            chosen = {"saturation": SENSORS[name], "eps": 0.01}
            found = _gradients(tensors, True, True, **chosen, backend="triton")
            for a, b in zip(
                found, _gradients(tensors, True, True, **chosen, **REFERENCE), strict=True
            ):
                assert float((a - b).abs().max()) <= 1e-9 * (1 + float(b.abs().max()))

    def test_the_backward_takes_what_is_wanted(self, triton_launches):
        estimate, *rest = sample(LAYOUTS[1], "reflect", torch.float32)
        result = call(
            blurops.rl_step, [estimate.requires_grad_(), *rest], True, False, backend="triton"
        )
        triton_launches.clear()
        result.sum().backward()
        assert triton_launches == [
            "blur", "ratios", "adjoint", "grad_update", "blur", "grad_ratios", "adjoint"
        ]  # fmt: skip

    def test_second_derivatives_go_through_the_formula(self, triton_launches):
        tensors = [t.requires_grad_() for t in sample(LAYOUTS[1], "zeros", DOUBLE)]
        result = call(blurops.rl_step, tensors, True, True, backend="triton")
        (first,) = torch.autograd.grad(result.sum(), tensors[0], create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), tensors[2])
        assert second.any()
        assert "grad_update" not in triton_launches

    def test_finite_for_black_and_huge_light_and_nan_for_nan(self):
        estimate, observed, kernels, mixing, *_ = sample(LAYOUTS[1], "zeros", torch.float32)
        for light in (0.0, 1e6):
            for saturation in (None, Saturation()):
                result = blurops.rl_step(
                    torch.full_like(estimate, light), observed, kernels, mixing,
                    saturation=saturation, tv=0.1, backend="triton",
                )  # fmt: skip
                assert result.isfinite().all()
        observed[0, 0, 1, 1] = math.nan
        result = blurops.rl_step(estimate, observed, kernels, mixing, backend="triton")
        assert result.isnan().any()


class TestResponse:
    @pytest.mark.parametrize("op", [blurops.saturate, blurops.saturate_derivative])
    @pytest.mark.parametrize("dtype", [DOUBLE, torch.float32], ids=lambda d: str(d)[6:])
    @pytest.mark.parametrize(("a", "level"), [(50.0, 1.0), (0.7, 0.1), (9.0, -0.3)])
    def test_equals_the_reference(self, op, dtype, a, level):
        x = torch.linspace(level - 9, level + 9, 1500, dtype=dtype).reshape(30, 50).T
        result = op(x, a, level, backend="triton")
        exact = op(x.double(), a, level, backend="reference")
        assert result.is_contiguous()
        assert result.dtype == dtype
        assert relative_error(result, exact) <= accuracy(dtype).relative
        # Near the ceiling 0, too: the forms do not cancel. exp() carries the rounding of a x.
        digits = torch.finfo(dtype).eps * (4 + 2 * a * 9)
        if op is blurops.saturate_derivative:
            normal = exact > torch.finfo(dtype).tiny
            assert ((result.double() - exact).abs() / exact)[normal].max() <= digits

    def test_the_ceiling_zero_is_met_to_the_last_digit(self):
        x = torch.linspace(0, 60, 301)
        result = blurops.saturate(x, 1.0, 0.0, backend="triton").double()
        exact = blurops.saturate(x.double(), 1.0, 0.0, backend="reference")
        assert ((result - exact) / exact).abs().max() <= 62 * torch.finfo(torch.float32).eps

    def test_extremes_and_empty_and_half(self):
        x = torch.tensor([math.inf, -math.inf, 1e30, -1e30, math.nan])
        for op in (blurops.saturate, blurops.saturate_derivative):
            expected = op(x, backend="reference")
            torch.testing.assert_close(op(x, backend="triton"), expected, equal_nan=True)
            assert op(x[:0], backend="triton").shape == (0,)
            for dtype in (torch.float16, torch.bfloat16):
                y = torch.linspace(0, 2, 101).to(dtype)
                error = (op(y, backend="triton") - op(y, backend="reference")).abs().max()
                assert error <= torch.finfo(dtype).eps

    def test_gradients(self):
        x = torch.linspace(-0.5, 1.5, 7, dtype=DOUBLE, requires_grad=True)
        for op in (blurops.saturate, blurops.saturate_derivative):
            assert torch.autograd.gradcheck(lambda v, op=op: op(v, 9.0, backend="triton"), x)
