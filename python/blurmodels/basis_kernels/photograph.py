# SPDX-License-Identifier: BSD-3-Clause
"""What every estimator of this package asks of a photograph."""

from typing import Any

import torch
from torch import Tensor


def check_photograph(function: str, image: Any) -> None:
    """Raises, in the function's name, where an image is none that can be estimated from.

    Args:
        function: named in the error.
        image: is to be (1, 1 or 3, H, W), floating-point, finite and not negative.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        got = str(image.dtype) if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"{function}: image must be a floating-point tensor, got {got}")
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[1] not in (1, 3):
        raise ValueError(
            f"{function}: image must be gray (1, 1, H, W) or RGB (1, 3, H, W), without"
            f" transparency, got {tuple(image.shape)}"
        )
    if image.numel() == 0:
        return
    low, high = image.min(), image.max()
    if not (bool(low >= 0) and bool(torch.isfinite(high))):
        raise ValueError(
            f"{function}: image must be finite and not negative,"
            f" got values from {float(low):g} to {float(high):g}"
        )
