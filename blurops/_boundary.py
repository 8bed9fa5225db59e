# SPDX-License-Identifier: BSD-3-Clause
"""Borders by index: what a position outside the image means, and the exact transpose of that."""

import torch
import torch.nn.functional as F
from torch import Tensor


def index_map(start: int, count: int, size: int, boundary: str, device: torch.device) -> Tensor:
    """Where positions ``start .. start + count - 1`` lie on an axis of ``size`` pixels.

    Returns int64 (count,) indices in [0, size). ``zeros`` has no such index and is handled by its
    callers.
    """
    position = torch.arange(start, start + count, device=device)
    if boundary == "replicate":
        return position.clamp(0, size - 1)
    if boundary == "circular":
        return position.remainder(size)
    if boundary == "reflect":
        # Radii are below the size, so one reflection at each end is enough.
        position = position.abs()
        return torch.where(position >= size, 2 * (size - 1) - position, position)
    raise ValueError(f"no index map for boundary {boundary!r}")


def pad(image: Tensor, radius: tuple[int, int], boundary: str) -> Tensor:
    """Extend the last two axes of ``image`` by ``radius`` on each side."""
    (ry, rx), (height, width) = radius, image.shape[-2:]
    if boundary == "valid":
        return image
    if boundary == "zeros":
        return F.pad(image, (rx, rx, ry, ry))
    rows = index_map(-ry, height + 2 * ry, height, boundary, image.device)
    columns = index_map(-rx, width + 2 * rx, width, boundary, image.device)
    return image.index_select(-2, rows).index_select(-1, columns)


def fold(padded: Tensor, radius: tuple[int, int], boundary: str) -> Tensor:
    """The exact transpose of :func:`pad`: every position adds back to where it was read."""
    ry, rx = radius
    if boundary == "valid":
        return padded
    height, width = padded.shape[-2] - 2 * ry, padded.shape[-1] - 2 * rx
    if boundary == "zeros":
        return padded[..., ry : ry + height, rx : rx + width]
    rows = index_map(-ry, height + 2 * ry, height, boundary, padded.device)
    columns = index_map(-rx, width + 2 * rx, width, boundary, padded.device)
    folded = padded.new_zeros(*padded.shape[:-2], height, padded.shape[-1])
    folded = folded.index_add(-2, rows, padded)
    return folded.new_zeros(*padded.shape[:-2], height, width).index_add(-1, columns, folded)
