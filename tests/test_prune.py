# SPDX-License-Identifier: BSD-3-Clause
"""blurops.prune: what becomes zero, the bound on the blur, bad input."""

import numpy as np
import pytest
import torch

import blurops
from blurops._check import BOUNDARIES, DTYPES
from blurops.testing import accuracy, random_tensor


def field(dtype=torch.float64, seed=0):
    """Kernels that fade outwards, off the centre, and mixing that fades to one side."""
    y, x = torch.arange(15.0)[:, None], torch.arange(17.0)
    fade = torch.exp(-((y - 5) ** 2 + (x - 10) ** 2) / 4)
    kernels = random_tensor((2, 3, 15, 17), torch.float64, seed) * fade
    mixing = random_tensor((1, 3, 30, 40), torch.float64, seed + 1)
    mixing = mixing * torch.exp(-torch.arange(40.0) / 2)
    return kernels.to(dtype), mixing.to(dtype)


def box(kernels):
    """First and last row and column that hold a tap."""
    used = (kernels != 0).flatten(0, 1).any(0)
    rows, columns = used.any(1).nonzero(), used.any(0).nonzero()
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("tolerance", [0.3, 1e-2, 1e-4])
def test_what_is_kept_and_what_is_not(dtype, tolerance):
    kernels, mixing = field(dtype)
    pruned, thinned = blurops.prune(kernels, mixing, tolerance)
    strong = kernels.double().abs() > tolerance * kernels.double().abs().max()
    top, bottom, left, right = box(strong)
    expected = torch.zeros_like(kernels)
    inside = (..., slice(top, bottom + 1), slice(left, right + 1))
    expected[inside] = kernels[inside]
    assert torch.equal(pruned, expected)
    assert torch.equal(thinned, torch.where(mixing.double().abs() > tolerance, mixing, 0))
    assert box(pruned) != box(kernels)
    assert (mixing != 0).sum() > (thinned != 0).sum() > 0


def test_a_tap_that_one_kernel_needs_is_kept_in_all():
    kernels = torch.zeros(1, 2, 3, 5)
    kernels[0, 0] = 1e-6
    kernels[0, 0, 1, 2] = 1
    kernels[0, 1, 0, 3] = -0.5
    pruned, _ = blurops.prune(kernels, torch.ones(1, 2, 4, 4), 1e-3)
    assert box(pruned) == (0, 1, 2, 3)
    assert torch.equal(pruned[..., :2, 2:4], kernels[..., :2, 2:4])


def test_faint_taps_between_strong_ones_are_kept():
    kernels = torch.full((1, 1, 5, 5), 1e-6)
    kernels[..., 1, 0] = kernels[..., 3, 4] = 1
    pruned, _ = blurops.prune(kernels, torch.ones(1, 1, 4, 4), 1e-3)
    assert torch.equal(pruned[..., 1:4, :], kernels[..., 1:4, :])
    assert box(pruned) == (1, 3, 0, 4)


def test_limits_are_exact_in_every_dtype():
    """0.1 lies between two numbers of each dtype: the one above it is not dropped."""
    for dtype in DTYPES:
        nearest = torch.tensor(0.1, dtype=dtype)
        around = nearest * torch.tensor([1 - 2**-7, 1, 1 + 2**-7], dtype=dtype)
        _, mixing = blurops.prune(
            torch.ones(1, 1, 1, 1, dtype=dtype), around.reshape(1, 1, 1, 3), 0.1
        )
        assert torch.equal(mixing.flatten() == 0, around.double() <= 0.1)


def test_zero_tolerance_changes_no_value():
    kernels, mixing = field()
    pruned, thinned = blurops.prune(kernels, mixing, 0)
    assert torch.equal(pruned, kernels)
    assert torch.equal(thinned, mixing)


