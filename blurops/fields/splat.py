# SPDX-License-Identifier: BSD-3-Clause
"""Kernels from paths: the exact integral of a bilinear splat along a polyline."""

import math

import torch
from torch import Tensor

# Two-point Gauss-Legendre abscissae on [0, 1]; exact for cubics, and a splat along a straight line
# inside one pixel cell is a quadratic.
_GAUSS = (0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6)


def render_paths(paths: Tensor, kernel_size: int) -> Tensor:
    """Kernels of motion paths: `k[d] = mean over time of tent(x(t) - dx) tent(y(t) - dy)`.

    `tent(s) = max(0, 1 - |s|)` is bilinear interpolation, so correlating with the kernel is the
    average of bilinearly sampled images over the exposure. The integral along each straight piece
    is exact (pieces are split where they cross a pixel line), hence so are the sum, 1, and the
    centroid, the mean of the path.

    Args:
        paths: (P, T, 2) float64 polylines of T >= 2 points at equal time steps, (x right, y down)
            in pixels from the kernel centre; every |x| and |y| at most `kernel_size // 2`.
        kernel_size: K, the odd side of the kernels.

    Returns:
        (P, K, K) float64, non-negative, each of unit sum; correlation orientation.

    Example:
        >>> render_paths(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]], dtype=torch.float64), 3)[0, 1]
        tensor([0.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    paths = _densify(paths)
    start, step = paths[:, :-1], paths[:, 1:] - paths[:, :-1]  # (P, S, 2)
    count, segments = start.shape[:2]
    cuts = _crossings(start, step)  # (P, S, 4)
    length = cuts[..., 1:] - cuts[..., :-1]  # (P, S, 3)
    radius = kernel_size // 2
    kernels = paths.new_zeros(count, kernel_size * kernel_size)
    for abscissa in _GAUSS:
        time = cuts[..., :-1] + abscissa * length
        point = start[:, :, None] + time[..., None] * step[:, :, None]  # (P, S, 3, 2)
        # The clamp keeps the far edge inside: there the outer neighbour has weight 0.
        cell = point.floor().clamp_(-radius, max(radius - 1, -radius))
        fraction = point - cell
        weight = length / (2 * segments)
        corner = ((cell[..., 1] + radius) * kernel_size + cell[..., 0] + radius).long()
        _scatter(kernels, corner, weight, fraction, kernel_size)
    return kernels.view(count, kernel_size, kernel_size)


def _scatter(kernels: Tensor, corner: Tensor, weight: Tensor, fraction: Tensor, side: int) -> None:
    """Adds `weight` at the four pixels around each point, by bilinear shares."""
    count = kernels.shape[0]
    fx, fy = fraction.unbind(-1)
    last = kernels.shape[1] - 1
    for offset, share in (
        (0, (1 - fx) * (1 - fy)),
        (1, fx * (1 - fy)),
        (side, (1 - fx) * fy),
        (side + 1, fx * fy),
    ):
        # Rounding may leave a share of -1e-17; out-of-range neighbours (side 1) have share 0.
        index = (corner + offset).clamp_(max=last).view(count, -1)
        kernels.scatter_add_(1, index, (weight * share.clamp_(min=0)).view(count, -1))


def _densify(paths: Tensor) -> Tensor:
    """Splits all pieces evenly until none moves more than a pixel along x or y."""
    step = paths[:, 1:] - paths[:, :-1]
    pieces = max(1, math.ceil(float(step.abs().max()))) if step.numel() else 1
    if pieces == 1:
        return paths
    time = torch.arange(pieces, dtype=paths.dtype, device=paths.device) / pieces
    inner = paths[:, :-1, None] + time[:, None] * step[:, :, None]  # (P, S, pieces, 2)
    return torch.cat([inner.flatten(1, 2), paths[:, -1:]], dim=1)


def _crossings(start: Tensor, step: Tensor) -> Tensor:
    """Times 0, t1, t2, 1 of every piece, t1 and t2 where it crosses a pixel line in x and in y.

    A piece of at most one pixel crosses each family of lines at most once; with no crossing the
    time is 1, which leaves a sub-piece of length 0.
    """
    line = torch.maximum(start, start + step).floor()
    crosses = torch.minimum(start, start + step) < line
    time = torch.where(crosses, (line - start) / step, 1.0).clamp_(0, 1)
    first, second = time.amin(-1), time.amax(-1)
    return torch.stack([torch.zeros_like(first), first, second, torch.ones_like(first)], dim=-1)
