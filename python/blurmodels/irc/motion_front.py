# SPDX-License-Identifier: BSD-3-Clause
"""What Motion-Net may be shown instead of pixels: how alike these are at a distance.

Along a straight motion of n pixels neighbours are alike, and what lies n apart is less so than
without it: the derivative along a motion of a blurred image is the difference of two sharp values,
one motion apart, and its autocorrelation has a negative peak there (Yitzhaky and Kopeika, 1997,
"Identification of blur parameters from motion blurred images"). Means of squared differences over a
window hold all autocorrelations; their logarithms do without the contrast, which would drown them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4  # pixels from one place of the maps to the next
_LAGS = (1, 2, 3, 5, 8, 12, 18)
_DIRECTIONS = 8
_WINDOWS = (8, 32)  # pixels: one edge, and many of them
_FLOOR = 1e-4  # a few variances of the noise, so that the logarithm of what is flat stays calm


def offsets() -> list[tuple[int, int]]:
    """Rows and columns, whole, of lags of 1 to 18 pixels in 8 directions; none twice, nor back."""
    found: list[tuple[int, int]] = []
    for lag in _LAGS:
        for number in range(_DIRECTIONS):
            turn = math.pi * number / _DIRECTIONS
            down, right = round(lag * math.sin(turn)), round(lag * math.cos(turn))
            if (down, right) not in found and (-down, -right) not in found:
                found.append((down, right))
    return found


class Differences(nn.Module):
    """Logarithms of mean squared differences, and their mean apart; nothing here is learned.

    For each offset o and a window around p, `log(floor + mean |x(q + o) - x(q)|^2)`, with the mean
    over q in the window and the sum over colours. The mean over all offsets is taken out and is a
    map of its own, a third of it: what is left does not change with contrast, as long as that is
    well above the floor.

    Example:
        >>> Differences()(torch.rand(1, 3, 32, 48)).shape[2:]
        torch.Size([8, 12])
    """

    def __init__(self) -> None:
        super().__init__()
        self.offsets = offsets()
        self.channels = len(_WINDOWS) * (len(self.offsets) + 1)
        self.least = max(_LAGS) + 1  # sides of the smallest image

    def forward(self, x: Tensor) -> Tensor:
        """The maps.

        Args:
            x: (N, C, H, W), sides multiples of 4 and above 18.

        Returns:
            (N, channels, H / 4, W / 4).
        """
        squares = torch.cat([self._squares(x, *offset) for offset in self.offsets], dim=1)
        cells = functional.avg_pool2d(squares, STRIDE)
        maps = []
        for window in _WINDOWS:
            side = window // STRIDE
            before, after = (side - 1) // 2, side // 2
            around = functional.pad(cells, (before, after, before, after), mode="replicate")
            logs = (functional.avg_pool2d(around, side, 1) + _FLOOR).log()
            mean = logs.mean(1, keepdim=True)
            maps += [logs - mean, mean / 3]
        return torch.cat(maps, dim=1)

    @staticmethod
    def _squares(x: Tensor, down: int, right: int) -> Tensor:
        """|x(q + o) - x(q)|^2 halfway between, (N, 1, H, W); continued where one lies outside."""
        height, width = x.shape[2:]
        across = abs(right)
        here, there = slice(0, width - across), slice(across, width)
        if right < 0:
            here, there = there, here
        found = (x[:, :, down:, there] - x[:, :, : height - down, here]).square()
        sides = (across // 2, across - across // 2, down // 2, down - down // 2)
        return functional.pad(found.sum(1, keepdim=True), sides, mode="replicate")
