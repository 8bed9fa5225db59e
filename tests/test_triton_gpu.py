# SPDX-License-Identifier: BSD-3-Clause
"""The Triton kernels where they are made for: needs a GPU, and ``TRITON_INTERPRET=0``."""

import pytest
import torch

import blurops
from blurops import Saturation, _triton
from blurops._check import BOUNDARIES, DTYPES
from blurops.testing import CASES, SHAPES, Shape, accuracy, dot_gap, family_tensors, relative_error
from tests.rl_problems import REFERENCE, call, sample

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.skipif(_triton.interpreting(), reason="TRITON_INTERPRET is on"),
]
BACKEND = {"backend": "triton"}


def on_gpu(args):
    return tuple(a.cuda() if isinstance(a, torch.Tensor) else a for a in args)


def in_double(args):
    return tuple(a.double() if isinstance(a, torch.Tensor) else a for a in args)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_equals_the_float64_reference(case, boundary, dtype):
    for seed, shape in enumerate((*SHAPES, Shape(2, 4, 35, 150, 40, 5, 33))):
        if not shape.allows(boundary):
            continue
        args, keywords = case.sample(shape, boundary, dtype, seed)
        exact = case.op(*in_double(args), **keywords, **REFERENCE)
        result = case.op(*on_gpu(args), **keywords, **BACKEND, precision="high")
        assert relative_error(result.cpu(), exact) <= accuracy(dtype, case.terms(shape)).relative
        again = case.op(*on_gpu(args), **keywords, **BACKEND, precision="high")
        assert torch.equal(result, again)
        result = case.op(*on_gpu(args), **keywords, **BACKEND)
        assert relative_error(result.cpu(), exact) <= 1e-3 + accuracy(dtype).relative


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_forward_and_adjoint_round_alike(boundary):
    shape = Shape(2, 3, 70, 90, 25, 17, 17)
    tensors = family_tensors(shape, boundary, torch.float32, 11)
    kernels, mixing = tensors["kernels"].cuda(), tensors["mixing"].cuda()
    keywords = {"boundary": boundary, **BACKEND}
    gap = dot_gap(
        lambda x: blurops.basis_blur(x, kernels, mixing, **keywords),
        lambda y: blurops.basis_blur_adjoint(y, kernels, mixing, **keywords),
        lambda x: blurops.basis_blur(x, kernels.abs(), mixing.abs(), **keywords),
        tensors["image"].cuda(),
        tensors["grad"].cuda(),
    )
    assert gap <= 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("saturation", [None, Saturation(a=9.0, threshold=0.7)])
def test_the_step_and_its_gradients(dtype, saturation):
    found = []
    for tensors, options in (
        (sample(Shape(2, 3, 33, 70, 5, 5, 5), "reflect", dtype), {**BACKEND, "precision": "high"}),
        (sample(Shape(2, 3, 33, 70, 5, 5, 5), "reflect", dtype), REFERENCE),
    ):
        leaves = [t.double() if options is REFERENCE else t.cuda() for t in tensors]
        leaves = [t.requires_grad_() for t in leaves[:5]] + leaves[5:]
        result = call(blurops.rl_step, leaves, True, True, saturation=saturation, **options)
        result.square().sum().backward()
        found.append([result.detach(), *(t.grad for t in leaves[:5])])
    for result, exact in zip(*found, strict=True):
        assert relative_error(result.cpu(), exact) <= 50 * accuracy(dtype).relative


def test_other_streams_and_graphs():
    args, keywords = CASES[0].sample(Shape(1, 3, 64, 64, 8, 9, 9), "reflect", torch.float32, 1)
    args = on_gpu(args)
    expected = blurops.basis_blur(*args, **keywords, **BACKEND)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        assert torch.equal(blurops.basis_blur(*args, **keywords, **BACKEND), expected)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        result = blurops.basis_blur(*args, **keywords, **BACKEND)
    graph.replay()
    assert torch.equal(result, expected)
