# SPDX-License-Identifier: BSD-3-Clause
"""NUConv and MotionBlur: the protocol, what they keep, solvers that take them."""

import math

import pytest
import torch

import blurops
from blurops import MotionBlur, NUConv, check_adjoint
from blurops._check import BOUNDARIES
from blurops.testing import accuracy
from tests.gather import Conv, Motion

DOUBLE = torch.float64
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def conv(boundary="reflect", own=False, dtype=DOUBLE, **options):
    t = Conv(2, 3, 8, 9, 5, 3, (3, 5), own, index_shared=False).tensors(boundary, dtype, 1)
    return NUConv(t["bank"], t["index"], t["weight"], boundary=boundary, **options)


def motion(boundary="reflect", dtype=DOUBLE, **options):
    t = Motion(2, 3, 8, 9, 6.0, angle_shared=False).tensors(boundary, dtype, 1)
    return MotionBlur(t["length"], t["angle"], boundary=boundary, **options)


MAKERS = pytest.mark.parametrize("make", [conv, motion])


@MAKERS
@each_boundary
def test_is_the_op_and_its_adjoint(make, boundary):
    operator = make(boundary)
    size = {conv: (8, 9), motion: (8, 9)}[make]
    if boundary == "valid" and make is motion:
        size = tuple(n + 2 * operator.margin for n in size)
    assert check_adjoint(operator, (2, 3, *size)) <= accuracy(DOUBLE).dot
    x = torch.rand(2, 3, *size, dtype=DOUBLE)
    if make is conv:
        expected = blurops.nu_conv(
            x, operator.bank, operator.index, operator.weight, boundary=boundary
        )
    else:
        expected = blurops.motion_blur(x, operator.length, operator.angle, boundary=boundary)
    assert torch.equal(operator @ x, expected)
    y = torch.rand_like(expected)
    assert torch.equal(operator.T @ y, operator.adjoint(y))


def test_a_bank_with_channels_of_its_own():
    operator = conv("circular", own=True)
    assert check_adjoint(operator, (2, 3, 8, 9)) <= accuracy(DOUBLE).dot
    assert (operator @ torch.rand(2, 3, 8, 9, dtype=DOUBLE)).shape == (2, 1, 8, 9)


@MAKERS
def test_column_sums_are_kept_until_something_changes(make):
    operator = make("replicate")
    like = torch.ones(2, 3, 8, 9, dtype=DOUBLE)
    sums = operator.column_sums(like)
    assert sums.shape == (2, 1, 8, 9)
    torch.testing.assert_close(sums, operator.adjoint(like)[:, :1])
    assert operator.column_sums(like) is sums
    changed = operator.weight if make is conv else operator.length
    changed.add_(0.5)
    other = operator.column_sums(like)
    assert other is not sums
    assert not torch.equal(other, sums)
    changed.requires_grad_()
    assert operator.column_sums(like).requires_grad


@MAKERS
def test_to_casts_and_keeps_the_options(make):
    chosen = {"precision": "high", "backend": "reference"}
    if make is motion:
        chosen["caps"] = "segment"
    operator = make("valid", **chosen)
    cast = operator.to(torch.float32)
    assert cast.dtype == torch.float32
    assert cast.device == torch.device("cpu")
    assert cast.options == operator.options
    if make is conv:
        assert cast.index.dtype == torch.int32
    else:
        assert (cast.caps, cast.margin) == ("segment", operator.margin)


def test_absolute_bounds_the_filters():
    operator, x = conv(), torch.randn(2, 3, 8, 9, dtype=DOUBLE)
    assert bool(((operator @ x).abs() <= operator.absolute() @ x.abs() + 1e-12).all())
    blur = motion()
    assert blur.absolute() is blur


@MAKERS
def test_gradients_reach_the_tensors(make):
    operator = make()
    leaves = (operator.bank, operator.weight) if make is conv else (operator.length, operator.angle)
    for leaf in leaves:
        leaf.requires_grad_()
    (operator @ torch.rand(2, 3, 8, 9, dtype=DOUBLE)).square().sum().backward()
    assert all(leaf.grad.abs().sum() > 0 for leaf in leaves)


@pytest.mark.parametrize("caps", ["fspecial", "segment"])
def test_richardson_lucy_sharpens_a_motion_blur(caps):
    generator = torch.Generator().manual_seed(0)
    sharp = torch.zeros(1, 1, 40, 44)
    sharp[..., 10:30:3, 5:40:4] = torch.rand(7, 9, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(44.0), indexing="ij")
    blur = MotionBlur(
        (3 + 4 * torch.sin(columns / 44))[None], (rows / 20)[None], caps=caps, boundary="replicate"
    )
    observed = blur @ sharp
    restored = blurops.richardson_lucy(observed, blur, iterations=60).image
    assert (restored - sharp).norm() < 0.5 * (observed - sharp).norm()


K, INDEX, W = (
    torch.rand(4, 3, 5),
    torch.zeros(1, 2, 8, 9, dtype=torch.int32),
    torch.rand(1, 2, 8, 9),
)
L = torch.full((1, 8, 9), 3.0)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: NUConv([1], INDEX, W), TypeError, "NUConv: bank must be a tensor"),
        (lambda: NUConv(K[..., :2], INDEX, W), ValueError, "NUConv: bank must have odd sides"),
        (lambda: NUConv(K, INDEX.long(), W), TypeError, "NUConv: index must have dtype int32"),
        (lambda: NUConv(K, 3, W), TypeError, "NUConv: index must be a tensor of shape"),
        (lambda: NUConv(K, INDEX + 4, W), ValueError, r"NUConv: index must lie in \[0, 4\)"),
        (
            lambda: NUConv(K, INDEX, W.double()),
            TypeError,
            "NUConv: weight must have the dtype of bank",
        ),
        (lambda: NUConv(K, INDEX, W[:, :1]), ValueError, "NUConv: weight must have the index's"),
        (
            lambda: NUConv(K, INDEX.repeat(2, 1, 1, 1), W.repeat(3, 1, 1, 1)),
            ValueError,
            "NUConv: weight must have a leading size of 1 or 2",
        ),
        (
            lambda: NUConv(K, INDEX, W, boundary="mirror"),
            ValueError,
            "NUConv: boundary must be one of",
        ),
        (
            lambda: NUConv(torch.rand(4, 17, 5), INDEX, W),
            ValueError,
            "NUConv: bank must have .* < H",
        ),
        (lambda: MotionBlur(L[0], L), ValueError, r"MotionBlur: length must be \(N or 1, H, W\)"),
        (lambda: MotionBlur(L, L.double()), TypeError, "MotionBlur: (length|angle) must have the"),
        (lambda: MotionBlur(L / 9, L), ValueError, "MotionBlur: length must be at least 1 and"),
        (lambda: MotionBlur(L, L * math.nan), ValueError, "MotionBlur: angle must be finite"),
        (lambda: MotionBlur(9 * L, L), ValueError, "MotionBlur: length must be at most 15 for"),
        (lambda: MotionBlur(L, L, caps="flat"), ValueError, "MotionBlur: caps must be one of"),
        (lambda: MotionBlur(L, L, method="slow"), ValueError, "MotionBlur: method must be one of"),
        (
            lambda: MotionBlur(3 * L, L, boundary="valid", margin=3),
            ValueError,
            "MotionBlur: length must be at most 7 for boundary 'valid'",
        ),
        (
            lambda: MotionBlur(L, L, boundary="valid") @ torch.ones(1, 1, 12, 13),
            ValueError,
            "MotionBlur: x must have the sharp size 10x11, got 12x13",
        ),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=f"^{text}"):
        make()
