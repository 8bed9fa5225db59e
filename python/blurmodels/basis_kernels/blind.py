# SPDX-License-Identifier: BSD-3-Clause
"""The blur of one photograph without any weights: kernels and mixing optimised, coarse to fine."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from blurmodels.basis_kernels import blind_steps as steps
from blurmodels.basis_kernels.photograph import check_photograph
from blurops.fields import BlurField

# Each level of the pyramid is so much larger than the one before.
_RATIO = math.sqrt(2)
_COARSEST_KERNEL = 5
_ROUNDS = 5  # on each level
# The finest levels on which every place has a kernel of its own.
_LOCAL_LEVELS = 2
_NEIGHBOURS = 0.2
# Weight of an edge at a contrast of 0.2, how it falls from round to round, and its least value.
_EDGE, _EDGE_FALL, _EDGE_LEAST, _CONTRAST = 4e-3, 1.1, 1e-4, 0.2
_SATURATED = 0.98


def estimate_blind(
    image: Tensor,
    *,
    gamma: float = 2.2,
    kernel_size: int = 25,
    grid: tuple[int, int] = (2, 3),
    sparsity: float = 1.0,
    progress: bool = False,
) -> BlurField:
    """Estimates how a photograph is blurred, from itself alone.

    Looks for the kernels under which the photograph is the blurred image of one with few edges, in
    linear light: alternately a latent image (`blind_steps.latent_step`) and kernels
    (`blind_steps.kernel_step`), on a pyramid from kernels of 5 pixels to `kernel_size`. First one
    kernel for the whole image; on the two finest levels one at each place of a grid, interpolated
    between them, held to its neighbours; in the end the mixing itself is optimised
    (`blind_steps.mixing_step`). After the idea of Xu, Zheng and Jia, "Unnatural L0 sparse
    representation for natural image deblurring", with blurops' operators in place of a convolution.

    It needs edges in many directions, and blur that is nearly the same all over or changes slowly.
    Textures without edges, moving objects, strong rotation, noise, and kernels larger than
    `kernel_size` mislead it, and it does not notice. A kernel_size far above the real one makes
    that likelier.

    Args:
        image: (1, C, H, W), C 1 or 3, values of at least 0; saturated pixels are left out.
        gamma: linear light = image ** gamma.
        kernel_size: K, odd, at least 5 and at most half of the image's shorter side.
        grid: kernels down and across the image; (1, 1) is one for all.
        sparsity: multiplies the weight of an edge; try 4 for a picture of few strong edges, 0.25
            for a soft one.
        progress: show a progress bar on stderr.

    Returns:
        A BlurField: kernels (1, B, K, K) with B the grid's places, mixing (1, B, H, W), boundary
        "reflect", and the gamma.

    Raises:
        TypeError, ValueError: an argument is not as above.

    Example:
        >>> field = estimate_blind(torch.rand(1, 1, 32, 40), kernel_size=5, grid=(1, 1))
        >>> tuple(field.kernels.shape), field.size
        ((1, 1, 5, 5), (32, 40))
    """
    _check(image, gamma, kernel_size, grid, sparsity)
    trust = (image.amax(1, keepdim=True) < _SATURATED).to(image.dtype)
    light = (image**gamma).mean(1, keepdim=True)
    weight = sparsity * _EDGE * float(light.std() / _CONTRAST) ** 2
    least = sparsity * _EDGE_LEAST * weight / (sparsity * _EDGE) if weight else 0.0
    levels = _levels(kernel_size)
    kernels, mixing = None, None
    with tqdm(total=_ROUNDS * len(levels), unit="round", disable=not progress) as bar:
        for level, side in reversed(list(enumerate(levels))):
            observed, trusted = _at_level(light, trust, level)
            places = grid if level < _LOCAL_LEVELS else (1, 1)
            mixing = _between_places(*places, observed)
            kernels = _to_level(kernels, side, math.prod(places), observed)
            near = _neighbours(*places, observed) if math.prod(places) > 1 else None
            for _ in range(_ROUNDS):
                latent = steps.latent_step(observed, kernels, mixing, trusted, weight or 1.0)
                kernels = steps.kernel_step(latent, observed, kernels, mixing, trusted, near)
                weight = max(weight / _EDGE_FALL, least)
                bar.update()
    if math.prod(grid) > 1:
        mixing = steps.mixing_step(latent, observed, kernels, mixing, trusted)
    meta = {"boundary": "reflect", "gamma": float(gamma), "orientation": "correlation"}
    return BlurField(kernels, mixing, {**meta, "estimator": "blind"})


def _levels(kernel_size: int) -> list[int]:
    """The odd kernel side of each level, the finest first."""
    sides = [kernel_size]
    while (side := kernel_size / _RATIO ** len(sides)) > _COARSEST_KERNEL:
        sides.append(2 * round((side - 1) / 2) + 1)
    return sides


def _at_level(light: Tensor, trust: Tensor, level: int) -> tuple[Tensor, Tensor]:
    if level == 0:
        return light, trust
    size = [max(8, round(side / _RATIO**level)) for side in light.shape[2:]]
    # A pixel is trusted if all that it is made of is.
    return _resized(light, size), (_resized(trust, size) > 0.99).to(trust.dtype)


def _resized(x: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(x, size, mode="bilinear", antialias=True)


def _to_level(kernels: Tensor | None, side: int, count: int, like: Tensor) -> Tensor:
    """The kernels of the level before, at this level's size and number."""
    if kernels is None:
        return steps.identity(like.new_empty(1, count, side, side))
    kernels = steps.cleaned(_resized(kernels, [side, side]))
    return kernels.expand(1, count, side, side).contiguous()


