# SPDX-License-Identifier: BSD-3-Clause
"""What is special to NU-Conv: dense matrices, identities, errors."""

import functools
import itertools

import pytest
import torch

import blurops
from blurops._check import BOUNDARIES
from blurops.testing import accuracy, checked, random_tensor, relative_error
from tests import test_basis_blur
from tests.gather import PATHS, Conv, require

source = functools.cache(test_basis_blur.source)
each_path = pytest.mark.parametrize("path", PATHS)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
DENSE = accuracy(torch.float64, 1000).relative


def terms(t, boundary):
    """Every term of the equation, of one sample: the places in grad, image, bank and weight."""
    bank, index = t["bank"], t["index"][0]
    channels, height, width = t["image"].shape[1:]
    kh, kw = bank.shape[-2:]
    oy, ox = (0, 0) if boundary == "valid" else (kh // 2, kw // 2)
    own = bank.ndim == 4
    for j, y, x, c, dy, dx in itertools.product(*map(range, (*index.shape, channels, kh, kw))):
        v, u = source(y + dy - oy, height, boundary), source(x + dx - ox, width, boundary)
        if v is not None and u is not None:
            f = int(index[j, y, x])
            tap = (f, c, dy, dx) if own else (f, dy, dx)
            yield (0, 0 if own else c, y, x), (0, c, v, u), tap, (0, j, y, x)


def dense(t, boundary):
    """The map of one sample, entry by entry: (filtered image, image)."""
    out = torch.zeros(*t["grad"].shape, *t["image"].shape, dtype=torch.float64)
    for filtered, pixel, tap, weight in terms(t, boundary):
        out[filtered + pixel] += t["weight"][weight] * t["bank"][tap]
    return out.view(t["grad"].numel(), t["image"].numel())


@each_path
@each_boundary
@pytest.mark.parametrize("own", [False, True])
def test_is_the_dense_matrix_and_its_transpose(path, boundary, own):
    for size, kernel in (((4, 5), (3, 5)), ((5, 3), (5, 3)), ((3, 4), (1, 7))):
        shape = Conv(1, 2, *size, 4, 2, kernel, own)
        if not shape.allows(boundary):
            continue
        t = shape.tensors(boundary, torch.float64, 1)
        field, keywords = (t["bank"], t["index"], t["weight"]), {"boundary": boundary}
        matrix = dense(t, boundary)
        keywords["backend"] = require(path)
        filtered = blurops.nu_conv(t["image"], *field, **keywords)
        spread = blurops.nu_conv_adjoint(t["grad"], *field, **keywords)
        assert relative_error(filtered.flatten(), matrix @ t["image"].flatten()) <= DENSE
        assert relative_error(spread.flatten(), matrix.T @ t["grad"].flatten()) <= DENSE


@each_path
@each_boundary
@pytest.mark.parametrize("own", [False, True])
def test_gradients_are_those_of_the_dense_matrix(path, boundary, own):
    t = Conv(1, 2, 4, 5, 3, 2, (3, 3), own).tensors(boundary, torch.float64, 3)
    keywords = {"boundary": boundary, "backend": require(path)}
    by_bank = blurops.nu_conv_grad_bank(
        t["grad"], t["image"], t["index"], t["weight"], t["bank_shape"], **keywords
    )
    by_weight = blurops.nu_conv_grad_weight(
        t["grad"], t["image"], t["bank"], t["index"], True, **keywords
    )
    expected = {name: torch.zeros_like(t[name]) for name in ("bank", "weight")}
    for filtered, pixel, tap, weight in terms(t, boundary):
        product = t["grad"][filtered] * t["image"][pixel]
        expected["bank"][tap] += product * t["weight"][weight]
        expected["weight"][weight] += product * t["bank"][tap]
    assert relative_error(by_bank, expected["bank"]) <= DENSE
    assert relative_error(by_weight, expected["weight"]) <= DENSE


@each_path
def test_one_filter_for_all_pixels_is_the_basis_mixed_blur(path):
    image, kernels = (
        random_tensor((2, 3, 9, 8), torch.float64, 5),
        random_tensor((4, 3, 5), torch.float64, 6),
    )
    mixing = random_tensor((2, 4, 9, 8), torch.float64, 7)
    index = torch.arange(4, dtype=torch.int32).view(1, 4, 1, 1).expand(1, 4, 9, 8)
    result = blurops.nu_conv(image, kernels, index, mixing, backend=require(path))
    expected = blurops.basis_blur(image, kernels[None], mixing, backend="reference")
    assert relative_error(result, expected) <= accuracy(torch.float64).relative


@each_path
def test_the_same_filter_picked_twice_counts_twice(path):
    t = Conv(1, 2, 6, 7, 3, 2, (3, 3)).tensors("reflect", torch.float64, 9)
    index, backend = t["index"][:, :1].expand(1, 2, 6, 7), require(path)
    twice = blurops.nu_conv(t["image"], t["bank"], index, t["weight"], backend=backend)
    total = t["weight"].sum(1, keepdim=True)
    once = blurops.nu_conv(t["image"], t["bank"], index[:, :1], total, backend=backend)
    assert relative_error(twice, once) <= accuracy(torch.float64).relative
    args = (t["grad"], t["image"], index, t["weight"], t["bank_shape"])
    by_bank = blurops.nu_conv_grad_bank(*args, backend=backend)
    args = (t["grad"], t["image"], index[:, :1], total, t["bank_shape"])
    expected = blurops.nu_conv_grad_bank(*args, backend="reference")
    assert relative_error(by_bank, expected) <= accuracy(torch.float64).relative


@each_path
def test_a_filter_nobody_picks_has_no_gradient(path):
    t = Conv(1, 2, 6, 7, 3, 2, (3, 3)).tensors("reflect", torch.float32, 11)
    index = torch.where(t["index"] == 1, 2, t["index"])
    args = (t["grad"], t["image"], index, t["weight"], t["bank_shape"])
    by_bank = blurops.nu_conv_grad_bank(*args, backend=require(path))
    assert not by_bank[1].any()
    assert by_bank[0].any()


@each_path
@pytest.mark.parametrize("width", [3, 19, 33])
def test_a_nan_stays_where_the_filters_reach(path, width):
    """No further, however the taps are cut into vectors."""
    t = Conv(1, 1, 3, 90, 2, 2, (1, width)).tensors("zeros", torch.float32, 13)
    t["image"][0, 0, 1, 45] = torch.nan
    field, keywords = (t["bank"], t["index"], t["weight"]), {"boundary": "zeros"}
    for op in (blurops.nu_conv, blurops.nu_conv_adjoint):
        result = op(t["image"], *field, backend=require(path), **keywords)
        expected = torch.zeros(3, 90, dtype=torch.bool)
        expected[1, 45 - width // 2 : 46 + width // 2] = True
        assert torch.equal(result[0, 0].isnan(), expected)


IMAGE, BANK = torch.zeros(2, 3, 8, 9), torch.zeros(4, 3, 5)
INDEX, WEIGHT = torch.zeros(1, 2, 8, 9, dtype=torch.int32), torch.zeros(1, 2, 8, 9)
BAD = [
    ("bank", torch.zeros(4, 4, 5), ValueError, r"must have odd sides K, got \(4, 4, 5\)"),
    ("bank", torch.zeros(0, 3, 5), ValueError, "must hold at least one filter, got"),
    ("bank", torch.zeros(3, 5), ValueError, r"must be \(F, K, K\) or \(F, C, K, K\), got \(3, 5\)"),
    ("bank", torch.zeros(4, 2, 3, 5), ValueError, r"must have as many channels as image \(3\)"),
    ("bank", torch.zeros(4, 17, 5), ValueError, "must have .* for boundary 'reflect' .*, got 17x5"),
    ("bank", BANK.double(), TypeError, r"must have the dtype of image \(float32\), got float64"),
    ("bank", [1], TypeError, "must be a tensor, got list"),
    ("index", INDEX.long(), TypeError, "must have dtype int32, got int64"),
    ("index", INDEX[0], ValueError, r"must be \(N or 1, J, H, W\) with J at least 1, got"),
    ("index", INDEX[:, :0], ValueError, r"must be \(N or 1, J, H, W\) with J at least 1, got"),
    ("index", INDEX.repeat(3, 1, 1, 1), ValueError, "must have a leading size of 1 or 2, got"),
    ("index", INDEX[..., 1:], ValueError, "must have the filtered size 8x9, got"),
    ("index", INDEX.to("meta"), ValueError, r"must be on the device of image \(cpu\), got meta"),
    ("index", INDEX + 4, ValueError, r"must lie in \[0, 4\), the filters of the bank, got 4"),
    ("index", INDEX - 1, ValueError, r"must lie in \[0, 4\), the filters of the bank, got -1"),
    ("weight", WEIGHT[:, :1], ValueError, r"must have the index's J x H x W \(2x8x9\), got"),
    ("weight", WEIGHT.double(), TypeError, "must have the dtype of image"),
    ("weight", WEIGHT.repeat(3, 1, 1, 1), ValueError, "must have a leading size of 1 or 2, got"),
    ("image", IMAGE[0], ValueError, r"must be \(N, C, H, W\), got"),
    ("boundary", "mirror", ValueError, "must be one of reflect, .*, got 'mirror'"),
]


@pytest.mark.parametrize(("argument", "value", "error", "text"), BAD)
def test_bad_input(argument, value, error, text):
    given = {"image": IMAGE, "bank": BANK, "index": INDEX, "weight": WEIGHT, argument: value}
    with pytest.raises(error, match=f"^nu_conv: {argument} {text}"):
        blurops.nu_conv(**given)


def test_bad_input_of_the_other_members():
    with pytest.raises(ValueError, match=r"^nu_conv_adjoint: image must have one channel"):
        blurops.nu_conv_adjoint(IMAGE, torch.zeros(4, 3, 3, 5), INDEX, WEIGHT)
    with pytest.raises(ValueError, match=r"^nu_conv_adjoint: index must lie in \[0, 4\)"):
        blurops.nu_conv_adjoint(IMAGE, BANK, INDEX + 7, WEIGHT)
    with pytest.raises(ValueError, match=r"^nu_conv_grad_bank: index must lie in \[0, 1\)"):
        blurops.nu_conv_grad_bank(IMAGE, IMAGE, INDEX + 1, WEIGHT, (1, 3, 3))
    with pytest.raises(ValueError, match=r"^nu_conv_grad_bank: bank_shape must have odd sides K"):
        blurops.nu_conv_grad_bank(IMAGE, IMAGE, INDEX, WEIGHT, (1, 2, 3))
    with pytest.raises(ValueError, match=r"^nu_conv_grad_bank: grad must have the filtered"):
        blurops.nu_conv_grad_bank(IMAGE[:, :1], IMAGE, INDEX, WEIGHT, (1, 3, 3))
    with pytest.raises(ValueError, match=r"^nu_conv_grad_weight: index must have the"):
        blurops.nu_conv_grad_weight(IMAGE, IMAGE, BANK, INDEX[..., 1:])


def test_values_on_other_devices_are_left_alone_unless_asked_for():
    """The fake of a device: nothing may be read from it."""
    given = [t.to("meta") for t in (IMAGE, BANK, INDEX, WEIGHT)]
    assert blurops.nu_conv(*given).shape == IMAGE.shape
    with checked():
        assert blurops.nu_conv(*given).shape == IMAGE.shape
        with pytest.raises(ValueError, match="must lie in"):
            blurops.nu_conv(IMAGE, BANK, INDEX + 4, WEIGHT)
