# SPDX-License-Identifier: BSD-3-Clause
"""Kernel fields reduced to B basis kernels with convex mixing."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields._streams import stream
from blurops.fields.field import BlurField, field_meta
from blurops.fields.kernel_field import KernelField, as_kernel_field

_ALTERNATIONS = 20  # of mixing and kernels at most, each time a basis kernel joins
_WORTHWHILE = 0.01  # relative gain in squared error below which the alternation ends
_SWEEPS = 3  # over the basis kernels in each alternation
# The mixing of a pixel is done when the most that is left to gain is below the larger of these
# shares, of half its squared error (so 5e-4 of its error) and of half its squared kernel.
_GAP_OF_ERROR, _GAP_OF_KERNEL = 1e-3, 1e-6
_MAX_STEPS = 300
_LEARNING_STEPS = 60  # in an alternation, where the next one goes on from there
_CHECK = 10  # steps between looks at the gap
_EXACT = 1e-6  # relative error below which no further basis kernel is wanted
_CHUNK = 1 << 12  # pixels whose kernels exist at one time


class ReductionError(NamedTuple):
    """How well B basis kernels stand for a kernel field; all are relative Frobenius norms.

    Attributes:
        error: `||A - W G|| / ||A||` over the sampled kernels, the rows of A.
        svd_bound: the smallest such error of any rank-B factors, signs and sums free (Eckart and
            Young); `error` cannot be below it.
        field_error: the error over all pixels of the image.
    """

    error: float
    svd_bound: float
    field_error: float


def reduce_kernel_field(
    kernel_field: KernelField | BlurField | Tensor,
    basis_size: int = 25,
    *,
    samples: int = 1024,
    boundary: str = "reflect",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[BlurField, ReductionError]:
    """The best B basis kernels and convex mixing found for a field of per-pixel kernels.

    Minimises `sum_p ||k_p - sum_b m_b[p] k_b||^2` with `k_b >= 0, sum k_b = 1, m_b[p] >= 0,
    sum_b m_b[p] = 1`. Basis kernels are learnt on sampled pixels: from their mean kernel on, the
    worst sample joins the basis, and the two blocks are minimised in turn, the mixing by an
    accelerated projected gradient, each basis kernel exactly by projecting its least-squares
    solution to the simplex (as hierarchical alternating least squares does for non-negative
    factors). Then every pixel's mixing is solved with the basis fixed, in chunks, so that the
    H x W x K x K kernels never exist at once.

    Args:
        kernel_field: (P, K, K) or (H, W, K, K) kernels, or an object with `size`, `kernel_size` and
            `kernels_at(rows, columns)`, as all kernel fields and BlurField have.
        basis_size: B. Fewer kernels come back when fewer stand for all samples exactly.
        samples: pixels to learn the basis from; all of them when the image has no more.
        boundary: recorded in the field's `meta`.
        seed: which pixels are sampled. Equal arguments give equal fields.
        progress: called as `progress(rows done, H)` while the mixing is solved.

    Returns:
        The BlurField, float32, and its ReductionError.

    Raises:
        TypeError, ValueError: an argument of another kind, or out of range.

    Example:
        >>> kernels = torch.eye(9).view(9, 3, 3)
        >>> field, errors = reduce_kernel_field(kernels, 9)
        >>> errors.error < 1e-3
        True
    """
    name = "reduce_kernel_field"
    _check.choice(name, "boundary", boundary, _check.BOUNDARIES)
    source = as_kernel_field(name, kernel_field)
    basis_size = arguments.positive_int(name, "basis_size", basis_size)
    target = _Samples(name, source, samples, seed)
    for basis, weights in _growing_basis(target.kernels):
        if len(basis) == basis_size or target.error(basis, weights) < _EXACT:
            break
    kernels = target.unfold(basis)
    mixing, field_error = _solve_mixing(source, kernels, progress)
    meta = field_meta(boundary, seed=seed)
    errors = ReductionError(
        target.error(basis, weights), target.svd_bounds([basis_size])[0], field_error
    )
    return BlurField(kernels.float()[None], mixing[None], meta), errors


def error_curve(
    kernel_field: KernelField | BlurField | Tensor,
    basis_sizes: list[int] | tuple[int, ...],
    *,
    samples: int = 1024,
    seed: int = 0,
) -> tuple[list[float], list[float]]:
    """The errors of `reduce_kernel_field` on its samples, for several basis sizes in one run.

    Args:
        kernel_field, samples, seed: as there.
        basis_sizes: the B to report.

    Returns:
        For each basis size the relative error, and its SVD bound.

    Raises:
        TypeError, ValueError: an argument of another kind, or out of range.
    """
    name = "error_curve"
    if not basis_sizes:
        raise ValueError(message(name, "basis_sizes", "hold at least one size", basis_sizes))
    sizes = [arguments.positive_int(name, "basis_sizes", size) for size in basis_sizes]
    target = _Samples(name, as_kernel_field(name, kernel_field), samples, seed)
    found: dict[int, float] = {}
    for basis, weights in _growing_basis(target.kernels):
        found[len(basis)] = error = target.error(basis, weights)
        if len(basis) == max(sizes) or error < _EXACT:
            break
    return [found[min(size, len(basis))] for size in sizes], target.svd_bounds(sizes)


class _Samples:
    """The kernels of the sampled pixels as a matrix, without the columns that are 0 in all."""

    def __init__(self, function: str, source: KernelField, samples: int, seed: int) -> None:
        samples = arguments.positive_int(function, "samples", samples)
        rows, columns = _sample_pixels(source, samples, arguments.seed(function, seed))
        parts = [
            source.kernels_at(r, c).double().flatten(1)
            for r, c in zip(rows.split(_CHUNK), columns.split(_CHUNK), strict=True)
        ]
        full = torch.cat(parts)
        if not bool(torch.isfinite(full).all()):
            raise ValueError(message(function, "kernel_field", "be finite", "NaN or infinity"))
        self.side = source.kernel_size
        self.support = full.any(0).nonzero()[:, 0]
        if not len(self.support):
            raise ValueError(message(function, "kernel_field", "not be 0 everywhere", "only zeros"))
        self.kernels = full[:, self.support]  # (P, S)
        self.norm = float(self.kernels.norm())

    def error(self, basis: Tensor, weights: Tensor) -> float:
        return float((self.kernels - weights @ basis).norm()) / self.norm

    def svd_bounds(self, sizes: list[int]) -> list[float]:
        values = torch.linalg.svdvals(self.kernels)
        return [float(values[size:].norm()) / self.norm for size in sizes]

    def unfold(self, basis: Tensor) -> Tensor:
        """(B, K, K) from (B, S)."""
        full = basis.new_zeros(len(basis), self.side**2)
        full[:, self.support] = basis
        return full.view(-1, self.side, self.side)


def _sample_pixels(source: KernelField, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of the pixels to learn from: the corners, a jittered grid, and each region.

    The corners hold the extremes of a camera's motion; `regions`, where a field has them, hold what
    a grid may miss, such as a small object.
    """
    height, width = source.size
    if height * width <= samples:
        pixels = torch.arange(height * width)
        return pixels // width, pixels % width
    generator = stream(seed, "reduction samples")
    regions = getattr(source, "regions", None)
    on_grid = samples if regions is None else (samples + 1) // 2
    down = max(1, min(height, round(math.sqrt(on_grid * height / width))))
    across = max(1, min(width, on_grid // down))
    jitter = torch.rand(2, down, across, generator=generator, dtype=torch.float64)
    rows = ((torch.arange(down)[:, None] + jitter[0]) * height / down).long().flatten()
    columns = ((torch.arange(across) + jitter[1]) * width / across).long().flatten()
    corners = torch.tensor([0, width - 1, (height - 1) * width, height * width - 1])
    pixels = [corners, rows * width + columns]
    for region in () if regions is None else regions:
        inside = region.flatten().nonzero()[:, 0]
        share = max(1, (samples - on_grid) // len(regions))
        if len(inside):
            choice = torch.randint(len(inside), (share,), generator=generator)
            pixels.append(inside[choice])
    pixels = torch.cat(pixels).unique()
    return pixels // width, pixels % width


def _growing_basis(target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (basis (B, S), weights (P, B)) for B = 1, 2, ...; the error never grows."""
    basis = project_to_simplex(target.mean(0, keepdim=True))
    weights = target.new_ones(len(target), 1)
    yield basis, weights
    while True:
        worst = target[_lost(target, basis, weights).argmax()][None]
        basis = torch.cat([basis, project_to_simplex(worst)])
        weights = torch.cat([weights, torch.zeros_like(weights[:, :1])], dim=1)
        weights = convex_weights(target, basis, weights, _LEARNING_STEPS)
        lost = float(_lost(target, basis, weights).sum())
        for _ in range(_ALTERNATIONS):
            basis = _fit_basis(target, basis, weights)
            weights = convex_weights(target, basis, weights, _LEARNING_STEPS)
            before, lost = lost, float(_lost(target, basis, weights).sum())
            if lost > (1 - _WORTHWHILE) * before:
                break
        yield basis, weights


def _lost(target: Tensor, basis: Tensor, weights: Tensor) -> Tensor:
    """(P,) squared error of each row."""
    return (target - weights @ basis).square().sum(1)


def _fit_basis(target: Tensor, basis: Tensor, weights: Tensor) -> Tensor:
    """Minimises over one basis kernel at a time, exactly: each such quadratic is isotropic."""
    gram, cross = weights.T @ weights, weights.T @ target
    basis = basis.clone()
    for _ in range(_SWEEPS):
        for b in range(len(basis)):
            if gram[b, b] > 0:
                step = (cross[b] - gram[b] @ basis) / gram[b, b]
                basis[b] = project_to_simplex((basis[b] + step)[None])[0]
    return basis


def convex_weights(
    target: Tensor, basis: Tensor, start: Tensor | None = None, max_steps: int = _MAX_STEPS
) -> Tensor:
    """Weights on the simplex that minimise `||target - weights @ basis||^2`, row by row.

    The accelerated projected gradient of Beck and Teboulle (2009), restarted where it turns uphill
    (O'Donoghue and Candes, 2015), until each row's Frank-Wolfe gap, a bound on what is left to
    gain, is below a thousandth of its squared error, or a millionth of its squared norm.

    Args:
        target: (P, S).
        basis: (B, S).
        start: (P, B) weights on the simplex to begin with; None begins with equal ones. No row
            ends worse than it began.
        max_steps: an end to the iteration for rows that never get there.

    Returns:
        (P, B).
    """
    gram, cross = basis @ basis.T, basis @ target.T  # (B, B), (B, P)
    largest = torch.linalg.eigvalsh(gram.double())[-1]
    rate = float(1 / largest.clamp(min=torch.finfo(gram.dtype).tiny))
    first = torch.full_like(cross, 1 / len(basis)) if start is None else start.T.contiguous()
    energy = target.square().sum(1) / 2
    weights = first.clone()
    open_rows = torch.arange(len(target))
    state = _Descent(first, first, torch.ones_like(energy))
    for _ in range(max_steps // _CHECK):
        here = cross[:, open_rows]
        state = _descend(state, gram, here, rate)
        weights[:, open_rows] = state.weights
        gradient = gram @ state.weights - here
        slope = (gradient * state.weights).sum(0)
        gap = slope - gradient.amin(0)
        left = energy[open_rows] + (slope - (here * state.weights).sum(0)) / 2
        goal = torch.maximum(_GAP_OF_ERROR * left, _GAP_OF_KERNEL * energy[open_rows])
        kept = (gap > goal).nonzero()[:, 0]
        if not len(kept):
            break
        open_rows = open_rows[kept]
        state = _Descent(state.weights[:, kept], state.ahead[:, kept], state.momentum[kept])
    better = _objective(weights, gram, cross) <= _objective(first, gram, cross)
    return torch.where(better, weights, first).T


class _Descent(NamedTuple):
    """Where the accelerated gradient stands: (B, P) weights and look-ahead, (P,) momentum."""

    weights: Tensor
    ahead: Tensor
    momentum: Tensor


def _descend(state: _Descent, gram: Tensor, cross: Tensor, rate: float) -> _Descent:
    """Ten steps on every column."""
    weights, ahead, momentum = state
    for _ in range(_CHECK):
        following = _project_columns(ahead - rate * (gram @ ahead - cross))
        move = following - weights
        uphill = ((ahead - following) * move).sum(0) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        faster = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ahead = following + (momentum - 1) / faster * move
        weights, momentum = following, faster
    return _Descent(weights, ahead, momentum)


def _objective(weights: Tensor, gram: Tensor, cross: Tensor) -> Tensor:
    return (weights * (gram @ weights - 2 * cross)).sum(0)


def project_to_simplex(rows: Tensor) -> Tensor:
    """The nearest point with non-negative entries that sum to 1, for each row.

    Michelot's iteration (1986): the threshold is moved by Newton's method on the sum, which ends
    after finitely many steps. The result is divided by its sum, to leave no rounding behind.

    Args:
        rows: (P, S).

    Returns:
        (P, S).

    Example:
        >>> project_to_simplex(torch.tensor([[0.5, 0.9, -3.0]]))
        tensor([[0.3000, 0.7000, 0.0000]])
    """
    return _project_columns(rows.T).T


def _project_columns(columns: Tensor) -> Tensor:
    """`project_to_simplex` of (S, P): sums over the leading axis are many times faster."""
    # The projection ignores a shift; with the largest entry at 0 it always exceeds the threshold.
    columns = columns - columns.amax(0)
    threshold = (columns.sum(0) - 1) / len(columns)
    for _ in range(len(columns)):
        kept = columns > threshold
        following = ((columns * kept).sum(0) - 1) / kept.sum(0)
        following = torch.maximum(following, threshold)
        if torch.equal(following, threshold):
            break
        threshold = following
    result = (columns - threshold).clamp_(min=0)
    return result / result.sum(0)


def _solve_mixing(
    source: KernelField, kernels: Tensor, progress: Callable[[int, int], None] | None
) -> tuple[Tensor, float]:
    """(B, H, W) float32 mixing of every pixel, and the relative error over the image."""
    height, width = source.size
    basis = kernels.flatten(1).float()
    mixing = torch.empty(len(basis), height, width)
    step = max(1, _CHUNK // width)
    lost = total = 0.0
    for top in range(0, height, step):
        bottom = min(top + step, height)
        pixels = torch.arange(top * width, bottom * width)
        for part in pixels.split(_CHUNK):
            target = source.kernels_at(part // width, part % width).float().flatten(1)
            weights = convex_weights(target, basis)
            lost += float((target - weights @ basis).double().square().sum())
            total += float(target.double().square().sum())
            mixing.flatten(1)[:, part] = weights.T
        if progress is not None:
            progress(bottom, height)
    return mixing, math.sqrt(lost / total)
