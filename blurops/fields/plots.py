# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of blur fields, as matplotlib figures that belong to no window and no pyplot state."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields.field import BlurField, check_field
from blurops.fields.kernel_field import KernelField
from blurops.fields.reduce import error_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 14  # kernels along the longer side unless `spacing` says otherwise
_LONGER = 9.0  # inches
_INK = (1.0, 0.85, 0.1)


class ErrorCurve(NamedTuple):
    """The numbers behind `plot_error_curve`, one entry for each basis size."""

    basis_sizes: tuple[int, ...]
    errors: tuple[float, ...]
    svd_bounds: tuple[float, ...]


def plot_kernel_field(
    image: Tensor,
    field: BlurField,
    *,
    spacing: int | None = None,
    orientation: str = "correlation",
) -> "Figure":
    """Draws the kernels of a blur field over the image, on a grid.

    Each kernel is the mixed kernel of the pixel at the middle of its box, scaled to the box and to
    its own maximum. Boxes no smaller than the kernel show it at the scale of the image or larger.

    Args:
        image: (C, H, W) or (1, C, H, W), C 1 or 3, display values in [0, 1] (others are clipped),
            H and W those of the field's mixing.
        field: the blur.
        spacing: pixels from kernel to kernel; None draws about 14 along the longer side.
        orientation: "correlation" draws the kernels as they are stored, "convolution" turned by
            half a turn, as the trace that a point of light leaves.

    Returns:
        A matplotlib Figure; `figure.savefig(path)` writes it.

    Raises:
        TypeError, ValueError: an argument is of another kind, or image and field differ in size.

    Example:
        >>> from blurops.fields import camera_shake_field
        >>> field = camera_shake_field(60, 80, basis_size=3, kernel_size=9)
        >>> len(plot_kernel_field(torch.rand(3, 60, 80), field, spacing=20).axes[0].images)
        13
    """
    name = "plot_kernel_field"
    pixels = _display(name, image)
    _checked(name, field)
    _check.choice(name, "orientation", orientation, ("correlation", "convolution"))
    height, width = field.size
    if pixels.shape[:2] != (height, width):
        got = "x".join(map(str, pixels.shape[:2]))
        raise ValueError(message(name, "image", f"have the field's size {height}x{width}", got))
    if spacing is None:
        spacing = max(1, math.ceil(max(height, width) / _ACROSS))
    spacing = arguments.positive_int(name, "spacing", spacing)
    rows, columns = _grid(height, spacing), _grid(width, spacing)
    places = torch.cartesian_prod(rows, columns)
    kernels = field.kernels_at(places[:, 0], places[:, 1]).float().cpu()
    if orientation == "convolution":
        kernels = kernels.flip(-2, -1)
    figure = _figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    # Dimmed, so that thin kernels stand out from a bright image.
    axes.imshow(0.6 * pixels.expand(-1, -1, 3).numpy(), vmin=0, vmax=1)
    half = 0.46 * spacing
    for (row, column), kernel in zip(places.tolist(), kernels, strict=True):
        box = (column - half, column + half, row + half, row - half)
        axes.imshow(_ink(kernel), extent=box, interpolation="nearest", zorder=2)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    return figure


