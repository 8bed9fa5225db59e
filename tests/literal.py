# SPDX-License-Identifier: BSD-3-Clause
"""The blur as an explicit matrix, entry by entry from its definition; slow, and independent."""

import torch
from torch import Tensor

BOUNDARIES = ("reflect", "replicate", "circular", "zeros", "valid")


def source(position: int, size: int, boundary: str) -> int | None:
    """Where on an axis of ``size`` pixels a position outside it is read; None reads zero."""
    if 0 <= position < size:
        return position
    if boundary == "reflect":
        return -position if position < 0 else 2 * (size - 1) - position
    if boundary == "replicate":
        return 0 if position < 0 else size - 1
    if boundary == "circular":
        return position % size
    return None


def dense(kernels: Tensor, mixing: Tensor, size: tuple[int, int], boundary: str) -> Tensor:
    """(N, Hblurred * Wblurred, H * W) matrices of the blur of an (H, W) = ``size`` image."""
    count = max(kernels.shape[0], mixing.shape[0])
    (height, width), (kh, kw) = size, kernels.shape[-2:]
    rows, columns = mixing.shape[-2:]
    matrix = torch.zeros(count, rows * columns, height * width, dtype=kernels.dtype)
    shift = (kh // 2, kw // 2) if boundary == "valid" else (0, 0)
    for n in range(count):
        k, m = kernels[n % kernels.shape[0]], mixing[n % mixing.shape[0]]
        for i in range(rows):
            for j in range(columns):
                own = (m[:, i, j, None, None] * k).sum(0)  # this pixel's kernel
                for a in range(kh):
                    for b in range(kw):
                        y = source(i + shift[0] + a - kh // 2, height, boundary)
                        x = source(j + shift[1] + b - kw // 2, width, boundary)
                        if y is not None and x is not None:
                            matrix[n, i * columns + j, y * width + x] += own[a, b]
    return matrix


def apply(matrix: Tensor, image: Tensor, size: tuple[int, int]) -> Tensor:
    """Multiply every channel of every sample by its matrix; the result is (N, C, *size)."""
    flat = image.flatten(-2).transpose(-1, -2)
    return (matrix @ flat).transpose(-1, -2).reshape(*image.shape[:2], *size)
