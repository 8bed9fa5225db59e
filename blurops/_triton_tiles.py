# SPDX-License-Identifier: BSD-3-Clause
"""What the Triton kernels of several families share on the host: tiles, groups, borders."""

from collections.abc import Sequence

import torch
from torch import Tensor

from blurops import _boundary

# The kernels count the pixels of a plane in 32 bits.
LARGEST_PLANE = 2**31 - 1


def power_of_2(least: int) -> int:
    """The smallest one that is not less."""
    return 1 << (least - 1).bit_length()


def tile_for(size: Sequence[int], tensor: Tensor, extra: int = 0, share: int = 1) -> dict[str, int]:
    """The sides of a program's tile: as many pixels as registers take, but 16 for the products.

    ``extra`` columns of it are read and not owned; then it is as long as can be. Where a pixel
    takes more registers than usual, the tile is one of ``share``.
    """
    pixels = (64 if tensor.dtype == torch.float64 else 128) // share
    columns = min(pixels if extra else min(32, pixels), power_of_2(size[1] + extra))
    rows = min(pixels // columns, power_of_2(size[0]))
    return {"ROWS": max(rows, 16 // columns), "COLUMNS": columns}


def count_tiles(size: Sequence[int], tile: dict[str, int], extra: int = 0) -> int:
    """How many tiles cover an image."""
    return -(-size[0] // tile["ROWS"]) * -(-size[1] // (tile["COLUMNS"] - extra))


def group_of(channels: int) -> int:
    """Channels per program, at most three."""
    return -(-channels // -(-channels // 3))


def step_of(tensor: Tensor) -> int:
    """Elements from one sample to the next of a contiguous copy; 0 where one serves all."""
    return tensor[0].numel() if tensor.shape[0] > 1 else 0


def working_type(tensor: Tensor) -> torch.dtype:
    """Of sums and of what is folded."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def extend(image: Tensor, kernel_size: Sequence[int], boundary: str) -> Tensor:
    """An image with all that the taps of a kernel may read."""
    radius = (kernel_size[0] // 2, kernel_size[1] // 2)
    return _boundary.pad(image, radius, boundary).contiguous()


def fold(extended: Tensor, radius: Sequence[int], boundary: str) -> Tensor:
    """:func:`blurops._boundary.fold` of what nobody else needs, always in one order.

    The positions outside the image are few: slices of them are added to where they were read.
    """
    for axis, r in zip((-2, -1), radius, strict=True):
        size = extended.shape[axis] - 2 * r
        before, image, after = extended.split((r, size, r), axis)
        if boundary == "replicate":
            image.narrow(axis, 0, 1).add_(before.sum(axis, keepdim=True))
            image.narrow(axis, size - 1, 1).add_(after.sum(axis, keepdim=True))
        elif boundary == "reflect":
            image.narrow(axis, 1, r).add_(before.flip(axis))
            image.narrow(axis, size - 1 - r, r).add_(after.flip(axis))
        else:  # circular: turn by turn, from the image outwards
            for part in before.flip(axis).split(size, axis):
                length = part.shape[axis]
                image.narrow(axis, size - length, length).add_(part.flip(axis))
            for part in after.split(size, axis):
                image.narrow(axis, 0, part.shape[axis]).add_(part)
        extended = image
    return extended
