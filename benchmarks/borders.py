# SPDX-License-Identifier: BSD-3-Clause
"""The reflected border of the baselines: slices, because index arithmetic would slow them down."""

from torch import Tensor


def extend_into(buffer: Tensor, image: Tensor, radius: int) -> Tensor:
    """Write the image (..., H, W) with its border into the top left of the buffer."""
    height, width = image.shape[-2:]
    part = buffer[..., : height + 2 * radius, : width + 2 * radius]
    part[..., radius : radius + height, radius : radius + width] = image
    middle = slice(radius, radius + height)
    first, last = radius, radius + width - 1
    part[..., middle, :first] = part[..., middle, first + 1 : 2 * first + 1].flip(-1)
    part[..., middle, last + 1 :] = part[..., middle, last - radius : last].flip(-1)
    last = radius + height - 1
    part[..., :radius, :] = part[..., radius + 1 : 2 * radius + 1, :].flip(-2)
    part[..., last + 1 :, :] = part[..., last - radius : last, :].flip(-2)
    return part


def extend(image: Tensor, radius: int) -> Tensor:
    """(..., H, W) -> (..., H + 2 radius, W + 2 radius)."""
    height, width = image.shape[-2:]
    fresh = image.new_empty(*image.shape[:-2], height + 2 * radius, width + 2 * radius)
    return extend_into(fresh, image, radius)


def fold(extended: Tensor, radius: int) -> Tensor:
    """The transpose of :func:`extend`; the argument is used up."""
    if radius == 0:
        return extended
    rows = extended[..., radius:-radius, :]
    rows[..., 1 : radius + 1, :] += extended[..., :radius, :].flip(-2)
    rows[..., -radius - 1 : -1, :] += extended[..., -radius:, :].flip(-2)
    image = rows[..., radius:-radius]
    image[..., 1 : radius + 1] += rows[..., :radius].flip(-1)
    image[..., -radius - 1 : -1] += rows[..., -radius:].flip(-1)
    return image.contiguous()
