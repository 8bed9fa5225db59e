# SPDX-License-Identifier: BSD-3-Clause
"""Homographies by the enhanced correlation coefficient, and the warps that go with them.

G. Evangelidis, E. Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient
Maximization", TPAMI 2008, with the forward-additive update. A homography H takes pixel (x, y) of
the reference to where its light lies in the moving image: `warp(moving, H)[p] = moving[H p]`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from blurmodels.evaluation._errors import message

# Luma of ITU-R BT.601, which the protocol's gray images have.
_LUMA = (0.299, 0.587, 0.114)
_BINOMIAL = {1: (1.0,), 3: (0.25, 0.5, 0.25), 5: (0.0625, 0.25, 0.375, 0.25, 0.0625)}
_DIFFERENCE = (-0.5, 0.0, 0.5)

_FEWEST = 16  # pixels, below which eight numbers cannot be fitted


class Alignment(NamedTuple):
    """Where the moving image lies.

    Attributes:
        homography: (3, 3) float64, its last entry 1.
        correlation: of the two images in [-1, 1], before the last update; NaN where nothing was
            found.
        iterations: updates made.
        converged: whether the last update moved no corner by more than the tolerance.
    """

    homography: Tensor
    correlation: float
    iterations: int
    converged: bool


def ecc_homography(
    reference: Tensor,
    moving: Tensor,
    *,
    iterations: int = 100,
    smoothing: int = 5,
    tolerance: float = 1e-4,
) -> Alignment:
    """The homography that makes the moving image correlate best with the reference.

    The enhanced correlation coefficient is `<r, w(H)> / (|r| |w(H)|)` of the reference r and the
    warped moving image w, both with their mean over the valid pixels taken off: gain and offset of
    either image change nothing. It starts from the identity, so that shifts of more than a few
    pixels at the scale of the images' detail may be missed.

    Args:
        reference: (1, C, H, W), C = 1 (gray) or 3 (RGB).
        moving: the image to be aligned, of the same shape.
        iterations: at most that many updates; the RealBlur protocol's 100.
        smoothing: 1 (none), 3 or 5: taps of the binomial filter that goes over both images first.
        tolerance: stop once an update moves no corner of the image by more than that many pixels.

    Returns:
        The Alignment. Where the correlation cannot be improved (a constant image, or two that
        have nothing in common), it is the identity with a correlation of NaN.

    Raises:
        TypeError, ValueError: an argument is of another kind, or the images' shapes differ.

    Example:
        >>> y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
        >>> def view(shift):
        ...     return (torch.sin((x + shift) / 5) * torch.cos(y / 4) + 1)[None, None] / 2
        >>> found = ecc_homography(view(0.0), 0.7 * view(2.0))
        >>> [round(float(value), 1) + 0.0 for value in found.homography[0]]
        [1.0, 0.0, -2.0]
    """
    gray = [_gray("ecc_homography", name, image) for name, image in _named(reference, moving)]
    if smoothing not in _BINOMIAL:
        raise ValueError(message("ecc_homography", "smoothing", "be 1, 3 or 5", smoothing))
    template, image = (_smooth(plane, _BINOMIAL[smoothing]) for plane in gray)
    gradient_x = _correlate(image, _DIFFERENCE, 1)
    gradient_y = _correlate(image, _DIFFERENCE, 0)
    planes = torch.stack([image, gradient_x, gradient_y])[None]
    identity = torch.eye(3, dtype=torch.float64)
    homography, correlation = identity, float("nan")
    for done in range(iterations):
        step = _step(template, planes, homography)
        if step is None:
            return Alignment(identity, float("nan"), done, False)
        correlation, delta = step
        before = homography
        homography = homography + torch.cat([delta, delta.new_zeros(1)]).reshape(3, 3)
        if _movement(before, homography, template.shape) <= tolerance:
            return Alignment(homography, correlation, done + 1, True)
    return Alignment(homography, correlation, iterations, False)


def warp(image: Tensor, homography: Tensor, mode: str = "bicubic") -> Tensor:
    """The image seen through a homography, `warp(image, H)[p] = image[H p]`.

    Args:
        image: (N, C, H, W).
        homography: (3, 3), of pixel coordinates (x, y, 1).
        mode: "bicubic" (Keys' kernel with a = -0.75) or "bilinear". Beyond its edge the image goes
            on mirrored, the edge pixel repeated.

    Returns:
        The warped image, of the same shape, in the image's dtype.

    Example:
        >>> image = torch.arange(12.0).reshape(1, 1, 3, 4)
        >>> shift = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]])
        >>> warp(image, shift)[0, 0, 0]
        tensor([1., 2., 3., 3.])
    """
    grid = _grid(_points(homography, image.shape[-2:]), image.shape[-2:]).to(image.dtype)
    grid = grid.expand(image.shape[0], -1, -1, -1)
    return torch.nn.functional.grid_sample(
        image, grid, mode=mode, padding_mode="reflection", align_corners=False
    )


def inside(homography: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixels a homography takes to a pixel of the (H, W) image, by the nearest one.

    Returns:
        (1, 1, H, W) bool.

    Example:
        >>> shift = torch.tensor([[1.0, 0, 1.25], [0, 1, 0], [0, 0, 1]])
        >>> inside(shift, (1, 4))[0, 0, 0]
        tensor([ True,  True,  True, False])
    """
    points = _points(homography, size)
    return _within(points, size)[None, None]


