# SPDX-License-Identifier: BSD-3-Clause
"""What every path on a GPU must do: needs a device, and ``TRITON_INTERPRET=0`` for Triton's.

`python benchmarks/gpu_check.py` runs this, beside what else needs a device.
"""

import pytest
import torch

import blurops
from blurops import Saturation, _native, _triton
from blurops._check import BOUNDARIES, DTYPES
from blurops.ops.basis_blur import cuda, cuda_tiling, tiling
from blurops.solvers import replay
from blurops.testing import CASES, SHAPES, Shape, accuracy, dot_gap, family_tensors, relative_error
from tests.rl_problems import REFERENCE, call, sample

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
# Of the default precision, against the operator whose operands are not rounded.
ROUNDED = 1e-3
# More bases than a block has, a width between two instances, widths at both ends.
FURTHER = (
    Shape(2, 4, 35, 150, 40, 5, 33),
    Shape(1, 3, 70, 90, 25, 33, 33),
    Shape(1, 2, 40, 80, 70, 3, 71),
    Shape(1, 1, 33, 200, 7, 9, 1),
)


@pytest.fixture(params=["native", "triton"])
def backend(request):
    """A backend that has kernels for this device."""
    if request.param == "native":
        reason = _native.cuda_reason()
    else:
        reason = "TRITON_INTERPRET is on" if _triton.interpreting() else _triton.missing_reason()
    if reason is not None:
        pytest.skip(f"the {request.param} kernels cannot be tested: {reason}")
    return request.param


def on_gpu(args):
    return tuple(a.cuda() if isinstance(a, torch.Tensor) else a for a in args)


def in_double(args):
    return tuple(a.double() if isinstance(a, torch.Tensor) else a for a in args)


def test_the_device_has_native_kernels():
    """The check builds the module with CUDA: not to run it would be no check."""
    assert _native.cuda_reason() is None
    assert blurops.backends()["native"] is None


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_equals_the_float64_reference(case, boundary, dtype, backend):
    if backend == "native" and dtype not in cuda.DTYPES:
        pytest.skip("float64 has no native CUDA kernels")
    for seed, shape in enumerate((*SHAPES, *FURTHER)):
        if not shape.allows(boundary):
            continue
        args, keywords = case.sample(shape, boundary, dtype, seed)
        exact = case.op(*in_double(on_gpu(args)), **keywords, **REFERENCE)
        options = {**keywords, "backend": backend}
        result = case.op(*on_gpu(args), **options, precision="high")
        assert result.dtype == dtype
        assert result.shape == exact.shape
        limit = accuracy(dtype, case.terms(shape)).relative
        assert relative_error(result, exact) <= limit, shape
        assert torch.equal(result, case.op(*on_gpu(args), **options, precision="high")), shape
        rounded = case.op(*on_gpu(args), **options)
        assert relative_error(rounded, exact) <= ROUNDED + accuracy(dtype).relative, shape
        assert torch.equal(rounded, case.op(*on_gpu(args), **options)), shape


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", cuda.DTYPES, ids=lambda d: str(d)[6:])
def test_tiles_equal_the_float64_reference(case, boundary, dtype):
    """Both sides, the default precision included: tiles round no operands."""
    tiles = (tiling.Tiling(64, 64), tiling.Tiling(64, 64, 2, 2), tiling.Tiling(128, 128))
    shapes = (*SHAPES, *FURTHER, Shape(1, 3, 250, 300, 5, 101, 79))
    for seed, shape in enumerate(shapes):
        if not shape.allows(boundary):
            continue
        args, keywords = case.sample(shape, boundary, dtype, seed)
        exact = case.op(*in_double(on_gpu(args)), **keywords, **REFERENCE)
        limit = accuracy(dtype, case.terms(shape)).relative
        for forced in tiles:
            if forced.height == 128 and cuda_tiling.shared_bytes(exact.device) < 140_000:
                continue
            with tiling.forced(forced):
                result = case.op(*on_gpu(args), **keywords, backend="native")
                again = case.op(*on_gpu(args), **keywords, backend="native")
            assert relative_error(result, exact) <= limit, (shape, forced)
            assert torch.equal(result, again), (shape, forced)


