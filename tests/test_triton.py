# SPDX-License-Identifier: BSD-3-Clause
"""The Triton kernels beyond the contract, which they meet as one path of tests/backends.py.

On the CPU they are interpreted; for GPUs they are compiled, which needs no GPU either.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import blurops
from blurops import Saturation, _boundary, _native, _triton, _triton_tiles
from blurops._check import BOUNDARIES
from blurops.ops.basis_blur import native
from blurops.ops.basis_blur import triton as family
from blurops.ops.rl_step import triton as step
from blurops.ops.rl_step.op import from_blurred
from blurops.testing import CASES, Shape, accuracy, dot_gap, family_tensors, relative_error
from tests.backends import options
from tests.rl_problems import REFERENCE, SENSORS, call, sample

ROOT = Path(__file__).resolve().parent.parent
DOUBLE = torch.float64
# More pixels than a tile and, in the tests of the step, than a block; one pixel; every broadcast.
LAYOUTS = (
    Shape(2, 2, 5, 35, 2, 3, 3, kernels_shared=False),
    Shape(1, 3, 4, 5, 1, 1, 1, kernels_shared=False, mixing_shared=False),
    Shape(1, 1, 1, 1, 1, 1, 1),
)


@pytest.fixture(autouse=True)
def _triton_is_there():
    options("triton")


@pytest.fixture
def launched(monkeypatch):
    """The names of the kernels that were launched."""
    names, launch = [], _triton.launch

    def note(kernel, *args, **sizes):
        names.append(kernel.fn.__name__)
        launch(kernel, *args, **sizes)

    monkeypatch.setattr(_triton, "launch", note)
    return names


def blur_tensors(dtype=torch.float32, shape=LAYOUTS[0], boundary="reflect"):
    tensors = family_tensors(shape, boundary, dtype, 3)
    return tuple(tensors[name] for name in ("image", "kernels", "mixing"))


class TestChoice:
    image, kernels, mixing = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 3, 3), torch.ones(1, 1, 4, 4)

    def refusal(self, tensors=None, **chosen):
        tensors = tensors or (self.image, self.kernels, self.mixing)
        return family.supports(tensors, {"method": "auto", "backend": "triton", **chosen})

    def test_the_interpreter_serves_only_those_who_ask_for_triton(self, launched):
        args = (self.image, self.kernels, self.mixing)
        assert self.refusal() is None
        assert "GPUs only, and the input is on cpu" in self.refusal(backend=None)
        blurops.basis_blur(*args)
        blurops.saturate(self.image)
        blurops.rl_step(self.image, self.image, self.kernels, self.mixing)
        assert launched == []
        blurops.basis_blur(*args, backend="triton")
        assert launched == ["blur"]

    def test_without_the_interpreter_it_needs_a_gpu(self, monkeypatch):
        monkeypatch.setenv("TRITON_INTERPRET", "0")
        message = "backend 'triton' cannot run this call: it has kernels for GPUs only"
        for op in (blurops.basis_blur, blurops.basis_blur_adjoint):
            with pytest.raises(NotImplementedError, match=f"^{op.__name__}: {message}"):
                op(self.image, self.kernels, self.mixing, backend="triton")
        with pytest.raises(NotImplementedError, match=f"^rl_step: {message}"):
            blurops.rl_step(self.image, self.image, self.kernels, self.mixing, backend="triton")
        for op in (blurops.saturate, blurops.saturate_derivative):
            with pytest.raises(NotImplementedError, match=f"^{op.__name__}: {message}"):
                op(self.image, backend="triton")

    def test_other_refusals(self, monkeypatch):
        assert "no spectra" in self.refusal(method="fft")
        meta = tuple(t.to("meta") for t in (self.image, self.kernels, self.mixing))
        assert "NVIDIA and AMD GPUs only, and the input is on meta" in self.refusal(meta)
        # No memory is behind these.
        vast = torch.zeros(1).expand(1, 1, 46341, 46341)
        assert "32 bits" in self.refusal((vast, self.kernels, vast))
        assert "32 bits" in self.refusal((vast, vast, self.mixing, (3, 3), False))
        large = torch.zeros(1).expand(1, 1, 46337, 46337)
        assert self.refusal((large, self.kernels, large)) is None
        assert "32 bits" in self.refusal((large, large, large, (5, 5), False))
        monkeypatch.setattr(_triton, "missing_reason", lambda: "Triton is not installed")
        assert self.refusal() == "Triton is not installed"

    def test_native_is_preferred_and_the_reference_comes_last(self, monkeypatch, launched):
        monkeypatch.setattr(_triton, "reason", lambda tensor, options: None)
        args = (self.image, self.kernels, self.mixing)
        monkeypatch.setattr(native, "supports", lambda args, options: None)
        monkeypatch.setattr(native, "basis_blur", lambda image, *args, **options: image)
        blurops.basis_blur(*args)
        assert launched == []
        monkeypatch.setattr(native, "supports", lambda args, options: "no")
        blurops.basis_blur(*args)
        assert launched == ["blur"]
        blurops.basis_blur(*args, method="fft")
        assert launched == ["blur"]

    def test_the_report_says_whether_it_can_be_used(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert blurops.backends()["triton"] == "there is no GPU"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.version, "hip", None)
        for capability, reason in (
            ((7, 5), "it needs compute capability 8.0 or later, which cuda:0 does not have"),
            ((8, 0), None),
        ):
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
            assert blurops.backends()["triton"] == reason

    def test_importing_blurops_and_calling_it_on_the_cpu_leaves_triton_alone(self):
        code = (
            "import sys, torch, blurops\n"
            "x, k = torch.rand(1, 1, 4, 4), torch.ones(1, 1, 1, 1)\n"
            "blurops.rl_step(x, x, k, x), blurops.saturate(x), blurops.backends()\n"
            "sys.exit('triton' in sys.modules)"
        )
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True)


class TestFold:
    @pytest.mark.parametrize("boundary", ["reflect", "replicate", "circular"])
    @pytest.mark.parametrize(("size", "radius"), [((5, 6), (2, 3)), ((4, 3), (0, 1))])
    def test_is_the_fold_of_the_reference(self, boundary, size, radius):
        extended = torch.rand(2, 3, *(n + 2 * r for n, r in zip(size, radius, strict=True)))
        extended = extended.double()
        expected = _boundary.fold(extended, radius, boundary)
        torch.testing.assert_close(_triton_tiles.fold(extended.clone(), radius, boundary), expected)

    @pytest.mark.parametrize("boundary", ["replicate", "circular"])
    def test_around_images_smaller_than_the_radius(self, boundary):
        for size, radius in (((2, 3), (5, 7)), ((1, 4), (3, 4)), ((1, 1), (2, 1))):
            extended = torch.rand(1, 1, *(n + 2 * r for n, r in zip(size, radius, strict=True)))
            expected = _boundary.fold(extended.double(), radius, boundary)
            result = _triton_tiles.fold(extended.double(), radius, boundary)
            torch.testing.assert_close(result, expected)


class TestGradientByTheKernels:
    @pytest.mark.parametrize("programs", [1, 3, 4, 1024])
    def test_does_not_depend_on_how_it_is_shared_out(self, monkeypatch, programs):
        monkeypatch.setattr(family, "_PROGRAMS", programs)
        shape = Shape(2, 2, 13, 70, 2, 3, 3)  # 4 x 3 tiles
        for shared in (True, False):
            tensors = family_tensors(shape, "circular", torch.float32, 5)
            args = (tensors["grad"], tensors["image"], tensors["mixing"], (3, 3), shared)
            result = blurops.basis_blur_grad_kernels(*args, boundary="circular", backend="triton")
            exact = tuple(a.double() if isinstance(a, torch.Tensor) else a for a in args)
            exact = blurops.basis_blur_grad_kernels(*exact, boundary="circular", **REFERENCE)
            assert relative_error(result, exact) <= accuracy(torch.float32).relative


class TestTensorCores:
    """What the default precision computes on NVIDIA GPUs: operands of 11 bits."""

    @pytest.fixture(autouse=True)
    def _rounding(self, monkeypatch):
        monkeypatch.setattr(_triton, "precision", lambda *_: "tf32")

    @staticmethod
    def to_11_bits(values):
        mantissa, exponent = torch.frexp(values.double())
        return torch.ldexp(torch.round(mantissa * 2**11), exponent - 11)

    def test_the_operator_has_rounded_coefficients_and_nothing_else(self):
        image, kernels, mixing = blur_tensors()
        rounded = tuple(self.to_11_bits(t) for t in (kernels, mixing))
        assert all(t.float().double().equal(t) for t in rounded)
        for op in (blurops.basis_blur, blurops.basis_blur_adjoint):
            result = op(image, kernels, mixing, backend="triton")
            near = op(image.double(), *rounded, **REFERENCE)
            true = op(image.double(), kernels.double(), mixing.double(), **REFERENCE)
            assert relative_error(result, near) <= 2e-6
            assert 2e-6 < relative_error(result, true) <= 1e-3

    def test_forward_and_adjoint_round_alike(self):
        image, kernels, mixing = blur_tensors()
        other = torch.flip(image, (2, 3))
        gap = dot_gap(
            lambda x: blurops.basis_blur(x, kernels, mixing, backend="triton"),
            lambda y: blurops.basis_blur_adjoint(y, kernels, mixing, backend="triton"),
            lambda x: blurops.basis_blur(x, kernels.abs(), mixing.abs(), backend="triton"),
            image,
            other,
        )
        assert gap <= 1e-6

    def test_gradients(self):
        for case in CASES[2:]:
            args, chosen = case.sample(LAYOUTS[0], "reflect", torch.float32, 7)
            result = case.op(*args, **chosen, backend="triton")
            exact = tuple(a.double() if isinstance(a, torch.Tensor) else a for a in args)
            exact = case.op(*exact, **chosen, **REFERENCE)
            assert 2e-6 < relative_error(result, exact) <= 1e-3

    def test_rounding_a_nan_leaves_it_one(self):
        image, kernels, mixing = blur_tensors()
        # The NaN that GPUs make: a carry out of its mantissa ends in the sign.
        mixing.view(torch.int32)[:, 0, 1, 2] = 0x7FFFFFFF
        result = blurops.basis_blur(image, kernels, mixing, backend="triton")
        assert result.isnan().sum() == image[:, :, 0, 0].numel()
        assert result[:, :, 1, 2].isnan().all()

    def test_half_types_lose_nothing(self):
        for dtype in (torch.float16, torch.bfloat16):
            image, kernels, mixing = blur_tensors(dtype)
            result = blurops.basis_blur(image, kernels, mixing, backend="triton")
            wide = (t.double() for t in (image, kernels, mixing))
            exact = blurops.basis_blur(*wide, **REFERENCE)
            # Nothing but the rounding of the result.
            least = relative_error(exact.to(dtype), exact)
            assert relative_error(result, exact) <= 1.01 * least


def test_which_calls_are_computed_on_tensor_cores(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", None)
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert _triton.precision(torch.float32, cuda, "default") == "tf32"
    assert _triton.precision(torch.bfloat16, cuda, "default") == "tf32"
    assert _triton.precision(torch.float32, cuda, "high") == "ieee"
    assert _triton.precision(torch.float64, cuda, "default") == "ieee"
    assert _triton.precision(torch.float32, cpu, "default") == "ieee"
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert _triton.precision(torch.float32, cuda, "default") == "ieee"


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor made within, and not from one of those given."""

    def __init__(self, given):
        super().__init__()
        self.bytes = 0
        self.given = {a.untyped_storage().data_ptr() for a in given if isinstance(a, torch.Tensor)}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            if storage.data_ptr() not in self.given:
                self.bytes = max(self.bytes, storage.nbytes())
        return result


