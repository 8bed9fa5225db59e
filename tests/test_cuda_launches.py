# SPDX-License-Identifier: BSD-3-Clause
"""What reaches the CUDA launchers, and what does not, on a machine without a GPU."""

import contextlib

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import blurops
from blurops import _native
from blurops._native import BOUNDARY_CODES
from blurops.ops.basis_blur import cuda, cuda_tiling, native
from blurops.ops.basis_blur import triton as family_triton
from blurops.ops.rl_step import native as rl_native
from blurops.ops.rl_step import triton as rl_triton
from blurops.testing import Shape, accuracy, family_tensors, relative_error
from tests.emulation.library import Emulator, build, call_of, compiler
from tests.test_cuda_kernels import TAPS, members

OPTIONS = {"boundary": "reflect", "method": "auto", "precision": "default", "backend": None}


@pytest.fixture
def a_device(monkeypatch):
    """The CUDA half as it answers where a device is present."""
    monkeypatch.setattr(_native, "missing_reason", lambda: None)
    monkeypatch.setattr(_native, "cuda_reason", lambda: None)
    monkeypatch.setattr(_native, "ask", lambda name: {"widest_kernel_cuda": 77}[name])


def on_cuda(dtype=torch.float32, width=5):
    with FakeTensorMode():
        return tuple(
            torch.empty(*size, dtype=dtype, device="cuda")
            for size in ((1, 3, 90, 90), (1, 4, 3, width), (1, 4, 90, 90))
        )


def test_the_first_reason_is_that_nothing_can_run(monkeypatch):
    monkeypatch.setattr(_native, "missing_reason", lambda: None)
    monkeypatch.setattr(_native, "cuda_reason", lambda: "there is no driver")
    assert native.supports(on_cuda(), OPTIONS) == "there is no driver"


def test_what_the_kernels_serve(a_device):
    for dtype in cuda.DTYPES:
        assert native.supports(on_cuda(dtype, 77), OPTIONS) is None


def test_widths_of_every_member(a_device):
    """The kernels stand elsewhere in each member's arguments, or nowhere."""
    options = {**OPTIONS, "method": "direct"}
    for width, wanted in ((77, None), (79, "at most 77 taps wide, and these have 79")):
        image, kernels, mixing = on_cuda(width=width)
        for args in (
            (image, kernels, mixing),
            (image, image, mixing, [3, width], False),
            (image, image, kernels, True),
        ):
            reason = native.supports(args, options)
            assert (reason is None) if wanted is None else (wanted in reason)
            for method in ("auto", "fft"):
                assert native.supports(args, {**OPTIONS, "method": method}) is None


def test_each_reason_is_one_sentence(a_device):
    reasons = {
        "its CUDA kernels serve float32, float16 and bfloat16, not float64": (
            on_cuda(torch.float64),
            OPTIONS,
        ),
        "its direct CUDA kernels are at most 77 taps wide, and these have 79 (method 'auto' or "
        "'fft' serves them)": (
            on_cuda(width=79),
            {**OPTIONS, "method": "direct"},
        ),
    }
    for reason, (args, options) in reasons.items():
        assert native.supports(args, options) == reason
    image, kernels, mixing = on_cuda()
    assert "CPU only, and the input is on cuda" in rl_native.supports(
        (image, image, kernels, mixing), OPTIONS
    )


def test_the_step_blurs_by_these_kernels_where_they_serve(a_device):
    image, kernels, mixing = on_cuda()
    assert rl_triton.blurs(image, kernels, mixing, OPTIONS) is native
    for tensors, options in (
        ((image, kernels, mixing), {**OPTIONS, "backend": "triton"}),
        (on_cuda(torch.float64), OPTIONS),
        (on_cuda(width=79), {**OPTIONS, "method": "direct"}),
        (tuple(torch.empty(t.shape) for t in (image, kernels, mixing)), OPTIONS),
    ):
        assert rl_triton.blurs(*tensors, options) is family_triton


@pytest.mark.skipif(compiler() is None, reason="the emulation needs g++ or clang++")
@pytest.mark.parametrize("boundary", BOUNDARY_CODES)
def test_a_launch_passes_what_the_launcher_expects(boundary, monkeypatch):
    """From the tensors of a call to the launcher, as on a device, but into the emulation."""
    emulator = Emulator(build(TAPS, TAPS))
    monkeypatch.setattr(_native, "ask", emulator.ask)
    monkeypatch.setattr(_native, "call_on_stream", emulator.call_on_stream)
    monkeypatch.setattr(cuda_tiling, "shared_bytes", lambda device: 100 << 10)
    shape = Shape(2, 3, 11, 24, 5, 5, 17, kernels_shared=False, mixing_shared=False)
    tensors = family_tensors(shape, boundary, torch.float32, 700)
    image, kernels, mixing = (tensors[name] for name in ("image", "kernels", "mixing"))
    sizes = {"image": image.shape, "kernels": kernels.shape, "mixing": mixing.shape}
    call = call_of(tensors, boundary)
    for name, inputs, size, further in members(tensors, shape, call):
        exact = getattr(blurops, name)(
            *(t.double() for t in inputs), *further, boundary=boundary, backend="reference"
        )
        for method in ("direct", "fft"):
            result = cuda.launch(
                name,
                torch.empty(size),
                [t.mT.contiguous().mT for t in inputs],
                **sizes,
                anchor=native._anchor(kernels.shape, boundary),
                boundary=boundary,
                method=method,
                precision="high",
            )
            error = relative_error(result, exact)
            assert error <= accuracy(torch.float32).relative, (name, method)


def test_a_launch_is_queued_on_the_current_stream(monkeypatch):
    """Torch's own current stream of the tensors' device, passed last."""

    class Stream:
        cuda_stream = 1234

    class Module:
        def launcher(self, *args):
            calls.append(args)

    calls, device = [], torch.device("cuda", 1)
    monkeypatch.setattr(_native, "_C", Module())
    monkeypatch.setattr(torch.cuda, "device", lambda d: contextlib.nullcontext(calls.append(d)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda d: calls.append(d) or Stream())
    tensor = torch.zeros(3)
    _native.call_on_stream("launcher", device, 7, tensor)
    assert calls == [device, device, (7, tensor.data_ptr(), 1234)]
