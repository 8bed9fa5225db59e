# SPDX-License-Identifier: BSD-3-Clause
"""Kernel fields: the kernel of every pixel, made for the pixels asked for, never all at once."""

import math
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields.field import BlurField
from blurops.fields.motion import Motion, time_steps
from blurops.fields.splat import render_paths

_UNSEEN = 1e-12  # coverage below which no layer shows


@runtime_checkable
class KernelField(Protocol):
    """A blur that knows the kernel of each pixel.

    Attributes:
        size: (H, W) of the blurred image.
        kernel_size: K, the odd side of the kernels.
    """

    size: tuple[int, int]
    kernel_size: int

    def kernels_at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(P, K, K) float64 kernels of the pixels with (P,) indices `rows` and `columns`."""


class DenseKernelField:
    """A kernel field given as a tensor of all its kernels.

    Args:
        kernels: (H, W, K, K) or (P, K, K), the latter taken as an image of one row.
    """

    def __init__(self, kernels: Tensor) -> None:
        if not isinstance(kernels, Tensor) or not kernels.is_floating_point():
            got = kernels.dtype if isinstance(kernels, Tensor) else type(kernels).__name__
            raise TypeError(
                message("DenseKernelField", "kernels", "be a floating-point tensor", got)
            )
        shape = tuple(kernels.shape)
        side = shape[-1] if shape else 0
        if kernels.ndim not in (3, 4) or shape[-2:] != (side, side) or side % 2 == 0:
            wanted = "be (P, K, K) or (H, W, K, K) with K odd"
            raise ValueError(message("DenseKernelField", "kernels", wanted, shape))
        if kernels.numel() == 0:
            raise ValueError(message("DenseKernelField", "kernels", "not be empty", shape))
        self._kernels = kernels if kernels.ndim == 4 else kernels[None]
        self.size = tuple(self._kernels.shape[:2])
        self.kernel_size = side

    def kernels_at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(P, K, K) kernels of the pixels."""
        return self._kernels[rows, columns].double()


class MotionKernelField:
    """The kernel of every pixel under one motion, rendered exactly along the pixel's path.

    Args:
        height, width: size of the blurred image.
        motion: what moves.
        kernel_size: K, odd.
        where: (H, W) bool, the pixels whose motion must fit inside K x K, such as an object's own;
            None means all. Elsewhere a path that leaves the kernel is held at its border.

    Raises:
        TypeError, ValueError: an argument is of another kind, or the motion does not fit; the error
            names the side that would hold it.
    """

    def __init__(
        self,
        height: int,
        width: int,
        motion: Motion,
        kernel_size: int = 33,
        *,
        where: Tensor | None = None,
    ) -> None:
        name = "MotionKernelField"
        if not isinstance(motion, Motion):
            wanted = "be a CameraMotion or an ObjectMotion"
            raise TypeError(message(name, "motion", wanted, type(motion).__name__))
        self.size = (
            arguments.positive_int(name, "height", height),
            arguments.positive_int(name, "width", width),
        )
        self.kernel_size = arguments.odd(name, "kernel_size", kernel_size)
        self.motion = motion
        self._where = where
        self._steps = time_steps(motion, 0.0)
        points = _lattice(self.size) if where is None else _some_of(where)
        if len(points):
            reach = self._check_reach(self._paths(points))
            self._steps = time_steps(motion, reach)

    def kernels_at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(P, K, K) float64 kernels of the pixels."""
        paths = self._paths(torch.stack([columns, rows], dim=-1).double())
        must_fit = paths if self._where is None else paths[self._where[rows, columns]]
        if len(must_fit):
            self._check_reach(must_fit)
        radius = self.kernel_size // 2
        return render_paths(paths.clamp(-radius, radius), self.kernel_size)

    def _paths(self, points: Tensor) -> Tensor:
        return self.motion.displacements(points, self.size, self._steps)

    def _check_reach(self, paths: Tensor) -> float:
        """The largest |x| or |y| of the paths; raises where the kernel cannot hold it."""
        reach = float(paths.abs().max())
        # Poses that touch the border exactly may round to a hair beyond it.
        if reach > self.kernel_size // 2 + 1e-9:
            raise ValueError(
                message(
                    "MotionKernelField",
                    "kernel_size",
                    f"be at least {2 * math.ceil(reach) + 1} to hold this motion",
                    self.kernel_size,
                )
            )
        return reach


class UniformKernelField:
    """One kernel at every pixel.

    Args:
        height, width: size of the blurred image.
        kernel: (K, K), K odd.
    """

    def __init__(self, height: int, width: int, kernel: Tensor) -> None:
        name = "UniformKernelField"
        _check.tensor(name, "kernel", kernel, "(K, K)")
        if kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
            raise ValueError(message(name, "kernel", "be (K, K) with K odd", tuple(kernel.shape)))
        self.size = (
            arguments.positive_int(name, "height", height),
            arguments.positive_int(name, "width", width),
        )
        self.kernel_size = kernel.shape[0]
        self.kernel = kernel.double()

    def kernels_at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(P, K, K) float64, the kernel for each pixel."""
        return self.kernel.expand(len(rows), -1, -1)


