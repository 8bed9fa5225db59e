# SPDX-License-Identifier: BSD-3-Clause
"""Small numbers made zero, so that the ops can leave them out."""

import math
import numbers

import torch
from torch import Tensor

from blurops import _check
from blurops._interop import array_function


@array_function
def prune(kernels: Tensor, mixing: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Zero the faint margins of basis kernels and faint mixing coefficients.

    The native ops trim the zero taps around all kernels, and skip a pair of bases (2i, 2i+1) on a
    tile where the mixing of both is zero. This makes zeros of what is almost zero:

    - all taps outside the smallest box that holds every ``d`` with
      ``max_b |kernels_b[d]| > tolerance * max |kernels|``;
    - all ``mixing_b[p]`` with ``|mixing_b[p]| <= tolerance``.

    What is kept is kept as it is; nothing is rescaled. A tolerance of 0 changes no value.

    Args:
        kernels: (N or 1, B, Kh, Kw) basis kernels.
        mixing: (N or 1, B, H, W) mixing coefficients.
        tolerance: at least 0 and below 1; relative to the largest tap for the kernels, absolute for
            the mixing, whose natural scale is 1.

    Returns:
        Fresh (kernels, mixing) of the shapes given. The blur y' with them is as near to the blur y
        with the originals as the triangle inequality says. With ``k'``, ``m'`` the results and
        ``|k|_1`` the sum of a kernel's magnitudes,

            |y - y'|[p] <= max|x| * sum_b (|m_b[p]| * |k_b - k'_b|_1
                                           + |m_b[p] - m'_b[p]| * |k'_b|_1)

        at every pixel p, and as every dropped number is small, with D taps outside the box,

            |y - y'|[p] <= tolerance * max|x| * (D * max|k| * sum_b |m_b[p]| + sum_b |k'_b|_1).

        ``|x|`` is the image, whose maximum the boundary does not raise.

    Raises:
        TypeError: not tensors, not floating point, or of different dtypes; a tolerance that is no
            number.
        ValueError: shapes that do not belong together, devices that differ, values that are not
            finite, or a tolerance outside [0, 1).

    Note:
        Differentiable: gradients pass to what was kept. The box is one for all samples and bases,
        because that is what the ops trim. It waits for the values where they are on a GPU.

    Example:
        >>> import torch, blurops
        >>> kernels = torch.tensor([[1e-6, 0.25, 0.5, 0.25, 0.0]]).reshape(1, 1, 1, 5)
        >>> mixing = torch.tensor([[1.0, 0.5, 1e-6]]).reshape(1, 1, 1, 3)
        >>> kernels, mixing = blurops.prune(kernels, mixing, 1e-5)
        >>> kernels.flatten(), mixing.flatten()
        (tensor([0.0000, 0.2500, 0.5000, 0.2500, 0.0000]), tensor([1.0000, 0.5000, 0.0000]))
    """
    _check_arguments(kernels, mixing, tolerance)
    magnitude = kernels.detach().abs().flatten(0, 1)
    if magnitude.numel() == 0:
        return kernels.clone(), mixing.clone()
    strong = ~_at_most(magnitude.amax(0), tolerance * float(magnitude.max()))
    outside = ~(_between_ends(strong.any(1))[:, None] & _between_ends(strong.any(0)))
    # where() and not a product: a zero times something keeps its sign.
    return (
        torch.where(outside, torch.zeros_like(kernels), kernels),
        torch.where(_at_most(mixing.abs(), tolerance), torch.zeros_like(mixing), mixing),
    )


def _at_most(values: Tensor, limit: float) -> Tensor:
    """``values <= limit``, exactly: the limit may lie between two numbers of their dtype."""
    rounded = float(torch.tensor(limit, dtype=values.dtype))
    return values < rounded if rounded > limit else values <= rounded


def _between_ends(flags: Tensor) -> Tensor:
    """True from the first true flag to the last."""
    return (flags.cumsum(0) > 0) & (flags.flip(0).cumsum(0).flip(0) > 0)


def _check_arguments(kernels: Tensor, mixing: Tensor, tolerance: float) -> None:
    name = "prune"
    _check.tensor(name, "kernels", kernels, "(N or 1, B, Kh, Kw)")
    _check.kernel_size(name, "kernels", kernels.shape[-2:], tuple(kernels.shape))
    _check.tensor(name, "mixing", mixing, "(N or 1, B, H, W)")
    _check.same_kind(name, "mixing", mixing, "kernels", kernels)
    count, basis = kernels.shape[:2]
    if mixing.shape[1] != basis:
        wanted = f"hold one map per basis kernel ({basis})"
        raise ValueError(_check.message(name, "mixing", wanted, tuple(mixing.shape)))
    if count != 1:
        _check.batch(name, "mixing", mixing, count)
    if isinstance(tolerance, bool) or not isinstance(tolerance, numbers.Real):
        raise TypeError(_check.message(name, "tolerance", "be a number", repr(tolerance)))
    if not (math.isfinite(tolerance) and 0 <= tolerance < 1):
        raise ValueError(_check.message(name, "tolerance", "be at least 0 and below 1", tolerance))
    _check.finite(name, "kernels", kernels)
    _check.finite(name, "mixing", mixing)
