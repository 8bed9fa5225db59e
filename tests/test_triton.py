# SPDX-License-Identifier: BSD-3-Clause
"""The Triton kernels beyond the contract, which they meet as one path of tests/backends.py.

On the CPU they are interpreted; for GPUs they are compiled, which needs no GPU either.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import blurops
from blurops import _boundary, _triton, _triton_tiles
from blurops.ops.basis_blur import native
from blurops.ops.basis_blur import triton as family
from blurops.testing import CASES, Shape, accuracy, dot_gap, family_tensors, relative_error
from tests.backends import options
from tests.rl_problems import REFERENCE

ROOT = Path(__file__).resolve().parent.parent
DOUBLE = torch.float64
# More pixels than a tile; every broadcast.
LAYOUT = Shape(2, 2, 5, 35, 2, 3, 3, kernels_shared=False)


@pytest.fixture(autouse=True)
def _triton_is_there():
    options("triton")


def blur_tensors(dtype=torch.float32, shape=LAYOUT, boundary="reflect"):
    tensors = family_tensors(shape, boundary, dtype, 3)
    return tuple(tensors[name] for name in ("image", "kernels", "mixing"))


class TestChoice:
    image, kernels, mixing = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 3, 3), torch.ones(1, 1, 4, 4)

    def refusal(self, tensors=None, **chosen):
        tensors = tensors or (self.image, self.kernels, self.mixing)
        return family.supports(tensors, {"method": "auto", "backend": "triton", **chosen})

    def test_the_interpreter_serves_only_those_who_ask_for_triton(self, triton_launches):
        args = (self.image, self.kernels, self.mixing)
        assert self.refusal() is None
        assert "GPUs only, and the input is on cpu" in self.refusal(backend=None)
        blurops.basis_blur(*args)
        blurops.saturate(self.image)
        blurops.rl_step(self.image, self.image, self.kernels, self.mixing)
        assert triton_launches == []
        blurops.basis_blur(*args, backend="triton")
        assert triton_launches == ["blur"]

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

    def test_native_is_preferred_and_the_reference_comes_last(self, monkeypatch, triton_launches):
        monkeypatch.setattr(_triton, "reason", lambda tensor, options: None)
        args = (self.image, self.kernels, self.mixing)
        monkeypatch.setattr(native, "supports", lambda args, options: None)
        monkeypatch.setattr(native, "basis_blur", lambda image, *args, **options: image)
        blurops.basis_blur(*args)
        assert triton_launches == []
        monkeypatch.setattr(native, "supports", lambda args, options: "no")
        blurops.basis_blur(*args)
        assert triton_launches == ["blur"]
        blurops.basis_blur(*args, method="fft")
        assert triton_launches == ["blur"]

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
            args, chosen = case.sample(LAYOUT, "reflect", torch.float32, 7)
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