def _between_places(rows: int, columns: int, like: Tensor) -> Tensor:
    """(1, rows * columns, H, W) coefficients of linear interpolation between places on a grid."""

    def along(count: int, size: int) -> Tensor:
        at = (torch.arange(size, dtype=like.dtype) + 0.5) / size * count - 0.5
        at = at.clamp(0, count - 1)
        return (1 - (at - torch.arange(count, dtype=like.dtype)[:, None]).abs()).clamp(min=0)

    height, width = like.shape[2:]
    weights = torch.einsum("ah,bw->abhw", along(rows, height), along(columns, width))
    return weights.flatten(0, 1)[None].contiguous()


def _neighbours(rows: int, columns: int, like: Tensor) -> Tensor:
    """(B, B): the Laplacian of the grid's graph, weighed."""
    laplacian = like.new_zeros(rows * columns, rows * columns)
    for row in range(rows):
        for column in range(columns):
            here = row * columns + column
            beside = [here + 1] if column + 1 < columns else []
            for other in [*beside, *([here + columns] if row + 1 < rows else [])]:
                laplacian[[here, other], [here, other]] += _NEIGHBOURS
                laplacian[[here, other], [other, here]] -= _NEIGHBOURS
    return laplacian


def _check(image: Any, gamma: Any, kernel_size: Any, grid: Any, sparsity: Any) -> None:
    name = "estimate_blind"
    check_photograph(name, image)
    if not isinstance(kernel_size, int) or kernel_size < _COARSEST_KERNEL or kernel_size % 2 == 0:
        raise ValueError(f"{name}: kernel_size must be odd and at least 5, got {kernel_size!r}")
    if 2 * kernel_size > min(image.shape[2:]):
        raise ValueError(
            f"{name}: image must have sides of at least twice the kernel size {kernel_size},"
            f" got {image.shape[3]} x {image.shape[2]}"
        )
    if len(grid) != 2 or not all(isinstance(count, int) and count >= 1 for count in grid):
        raise ValueError(f"{name}: grid must be two positive integers, got {grid!r}")
    for argument, value in (("gamma", gamma), ("sparsity", sparsity)):
        if not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name}: {argument} must be positive, got {value!r}")
