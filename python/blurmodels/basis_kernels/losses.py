# SPDX-License-Identifier: BSD-3-Clause
"""What training makes small: the reblur loss, and the weights of pixels that all losses share."""

from torch import Tensor

import blurops
from blurmodels.basis_kernels.kernel_loss import kernel_loss

FORMS = ("linear", "values")

# Where `x ** (1 / gamma)` has an endless slope, a hundredth of an 8-bit step in display values.
_DARKEST = 1e-6

__all__ = ["kernel_loss", "reblur_loss", "segment_weights"]


def segment_weights(masks: Tensor) -> Tensor:
    """`w_i = 1 / (number of pixels of the segment that i belongs to)`, Carbajal et al., eqs. 5, 6.

    Every segment, the background being one, has the same say, however small it is.

    Args:
        masks: (N, J, H, W), 1 where a pixel belongs to the segment and 0 elsewhere.

    Returns:
        (N, 1, H, W); the sum over an image is its number of segments that are not empty.

    Example:
        >>> import torch
        >>> masks = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]])
        >>> segment_weights(masks)
        tensor([[[[0.5000, 0.5000, 1.0000]]]])
    """
    pixels = masks.sum(dim=(2, 3), keepdim=True)
    return (masks / pixels.clamp(min=1)).sum(1, keepdim=True)


def reblur_loss(
    kernels: Tensor,
    mixing: Tensor,
    sharp: Tensor,
    observed: Tensor,
    weights: Tensor,
    *,
    gamma: float = 2.2,
    saturation: bool = True,
    form: str = "linear",
    boundary: str = "valid",
) -> Tensor:
    """The reblur loss, `sum_i w_i (v_i - v_i^GT)^2`, averaged over the batch.

    v is the sharp truth, blurred by the estimate (Carbajal et al., eq. 5; first version: eq. 3).
    "values" is eq. 5 read literally, `v = R(H u)^(1 / gamma)` against the values recorded.
    "linear", as the paper's code has it, stops before the last power, and takes the recorded values
    to linear light instead; the code's R, moved by 0.5 as its images are, is the same function.

    Args:
        kernels: (N, B, K, K) estimated basis kernels.
        mixing: (N, B, H, W) estimated coefficients.
        sharp: (N, C, H', W') linear light; larger than the rest by K - 1 where boundary is "valid".
        observed: (N, C, H, W) values recorded.
        weights: (N, 1, H, W), see `segment_weights`.
        gamma: linear light = value ** gamma.
        saturation: whether v goes through the sensor's response R, eq. 4.
        form: "linear" or "values".
        boundary: of the blur.

    Returns:
        A scalar; squares are summed over the channels.

    Raises:
        TypeError, ValueError: a tensor does not fit, or there is no such form.

    Example:
        >>> import torch
        >>> sharp = torch.rand(1, 3, 10, 10)
        >>> kernels, mixing = torch.ones(1, 1, 3, 3) / 9, torch.ones(1, 1, 8, 8)
        >>> seen = blurops.basis_blur(sharp, kernels, mixing, boundary="valid") ** (1 / 2.2)
        >>> weights = torch.ones(1, 1, 8, 8)
        >>> loss = reblur_loss(kernels, mixing, sharp, seen, weights, saturation=False)
        >>> bool(loss < 1e-9)
        True
    """
    if form not in FORMS:
        raise ValueError(f"reblur_loss: form must be one of {', '.join(FORMS)}, got {form!r}")
    again = blurops.basis_blur(sharp, kernels, mixing, boundary=boundary)
    if again.shape != observed.shape or weights.shape != (len(again), 1, *again.shape[2:]):
        raise ValueError(
            f"reblur_loss: observed and weights must have the blurred size {tuple(again.shape)},"
            f" got {tuple(observed.shape)} and {tuple(weights.shape)}"
        )
    if saturation:
        again = blurops.saturate(again)
    if form == "values":
        again = again.clamp(min=_DARKEST) ** (1 / gamma)
    else:
        observed = observed**gamma
    return (weights * (again - observed).square()).sum() / len(again)
