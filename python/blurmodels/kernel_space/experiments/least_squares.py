# SPDX-License-Identifier: BSD-3-Clause
"""The blur of a pair as explicit kernels: the baseline of the encoded ones, without any weights.

Where F is an operator of blurops, G has a plain definition: the kernels whose blur of the sharp
image is nearest to the blurred one.
"""

import torch
from torch import Tensor

import blurops


def grid_mixing(grid: int, height: int, width: int) -> Tensor:
    """(1, grid^2, H, W): the weights of bilinear interpolation between the cells' centres.

    Example:
        >>> grid_mixing(2, 4, 4)[0, :2, 0]
        tensor([[1.0000, 0.7500, 0.2500, 0.0000],
                [0.0000, 0.2500, 0.7500, 1.0000]])
    """
    rows, columns = _hats(grid, height), _hats(grid, width)
    return (rows[:, None, :, None] * columns[None, :, None, :]).reshape(1, -1, height, width)


def _hats(count: int, length: int) -> Tensor:
    """(count, length) piecewise linear weights, constant beyond the outermost centres."""
    place = (torch.arange(length) + 0.5) * count / length - 0.5
    place = place.clamp(0, count - 1)
    return (1 - (place - torch.arange(count)[:, None]).abs()).clamp(min=0)


def fit_kernels(
    sharp: Tensor, blurred: Tensor, *, kernel_size: int = 33, grid: int = 1, iterations: int = 60
) -> Tensor:
    """The kernels that make the blurred image of the sharp one, by least squares.

    Minimises `||D (y - H(k) x)||^2`, where H mixes the kernels of a grid by `grid_mixing` and D is
    the image beside its differences along both axes: these weigh all frequencies more alike, for
    which conjugate gradients are faster. (The differences of the mixing itself are left out: there
    are none for one kernel.) Pixels that light from outside the image reaches do not count. The
    number of iterations is the only regulariser.

    Args:
        sharp: x, (1, C, H, W).
        blurred: y, of the same shape.
        kernel_size: K, odd, below both sides.
        grid: kernels along each axis; 1 for the same blur everywhere.
        iterations: of conjugate gradients on the normal equations.

    Returns:
        (1, grid^2, K, K), correlation orientation, any sign and sum.

    Raises:
        ValueError: the shapes differ, or the images are too small for the kernels.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> sharp, kernel = torch.rand(1, 1, 32, 32), torch.tensor([[0.1, 0.2, 0.7]])
        >>> blurred = blurops.UniformBlur(kernel) @ sharp
        >>> fit_kernels(sharp, blurred, kernel_size=3)[0, 0, 1]
        tensor([0.1000, 0.2000, 0.7000])
    """
    if sharp.shape != blurred.shape:
        raise ValueError(
            f"fit_kernels: blurred must have the shape of sharp, {tuple(sharp.shape)},"
            f" got {tuple(blurred.shape)}"
        )
    if min(sharp.shape[2:]) <= kernel_size:
        height, width = sharp.shape[2:]
        raise ValueError(
            f"fit_kernels: kernel_size must be below the sides of the images, {width} x {height},"
            f" got {kernel_size}"
        )
    radius = kernel_size // 2
    mixing = grid_mixing(grid, *sharp.shape[2:]).to(sharp)[:, :, 1:, 1:]
    image, target = _channels(sharp), _cut(_channels(blurred), radius)
    mixing = _cut(mixing, radius)
    size = (kernel_size, kernel_size)
    kernels = sharp.new_zeros(1, grid * grid, *size)
    # Björck, "Numerical Methods for Least Squares Problems", algorithm 7.4.1 (CGLS).
    residual = target
    gradient = blurops.basis_blur_grad_kernels(residual, image, mixing, size, boundary="valid")
    direction, energy = gradient, gradient.square().sum()
    first = energy
    for _ in range(iterations):
        if energy <= torch.finfo(energy.dtype).eps ** 2 * first:
            break
        step = blurops.basis_blur(image, direction, mixing, boundary="valid")
        length = energy / step.square().sum()
        kernels, residual = kernels + length * direction, residual - length * step
        gradient = blurops.basis_blur_grad_kernels(residual, image, mixing, size, boundary="valid")
        before, energy = energy, gradient.square().sum()
        direction = gradient + energy / before * direction
    return kernels


def apply_kernels(sharp: Tensor, kernels: Tensor) -> Tensor:
    """The blur of `fit_kernels` on an image of any size: its grid is stretched over the image."""
    grid = round(kernels.shape[1] ** 0.5)
    mixing = grid_mixing(grid, *sharp.shape[2:]).to(sharp)
    return blurops.basis_blur(sharp, kernels, mixing)


def _channels(image: Tensor) -> Tensor:
    """The image, and its differences along both axes, without the first row and column."""
    right, down = image.diff(dim=3)[:, :, 1:], image.diff(dim=2)[:, :, :, 1:]
    return torch.cat([0.1 * image[:, :, 1:, 1:], right, down], dim=1)


def _cut(image: Tensor, radius: int) -> Tensor:
    height, width = image.shape[2:]
    return image[:, :, radius : height - radius, radius : width - radius].contiguous()
