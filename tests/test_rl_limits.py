# SPDX-License-Identifier: BSD-3-Clause
"""One Richardson-Lucy update at its limits: half types, zeros, huge values, NaN, bad arguments."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import blurops
from blurops import Saturation
from blurops.ops.rl_step import formula
from tests.backends import PATHS
from tests.literal import BOUNDARIES
from tests.rl_problems import SATURATIONS, on, problem


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["linear", "two sets"])
def test_half_types_are_computed_in_float32(rl_step, dtype, name):
    tensors = problem(dtype=dtype)
    chosen = {"saturation": SATURATIONS[name], "tv": 0.05}
    expected = rl_step(*(t.float() for t in tensors), **chosen).to(dtype)
    result = rl_step(*tensors, **chosen)
    assert result.dtype == dtype
    assert torch.equal(result, expected)


def test_float16_does_not_overflow(rl_step):
    estimate, observed, kernels, mixing = problem(dtype=torch.float16)
    result = rl_step(estimate, torch.full_like(observed, 6e4), kernels / 1000, mixing)
    assert bool(torch.isfinite(result).all())
    assert float(result.max()) == torch.finfo(torch.float16).max


def test_autocast_computes_in_float32(rl_step):
    tensors = problem(dtype=torch.float32)
    mixed = [t.bfloat16() if i > 1 else t for i, t in enumerate(tensors)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = rl_step(*mixed)
    assert result.dtype == torch.float32
    assert torch.equal(result, rl_step(*(t.float() for t in mixed)))


@pytest.mark.parametrize("name", SATURATIONS)
def test_gradients_are_finite_at_zeros_and_flat_pixels(rl_step, name):
    for level in (0.0, 0.5):
        tensors = problem()
        tensors[0].fill_(level)
        tensors[1].fill_(level)
        tensors[2].mul_(0 if level == 0 else 1)
        inputs = [t.requires_grad_() for t in tensors]
        result = rl_step(*inputs, saturation=SATURATIONS[name], tv=0.2)
        first = torch.autograd.grad(result.sum(), inputs, create_graph=True)
        assert all(bool(torch.isfinite(g).all()) for g in first)
        second = torch.autograd.grad(
            sum(g.square().sum() for g in first), inputs, allow_unused=True
        )
        assert all(g is None or bool(torch.isfinite(g).all()) for g in second)


_level = st.sampled_from([0.0, 1e-30, 1e-7, 1e-3, 0.5, 1.0, 1.5, 3.0, 1e3, 1e6])


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    level=_level,
    data_level=_level,
    sparsity=st.floats(0, 1),
    name=st.sampled_from(sorted(SATURATIONS)),
    boundary=st.sampled_from(BOUNDARIES),
    tv=st.sampled_from([0.0, 0.1, 0.2499]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_finite_input_gives_finite_non_negative_output(
    path, level, data_level, sparsity, name, boundary, tv, size, masked, seed
):
    generator = torch.Generator().manual_seed(seed)

    def sparse(*shape):
        values = torch.rand(shape, generator=generator)
        return values * (torch.rand(shape, generator=generator) >= sparsity)

    sides = [3 if n >= 3 else 1 for n in size]
    kernels = sparse(1, 2, *sides) / (sides[0] * sides[1])
    blurred = blurops.ops.basis_blur.shapes.blurred_size(size, sides, boundary)
    mixing = sparse(1, 2, *blurred)
    result = on(path)(
        level * sparse(2, 1, *size),
        data_level * sparse(2, 1, *blurred),
        kernels,
        mixing,
        mask=sparse(1, 1, *blurred) if masked else None,
        saturation=SATURATIONS[name],
        tv=tv,
        boundary=boundary,
    )
    assert bool(torch.isfinite(result).all())
    assert bool((result >= 0).all())


def test_tv_divisor_stays_positive_up_to_its_limit():
    """A pixel below both neighbours it compares with, above none: the largest divergence."""
    image = torch.tensor([[[[9.0, 2.0, 9.0], [2.0, 1.0, 2.0], [9.0, 2.0, 9.0]]]])
    bound = 1 - 0.25 * (2 + math.sqrt(2))
    divisor = formula.tv_divisor(image, 0.25)
    assert bool((divisor > bound - 1e-6).all())
    torch.manual_seed(0)
    worst = formula.tv_divisor(torch.rand(100, 1, 9, 9), 0.25).min()
    assert float(worst) > bound


def test_inputs_are_not_written_and_output_is_contiguous(rl_step):
    tensors = [
        t.to(memory_format=torch.channels_last)
        for t in problem(count=2, channels=3, size=(6, 7), dtype=torch.float32)
    ]
    before = [t.clone() for t in tensors]
    result = rl_step(*tensors, saturation=SATURATIONS["two sets"], tv=0.1)
    assert result.is_contiguous()
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_nan_propagates(rl_step):
    estimate, observed, kernels, mixing = problem(size=(5, 5))
    observed[..., 2, 2] = math.nan
    assert bool(torch.isnan(rl_step(estimate, observed, kernels, mixing)).any())


def test_an_empty_batch(rl_step):
    tensors = problem()
    empty = rl_step(tensors[0][:0], tensors[1][:0], *tensors[2:], saturation=Saturation())
    assert empty.shape == (0, 2, 4, 5)


U, V, K, M = problem(dtype=torch.float32)


@pytest.mark.parametrize(
    ("tensors", "keywords", "error", "text"),
    [
        (([1.0], V, K, M), {}, TypeError, "estimate must be a tensor"),
        ((U.int(), V, K, M), {}, TypeError, "estimate must have dtype .*, got int32"),
        ((U.cfloat(), V, K, M), {}, TypeError, "estimate must have dtype .*, got complex64"),
        ((U[0], V, K, M), {}, ValueError, r"estimate must be \(N, C, H, W\), got \(2, 4, 5\)"),
        ((U, V.double(), K, M), {}, TypeError, "observed must have the dtype of estimate"),
        ((U, V.to("meta"), K, M), {}, ValueError, "observed must be on the device of estimate"),
        ((U, V[..., :4], K, M), {}, ValueError, r"observed must be \(1, 2, 4, 5\), got"),
        ((U, V, K[..., :2], M), {}, ValueError, "kernels must have odd sides"),
        ((U, V, K.expand(3, -1, -1, -1), M), {}, ValueError, "kernels must have a leading size"),
        ((U, V, K, M[:, :1]), {}, ValueError, r"mixing must be \(N or 1, 2, 4, 5\), got"),
        ((U, V, K, M), {"column_sums": M}, ValueError, "column_sums must be"),
        ((U, V, K, M), {"column_sums": V[0]}, ValueError, "column_sums must be"),
        ((U, V, K, M), {"mask": M[..., 1:]}, ValueError, "mask must be"),
        ((U, V, K, M), {"mask": V.double()}, TypeError, "mask must have the dtype of estimate"),
        ((U, V, K, M), {"tv": 0.25}, ValueError, r"tv must be in \[0, 0.25\), got 0.25"),
        ((U, V, K, M), {"tv": -0.1}, ValueError, r"tv must be in \[0, 0.25\), got -0.1"),
        ((U, V, K, M), {"tv": math.nan}, ValueError, r"tv must be in \[0, 0.25\), got nan"),
        ((U, V, K, M), {"eps": 0.0}, ValueError, "eps must be positive and finite, got 0.0"),
        ((U, V, K, M), {"boundary": "mirror"}, ValueError, "boundary must be one of"),
        (
            (U, V, torch.ones(1, 2, 9, 9), M), {}, ValueError,
            "kernels must have Kh//2 < H and Kw//2 < W for boundary 'reflect' on a 4x5 image",
        ),
    ],
)  # fmt: skip
def test_bad_arguments(tensors, keywords, error, text):
    with pytest.raises(error, match=f"^rl_step: {text}"):
        blurops.rl_step(*tensors, **keywords)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"a": 0.0}, "a must be positive and finite, got 0.0"),
        ({"level": math.nan}, "level must be finite, got nan"),
        ({"threshold": 0.0}, "threshold must be positive, got 0.0"),
        ({"threshold": math.nan}, "threshold must be positive, got nan"),
    ],
)
def test_bad_saturation(keywords, text):
    with pytest.raises(ValueError, match=f"^Saturation: {text}"):
        Saturation(**keywords)
