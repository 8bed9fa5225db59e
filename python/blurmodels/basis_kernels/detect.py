# SPDX-License-Identifier: BSD-3-Clause
"""Where a photograph is blurred."""

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
