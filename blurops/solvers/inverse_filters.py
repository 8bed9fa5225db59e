# SPDX-License-Identifier: BSD-3-Clause
"""Inverse filters of blur kernels, alone or together with analysis filters."""

import math
import os
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from tqdm import tqdm

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.solvers import inverse_systems as systems
from blurops.solvers.filter_cache import FilterCache, user_folder

_NAME = "inverse_filters"
METHODS = ("exact", "fft")

_AT_ONCE = 16  # kernels whose systems are in memory together


def inverse_filters(
    kernels: Tensor,
    *,
    size: int = 31,
    ridge: float = 1e-2,
    analysis: Tensor | Sequence[Tensor] | None = None,
    penalty: float = 0.0,
    method: str = "exact",
    grid: int | None = None,
    cache: bool | str | os.PathLike[str] = False,
    progress: bool = False,
) -> Tensor:
    """Filters d_i of a given side that undo a blur, `sum_i d_i * k_i` near delta.

    For one kernel k the ridge solution of "k convolved with d is the delta", with K the matrix of
    the full convolution and delta in the middle of its output (Eboli et al., "Neural Embedding of
    an Iterative Deconvolution Algorithm for Motion Blur Estimation and Removal", eqs. 12-14):

        d = K^T (K K^T + ridge I)^-1 delta = (K^T K + ridge I)^-1 K^T delta

    With analysis filters g and the weight `penalty` of their residuals:

        M = K K^T + penalty sum_g G_g G_g^T + ridge I
        d_0 = K^T M^-1 delta,   d_g = penalty G_g^T M^-1 delta

    so that `x + d_0 * (y - k * x) + sum_g d_g * (z_g - g * x)` is a step towards the minimum of
    `||k * x - y||^2 + penalty sum_g ||g * x - z_g||^2`. Solved in float64 by Cholesky
    factorisation; with ridge 0, the solution of smallest norm or of least squares.

    Args:
        kernels: (F, Kh, Kw), or (Kh, Kw) for one; odd sides. Convolving k with d is correlating
            with k and then with d, so kernels and filters have the orientation of all kernels of
            this library.
        size: side of the filters, odd.
        ridge: at least 0. Small ones give sharper filters that amplify noise more.
        analysis: n filters with odd sides, (n, h, w) or a sequence of (h, w), correlated with the
            image, such as :func:`difference_filters`.
        penalty: at least 0; 0 gives analysis filters no share, d_g = 0.
        method: `"exact"`, or `"fft"`: `conj(K) / (|K|^2 + penalty sum_g |G_g|^2 + ridge)` (Wiener)
            on a periodic grid, fast, and wrong near the ends of the filter where the grid is small.
        grid: odd side of that grid, at least `size`, which is the default. What follows from a
            large one is cut off, not wrapped around.
        cache: a folder in which each result is kept under a hash of what it follows from, or True
            for `$BLUROPS_CACHE`, else `~/.cache/blurops/inverse-filters`. A bank that was
            interrupted goes on where it stopped; processes may share the folder; a damaged file is
            computed again.
        progress: show a progress bar on stderr.

    Returns:
        (F, 1 + n, size, size), in the dtype and on the device of `kernels`.

    Raises:
        TypeError: a tensor or a number has the wrong type.
        ValueError: a shape or a value does not fit, there are no kernels, a value is not finite, or
            ridge is 0 and a system is singular.
        OSError: the cache cannot be written.

    Note:
        Not differentiable in `kernels`: train the filters themselves.

    Example:
        >>> import torch
        >>> kernel = torch.tensor([[0.2, 0.6, 0.2]])
        >>> inverse = inverse_filters(kernel, size=9, ridge=0.0)
        >>> both = torch.nn.functional.conv2d(inverse, kernel[None, None])  # it is symmetric
        >>> both.shape, bool((both[0, 0, 4, 3] - 1).abs() < 0.01)
        (torch.Size([1, 1, 9, 7]), True)
    """
    kernels = _kernels(kernels)
    size = arguments.odd(_NAME, "size", size)
    ridge = arguments.real(_NAME, "ridge", ridge, least=0)
    penalty = arguments.real(_NAME, "penalty", penalty, least=0)
    _check.choice(_NAME, "method", method, METHODS)
    grid = size if grid is None else arguments.odd(_NAME, "grid", grid)
    if grid < size or (grid > size and method != "fft"):
        wanted = f"be at least size ({size}), and left out unless method is 'fft'"
        raise ValueError(message(_NAME, "grid", wanted, grid))
    extra = _analysis(analysis, kernels)
    if penalty and not extra:
        raise ValueError(message(_NAME, "penalty", "be 0 without analysis filters", penalty))
    work = kernels.detach().cpu().double()
    kept = FilterCache(user_folder() if cache is True else cache) if cache is not False else None
    settings = {"size": size, "ridge": ridge, "penalty": penalty, "method": method, "grid": grid}
    filters = torch.zeros(len(work), 1 + len(extra), size, size, dtype=torch.float64)
    todo = list(range(len(work)))
    keys = [kept.key([each, *extra], **settings) for each in work] if kept else []
    with tqdm(total=len(work), disable=not progress, desc="Inverse filters") as bar:
        if kept:
            todo = [i for i in todo if not _restore(filters[i], kept.load(keys[i]))]
            bar.update(len(work) - len(todo))
        for some in _batches(todo, 1 if penalty or method == "fft" else _AT_ONCE):
            _solve(filters, work, some, extra, **settings)
            for i in some if kept else ():
                kept.store(keys[i], filters[i])
            bar.update(len(some))
    return filters.to(device=kernels.device, dtype=kernels.dtype)


