# SPDX-License-Identifier: BSD-3-Clause
"""The sensor response and its derivatives."""

import math

import pytest
import torch

import blurops
from blurops.ops.saturate import reference

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
OPS = (blurops.saturate, blurops.saturate_derivative)
# x, R(x), R'(x) for a = 50, level = 1, to the digits the publication's code gives in float32.
VALUES = (
    (0.0, 0.0, 1.0),
    (0.5, 0.5, 1.0),
    (0.9, 0.899866, 0.993307),
    (0.95, 0.948422, 0.924142),
    (1.0, 1 - math.log(2) / 50, 0.5),
    (1.05, 0.998422, 0.075858),
    (1.1, 0.999866, 0.006693),
    (1.5, 1.0, 1.39e-11),
)


def test_published_values():
    x, response, slope = torch.tensor(VALUES, dtype=torch.float64).unbind(1)
    torch.testing.assert_close(blurops.saturate(x), response, atol=5e-7, rtol=0)
    torch.testing.assert_close(blurops.saturate_derivative(x), slope, atol=5e-7, rtol=0)
    assert float(blurops.saturate_derivative(x)[-1]) == pytest.approx(1.39e-11, rel=5e-3)


@pytest.mark.parametrize(("a", "level"), [(50.0, 1.0), (3.0, 0.5), (200.0, 2.0)])
def test_equals_the_formula_where_it_can_be_evaluated(a, level):
    x = torch.linspace(-1, level + 300 / a, 401, dtype=torch.float64)
    power = torch.exp(a * (x - level))
    eps = torch.finfo(torch.float64).eps
    # The printed form cancels: its error is a few units of the largest term.
    tolerance = 4 * eps * float(x.abs().max() + 1)
    literal = x - torch.log1p(power) / a
    torch.testing.assert_close(blurops.saturate(x, a, level), literal, atol=tolerance, rtol=0)
    slope = 1 / (1 + power)
    # exp(t) carries the rounding of t, which is up to 300.
    torch.testing.assert_close(
        blurops.saturate_derivative(x, a, level), slope, atol=0, rtol=1200 * eps
    )


def test_float32_keeps_dark_and_bright_values():
    dark = torch.tensor([1e-20, 1e-7, 1e-3, 0.1])
    torch.testing.assert_close(blurops.saturate(dark), dark, rtol=2e-7, atol=1e-23)
    bright = torch.tensor([10.0, 1e6, 1e30, math.inf])
    assert torch.equal(blurops.saturate(bright), torch.ones(4))
    assert torch.equal(blurops.saturate_derivative(bright), torch.zeros(4))
    assert torch.equal(blurops.saturate_derivative(-bright), torch.ones(4))


@pytest.mark.parametrize("op", OPS)
def test_nan_propagates_alone(op):
    result = op(torch.tensor([math.nan, 0.5]))
    assert torch.isnan(result).tolist() == [True, False]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(op, dtype):
    x = torch.linspace(0, 2, 501).to(dtype)
    assert torch.equal(op(x), op(x.float()).to(dtype))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4, 5)])
def test_result_is_fresh_contiguous_and_alike(op, dtype, shape):
    x = torch.rand(shape, dtype=torch.float64).to(dtype)
    x = x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
    before = x.clone()
    result = op(x)
    assert (result.shape, result.dtype) == (x.shape, dtype)
    assert result.is_contiguous()
    assert torch.equal(x, before)
    assert x.numel() == 0 or result.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("op", OPS)
def test_derivatives(op):
    x = torch.tensor([-0.3, 0.0, 0.93, 1.0, 1.04, 1.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(op, x)
    assert torch.autograd.gradgradcheck(op, x)


def test_derivatives_at_the_level_are_exact():
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    for response in (blurops.saturate, reference.saturate):
        (slope,) = torch.autograd.grad(response(x), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope, x)
        assert slope.item() == 0.5
        assert bend.item() == pytest.approx(-50 / 4, rel=1e-14)


@pytest.mark.parametrize("name", ["saturate", "saturate_derivative"])
def test_opcheck(name):
    x = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(getattr(torch.ops.blurops, name), (x, 20.0, 0.5))


@pytest.mark.parametrize("op", OPS)
def test_compiles_whole_with_dynamic_shapes(op):
    compiled = torch.compile(
        lambda x: op(x, 20.0, 0.5), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for shape in [(3, 4), (5, 2)]:
        x = torch.rand(shape, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        result, expected = compiled(x), op(y, 20.0, 0.5)
        result.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        (([1.0],), TypeError, "x must be a tensor, got list"),
        ((torch.ones(2, dtype=torch.int32),), TypeError, "x must have dtype .*, got int32"),
        ((torch.ones(2, dtype=torch.complex64),), TypeError, "x must have dtype .*complex64"),
        ((torch.ones(2), 0.0), ValueError, "a must be positive and finite, got 0.0"),
        ((torch.ones(2), math.nan), ValueError, "a must be positive and finite, got nan"),
        ((torch.ones(2), 5.0, math.inf), ValueError, "level must be finite, got inf"),
    ],
)
def test_bad_arguments(op, args, error, text):
    with pytest.raises(error, match=f"^{op.__name__}: {text}"):
        op(*args)


@pytest.mark.parametrize("op", OPS)
def test_backend_asked_for_by_name(op):
    x = torch.rand(3)
    assert torch.equal(op(x, backend="reference"), op(x))
    with pytest.raises(ValueError, match="backend must be one of native, triton, reference"):
        op(x, backend="cupy")
    with pytest.raises(NotImplementedError, match="backend 'native' cannot run this call"):
        op(x, backend="native")
