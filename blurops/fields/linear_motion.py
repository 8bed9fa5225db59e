# SPDX-License-Identifier: BSD-3-Clause
"""The kernel of a straight motion at constant speed."""

import math

import torch
from torch import Tensor

from blurops._check import message
from blurops.fields import _arguments as arguments


def linear_motion_kernel(length: float, angle: float) -> Tensor:
    """The blur kernel of a straight motion, by the rule of MATLAB's `fspecial('motion')`.

    Weight `max(0, 1 - d)` at each pixel, divided by the sum. With p to the right and q upwards
    from the centre, `half = (length - 1) / 2` and the coordinates along the line
    `u = p cos + q sin` and across it `v = q cos - p sin`, the distance is `d = |v|`, or
    `d = hypot(v, half - |u|)` where `hypot(p, q) >= half`, that is beyond the ends.

    Args:
        length: number of pixels that the motion covers, at least 1; 1 is no motion.
        angle: radians, counter-clockwise from the right with y upwards; has period pi.

    Returns:
        (K, K) float32, K odd and just large enough, non-negative with unit sum. It is symmetric
        about its centre: as a correlation kernel and as a point-spread function it is the same.

    Raises:
        TypeError, ValueError: `length` is below 1, or either is not a finite number.

    Example:
        >>> linear_motion_kernel(3, 0.0)
        tensor([[0.0000, 0.0000, 0.0000],
                [0.3333, 0.3333, 0.3333],
                [0.0000, 0.0000, 0.0000]])
    """
    length = arguments.real("linear_motion_kernel", "length", length)
    angle = arguments.real("linear_motion_kernel", "angle", angle)
    if length < 1:
        raise ValueError(message("linear_motion_kernel", "length", "be at least 1", length))
    # A pixel has weight while it lies less than 1 beyond the end.
    radius = math.ceil((length - 1) / 2)
    lengths, angles = (torch.tensor([number], dtype=torch.float64) for number in (length, angle))
    return rasterise(lengths, angles, radius)[0].to(torch.float32)


def rasterise(lengths: Tensor, angles: Tensor, radius: int) -> Tensor:
    """(F, 2 radius + 1, 2 radius + 1) kernels of F motions, by :func:`linear_motion_kernel`'s rule.

    Args:
        lengths: (F,) float64 pixels, at least 1 and at most 2 radius + 1.
        angles: (F,) float64 radians.
        radius: of the window.
    """
    half = ((lengths - 1) / 2)[:, None, None]
    offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
    right, up = offset[None, None, :], -offset[None, :, None]
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    across = (up * cosine - right * sine).abs()
    beyond = half - (right * cosine + up * sine).abs()
    distance = torch.where(torch.hypot(right, up) >= half, torch.hypot(across, beyond), across)
    weight = (1 - distance).clamp(min=0)
    return weight / weight.sum((1, 2), keepdim=True)
