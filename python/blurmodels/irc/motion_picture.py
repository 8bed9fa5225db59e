# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of motion fields."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 24  # arrows along the longer side unless `spacing` says otherwise
_LONGER = 9.0  # inches
_INK = (1.0, 0.85, 0.1)


def plot_motion_field(
    image: Tensor, length: Tensor, angle: Tensor, *, spacing: int | None = None
) -> "Figure":
    """Draws the motion of a grid of pixels as arrows over the image, at its own scale.

    Each has two heads, because blur does not tell a motion from the one back; its length from tip
    to tip is `length - 1` pixels of the image, the way that the pixel saw. Motions of less than a
    pixel are dots.

    Args:
        image: (C, H, W) or (1, C, H, W), C 1 or 3, display values (cut to [0, 1]).
        length: (1, H, W) pixels, at least 1.
        angle: (1, H, W) radians, counter-clockwise with y upwards.
        spacing: pixels from arrow to arrow; None draws about 24 along the longer side.

    Returns:
        A matplotlib Figure that belongs to no window; `figure.savefig(path)` writes it.

    Raises:
        ValueError: image and field differ in size, or one is of another shape.

    Example:
        >>> still = torch.ones(1, 40, 60)
        >>> figure = plot_motion_field(torch.rand(3, 40, 60), 5 * still, still, spacing=20)
        >>> len(figure.axes[0].collections[0].get_segments())
        6
    """
    from matplotlib.figure import Figure

    pixels = image[0] if image.ndim == 4 and len(image) == 1 else image
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise ValueError(
            "plot_motion_field: image must be (C, H, W) or (1, C, H, W) with C 1 or 3, got"
            f" {tuple(image.shape)}"
        )
    height, width = pixels.shape[1:]
    for name, value in (("length", length), ("angle", angle)):
        if tuple(value.shape) != (1, height, width):
            raise ValueError(
                f"plot_motion_field: {name} must have the image's size, {(1, height, width)}, got"
                f" {tuple(value.shape)}"
            )
    spacing = spacing or max(1, math.ceil(max(height, width) / _ACROSS))
    ends = arrow_ends(length, angle, spacing)
    scale = _LONGER / max(height, width)
    figure = Figure(figsize=(scale * width, scale * height), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    shown = pixels.expand(3, -1, -1).detach().clamp(0, 1).permute(1, 2, 0)
    # Dimmed, so that thin lines stand out from a bright image.
    axes.imshow(0.6 * shown.cpu().numpy(), vmin=0, vmax=1)
    _draw(axes, ends)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    return figure


def arrow_ends(length: Tensor, angle: Tensor, spacing: int) -> Tensor:
    """The two ends (x, y), y downwards, of the motions of every `spacing`-th pixel.

    Args:
        length, angle: (1, H, W).
        spacing: pixels; the grid lies in the middle of the image.

    Returns:
        (P, 2, 2) float64 pixels.
    """
    rows, columns = (
        torch.arange((n - 1) % spacing // 2, n, spacing, device=length.device)
        for n in length.shape[1:]
    )
    down, across = torch.meshgrid(rows, columns, indexing="ij")
    extent, turn = ((m[0, down, across].flatten().detach().double().cpu()) for m in (length, angle))
    half = (extent - 1)[:, None] / 2 * torch.stack([turn.cos(), -turn.sin()], dim=1)
    middle = torch.stack([across.flatten(), down.flatten()], dim=1).double().cpu()
    return torch.stack([middle - half, middle + half], dim=1)


def _draw(axes: object, ends: Tensor) -> None:
    """Lines, their heads, and dots at what stands still."""
    from matplotlib.collections import LineCollection

    way = ends[:, 1] - ends[:, 0]
    reach = way.norm(dim=1, keepdim=True)
    direction = way / reach.clamp(min=1e-9)
    # A head has sides of a quarter of the motion, but no more than 3 pixels.
    side = (reach / 4).clamp(max=3)
    heads = []
    for end, towards in ((ends[:, 1], -direction), (ends[:, 0], direction)):
        across = torch.stack([-towards[:, 1], towards[:, 0]], dim=1)
        wings = [end + side * (towards + sign * across) * math.sqrt(0.5) for sign in (1, -1)]
        heads.append(torch.stack([wings[0], end, wings[1]], dim=1))
    moving = reach[:, 0] >= 1
    axes.add_collection(LineCollection(ends.numpy(), colors=[_INK], linewidths=1.0))
    tips = torch.cat([head[moving] for head in heads])
    axes.add_collection(LineCollection(tips.numpy(), colors=[_INK], linewidths=1.0))
    still = ends[~moving].mean(1)
    axes.scatter(still[:, 0].numpy(), still[:, 1].numpy(), s=2, color=[_INK])


def motion_colours(length: Tensor, angle: Tensor, most: float) -> Tensor:
    """A motion field as a picture: hue is the angle, once around in half a turn, and value length.

    Args:
        length, angle: (H, W).
        most: length that is brightest.

    Returns:
        (3, H, W) in [0, 1].
    """
    phase = 2 * angle[None] - torch.tensor([0.0, 2, 4], device=angle.device)[:, None, None] * (
        math.pi / 3
    )
    bright = ((length - 1) / max(most - 1, 1e-9)).clamp(0, 1)
    return bright[None] * (0.5 + 0.5 * torch.cos(phase))
