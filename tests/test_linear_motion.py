# SPDX-License-Identifier: BSD-3-Clause
"""The kernel of a straight motion, against values worked out by hand and what must hold of it."""

import math

import pytest
import torch

from blurops.fields import linear_motion_kernel

LENGTHS = (1, 1.5, 2, 3, 4.25, 5, 9, 16, 31)
ANGLES = tuple(math.radians(degrees) for degrees in (0, 1, 22.5, 30, 45, 89, 90, 120, 179))


def test_level_and_upright():
    assert torch.equal(linear_motion_kernel(1, 0.7), torch.ones(1, 1))
    level = linear_motion_kernel(5, 0.0)
    torch.testing.assert_close(level[2], torch.full((5,), 0.2))
    torch.testing.assert_close(linear_motion_kernel(5, math.pi / 2), level.T)
    # An even length ends in two halves: 4 pixels are half, one, one, one, half.
    halves = torch.tensor([0.5, 1, 1, 1, 0.5]) / 4
    torch.testing.assert_close(linear_motion_kernel(4, 0.0)[2], halves)


def test_diagonal_by_hand():
    """Three pixels at 45 degrees: the ends lie sqrt(2) out, of which the line reaches 1."""
    corner = 1 - (math.sqrt(2) - 1)
    # Beside the centre: sqrt(1/2) off the line and 1 - sqrt(1/2) before its end, and at its radius.
    side = 1 - math.hypot(math.sqrt(0.5), 1 - math.sqrt(0.5))
    expected = torch.tensor([[0, side, corner], [side, 1, side], [corner, side, 0]])
    torch.testing.assert_close(linear_motion_kernel(3, math.radians(45)), expected / expected.sum())


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("angle", ANGLES)
def test_what_must_hold(length, angle):
    kernel = linear_motion_kernel(length, angle)
    side = kernel.shape[0]
    # A sum of n float32 numbers, each rounded once.
    slack = torch.finfo(torch.float32).eps * side
    assert kernel.shape == (side, side)
    assert side % 2 == 1
    assert side < length + 2
    assert bool((kernel >= 0).all())
    assert abs(float(kernel.double().sum()) - 1) < slack
    assert (kernel - kernel.flip(0, 1)).abs().max() < slack
    assert (kernel - linear_motion_kernel(length, angle + math.pi)).abs().max() < slack
    assert (kernel.flip(0) - linear_motion_kernel(length, -angle)).abs().max() < slack
    assert (kernel.rot90() - linear_motion_kernel(length, angle + math.pi / 2)).abs().max() < slack


def test_counter_clockwise_with_y_upwards():
    kernel = linear_motion_kernel(9, math.radians(30))
    assert kernel[2, 7] > 0.05
    assert kernel[6, 7] == 0


@pytest.mark.parametrize(
    ("length", "angle", "error", "reason"),
    [
        (0.5, 0.0, ValueError, "length must be at least 1, got 0.5"),
        (math.nan, 0.0, ValueError, "length must be finite, got nan"),
        (3, math.inf, ValueError, "angle must be finite, got inf"),
        ("3", 0.0, TypeError, "length must be a number, got '3'"),
    ],
)
def test_rejects(length, angle, error, reason):
    with pytest.raises(error, match=f"linear_motion_kernel: {reason}"):
        linear_motion_kernel(length, angle)