def test_nothing_of_the_size_of_the_mixing_is_made():
    shape = Shape(1, 3, 20, 30, 40, 3, 3)
    for case in CASES:
        args, chosen = case.sample(shape, "reflect", torch.float32, 9)
        functions = {"boundary": chosen["boundary"], "method": "auto", "precision": "default"}
        with Largest(args) as largest:
            getattr(family, case.name)(*args, **functions)
        result = 40 * 20 * 30 if case.name == "basis_blur_grad_mixing" else 0
        assert 0 < largest.bytes <= 4 * max(result, 3 * 22 * 32)


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

    def test_two_passes_around_the_blur_and_the_adjoint(self, launched):
        tensors = sample(LAYOUTS[1], "reflect", torch.float32)
        call(blurops.rl_step, tensors, True, False, backend="triton")
        assert launched == ["blur", "ratios", "adjoint", "update"]
        launched.clear()
        saturation = Saturation(a=9.0, threshold=0.7)
        call(blurops.rl_step, tensors, False, False, saturation=saturation, backend="triton")
        assert sorted(launched) == sorted(
            ["adjoint", "blur", "blur", "ratios", "adjoint", "update"]
        )

    @pytest.mark.parametrize("name", ["linear", "two sets"])
    def test_takes_the_blurs_of_the_native_module(self, name, launched, monkeypatch):
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
        assert launched == ["update"]

    def test_a_blur_that_is_known_is_not_computed_again(self, launched):
        tensors = sample(LAYOUTS[1], "reflect", DOUBLE)
        chosen = {
            "tv": 0.1, "eps": 1e-6, "boundary": "reflect", "method": "auto",
            "precision": "default", "backend": "triton",
        }  # fmt: skip
        expected = call(blurops.rl_step, tensors, True, True, **chosen)
        known = blurops.basis_blur(tensors[0], *tensors[2:4], backend="triton")
        launched.clear()
        result = from_blurred(known, *tensors, saturation=None, **chosen)
        assert torch.equal(result, expected)
        assert launched == ["ratios", "adjoint", "update"]

    @pytest.mark.parametrize("name", SENSORS)
    def test_the_fused_backward_is_that_of_the_formula(self, name, launched):
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
            launched
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

    def test_the_backward_takes_what_is_wanted(self, launched):
        estimate, *rest = sample(LAYOUTS[1], "reflect", torch.float32)
        result = call(
            blurops.rl_step, [estimate.requires_grad_(), *rest], True, False, backend="triton"
        )
        launched.clear()
        result.sum().backward()
        assert launched == [
            "blur", "ratios", "adjoint", "grad_update", "blur", "grad_ratios", "adjoint"
        ]  # fmt: skip

    def test_second_derivatives_go_through_the_formula(self, launched):
        tensors = [t.requires_grad_() for t in sample(LAYOUTS[1], "zeros", DOUBLE)]
        result = call(blurops.rl_step, tensors, True, True, backend="triton")
        (first,) = torch.autograd.grad(result.sum(), tensors[0], create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), tensors[2])
        assert second.any()
        assert "grad_update" not in launched

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