class LayeredKernelField:
    """Objects that move before a background, each with its own kernels.

    Carbajal et al., algorithm 1: `v = sum_j (m_j * k_j) . (k_j * u)`, where every layer's mask is
    blurred by the layer's own kernels. Where the blurred masks do not sum to 1 (a moving object
    uncovers what the sharp image does not show) they are divided by their sum, as the authors'
    released generator does; where they are all 0, the background shows.

    Args:
        background: the kernels behind all objects.
        objects: J kernel fields of the size and kernel size of `background`.
        masks: (J, H, W) coverage of the objects in the reference pose, in [0, 1]; the background
            covers the rest, and masks that overlap to more than 1 are divided by their sum.
    """

    def __init__(self, background: KernelField, objects: list[KernelField], masks: Tensor) -> None:
        self.size, self.kernel_size = background.size, background.kernel_size
        masks = masks.double()
        masks = masks / masks.sum(0).clamp(min=1)
        masks = torch.cat([(1 - masks.sum(0, keepdim=True)).clamp(min=0), masks])
        radius = self.kernel_size // 2
        pad = (radius,) * 4
        self._layers = [background, *objects]
        self._masks = torch.nn.functional.pad(masks[None], pad, mode="replicate")[0]
        # Beyond a kernel's reach of its mask a layer is invisible.
        side = self.kernel_size
        self.regions = torch.nn.functional.max_pool2d(self._masks, side, stride=1) > 0

    def kernels_at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(P, K, K) float64 kernels of the pixels."""
        total = self._layers[0].kernels_at(rows, columns)
        if not bool(self.regions[1:, rows, columns].any()):
            return total
        shown, fallback = torch.zeros_like(total), total
        coverage = total.new_zeros(len(rows))
        for j, layer in enumerate(self._layers):
            near = self.regions[j, rows, columns].nonzero()[:, 0]
            if not len(near):
                continue
            kernels = layer.kernels_at(rows[near], columns[near])
            weight = (kernels * self._patches(j, rows[near], columns[near])).sum((1, 2))
            shown.index_add_(0, near, weight[:, None, None] * kernels)
            coverage.index_add_(0, near, weight)
        seen = coverage > _UNSEEN
        shown = shown / torch.where(seen, coverage, 1.0)[:, None, None]
        return torch.where(seen[:, None, None], shown, fallback)

    def uniform_mixing(self) -> Tensor:
        """(J + 1, H, W) shares of the layers, background first, when each has one kernel."""
        blurred = [
            torch.nn.functional.conv2d(mask[None, None], layer.kernel[None, None])[0, 0]
            for mask, layer in zip(self._masks, self._layers, strict=True)
        ]
        shares = torch.stack(blurred).clamp(min=0)
        coverage = shares.sum(0)
        shares[0] += coverage <= _UNSEEN
        return shares / torch.where(coverage > _UNSEEN, coverage, 1.0)

    def _patches(self, layer: int, rows: Tensor, columns: Tensor) -> Tensor:
        """(P, K, K) the layer's mask around each pixel."""
        window = torch.arange(self.kernel_size)
        below, right = rows[:, None] + window, columns[:, None] + window
        return self._masks[layer, below[:, :, None], right[:, None, :]]


def as_kernel_field(function: str, source: Any) -> KernelField:
    """A kernel field from what users have: one already, a BlurField, or a tensor of kernels."""
    if isinstance(source, Tensor):
        return DenseKernelField(source)
    if isinstance(source, BlurField) and source.kernels.shape[2] != source.kernels.shape[3]:
        got = tuple(source.kernels.shape)
        raise ValueError(message(function, "kernel_field", "have square kernels", got))
    if isinstance(source, KernelField):
        return source
    wanted = "be a kernel field, a BlurField or a tensor of kernels"
    raise TypeError(message(function, "kernel_field", wanted, type(source).__name__))


def _lattice(size: tuple[int, int]) -> Tensor:
    """(P, 2) pixels (x, y) over the image: its whole border, and 33 lines each way."""
    height, width = size
    rows = torch.linspace(0, height - 1, min(height, 33), dtype=torch.float64)
    columns = torch.linspace(0, width - 1, min(width, 33), dtype=torch.float64)
    inner = torch.cartesian_prod(columns, rows)
    across = torch.arange(width, dtype=torch.float64)
    down = torch.arange(height, dtype=torch.float64)
    edges = [torch.stack([across, torch.full_like(across, row)], -1) for row in (0, height - 1)]
    edges += [torch.stack([torch.full_like(down, x), down], -1) for x in (0, width - 1)]
    return torch.cat([inner, *edges])


def _some_of(where: Tensor) -> Tensor:
    """(P, 2) pixels (x, y) of a bool map, evenly thinned to a few thousand."""
    pixels = where.nonzero()
    return pixels[:: max(1, len(pixels) // 4096)].flip(-1).double()