def _named(reference: Tensor, moving: Tensor) -> tuple[tuple[str, Tensor], tuple[str, Tensor]]:
    both = isinstance(reference, Tensor) and isinstance(moving, Tensor)
    if both and reference.shape != moving.shape:
        wanted = f"have the reference's shape {tuple(reference.shape)}"
        raise ValueError(message("ecc_homography", "moving", wanted, tuple(moving.shape)))
    return ("reference", reference), ("moving", moving)


def _gray(function: str, argument: str, image: Tensor) -> Tensor:
    """(H, W) in float64."""
    if not isinstance(image, Tensor):
        raise TypeError(message(function, argument, "be a tensor", type(image).__name__))
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] not in (1, 3):
        wanted = "be (1, C, H, W) with C = 1 or 3"
        raise ValueError(message(function, argument, wanted, tuple(image.shape)))
    planes = image[0].double()
    if planes.shape[0] == 1:
        return planes[0]
    return torch.einsum("c,chw->hw", planes.new_tensor(_LUMA), planes)


def _correlate(plane: Tensor, taps: tuple[float, ...], axis: int) -> Tensor:
    """Correlation along one axis, mirrored about the edge pixels."""
    reach = len(taps) // 2
    if plane.shape[axis] <= reach:
        return plane if sum(taps) else torch.zeros_like(plane)
    pad = (0, 0, reach, reach) if axis == 0 else (reach, reach, 0, 0)
    padded = torch.nn.functional.pad(plane[None, None], pad, mode="reflect")[0, 0]
    size = plane.shape[axis]
    return sum(tap * padded.narrow(axis, start, size) for start, tap in enumerate(taps))


def _smooth(plane: Tensor, taps: tuple[float, ...]) -> Tensor:
    return _correlate(_correlate(plane, taps, 0), taps, 1)


def _points(homography: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, H, W): where each pixel goes as (x, y), and what was divided by."""
    height, width = size
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )
    rows = homography.double()
    along = [row[0] * x + row[1] * y + row[2] for row in rows]
    return torch.stack([along[0] / along[2], along[1] / along[2], along[2]])


def _grid(points: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, H, W, 2) in the coordinates of `grid_sample`, which reach from -1 to 1."""
    height, width = size
    return torch.stack([(2 * points[0] + 1) / width - 1, (2 * points[1] + 1) / height - 1], dim=-1)[
        None
    ]


def _within(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Which points are nearest to a pixel of the image."""
    height, width = size
    x, y = points[0], points[1]
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5) & (points[2] > 0)


def _jacobian(points: Tensor, gradient: Tensor) -> Tensor:
    """(8, H, W): the derivative of the warped image by the first eight entries of H."""
    height, width = points.shape[1:]
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)[None]
    over_x, over_y = gradient / points[2]
    perspective = -(over_x * points[0] + over_y * points[1])
    columns = [part * by for part in (over_x, over_y) for by in (x, y, 1.0)]
    return torch.stack([*columns, perspective * x, perspective * y])


def _step(template: Tensor, planes: Tensor, homography: Tensor) -> tuple[float, Tensor] | None:
    """The correlation under this homography and the update (8,); None where there is none.

    Evangelidis and Psarakis, eqs. 10 to 17: with G the zero-mean Jacobian and P its projector, the
    update is `(G'G)^-1 G' (t r - w)`, `t = (|w|^2 - w'Pw) / (r'w - r'Pw)`.
    """
    points = _points(homography, template.shape)
    grid = _grid(points, template.shape)
    warped = torch.nn.functional.grid_sample(
        planes, grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0]
    valid = _within(points, template.shape)
    count = int(valid.sum())
    if count < _FEWEST:
        return None
    jacobian = (_jacobian(points, warped[1:]) * valid).reshape(8, -1)
    reference, moved = (
        ((plane - plane[valid].mean()) * valid).flatten() for plane in (template, warped[0])
    )
    # Products with vectors of mean zero need no mean taken off the Jacobian.
    mean = jacobian.sum(dim=1) / count
    gram = jacobian @ jacobian.T - count * torch.outer(mean, mean)
    scale = gram.diagonal().clamp(min=0).sqrt()
    if not bool((scale > 0).all()):
        return None
    # The columns differ by the image's side squared: equalled, the system is well conditioned.
    gram = gram / torch.outer(scale, scale)
    toward_reference, toward_moved = jacobian @ reference / scale, jacobian @ moved / scale
    solved, status = torch.linalg.solve_ex(gram, torch.stack([toward_reference, toward_moved], 1))
    if bool(status != 0):
        return None
    numerator = moved @ moved - toward_moved @ solved[:, 1]
    denominator = reference @ moved - toward_reference @ solved[:, 1]
    correlation = float(reference @ moved / (reference.norm() * moved.norm()))
    update = (numerator / denominator * solved[:, 0] - solved[:, 1]) / scale
    if not (float(denominator) > 0 and bool(torch.isfinite(update).all())):
        return None
    return correlation, update


def _movement(before: Tensor, after: Tensor, size: tuple[int, int]) -> float:
    """By how many pixels a corner of the image moved at most."""
    height, width = size
    corners = torch.tensor(
        [[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]],
        dtype=torch.float64,
    )
    ends = [corners @ matrix.T for matrix in (before, after)]
    ends = [end[:, :2] / end[:, 2:] for end in ends]
    return float((ends[0] - ends[1]).norm(dim=1).max())
