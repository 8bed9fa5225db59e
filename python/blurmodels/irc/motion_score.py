# SPDX-License-Identifier: BSD-3-Clause
"""How far estimated motions are from the true ones."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from blurmodels.irc.motion_data import Examples

_ANGLES = 180  # tried for the best constant motion


def motion_error(length: Tensor, angle: Tensor, true_length: Tensor, true_angle: Tensor) -> Tensor:
    """Squared error of the motion vector at each pixel, the smaller over its sign.

    With m = (length - 1) (cos angle, sin angle), `min(|m - m'|^2, |m + m'|^2)`: a straight motion
    and the one back are the same blur. Sun et al. (CVPR 2015) and Eboli et al. take the squared
    error of the vector without saying more; here length 1, no motion, is the vector 0.

    Args:
        length, angle: estimates, pixels and radians, of one shape.
        true_length, true_angle: the truth, of the same shape or one that broadcasts with it.

    Returns:
        Pixels squared.

    Example:
        >>> zero = torch.zeros(1)
        >>> float(motion_error(zero + 5, zero + 3.1, zero + 8, zero - 0.0415926535))
        9.0...
    """
    one, other = length - 1, true_length - 1
    # Either sign of the product of the vectors is that of the nearer one.
    product = (one * other * torch.cos(angle - true_angle)).abs()
    return (one.square() + other.square() - 2 * product).clamp(min=0)


class MotionScores(NamedTuple):
    """Mean squared errors over all pixels of some examples, pixels squared.

    Attributes:
        mse: of the estimates.
        constant: of the best constant motion, fitted to the very truth that it is judged on.
        still: of no motion at all.
    """

    mse: float
    constant: float
    still: float


@torch.no_grad()
def motion_mse(network: Callable, examples: Examples, indices: Iterable[int]) -> MotionScores:
    """Scores a network, and what can be done without looking at the image.

    Of the constant motions of one angle the best has the length 1 + E|m . u|, u being its
    direction and m the true vectors; the best of 180 angles is taken.

    Args:
        network: takes images to lengths and angles, as `MotionNet`.
        examples: where images come from; each counts alike, whatever its size.
        indices: which.

    Returns:
        The scores.

    Raises:
        ValueError: there is no index.
    """
    errors, squares, along = [], [], []
    turn = math.pi / _ANGLES * torch.arange(_ANGLES, dtype=torch.float64)
    for index in indices:
        example = examples[index]
        length, angle = network(example.observed[None])
        truth = example.length.double(), example.angle.double()
        errors.append(motion_error(length[0].double(), angle[0].double(), *truth).mean())
        extent = (truth[0] - 1).flatten()
        squares.append(extent.square().mean())
        vectors = extent * torch.stack([truth[1].cos(), truth[1].sin()]).flatten(1)
        along.append((torch.stack([turn.cos(), turn.sin()], 1) @ vectors).abs().mean(1))
    if not errors:
        raise ValueError("motion_mse: indices must name at least one example, got none")
    mse, still = (float(torch.stack(values).mean()) for values in (errors, squares))
    gain = float(torch.stack(along).mean(0).square().max())
    return MotionScores(mse, still - gain, still)
