# SPDX-License-Identifier: BSD-3-Clause
"""The squared differences that Motion-Net may be shown instead of pixels."""

import math

import pytest
import torch

from blurmodels.irc import MotionNet
from blurmodels.irc.motion_front import Differences, offsets


def test_offsets_are_those_of_half_a_plane_once_each():
    found = offsets()
    assert len({*found, *((-down, -right) for down, right in found)}) == 2 * len(found)
    assert all(down >= 0 for down, _ in found)
    assert found[:4] == [(0, 1), (1, 1), (1, 0), (1, -1)]
    lengths = [math.hypot(*offset) for offset in found]
    assert (min(lengths), max(lengths)) == (1, pytest.approx(18, rel=0.05))


@pytest.mark.parametrize("offset", [(0, 3), (2, 0), (3, 5), (3, -5)])
def test_squares_are_differences_halfway_between(offset):
    down, right = offset
    x = torch.rand(1, 2, 20, 23, dtype=torch.float64)
    found = Differences._squares(x, down, right)
    assert found.shape == (1, 1, 20, 23)
    row, column = 9, 11
    # Of the two places, the one that is further up, and then whichever is the left one.
    top, left = row - down // 2, column - abs(right) // 2
    begin, end = (left, left + right) if right >= 0 else (left - right, left)
    wanted = (x[0, :, top, begin] - x[0, :, top + down, end]).square().sum()
    assert float(found[0, 0, row, column]) == pytest.approx(float(wanted), rel=1e-12)


def test_what_does_not_change_along_an_offset_shows_there():
    front = Differences().double()
    count = len(front.offsets)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    for number in (1, 3, 5, count - 1):
        down, right = front.offsets[number]
        values = torch.rand(4000, dtype=torch.float64)
        image = values[rows * right - columns * down + 2000].expand(1, 3, -1, -1)
        logs = front(image)[0, :count, 8, 8]
        assert int(logs.argmin()) == number


def test_contrast_shows_in_the_means_only():
    front = Differences().double()
    count = len(front.offsets)
    x = torch.rand(1, 3, 32, 36, dtype=torch.float64)
    weak, strong = front(0.5 + 100 * x), front(200 * x)
    assert weak.shape == (1, front.channels, 8, 9)
    change = strong - weak
    wanted = torch.zeros_like(change)
    wanted[:, [count, 2 * count + 1]] = math.log(4) / 3
    # The floor is some millionths of the squares.
    torch.testing.assert_close(change, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stride", [4, 16])
def test_the_network_takes_any_size_and_is_built_again(tmp_path, stride):
    torch.manual_seed(0)
    network = MotionNet(
        18, width=2, blocks=(1, 1, 1, 1), output_stride=stride, front="differences"
    ).eval()
    torch.nn.init.normal_(network.last.weight, std=0.3)
    network.save_pretrained(tmp_path / "w.safetensors")
    found = MotionNet.from_pretrained(tmp_path / "w.safetensors")
    for size in ((1, 1), (19, 70), (33, 40)):
        observed = torch.rand(2, 3, *size)
        length, angle = network(observed)
        assert length.shape == angle.shape == (2, *size)
        assert torch.equal(found(observed)[0], length)
    with pytest.raises(ValueError, match="front must be one of pixels, differences, got 'edges'"):
        MotionNet(18, front="edges")
