# SPDX-License-Identifier: BSD-3-Clause
"""What the search on a manifold of faces minimises."""

from typing import NamedTuple

import torch
from torch import Tensor

_EPSILON = 1e-9
# Below this a distance between images counts as this much, and has no gradient.
_LEAST = 1e-15
# The authors' factor of the mean absolute difference.
_ABSOLUTE = 10


def squared(found: Tensor, wanted: Tensor) -> Tensor:
    """L2: the mean squared error of each image, at least 1e-15, summed over the batch.

    Args:
        found, wanted: (N, C, H, W).

    Example:
        >>> float(squared(torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)))
        0.5
    """
    return (found - wanted).square().mean((1, 2, 3)).clamp(min=_LEAST).sum()


def absolute(found: Tensor, wanted: Tensor) -> Tensor:
    """L1: ten times the mean absolute error of each image, at least 1e-15, over the batch.

    Args:
        found, wanted: (N, C, H, W).

    Example:
        >>> float(absolute(torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)))
        10.0
    """
    return _ABSOLUTE * (found - wanted).abs().mean((1, 2, 3)).clamp(min=_LEAST).sum()


def geocross(w: Tensor) -> Tensor:
    """GEOCROSS of Menon et al., "PULSE": how far apart the layers' latent vectors point.

    Over all ordered pairs of the L vectors X, Y of an image, each with itself too, the mean of
    `D theta^2`, `theta = 2 atan2(|X - Y|, |X + Y|)` with 1e-9 inside both roots, divided by
    `L / 2 - 1`; summed over the batch. The authors have D = 512, and divide by 8 for 18 layers and
    by 6 for 14: this is what both have in common.

    Args:
        w: (N, L, D), L at least 3: what the synthesis network gets.

    Example:
        >>> right_angles = torch.eye(4)[None]
        >>> round(float(geocross(right_angles)), 3)  # 12 of 16 pairs: 4 (pi / 2)^2 3/4
        7.402
    """
    one, other = w[:, :, None], w[:, None]
    apart = ((one - other).square().sum(-1) + _EPSILON).sqrt()
    together = ((one + other).square().sum(-1) + _EPSILON).sqrt()
    angle = 2 * torch.atan2(apart, together)
    layers, width = w.shape[1:]
    return (width * angle.square().mean((1, 2)) / (layers / 2 - 1)).sum()


class FaceLoss(NamedTuple):
    """`l2 L2 + l1 L1 + cross GEOCROSS + norm ||k||`, the norm Frobenius', not squared.

    Attributes:
        l2, l1, cross, norm: the weights; the authors' norm is 5e-5 with StyleGAN.
    """

    l2: float = 100.0
    l1: float = 0.0
    cross: float = 0.1
    norm: float = 5e-5

    def __call__(self, found: Tensor, wanted: Tensor, w: Tensor, kernel: Tensor) -> Tensor:
        """A scalar.

        Args:
            found, wanted: (N, C, H, W): what the operator makes, and the photograph.
            w: (N, L, D), the latent vectors.
            kernel: of the operator, of any shape; an empty one has no norm.
        """
        total = self.l2 * squared(found, wanted) + self.cross * geocross(w)
        if self.l1:
            total = total + self.l1 * absolute(found, wanted)
        return total + self.norm * kernel.norm() if kernel.numel() else total
