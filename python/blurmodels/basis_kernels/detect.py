# SPDX-License-Identifier: BSD-3-Clause
"""Where a photograph is blurred, and how well a map of that agrees with the truth."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from blurops.fields import BlurField

# P1, section 4.2.
NORM_LIMIT = 0.25


def blur_map(field: BlurField, limit: float = NORM_LIMIT) -> Tensor:
    """How much of each pixel comes through kernels that spread it.

    `sum_b [||kernels_b||_2 < limit] mixing_b`, Carbajal et al., first version, section 4.2: a
    kernel that does nothing has norm 1, one that spreads light evenly over n pixels 1 / sqrt(n).

    Args:
        field: the blur.
        limit: kernels of a smaller L2 norm count as blur; 0.25 in the paper, 16 pixels.

    Returns:
        (1, 1, H, W), dtype and device of the field; in [0, 1] where mixing is convex.

    Raises:
        ValueError: limit is not positive.

    Example:
        >>> kernels = torch.zeros(1, 2, 1, 33)
        >>> kernels[0, 0, 0, 16] = 1             # sharp
        >>> kernels[0, 1] = 1 / 33               # a motion of 33 pixels
        >>> mixing = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1)
        >>> blur_map(BlurField(kernels, mixing, {})).item()
        0.25
    """
    if not isinstance(limit, int | float) or not limit > 0:
        raise ValueError(f"blur_map: limit must be positive, got {limit!r}")
    spreads = field.kernels.flatten(2).norm(dim=2) < limit
    return torch.einsum("nb,nbhw->nhw", spreads.to(field.mixing.dtype), field.mixing)[:, None]


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """The area below the curve of precision against recall, `sum_n (R_n - R_(n-1)) P_n`.

    The sum runs over the distinct scores, from the highest down; pixels of one score enter
    together, and nothing is interpolated.

    Args:
        scores: any shape, larger where blur is likelier, finite.
        truth: of the same shape, not 0 where there is blur.

    Returns:
        A number in (0, 1], or NaN if no pixel is blurred.

    Raises:
        ValueError: the shapes differ, there is no pixel, or a score is not finite.

    Example:
        >>> average_precision(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 1]))
        0.8333333333333333
    """
    if scores.shape != truth.shape or scores.numel() == 0:
        got = f"{tuple(scores.shape)} and {tuple(truth.shape)}"
        raise ValueError(
            f"average_precision: scores and truth must have one shape, not empty, got {got}"
        )
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("average_precision: scores must be finite, got NaN or infinity")
    order = scores.flatten().argsort(descending=True)
    ranked, hits = scores.flatten()[order], (truth.flatten()[order] != 0).double().cumsum(0)
    # The last pixel of each score.
    ends = torch.cat([ranked[1:] != ranked[:-1], torch.ones_like(ranked[:1], dtype=torch.bool)])
    hits, places = hits[ends], torch.nonzero(ends).flatten().double() + 1
    gains = torch.diff(hits, prepend=hits.new_zeros(1))
    return float((gains * hits / places).sum() / hits[-1])


def mean_average_precision(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The mean over images of `average_precision`, as table 4 of the paper's first version has it.

    Args:
        pairs: scores and truth of each image; those without any blurred pixel are left out.

    Returns:
        The mean, or NaN if no image is left.

    Raises:
        ValueError: as `average_precision` does.
    """
    values: list[Any] = [average_precision(scores, truth) for scores, truth in pairs]
    return float(torch.tensor(values, dtype=torch.float64).nanmean()) if values else float("nan")
