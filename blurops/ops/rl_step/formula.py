# SPDX-License-Identifier: BSD-3-Clause
"""The mathematics of one Richardson-Lucy update, in terms of any blur and its adjoint.

Everything is differentiable torch with finite gradients. The sets of the two-set step are
constants: they come out of comparisons. Names follow the paper: U the estimate, V the observation,
W = HU, all in linear light.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from blurops.ops.rl_step.saturation import Saturation
from blurops.ops.saturate.reference import saturate, saturate_derivative

Apply = Callable[[Tensor], Tensor]

# A blurred pixel with more than this share of its kernel on set S has lost information. Small
# shares are left in: dropping every touched pixel starves U around each highlight
# (benchmarks/rl_lost_share.py measures it).
LOST_SHARE = 0.25


def smallest_column_sum(dtype: torch.dtype) -> float:
    """The sum of a column of H up to which the data say nothing about its pixel."""
    return 1e-10 if dtype == torch.float64 else 1e-4


def ratio(observed: Tensor, response: Tensor, weight: Tensor | float, eps: float) -> Tensor:
    """``q(s) = V s / (r + eps) + 1 - s``: the factor a blurred pixel asks of its sources."""
    return observed * weight / (response + eps) + (1 - weight)


def correction(ratios: Tensor, adjoint: Apply, column_sums: Tensor) -> Tensor:
    """``F(q) = max(H^T q, 0) / H^T 1``, and 1 for pixels that no data see."""
    seen = column_sums > smallest_column_sum(column_sums.dtype)
    factor = adjoint(ratios).clamp(min=0) / torch.where(seen, column_sums, 1)
    return torch.where(seen, factor, 1)


def reliable_set(values: Tensor, saturation: Saturation, count_outside: bool = False) -> Tensor:
    """``z0``: membership of the reliable set U, in [0, 1].

    ``count_outside`` lets the zeros around the image into the 3x3 mean, as the authors' code does.
    """
    inside = (values < saturation.threshold).to(values.dtype)
    if saturation.erode:
        inside = -F.max_pool2d(-inside, 3, stride=1, padding=1)
    if saturation.smooth:
        inside = F.avg_pool2d(inside, 3, stride=1, padding=1, count_include_pad=count_outside)
    return inside


def undamaged(reliable: Tensor, blur: Apply) -> Tensor:
    """``z``: 1 at the blurred pixels whose light comes from the reliable set, 0 at the others."""
    return (blur(1 - reliable) <= LOST_SHARE).to(reliable.dtype)


def central(image: Tensor, size: Sequence[int]) -> Tensor:
    """The (H, W) middle of an image: where the blurred pixels of boundary "valid" sit."""
    top, left = (image.shape[-2] - size[0]) // 2, (image.shape[-1] - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]


def tv_divisor(image: Tensor, tv: float) -> Tensor:
    """``1 - tv div(grad U / |grad U|)``: forward differences, div minus their transpose."""
    across = F.pad(image[..., :, 1:] - image[..., :, :-1], (0, 1, 0, 0))
    down = F.pad(image[..., 1:, :] - image[..., :-1, :], (0, 0, 0, 1))
    square = across * across + down * down
    # Below the smallest normal number the square has no digits left to normalise with.
    sloped = square > torch.finfo(image.dtype).tiny
    length = torch.where(sloped, square, 1).sqrt()
    across, down = torch.where(sloped, across / length, 0), torch.where(sloped, down / length, 0)
    divergence = across - F.pad(across[..., :, :-1], (1, 0, 0, 0))
    divergence = divergence + down - F.pad(down[..., :-1, :], (0, 0, 1, 0))
    return 1 - tv * divergence


def data_terms(
    blurred: Tensor, mask: Tensor | None, saturation: Saturation | None
) -> tuple[Tensor, Tensor | float]:
    """``r`` and ``s`` of :func:`ratio`: the predicted observation, and the trust in each pixel."""
    light = blurred.clamp(min=0)
    if saturation is None:
        return light, 1.0 if mask is None else mask
    response = saturate(light, saturation.a, saturation.level).clamp(min=0)
    weight = saturate_derivative(light, saturation.a, saturation.level)
    return response, weight if mask is None else weight * mask


def multiplier(
    estimate: Tensor,
    observed: Tensor,
    blurred: Tensor,
    blur: Apply,
    adjoint: Apply,
    column_sums: Tensor,
    *,
    mask: Tensor | None = None,
    saturation: Saturation | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """What the data multiply the estimate by: ``F(q(s))``, or the mix of both sets' factors."""
    response, weight = data_terms(blurred, mask, saturation)
    bright = ratio(observed, response, weight, eps)
    if saturation is None or saturation.threshold == math.inf:
        return correction(bright, adjoint, column_sums)
    with torch.no_grad():
        reliable = reliable_set(estimate, saturation)
        size = observed.shape[-2:]
        clean = undamaged(reliable, blur) if saturation.dilate else central(reliable, size)
    careful = ratio(observed, response, weight * clean, eps)
    for_reliable, for_bright = two_corrections(careful, bright, adjoint, column_sums)
    return reliable * for_reliable + (1 - reliable) * for_bright


