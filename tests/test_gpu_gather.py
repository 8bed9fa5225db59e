# SPDX-License-Identifier: BSD-3-Clause
"""What NU-Conv and motion blur must do on a GPU: needs a device.

`python benchmarks/gpu_check.py` runs this, beside what else needs a device.
"""

import pytest
import torch

import blurops
from blurops import _native
from blurops._check import BOUNDARIES
from blurops.ops.gather_cuda import DTYPES
from blurops.testing import accuracy, dot_gap, relative_error
from tests.gather import CASES, Conv, Motion, doubles, shapes, small

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
# Of the default precision, against the operator whose operands are not rounded.
ROUNDED = 1e-3
# The paper's filters and number of neighbours; a random index map and many filters.
FURTHER = {
    Conv: (Conv(1, 3, 90, 170, 361, 4, (31, 31)), Conv(2, 3, 40, 70, 50, 4, (35, 35), own=True)),
    Motion: (Motion(1, 3, 40, 70, 25.0), Motion(2, 4, 40, 30, 33.0, False, False)),
}
each_case = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(autouse=True)
def _kernels():
    assert _native.cuda_reason() is None  # the check builds the module with CUDA


def on_gpu(args):
    return tuple(a.cuda() if isinstance(a, torch.Tensor) else a for a in args)


@each_case
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_equals_the_float64_reference(case, boundary, dtype):
    # The derivative by length jumps where a pixel lies at a distance of exactly 1: of many pixels,
    # one is on the other side in float32.
    further = () if case.name == "motion_blur_grad_length" else FURTHER[case.kind]
    for seed, shape in enumerate((*shapes(case), *further)):
        if not shape.allows(boundary):
            continue
        args = case.args(shape, boundary, dtype, seed)
        exact = case.op(*on_gpu(doubles(args)), boundary=boundary, backend="reference")
        for precision, more in (("high", 0.0), ("default", ROUNDED)):
            options = {"boundary": boundary, "backend": "native", "precision": precision}
            result = case.op(*on_gpu(args), **options)
            assert result.dtype == dtype
            assert result.shape == exact.shape
            if result.numel():
                limit = 4 * accuracy(dtype, shape.terms()).relative + more
                assert relative_error(result, exact) <= limit, shape
            assert torch.equal(result, case.op(*on_gpu(args), **options)), shape


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("precision", ["default", "high"])
@pytest.mark.parametrize("kind", ["bank", "own", "motion"])
def test_forward_and_adjoint_round_alike(boundary, precision, kind):
    options = {"boundary": boundary, "backend": "native", "precision": precision}
    if kind == "motion":
        shape = Motion(2, 3, 70, 90, 17.0, False, False)
        t = shape.tensors(boundary, torch.float32, 11)
        field = magnitude = on_gpu((t["length"], t["angle"]))
        ops, last = (blurops.motion_blur, blurops.motion_blur_adjoint), (t["size"],)
    else:
        shape = Conv(2, 3, 70, 90, 40, 4, (17, 17), kind == "own", False, False)
        t = shape.tensors(boundary, torch.float32, 11)
        field = on_gpu((t["bank"], t["index"], t["weight"]))
        magnitude = (field[0].abs(), field[1], field[2].abs())
        ops, last = (blurops.nu_conv, blurops.nu_conv_adjoint), ()
    gap = dot_gap(
        lambda x: ops[0](x, *field, **options),
        lambda y: ops[1](y, *field, *last, **options),
        lambda x: ops[0](x, *magnitude, **options),
        t["image"].cuda(),
        t["grad"].cuda(),
    )
    assert gap <= 1e-6


@each_case
def test_nothing_waits_for_the_device(case):
    """A call can be captured as a graph, on a stream of its own, and replayed."""
    args = on_gpu(case.args(small(case), "reflect", torch.float32, 1))
    expected, stream, graph = case.op(*args), torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        assert torch.equal(case.op(*args), expected)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        result = case.op(*args)
    args[0].mul_(2)
    graph.replay()
    assert torch.equal(result, 2 * expected)


@each_case
def test_float64_is_served_by_another_backend(case):
    args = case.args(small(case), "reflect", torch.float64, 0)
    with pytest.raises(NotImplementedError, match="not float64"):
        case.op(*on_gpu(args), backend="native")
    exact = case.op(*args, backend="reference")
    assert relative_error(case.op(*on_gpu(args)).cpu(), exact) <= accuracy(torch.float64).relative
