# SPDX-License-Identifier: BSD-3-Clause
"""Random mixing maps: smooth ones, and segments with soft seams."""

import math

import torch
from torch import Tensor

from blurops.fields import _arguments as arguments
from blurops.fields._streams import stream

_CHUNK = 1 << 22  # values per temporary


def smooth_mixing(
    count: int,
    height: int,
    width: int,
    *,
    scale: float = 0.25,
    contrast: float = 8.0,
    seed: int = 0,
) -> Tensor:
    """Mixing maps that change slowly over the image: `m = softmax over b of contrast * g_b`.

    Each g_b is a smooth Gaussian field: standard normal coefficients on a grid with spacing
    `scale`, interpolated by the cubic B-spline, so it is twice continuously differentiable. Sizes
    are relative, so one seed gives the same picture at every resolution.

    Args:
        count: B, the number of maps.
        height, width: size of the maps in pixels.
        scale: spacing of the grid as a share of the longer side, above 0 and at most 1; features
            are about twice as large.
        contrast: 0 mixes all kernels alike; 8 leaves about two kernels at a typical pixel.
        seed: which maps.

    Returns:
        (1, count, height, width) float32, non-negative, summing to 1 over the maps.

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.

    Example:
        >>> mixing = smooth_mixing(5, 40, 60, seed=3)
        >>> mixing.shape, bool((mixing.sum(1) - 1).abs().max() < 1e-6)
        (torch.Size([1, 5, 40, 60]), True)
    """
    count, height, width, seed = _sizes("smooth_mixing", count, height, width, seed)
    scale = arguments.real("smooth_mixing", "scale", scale, above=0)
    contrast = arguments.real("smooth_mixing", "contrast", contrast, least=0)
    spacing = min(scale, 1.0) * max(height, width)
    rows, columns = _spline_matrix(height, spacing), _spline_matrix(width, spacing)
    fields = torch.empty(count, height, width)
    for b in range(count):
        noise = torch.randn(rows.shape[1], columns.shape[1], generator=stream(seed, "smooth", b))
        fields[b] = rows @ noise @ columns.T
    fields.mul_(contrast)
    for part in fields.split(max(1, _CHUNK // (count * width)), dim=1):
        part.copy_(part.softmax(0))
    return fields[None]


def segment_mixing(
    count: int,
    height: int,
    width: int,
    *,
    softness: float = 8.0,
    seed: int = 0,
) -> Tensor:
    """Mixing maps of segments: a Voronoi diagram whose seams are ramps `softness` pixels wide.

    With site s_a nearest to the pixel, map b has weight `max(0, 1 - 2 t_b / softness)`, t_b being
    the distance to the line halfway between s_a and s_b; the weights are then divided by their sum.
    Every pixel farther than `softness / 2` from all seams is exactly 0 or 1.

    Args:
        count: B, the number of segments.
        height, width: size of the maps in pixels.
        softness: width of the seams in pixels; 0 gives hard labels.
        seed: which sites; site b does not depend on `count`, nor on the resolution but by scale.

    Returns:
        (1, count, height, width) float32, non-negative, summing to 1 over the maps.

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.

    Example:
        >>> mixing = segment_mixing(4, 64, 64, softness=0.0)
        >>> mixing.unique()
        tensor([0., 1.])
    """
    count, height, width, seed = _sizes("segment_mixing", count, height, width, seed)
    softness = arguments.real("segment_mixing", "softness", softness, least=0)
    sites = torch.stack(
        [
            torch.rand(2, generator=stream(seed, "segments", b), dtype=torch.float64)
            for b in range(count)
        ]
    )
    sites = sites * torch.tensor([height, width], dtype=torch.float64) - 0.5
    apart = torch.cdist(sites, sites)
    mixing = torch.empty(1, count, height, width)
    step = max(1, _CHUNK // (count * width))
    columns = torch.arange(width, dtype=torch.float64)
    for top in range(0, height, step):
        rows = torch.arange(top, min(top + step, height), dtype=torch.float64)
        square = (rows - sites[:, :1])[..., None] ** 2 + (columns - sites[:, 1:])[:, None] ** 2
        nearest, label = square.min(0)  # (rows, W)
        if softness == 0:
            weight = torch.zeros_like(square).scatter_(0, label[None], 1.0)
        else:
            # (d_b^2 - d_a^2) / (2 |s_b - s_a|) is the distance to the line halfway between them.
            seam = (square - nearest) / (2 * apart[label].movedim(-1, 0))
            seam.scatter_(0, label[None], 0.0)
            weight = (1 - 2 * seam / softness).clamp_(min=0)
            weight /= weight.sum(0)
        mixing[0, :, top : top + len(rows)] = weight
    return mixing


def _sizes(function: str, count: int, height: int, width: int, seed: int) -> tuple[int, ...]:
    return (
        arguments.positive_int(function, "count", count),
        arguments.positive_int(function, "height", height),
        arguments.positive_int(function, "width", width),
        arguments.seed(function, seed),
    )


def _spline_matrix(size: int, spacing: float) -> Tensor:
    """(size, knots) weights of the cubic B-spline with a knot every `spacing` pixels."""
    position = (torch.arange(size, dtype=torch.float64) + 0.5) / spacing
    knots = torch.arange(math.floor(size / spacing) + 4, dtype=torch.float64) - 1
    distance = (position[:, None] - knots).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far).float()