def plot_basis(field: BlurField) -> "Figure":
    """Draws the B basis kernels, each above its mixing map.

    Kernels are drawn in correlation orientation, each scaled to its own maximum; the maps share the
    scale 0 to 1.

    Args:
        field: the blur.

    Returns:
        A matplotlib Figure with 2 B axes: kernel 0, map 0, kernel 1, and so on.

    Raises:
        TypeError, ValueError: `field` is not a blur field.

    Example:
        >>> from blurops.fields import camera_shake_field
        >>> len(plot_basis(camera_shake_field(20, 30, basis_size=3, kernel_size=9)).axes)
        6
    """
    _checked("plot_basis", field)
    count = field.kernels.shape[1]
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    height, width = field.size
    figure = _figure(across, down * (1 + height / width) * 1.04)
    grid = figure.add_gridspec(
        2 * down, across, height_ratios=[1, height / width] * down, left=0.01, right=0.99,
        bottom=0.01, top=0.99, wspace=0.06, hspace=0.06,
    )  # fmt: skip
    # Thumbnails: a 4096 x 4096 map in a one-inch box needs no more than every eighth pixel.
    stride = max(1, max(height, width) // 512)
    for b in range(count):
        row, column = divmod(b, across)
        kernel = figure.add_subplot(grid[2 * row, column])
        kernel.imshow(field.kernels[0, b].float().cpu().numpy(), cmap="magma", vmin=0)
        place = kernel.transAxes
        kernel.text(0.04, 0.96, str(b), transform=place, va="top", color="white", fontsize=7)
        maps = figure.add_subplot(grid[2 * row + 1, column])
        part = field.mixing[0, b, ::stride, ::stride].float().cpu().numpy()
        maps.imshow(part, cmap="viridis", vmin=0, vmax=1)
        kernel.set_axis_off()
        maps.set_axis_off()
    return figure


def plot_error_curve(
    kernel_field: KernelField | BlurField | Tensor,
    basis_sizes: Sequence[int] = (1, 2, 4, 8, 12, 16, 20, 25, 32),
    *,
    samples: int = 1024,
    seed: int = 0,
) -> tuple["Figure", ErrorCurve]:
    """Draws the error of B basis kernels against B, beside the unconstrained SVD bound.

    Args:
        kernel_field: what to reduce, as `reduce_kernel_field` takes it.
        basis_sizes: the B to draw.
        samples, seed: as there; the errors are those over the sampled pixels.

    Returns:
        A matplotlib Figure and its numbers.

    Raises:
        TypeError, ValueError: as `error_curve` raises.

    Example:
        >>> figure, curve = plot_error_curve(torch.eye(9).view(9, 3, 3), (1, 3, 9))
        >>> curve.errors[0] > curve.errors[1] > curve.errors[2]
        True
    """
    sizes = tuple(sorted(set(basis_sizes)))
    errors, bounds = error_curve(kernel_field, sizes, samples=samples, seed=seed)
    curve = ErrorCurve(sizes, tuple(errors), tuple(bounds))
    figure = _figure(1.4, 1.0)
    axes = figure.add_subplot(xlabel="basis size B", ylabel="relative error of the kernels")
    axes.plot(sizes, errors, marker="o", label="convex mixing of B unit-sum kernels")
    axes.plot(sizes, bounds, marker=".", linestyle="--", label="SVD bound, rank B, unconstrained")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure, curve


def _figure(width: float, height: float) -> "Figure":
    """A figure of this shape, its longer side 9 inches."""
    # An extra of the library, and slow to import.
    from matplotlib.figure import Figure

    scale = _LONGER / max(width, height)
    return Figure(figsize=(max(1.0, width * scale), max(1.0, height * scale)), dpi=150)


def _display(function: str, image: Tensor) -> Tensor:
    """(H, W, 1 or 3) float32 in [0, 1]."""
    if isinstance(image, Tensor) and image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    _check.tensor(function, "image", image, "(C, H, W)")
    if image.shape[0] not in (1, 3):
        raise ValueError(message(function, "image", "have 1 or 3 channels", image.shape[0]))
    return image.detach().float().cpu().clamp(0, 1).movedim(0, -1)


def _checked(function: str, field: BlurField) -> None:
    if not isinstance(field, BlurField):
        raise TypeError(message(function, "field", "be a BlurField", type(field).__name__))
    check_field(function, field.kernels, field.mixing)


def _grid(size: int, spacing: int) -> Tensor:
    """Pixel indices `spacing` apart, centred."""
    count = max(1, size // spacing)
    return torch.arange(count) * spacing + (size - (count - 1) * spacing) // 2


def _ink(kernel: Tensor) -> "object":
    """(K, K, 4) a kernel as ink whose opacity is its value; square roots show faint parts."""
    opacity = (kernel.clamp(min=0) / kernel.max().clamp(min=1e-30)).sqrt()
    colour = torch.tensor(_INK).expand(*kernel.shape, 3)
    return torch.cat([colour, opacity[..., None]], dim=-1).numpy()