@pytest.mark.parametrize("saturation", [None, Saturation(a=9.0, threshold=0.7)])
@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.skipif(_triton.interpreting(), reason="TRITON_INTERPRET is on")
def test_the_step_in_the_epilogue_of_the_native_blur(saturation, method):
    for mask in (False, True):
        tensors = sample(Shape(2, 3, 33, 70, 5, 5, 5), "reflect", torch.float32)
        options = {"saturation": saturation, "precision": "high", "method": method}
        gpu = [t.cuda() for t in tensors]
        result = call(blurops.rl_step, gpu, True, mask, **options)
        exact = [t.double() for t in tensors]
        exact = call(blurops.rl_step, exact, True, mask, saturation=saturation, **REFERENCE)
        assert relative_error(result.cpu(), exact) <= 50 * accuracy(torch.float32).relative


@pytest.mark.parametrize("saturation", [None, Saturation(threshold=0.8)])
@pytest.mark.parametrize("method", ["direct", "fft"])
def test_a_solve_is_a_replayed_graph(saturation, method, monkeypatch):
    """As the loop computes it, bit for bit; also twice, and on a stream of the caller's."""
    tensors = family_tensors(Shape(1, 3, 70, 90, 5, 9, 9), "reflect", torch.float32, 5)
    kernels, mixing = tensors["kernels"].abs().cuda(), tensors["mixing"].abs().cuda()
    operator = blurops.BasisBlur(kernels, mixing, method=method)
    observed, replays, captured = tensors["image"].abs().cuda(), [], replay.captured

    def counted(*args):
        run = captured(*args)
        return lambda: (replays.append(1), run())

    monkeypatch.setattr(replay, "captured", counted)
    how = {"iterations": 12, "saturation": saturation, "tv": 0.01}
    found = blurops.richardson_lucy(observed, operator, **how).image
    assert len(replays) == 12 - replay.WARM_UPS
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        again = blurops.richardson_lucy(observed, operator, **how).image
    torch.cuda.current_stream().wait_stream(stream)
    monkeypatch.setattr(replay, "serves", lambda *_, **__: False)
    looped = blurops.richardson_lucy(observed, operator, **how).image
    assert torch.equal(found, looped)
    assert torch.equal(again, looped)


def test_replayed_iterations_do_not_wait_for_the_device():
    """In torch's mode that makes a wait an error, as far as torch sees it."""
    tensors = family_tensors(Shape(1, 3, 70, 90, 5, 9, 9), "reflect", torch.float32, 6)
    kernels, mixing = tensors["kernels"].abs().cuda(), tensors["mixing"].abs().cuda()
    operator, state = blurops.BasisBlur(kernels, mixing), tensors["image"].abs().cuda()
    sums = operator.column_sums(state)

    def step(light):
        return operator.rl_step(light, state, column_sums=sums, tv=0.01)

    step(state)
    torch.cuda.set_sync_debug_mode("error")
    try:
        replay.iterate(step, state, 8, replay.captured)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("precision", ["default", "high"])
def test_forward_and_adjoint_round_alike(boundary, precision, backend):
    shape = Shape(2, 3, 70, 90, 25, 17, 17)
    tensors = family_tensors(shape, boundary, torch.float32, 11)
    kernels, mixing = tensors["kernels"].cuda(), tensors["mixing"].cuda()
    keywords = {"boundary": boundary, "backend": backend, "precision": precision}
    gap = dot_gap(
        lambda x: blurops.basis_blur(x, kernels, mixing, **keywords),
        lambda y: blurops.basis_blur_adjoint(y, kernels, mixing, **keywords),
        lambda x: blurops.basis_blur(x, kernels.abs(), mixing.abs(), **keywords),
        tensors["image"].cuda(),
        tensors["grad"].cuda(),
    )
    assert gap <= 1e-6


def test_strided_inputs(backend):
    args, keywords = CASES[0].sample(Shape(2, 3, 21, 34, 6, 5, 7), "reflect", torch.float32, 4)
    expected = blurops.basis_blur(*on_gpu(args), **keywords, backend=backend)
    turned = [a.mT.contiguous().mT for a in on_gpu(args)]
    assert torch.equal(blurops.basis_blur(*turned, **keywords, backend=backend), expected)


