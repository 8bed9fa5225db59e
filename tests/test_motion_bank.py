# SPDX-License-Identifier: BSD-3-Clause
"""The bank of straight motions: its order, labels, and the weights of four neighbours."""

import math

import pytest
import torch

import blurops
from blurops.fields import (
    bank_motions,
    interpolate_motion,
    linear_motion_bank,
    linear_motion_kernel,
    motion_labels,
)


def maps(length, degrees, dtype=torch.float64):
    """(1, 1, P) maps of P motions."""
    length, degrees = torch.broadcast_tensors(torch.tensor(length), torch.tensor(degrees))
    angle = torch.deg2rad(degrees.double())
    return length.double().reshape(1, 1, -1).to(dtype), angle.reshape(1, 1, -1).to(dtype)


def motion_of(entry, max_length):
    """(length, degrees) of a bank entry, by the rule of the specification."""
    steps = (max_length - 1) // 2
    if entry == 0:
        return 1, None
    q, m = divmod(entry - 1, steps)
    return 3 + 2 * m, 6 * q


@pytest.mark.parametrize(("max_length", "count"), [(35, 511), (25, 361), (3, 31)])
def test_bank_order(max_length, count):
    bank = linear_motion_bank(max_length)
    assert bank.shape == (count, max_length, max_length)
    assert bank.dtype == torch.float32
    length, angle = bank_motions(max_length)
    for entry in {0, 1, 2, (max_length - 1) // 2, count // 2, count - 2, count - 1} - {count}:
        pixels, degrees = motion_of(entry, max_length)
        assert length[entry] == pixels
        assert degrees is None or float(angle[entry]) == pytest.approx(math.radians(degrees))
        kernel = linear_motion_kernel(pixels, math.radians(degrees or 0))
        border = (max_length - kernel.shape[0]) // 2
        padded = torch.nn.functional.pad(kernel, (border,) * 4)
        torch.testing.assert_close(bank[entry], padded, rtol=0, atol=6e-8)


def test_labels_of_the_authors():
    """Examples run through the released code; rounding halves to even."""
    examples = {
        (1, 77): 0, (3, 0): 1, (25, 0): 12, (3, 6): 13, (25, 174): 360, (25, 177.1): 12,
        (40, 0): 12, (2, 0): 0, (4, 0): 2, (6, 0): 2, (3, 176.5): 349, (3, 177): 349,
        (3, 179.9): 1, (3, 3.1): 13, (3, -6): 349, (3, 186): 13,
    }  # fmt: skip
    length, angle = maps([float(key[0]) for key in examples], [float(k[1]) for k in examples])
    labels = motion_labels(length, angle, max_length=25)
    assert labels.dtype == torch.int32
    assert labels.flatten().tolist() == list(examples.values())
    assert float(length.max()) == 40  # not clipped in place


@pytest.mark.parametrize(
    ("offsets", "minus", "plus"),
    [
        ((0, 0), (0.982, 0, 0.018, 0), (0, 0.018, 0, 0.982)),
        ((0.5, 1.5), (0.881, 0, 0.119, 0), (0, 0.119, 0, 0.881)),
        ((1, 0), (0.5, 0, 0.5, 0), (0, 0.5, 0, 0.5)),
        ((0, 3), (0.491, 0.491, 0.009, 0.009), (0.009, 0.009, 0.491, 0.491)),
        ((1, 3), (0.25,) * 4, (0.25,) * 4),
    ],
)
@pytest.mark.parametrize("corner", [(9, 60), (3, 0), (23, 174)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weight_table(offsets, minus, plus, corner, dtype):
    """Distances in pixels and degrees, although angles are radians: the specification's table."""
    length, angle = maps(corner[0] + offsets[0], corner[1] + offsets[1], dtype)
    for mode, expected in (("softmax", minus), ("softmax_plus", plus)):
        index, weight = interpolate_motion(length, angle, max_length=25, mode=mode)
        assert (index.dtype, weight.dtype) == (torch.int32, dtype)
        wanted = torch.tensor(expected, dtype=dtype)
        # The table has three digits.
        torch.testing.assert_close(weight.flatten(), wanted, rtol=0, atol=6e-4)
        first = 12 * (corner[1] // 6) + (corner[0] - 1) // 2
        turned = first + 12 if corner[1] < 174 else (corner[0] - 1) // 2
        assert index.flatten().tolist() == [first, turned, first + 1, turned + 1]


def test_edges():
    length, angle = maps([1.0, 1.5, 35.0, 90.0, 34.0], [100.0, 179.0, 0.0, 6.0, 179.5])
    index, weight = interpolate_motion(length, angle, mode="bilinear")
    assert index[0, :, 0].T.tolist() == [
        [0, 0, 16 * 17 + 1, 17 * 17 + 1],  # all angles of length 1 are entry 0
        [0, 0, 29 * 17 + 1, 1],  # 180 degrees are 0
        [16, 33, 17, 34],  # the last cell
        [33, 50, 34, 51],  # clamped to 35
        [29 * 17 + 16, 16, 29 * 17 + 17, 17],
    ]
    expected = torch.tensor(
        [
            [1 / 3, 2 / 3, 0, 0],
            [0.75 / 6, 0.75 * 5 / 6, 0.25 / 6, 0.25 * 5 / 6],
            [0, 0, 1, 0],
            [0, 0, 1, 0],
            [0.5 * 0.5 / 6, 0.5 * 5.5 / 6, 0.5 * 0.5 / 6, 0.5 * 5.5 / 6],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(weight[0, :, 0].T, expected)


def test_bilinear_finds_each_entry_of_the_bank():
    length, angle = bank_motions(9)
    for dtype in (torch.float32, torch.float64):
        index, weight = interpolate_motion(
            length.reshape(1, 1, -1).to(dtype), angle.reshape(1, 1, -1).to(dtype), max_length=9,
            mode="bilinear",
        )  # fmt: skip
        found = torch.zeros(len(length), len(length), dtype=dtype)
        found.scatter_add_(1, index[0, :, 0].T.long(), weight[0, :, 0].T)
        # float32 radians miss a multiple of 6 degrees by up to 1e-5 degrees.
        slack = {torch.float32: 4e-6, torch.float64: 1e-12}[dtype]
        torch.testing.assert_close(found, torch.eye(len(length), dtype=dtype), rtol=0, atol=slack)


def test_nearest_is_the_label():
    generator = torch.Generator().manual_seed(5)
    length = 1 + 40 * torch.rand(2, 20, 30, generator=generator, dtype=torch.float64)
    angle = 4 * torch.randn(2, 20, 30, generator=generator, dtype=torch.float64)
    index, weight = interpolate_motion(length, angle, mode="nearest")
    assert bool((weight.sum(1) == 1).all())
    assert bool(((weight == 0) | (weight == 1)).all())
    assert torch.equal((weight * index).sum(1).int(), motion_labels(length, angle))


def test_weights_follow_the_motion():
    """Gradients, away from the edges of cells, and the sum of the weights."""
    length, angle = maps([4.3, 1.7, 33.9, 8.2], [13.0, 50.0, 178.0, 91.0])
    for mode in ("softmax", "softmax_plus", "bilinear"):

        def weights(length, angle, mode=mode):
            return interpolate_motion(length, angle, mode=mode)[1]

        inputs = (length.requires_grad_(), angle.requires_grad_())
        torch.testing.assert_close(weights(*inputs).sum(1), torch.ones_like(length))
        assert torch.autograd.gradcheck(weights, inputs)


def test_one_map_for_many():
    length, angle = maps([3.0, 5.0], [10.0, 20.0])
    index, weight = interpolate_motion(length, angle.expand(3, -1, -1))
    assert index.shape == weight.shape == (3, 4, 1, 2)
    assert torch.equal(index[2], interpolate_motion(length, angle)[0][0])


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"length": torch.tensor([[[0.5]]])}, ValueError,
         "length must be at least 1, got a minimum of 0.5"),
        ({"length": torch.tensor([[[math.nan]]])}, ValueError, "length must be finite"),
        ({"angle": torch.tensor([[[math.inf]]])}, ValueError, "angle must be finite"),
        ({"angle": torch.zeros(1, 1, 2)}, ValueError, "angle must have the shape of length"),
        ({"angle": torch.zeros(1, 1, 1).double()}, TypeError, "angle must have the dtype of"),
        ({"length": 3.0}, TypeError, "length must be a tensor of shape"),
        ({"max_length": 24}, ValueError, "max_length must be odd, got 24"),
        ({"max_length": 1}, ValueError, "max_length must be at least 3, got 1"),
        ({"mode": "linear"}, ValueError, "mode must be one of softmax, softmax_plus, bilinear"),
    ],
)  # fmt: skip
def test_rejects(change, error, reason):
    given = {"length": torch.ones(1, 1, 1), "angle": torch.zeros(1, 1, 1)} | change
    with pytest.raises(error, match=f"interpolate_motion: {reason}"):
        blurops.interpolate_motion(**given)