def difference_filters(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The horizontal and the vertical difference, `x[p] - x[p - 1]`, as analysis filters.

    Returns:
        Two (3, 3) kernels to correlate with: (-1, 1, 0) as the middle row, and its transpose.

    Example:
        >>> difference_filters()[0][1].tolist()
        [-1.0, 1.0, 0.0]
    """
    horizontal = torch.zeros(3, 3, dtype=dtype)
    horizontal[1, 0], horizontal[1, 1] = -1, 1
    return horizontal, horizontal.T.contiguous()


def _solve(
    filters: Tensor,
    kernels: Tensor,
    some: list[int],
    extra: list[Tensor],
    *,
    size: int,
    ridge: float,
    penalty: float,
    method: str,
    grid: int,
) -> None:
    """Fill the filters of some kernels."""
    weight = math.sqrt(penalty)
    try:
        if not penalty and method == "exact":
            filters[some, 0] = systems.solve_each(kernels[some], size, ridge)
            return
        for i in some:
            parts = [kernels[i], *(weight * each for each in extra)] if penalty else [kernels[i]]
            filters[i, : len(parts)] = (
                systems.solve_jointly(parts, size, ridge)
                if method == "exact"
                else systems.solve_periodic(parts, size, ridge, grid)
            )
            filters[i, 1:] *= weight
    except systems.SingularSystem:
        which = f"kernel {some[0]}" if len(some) == 1 else f"kernels {some[0]} to {some[-1]}"
        wanted = f"be larger, because the system of {which} is singular to working precision"
        raise ValueError(message(_NAME, "ridge", wanted, f"{ridge:g}")) from None


def _restore(target: Tensor, stored: Tensor | None) -> bool:
    """Fill in what was stored; False where it is none of ours."""
    if stored is None or stored.shape != target.shape or stored.dtype != target.dtype:
        return False
    target.copy_(stored)
    return True


def _batches(items: list[int], count: int) -> Iterator[list[int]]:
    each = iter(items)
    while some := list(islice(each, count)):
        yield some


def _kernels(kernels: Tensor) -> Tensor:
    """(F, Kh, Kw), checked."""
    if isinstance(kernels, Tensor) and kernels.ndim == 2:
        kernels = kernels[None]
    _check.tensor(_NAME, "kernels", kernels, "(F, Kh, Kw)")
    if len(kernels) == 0:
        raise ValueError(message(_NAME, "kernels", "hold at least one", tuple(kernels.shape)))
    _check.kernel_size(_NAME, "kernels", kernels.shape[-2:], tuple(kernels.shape))
    _check.finite(_NAME, "kernels", kernels)
    return kernels


def _analysis(analysis: Tensor | Sequence[Tensor] | None, kernels: Tensor) -> list[Tensor]:
    """The analysis filters in float64, checked."""
    filters = [] if analysis is None else list(analysis)
    for each in filters:
        _check.tensor(_NAME, "analysis", each, "(h, w)")
        _check.kernel_size(_NAME, "analysis", each.shape, tuple(each.shape))
        _check.finite(_NAME, "analysis", each)
    return [each.detach().cpu().double() for each in filters]