def test_autograd_is_the_members(backend):
    """Gradients of an ordinary loss, against those of the reference in float64."""
    shape = Shape(2, 3, 33, 70, 9, 7, 7, kernels_shared=True, mixing_shared=False)
    tensors = family_tensors(shape, "reflect", torch.float32, 8)
    found = []
    for options in ({"backend": backend, "precision": "high"}, REFERENCE):
        leaves = [tensors[name].cuda() for name in ("image", "kernels", "mixing")]
        if options is REFERENCE:
            leaves = [leaf.double() for leaf in leaves]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        blurops.basis_blur(*leaves, **options).square().sum().backward()
        found.append([leaf.grad for leaf in leaves])
    for result, exact in zip(*found, strict=True):
        limit = accuracy(torch.float32, 2 * 33 * 70 * 3).relative
        assert relative_error(result, exact) <= 4 * limit


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("saturation", [None, Saturation(a=9.0, threshold=0.7)])
@pytest.mark.skipif(_triton.interpreting(), reason="TRITON_INTERPRET is on")
def test_the_step_and_its_gradients(dtype, saturation):
    found, options = [], {"backend": "triton", "precision": "high"}
    for chosen in (options, REFERENCE):
        tensors = sample(Shape(2, 3, 33, 70, 5, 5, 5), "reflect", dtype)
        leaves = [t.double() if chosen is REFERENCE else t.cuda() for t in tensors]
        leaves = [t.requires_grad_() for t in leaves[:5]] + leaves[5:]
        result = call(blurops.rl_step, leaves, True, True, saturation=saturation, **chosen)
        result.square().sum().backward()
        found.append([result.detach(), *(t.grad for t in leaves[:5])])
    for result, exact in zip(*found, strict=True):
        assert relative_error(result.cpu(), exact) <= 50 * accuracy(dtype).relative


def test_other_streams_and_graphs(backend):
    args, keywords = CASES[0].sample(Shape(1, 3, 64, 64, 8, 9, 9), "reflect", torch.float32, 1)
    args = on_gpu(args)
    expected = blurops.basis_blur(*args, **keywords, backend=backend)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        assert torch.equal(blurops.basis_blur(*args, **keywords, backend=backend), expected)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        result = blurops.basis_blur(*args, **keywords, backend=backend)
    args[0].mul_(2)
    graph.replay()
    assert torch.equal(result, 2 * expected)


def test_compiles_in_one_graph(backend):
    args, keywords = CASES[0].sample(Shape(1, 3, 30, 40, 4, 5, 5), "reflect", torch.float32, 2)
    args = on_gpu(args)

    def double(*tensors):
        return 2 * blurops.basis_blur(*tensors, **keywords, backend=backend)

    assert torch.equal(torch.compile(double, fullgraph=True)(*args), double(*args))


def test_more_elements_than_31_bits_count(backend):
    """The mixing alone has 2^31 elements and some; only its last rows are compared."""
    if torch.cuda.get_device_properties(0).total_memory < 40 << 30:
        pytest.skip("needs 40 GB")
    basis, height, width, last = 64, 8192, 4160, 64
    torch.manual_seed(0)
    image = torch.rand(1, 1, height, width, device="cuda")
    kernels = torch.rand(1, basis, 3, 3, device="cuda")
    mixing = torch.empty(1, basis, height, width, device="cuda").uniform_()
    assert mixing.numel() > 2**31
    result = blurops.basis_blur(image, kernels, mixing, boundary="zeros", backend=backend)
    exact = blurops.basis_blur(
        image[:, :, -last - 1 :], kernels, mixing[:, :, -last - 1 :].contiguous(),
        boundary="zeros", **REFERENCE,
    )  # fmt: skip
    # The first of the rows lacks the one above it.
    assert relative_error(result[:, :, -last:], exact[:, :, 1:]) <= ROUNDED


def test_float64_is_refused_by_the_native_backend_alone():
    args, keywords = CASES[0].sample(Shape(1, 1, 9, 9, 2, 3, 3), "reflect", torch.float64, 0)
    with pytest.raises(RuntimeError, match="not float64"):
        blurops.basis_blur(*on_gpu(args), **keywords, backend="native")
    exact = blurops.basis_blur(*args, **keywords, **REFERENCE)
    result = blurops.basis_blur(*on_gpu(args), **keywords)
    assert relative_error(result.cpu(), exact) <= accuracy(torch.float64).relative