def two_corrections(
    careful: Tensor, bright: Tensor, adjoint: Apply, column_sums: Tensor
) -> tuple[Tensor, Tensor]:
    """:func:`correction` of both sets' ratios, by one adjoint that mixes the kernels once."""
    factors = correction(torch.cat((careful, bright), dim=1), adjoint, column_sums)
    for_reliable, for_bright = factors.chunk(2, dim=1)
    return for_reliable, for_bright


def update(
    estimate: Tensor,
    observed: Tensor,
    blurred: Tensor,
    blur: Apply,
    adjoint: Apply,
    column_sums: Tensor,
    *,
    mask: Tensor | None = None,
    saturation: Saturation | None = None,
    tv: float = 0.0,
    eps: float = 1e-6,
) -> Tensor:
    """One update of a linear estimate, given its blurred image ``H U``."""
    factor = multiplier(
        estimate, observed, blurred, blur, adjoint, column_sums,
        mask=mask, saturation=saturation, eps=eps,
    )  # fmt: skip
    updated = estimate * factor
    return updated / tv_divisor(estimate, tv) if tv else updated


def compose(
    estimate: Tensor,
    observed: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    column_sums: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    blurred: Tensor | None = None,
    blur: Callable[[Tensor, Tensor, Tensor], Tensor],
    adjoint: Callable[[Tensor, Tensor, Tensor], Tensor],
    saturation: Saturation | None = None,
    tv: float = 0.0,
    eps: float = 1e-6,
) -> Tensor:
    """``rl_step`` from a basis-mixed blur and its adjoint.

    Both are called as ``(image, kernels, mixing) -> image``; ``blurred`` is H U, when it is known.
    Half types are computed in float32; a result beyond their range becomes their largest number.
    """
    dtype = estimate.dtype
    half = dtype in (torch.float16, torch.bfloat16)
    tensors = (estimate, observed, kernels, mixing, column_sums, mask, blurred)
    if half:
        tensors = tuple(None if t is None else t.float() for t in tensors)
    estimate, observed, kernels, mixing, column_sums, mask, blurred = tensors
    if column_sums is None:
        count = max(kernels.shape[0], mixing.shape[0])
        column_sums = adjoint(observed.new_ones(count, 1, *observed.shape[2:]), kernels, mixing)

    def forward(image: Tensor) -> Tensor:
        return blur(image, kernels, mixing)

    def transpose(image: Tensor) -> Tensor:
        return adjoint(image, kernels, mixing)

    blurred = forward(estimate) if blurred is None else blurred
    result = update(
        estimate, observed, blurred, forward, transpose, column_sums,
        mask=mask, saturation=saturation, tv=tv, eps=eps,
    )  # fmt: skip
    if half:
        result = result.clamp(max=torch.finfo(dtype).max).to(dtype)
    return result.contiguous()