def test_inputs_are_left_alone_and_results_are_fresh():
    kernels, mixing = field()
    before = kernels.clone(), mixing.clone()
    for result in (*blurops.prune(kernels, mixing, 1e-2), *blurops.prune(kernels, mixing, 0.0)):
        result.fill_(7)
    assert torch.equal(kernels, before[0])
    assert torch.equal(mixing, before[1])


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
def test_the_bounds_hold_and_say_something(boundary, tolerance):
    kernels, mixing = field()
    image = random_tensor((2, 1, 30, 40), torch.float64, 5)
    if boundary == "valid":
        mixing = mixing[..., :16, :24]
    pruned, thinned = blurops.prune(kernels, mixing, tolerance)
    keywords = {"boundary": boundary, "backend": "reference"}
    blurred = blurops.basis_blur(image, kernels, mixing, **keywords)
    error = (blurred - blurops.basis_blur(image, pruned, thinned, **keywords)).abs().amax(1)
    largest = image.abs().max()
    lost = (kernels - pruned).abs().sum((-2, -1))[..., None, None]
    kept = pruned.abs().sum((-2, -1))[..., None, None]
    bound = largest * (mixing.abs() * lost + (mixing - thinned).abs() * kept).sum(1)
    top, bottom, left, right = box(pruned)
    dropped = kernels[0, 0].numel() - (bottom - top + 1) * (right - left + 1)
    by_number = dropped * kernels.abs().max() * mixing.abs().sum(1) + kept.sum(1)
    rounding = accuracy(torch.float64).peak * float(blurred.abs().max())
    assert (error <= bound + rounding).all()
    assert (bound <= tolerance * largest * by_number * (1 + 1e-12)).all()
    # Neither bound is vacuous: random signs come within two orders of the first one.
    assert error.max() > 1e-2 * bound.max()
    assert bound.max() < tolerance * largest * (mixing.abs() * kernels.abs().sum()).sum(1).max()


def test_gradients_pass_to_what_was_kept():
    kernels, mixing = (tensor.requires_grad_() for tensor in field())
    pruned, thinned = blurops.prune(kernels, mixing, 1e-2)
    (pruned.sum() + 2 * thinned.sum()).backward()
    assert torch.equal(kernels.grad != 0, pruned != 0)
    assert torch.equal(mixing.grad, 2.0 * (thinned != 0))


def test_nothing_to_prune():
    zeros = torch.zeros(1, 2, 3, 3)
    pruned, thinned = blurops.prune(zeros, torch.zeros(4, 2, 5, 5), 0.5)
    assert not pruned.any()
    assert not thinned.any()
    pruned, _ = blurops.prune(torch.zeros(0, 2, 3, 3), torch.zeros(1, 2, 5, 5), 0.5)
    assert pruned.shape == (0, 2, 3, 3)


def test_arrays_in_arrays_out():
    kernels, mixing = field()
    results = blurops.prune(kernels.numpy(), mixing.numpy(), 1e-2)
    for result, expected in zip(results, blurops.prune(kernels, mixing, 1e-2), strict=True):
        assert isinstance(result, np.ndarray)
        assert np.array_equal(result, expected.numpy())


BAD = [
    ("kernels", [[1.0]], TypeError, "be a tensor, got list"),
    ("kernels", torch.zeros(2, 3, 3), ValueError, r"be \(N or 1, B, Kh, Kw\), got \(2, 3, 3\)"),
    ("kernels", torch.zeros(1, 2, 4, 3), ValueError, r"have odd sides .* got \(1, 2, 4, 3\)"),
    ("kernels", torch.full((1, 2, 3, 3), torch.nan), ValueError, "be finite, got NaN or infinity"),
    ("mixing", torch.zeros(1, 2, 5, 5).int(), TypeError, "have dtype float32, .*, got int32"),
    ("mixing", torch.zeros(1, 2, 5, 5).double(), TypeError, "have the dtype of kernels .*float64"),
    ("mixing", torch.zeros(1, 3, 5, 5), ValueError, r"hold one map per basis kernel \(2\), got"),
    ("mixing", torch.full((1, 2, 5, 5), torch.inf), ValueError, "be finite, got NaN or infinity"),
    ("tolerance", "0.1", TypeError, "be a number, got '0.1'"),
    ("tolerance", True, TypeError, "be a number, got True"),
    ("tolerance", -0.1, ValueError, "be at least 0 and below 1, got -0.1"),
    ("tolerance", 1.0, ValueError, "be at least 0 and below 1, got 1.0"),
    ("tolerance", float("nan"), ValueError, "be at least 0 and below 1, got nan"),
]


@pytest.mark.parametrize(("argument", "value", "error", "sentence"), BAD)
def test_bad_input(argument, value, error, sentence):
    good = {
        "kernels": torch.ones(1, 2, 3, 3),
        "mixing": torch.ones(1, 2, 5, 5),
        "tolerance": 0.1,
    }
    with pytest.raises(error, match=f"^prune: {argument} must {sentence}"):
        blurops.prune(**{**good, argument: value})


def test_batches_must_match():
    with pytest.raises(ValueError, match="prune: mixing must have a leading size of 1 or 3"):
        blurops.prune(torch.ones(3, 2, 3, 3), torch.ones(2, 2, 5, 5), 0.1)
