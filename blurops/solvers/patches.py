# SPDX-License-Identifier: BSD-3-Clause
"""Non-uniform deconvolution patch by patch, each with one kernel: the slow baselines."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields.linear_motion import rasterise
from blurops.fields.motion_bank import interpolate_motion, linear_motion_bank
from blurops.operators import Operator, UniformBlur
from blurops.solvers import problem
from blurops.solvers.fft_deblur import fft_deblur
from blurops.solvers.inverse_filters import inverse_filters
from blurops.solvers.irc import COMBINE, combined, irc
from blurops.solvers.problem import Deconvolution


def fft_deblur_patches(
    observed: Tensor,
    operator: Operator,
    *,
    kernel_size: int,
    patch: int = 96,
    stride: int | None = None,
    **options: Any,
) -> Deconvolution:
    """Restore a non-uniformly blurred image by FFT, in overlapping patches of one kernel each.

    The efficient filter flow of Hirsch et al. ("Fast removal of non-uniform camera shake", 2011)
    used the direct way: each patch is restored by :func:`fft_deblur` with the kernel of its
    middle, weighted with a Hann window, added, and divided by the sum of the windows (Eboli et
    al., table 3: "NU-FFT").

    Args:
        observed: (N, C, H, W) y, finite.
        operator: any blur that keeps the size of images; its kernels are read off its adjoint, one
            call per patch.
        kernel_size: K, odd: a window that holds every kernel.
        patch: side of the patches in pixels, at least K; images that are smaller have one.
        stride: from patch to patch. Default: half a patch.
        **options: of :func:`fft_deblur`.

    Returns:
        :class:`Deconvolution`; the residuals are those of the observation and of the result.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.full((1, 5), 0.2), boundary="replicate")
        >>> sharp = torch.zeros(1, 1, 40, 60)
        >>> sharp[..., 10:] = 1.0
        >>> result = blurops.fft_deblur_patches(blur @ sharp, blur, kernel_size=5, patch=32)
        >>> bool((result.image - sharp).norm() < (blur @ sharp - sharp).norm() / 2)
        True
    """
    name = "fft_deblur_patches"
    problem.check_problem(name, observed, operator)
    arguments.odd(name, "kernel_size", kernel_size)
    if arguments.positive_int(name, "patch", patch) < kernel_size:
        wanted = f"be at least kernel_size ({kernel_size})"
        raise ValueError(message(name, "patch", wanted, patch))
    if getattr(operator, "boundary", "replicate") == "valid":
        got = "boundary 'valid'"
        raise ValueError(message(name, "operator", "keep the size of images", got))
    grid = _Grid(observed, patch, stride or max(1, patch // 2), name)
    kernels = local_kernels(operator, observed, grid.middles, kernel_size)
    restored = fft_deblur(
        grid.cut(observed), UniformBlur(kernels.flatten(0, 1)[:, None]), **options
    )
    line = [torch.hann_window(n + 2, periodic=False, dtype=observed.dtype)[1:-1]
            for n in grid.sides]  # fmt: skip
    window = (line[0][:, None] * line[1][None, :]).to(observed.device)
    image = grid.join(restored.image, window.expand(len(grid.corners), -1, -1))
    return _summary(observed, operator, image, len(restored.changes))


def irc_patches(
    observed: Tensor,
    length: Tensor,
    angle: Tensor,
    *,
    max_length: int = 35,
    mode: str = "softmax",
    size: int = 31,
    ridge: float = 1e-2,
    iterations: int = 2,
    patch: int = 63,
    stride: int = 16,
    margin: int = 0,
    combine: str = "filters",
    initial: Tensor | None = None,
) -> Deconvolution:
    """Restore each patch of an image by the inverse filters of its own straight motion.

    What Eboli et al., section 2.2, describe, taken literally: every overlapping patch is restored
    by :func:`irc` with the motion of its middle, whose inverse filters are four of a bank's with
    weights (eq. 17), and the patches are averaged. One iteration from 0 is eq. 17. It is the
    reference for :func:`irc` with the operators of :func:`inverse_blur`, which do the same for all
    pixels at once.

    Args:
        observed: (N, C, H, W) y, finite.
        length: (N or 1, H, W) pixels, at least 1.
        angle: (N or 1, H, W) radians, counter-clockwise with y upwards.
        max_length, mode: of :func:`interpolate_motion`.
        size, ridge: of :func:`inverse_filters`.
        iterations: of residual compensation.
        patch: side of the patches in pixels.
        stride: from patch to patch.
        margin: pixels of a patch that are not used, but at the image's edges.
        combine: `"filters"` or `"outputs"`, as in :func:`irc`.
        initial: (N, C, H, W) first estimate. Default: the observation.

    Returns:
        :class:`Deconvolution` of the whole image, residuals those of the worst patch.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> import torch, blurops
        >>> length, angle = torch.full((1, 40, 50), 5.0), torch.zeros(1, 40, 50)
        >>> blurred = blurops.motion_blur(torch.rand(1, 1, 40, 50), length, angle)
        >>> blurops.irc_patches(blurred, length, angle, size=15, patch=31).image.shape
        torch.Size([1, 1, 40, 50])
    """
    name = "irc_patches"
    _check.tensor(name, "observed", observed, "(N, C, H, W)")
    _check.finite(name, "observed", observed)
    _check.choice(name, "combine", combine, COMBINE)
    if arguments.whole(name, "margin", margin, 0) * 2 >= patch:
        raise ValueError(message(name, "margin", f"be less than half of patch ({patch})", margin))
    if arguments.positive_int(name, "stride", stride) > patch - 2 * margin:
        wanted = f"be at most patch - 2 margin ({patch - 2 * margin}), to leave nothing out"
        raise ValueError(message(name, "stride", wanted, stride))
    index, weight = interpolate_motion(length, angle, max_length=max_length, mode=mode)
    if length.shape[1:] != observed.shape[2:]:
        wanted = f"have the size of observed {tuple(observed.shape[2:])}"
        raise ValueError(message(name, "length", wanted, tuple(length.shape)))
    grid = _Grid(observed, patch, stride, name)
    many = len(observed)
    motions = [grid.at(m[:, None].expand(many, -1, -1, -1))[:, 0] for m in (length, angle)]
    index, weight = (grid.at(m.expand(many, -1, -1, -1)) for m in (index, weight))
    radius = math.ceil((float(length.max()) - 1) / 2)
    kernels = rasterise(*(m.double() for m in motions), radius=radius).to(observed.dtype)
    used, places = torch.unique(index, return_inverse=True)
    bank = inverse_filters(linear_motion_bank(max_length)[used.long()], size=size, ridge=ridge)
    chosen = bank.to(observed.dtype)[places][:, :, 0]
    blur = UniformBlur(kernels[:, None], boundary="replicate")
    pieces = grid.cut(observed)
    start = pieces if initial is None else grid.cut(initial)

    def restored(filters: Tensor) -> Deconvolution:
        inverse = UniformBlur(filters[:, None], boundary="zeros")
        return irc(pieces, blur, inverse, iterations=iterations, initial=start)

    weight = weight[..., None, None].to(observed.dtype)
    if combine == "filters":
        result = restored((weight * chosen).sum(1))
    else:
        shares = [weight[:, j][:, None] for j in range(weight.shape[1])]
        result = combined(shares, [restored(chosen[:, j]) for j in range(weight.shape[1])])
    return result._replace(image=grid.join(result.image, grid.inner(margin, observed)))


def local_kernels(
    operator: Operator, like: Tensor, pixels: Sequence[tuple[int, int]], size: int
) -> Tensor:
    """The kernels of some pixels, rows of H cut out around them.

    Args:
        operator: keeps the size of images.
        like: (N, C, H, W), an image for its size.
        pixels: (row, column) each.
        size: K, odd.

    Returns:
        (N, P, K, K). At a border, what the blur folds back is where it was folded to.
    """
    radius, found = size // 2, []
    for row, column in pixels:
        delta = torch.zeros_like(like[:, :1])
        delta[..., row, column] = 1
        around = F.pad(operator.adjoint(delta), (radius,) * 4)
        found.append(around[:, 0, row : row + size, column : column + size])
    return torch.stack(found, dim=1)


class _Grid:
    """Overlapping patches that cover an image, the last ones flush with its edges."""

    def __init__(self, image: Tensor, patch: int, stride: int, name: str) -> None:
        arguments.positive_int(name, "patch", patch)
        arguments.positive_int(name, "stride", stride)
        self._shape = image.shape
        self.sides = [min(patch, n) for n in image.shape[-2:]]
        starts = [
            sorted({*range(0, n - side, stride), n - side})
            for n, side in zip(image.shape[-2:], self.sides, strict=True)
        ]
        self.corners = [(row, column) for row in starts[0] for column in starts[1]]
        self.middles = [(r + self.sides[0] // 2, c + self.sides[1] // 2) for r, c in self.corners]

    def at(self, maps: Tensor) -> Tensor:
        """(N P, ...) values of (N, ..., H, W) maps in the middle of each patch."""
        rows, columns = zip(*self.middles, strict=True)
        return maps[..., list(rows), list(columns)].movedim(-1, 1).flatten(0, 1)

    def cut(self, image: Tensor) -> Tensor:
        """(N P, C, h, w)."""
        height, width = self.sides
        pieces = [image[..., r : r + height, c : c + width] for r, c in self.corners]
        return torch.stack(pieces, dim=1).flatten(0, 1)

    def join(self, pieces: Tensor, windows: Tensor) -> Tensor:
        """The average of the patches, weighted by (P, h, w) windows."""
        height, width = self.sides
        total, weights = pieces.new_zeros(self._shape), pieces.new_zeros(self._shape[-2:])
        parts = pieces.unflatten(0, (self._shape[0], -1))
        for i, (r, c) in enumerate(self.corners):
            total[..., r : r + height, c : c + width] += windows[i] * parts[:, i]
            weights[r : r + height, c : c + width] += windows[i]
        return total / weights

    def inner(self, margin: int, like: Tensor) -> Tensor:
        """(P, h, w) of ones without a margin, which stays at the image's edges."""
        windows = like.new_zeros(len(self.corners), *self.sides)
        for window, corner in zip(windows, self.corners, strict=True):
            cuts = []
            for start, side, whole in zip(corner, self.sides, self._shape[-2:], strict=True):
                first = 0 if start == 0 else margin
                cuts.append(slice(first, side if start + side == whole else side - margin))
            window[tuple(cuts)] = 1
        return windows


def _summary(observed: Tensor, operator: Operator, image: Tensor, steps: int) -> Deconvolution:
    scale = problem.norm(observed) or 1.0
    ends = [problem.norm(observed - operator.forward(each)) / scale for each in (observed, image)]
    change = problem.norm(image - observed) / (problem.norm(image) or 1.0)
    return Deconvolution(image, steps, tuple(ends), (change,), "iterations")
