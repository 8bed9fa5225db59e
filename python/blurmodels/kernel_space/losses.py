# SPDX-License-Identifier: BSD-3-Clause
"""What the training of F and G makes small."""

import torch
from torch import Tensor

REDUCTIONS = ("sum", "mean")


def charbonnier(
    found: Tensor,
    wanted: Tensor,
    *,
    epsilon: float = 1e-6,
    squared: bool = False,
    reduction: str = "sum",
) -> Tensor:
    """The Charbonnier distance `sqrt(d^2 + epsilon)` of two images.

    The defaults are what the authors' code has; the paper gives neither epsilon nor reduction.

    Args:
        found, wanted: of one shape.
        epsilon: above 0.
        squared: add the square of epsilon instead, as the literature does.
        reduction: "sum" over everything, or "mean".

    Raises:
        ValueError: reduction is none of these, or epsilon is not positive.

    Example:
        >>> x = torch.rand(1, 3, 256, 256)
        >>> round(float(charbonnier(x, x)), 1)  # of a perfect fit
        196.6
    """
    if reduction not in REDUCTIONS:
        choices = ", ".join(REDUCTIONS)
        raise ValueError(f"charbonnier: reduction must be one of {choices}, got {reduction!r}")
    if not epsilon > 0:
        raise ValueError(f"charbonnier: epsilon must be positive, got {epsilon}")
    # Half types have no room for epsilon, nor for the sum.
    difference = found.float() - wanted if found.dtype != torch.float64 else found - wanted
    each = (difference.square() + (epsilon**2 if squared else epsilon)).sqrt()
    return each.sum() if reduction == "sum" else each.mean()


def divergence(mean: Tensor, sigma: Tensor) -> Tensor:
    """`sum(mean^2 + sigma^2 - log(1e-8 + sigma^2) - 1)`: twice the KL divergence from N(0, I).

    Args:
        mean, sigma: of one shape; sigma may be negative.

    Example:
        >>> float(divergence(torch.ones(3), -torch.ones(3)))
        3.0
    """
    variance = sigma.square()
    return (mean.square() + variance - (1e-8 + variance).log() - 1).sum()