KERNELS = {
    "basis_blur": ("blur", "adjoint", "grad_kernels", "grad_mixing"),
    "motion_blur": ("blur", "lines", "adjoint", "gradient"),
    "nu_conv": ("conv", "adjoint", "grad_bank", "add_segments", "grad_weight"),
    "rl_step": ("ratios", "update", "grad_update", "grad_tv", "grad_ratios"),
    "saturate": ("pointwise",),
}


@pytest.mark.parametrize(
    ("capability", "dtypes"), [(80, ["float32"]), (90, ["float32", "float64", "bfloat16"])]
)
def test_compiles_for_gpus_without_spilling(capability, dtypes, tmp_path):
    """Every kernel in every type, as it is launched: interpreters accept more than compilers."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.compile_triton", str(capability), *dtypes],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    compiled = [json.loads(line) for line in done.stdout.splitlines()]
    for dtype in dtypes:
        there = {(line["op"], line["kernel"]) for line in compiled if line["dtype"] == dtype}
        left_out = "rl_step" if dtype == "bfloat16" else None
        assert there == {
            (op, k) for op, kernels in KERNELS.items() for k in kernels if op != left_out
        }
    for line in compiled:
        # The compiler gives up a handful of registers to fit one more block onto a multiprocessor.
        # One that does not fit spills hundreds of bytes.
        assert line["stack"] + line["local"] <= 32, line
        # What every GPU of this capability has without asking.
        assert line["shared"] <= 48 * 1024, line
        # Matrix units add to zero: see _product() of the family's kernels.
        assert all(operand.startswith("cst") for operand in line["added"]), line
        assert bool(line["added"]) == (line["op"] == "basis_blur")
