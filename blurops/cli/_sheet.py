# SPDX-License-Identifier: BSD-3-Clause
"""The demo's pictures side by side."""

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from blurops.fields import BlurField

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Where to look closer, as shares of height and width: the spoon and the cup's handle.
_DETAIL = (0.5, 0.9, 0.3, 0.7)


def draw_sheet(
    pictures: list[Tensor], clock: list[Tensor], field: BlurField, report: dict[str, Any]
) -> "Figure":
    """Draws the photograph in three states, a detail of each, the clock and the basis kernels.

    Args:
        pictures: (1, C, H, W) in [0, 1]: sharp, blurred, restored.
        clock: likewise: blurred, restored.
        field: the blur.
        report: for the numbers in the captions.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    height, width = pictures[0].shape[2:]
    aspect = height / width
    figure = Figure(figsize=(15, 5 * aspect + 5 * aspect + 4.6), dpi=110, layout="constrained")
    grid = figure.add_gridspec(3, 3, height_ratios=[aspect, aspect, 0.8])
    captions = (
        "sharp",
        f"blurred: {report['psnr_blurred']:.2f} dB, SSIM {report['ssim_blurred']:.3f}",
        f"restored: {report['psnr_restored']:.2f} dB, SSIM {report['ssim_restored']:.3f}",
    )
    top, bottom, left, right = (
        round(share * side)
        for share, side in zip(_DETAIL, (height, height, width, width), strict=True)
    )
    for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        _show(figure.add_subplot(grid[0, column]), picture, caption)
        detail = picture[:, :, top:bottom, left:right]
        _show(figure.add_subplot(grid[1, column]), detail, f"detail, {caption.split(':')[0]}")
    motion = report["clock"]["motion_length"]
    _show(figure.add_subplot(grid[2, 0]), clock[0], "clock, really blurred")
    _show(figure.add_subplot(grid[2, 1]), clock[1], f"clock, restored from {motion:g} pixels")
    _draw_basis(figure.add_subplot(grid[2, 2]), field)
    return figure


def _show(axes: "Axes", picture: Tensor, caption: str) -> None:
    values = picture[0].movedim(0, -1).numpy()
    axes.imshow(values if values.shape[-1] == 3 else values[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(caption)
    axes.set_axis_off()


def _draw_basis(axes: "Axes", field: BlurField) -> None:
    """The basis kernels as one mosaic, each scaled to its own maximum."""
    kernels = field.kernels[0]
    across = math.ceil(math.sqrt(len(kernels)))
    down = math.ceil(len(kernels) / across)
    side_y, side_x = kernels.shape[1:]
    mosaic = kernels.new_zeros(down * (side_y + 1), across * (side_x + 1))
    for index, kernel in enumerate(kernels):
        row, column = divmod(index, across)
        y, x = row * (side_y + 1), column * (side_x + 1)
        mosaic[y : y + side_y, x : x + side_x] = kernel / kernel.max().clamp(min=1e-30)
    axes.imshow(mosaic.numpy(), cmap="magma", vmin=0, vmax=1)
    axes.set_title(f"the {len(kernels)} basis kernels")
    axes.set_axis_off()
