# SPDX-License-Identifier: BSD-3-Clause
"""The linear systems behind inverse filters, in float64.

With K_i the matrix of the full convolution by filter i (its columns are shifts of the filter, its
rows the pixels that they reach) and Q = [K_0, sqrt(penalty) K_1, ...], the stacked inverse filters
are `Q^T (Q Q^T + ridge I)^-1 delta = (Q^T Q + ridge I)^-1 Q^T delta`. Of the two Gram matrices the
smaller is factorised.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_EPS = torch.finfo(torch.float64).eps


class SingularSystem(Exception):
    """A system that has no unique solution to working precision."""


def solve_each(kernels: Tensor, size: int, ridge: float) -> Tensor:
    """Inverse filters of kernels by themselves.

    `K^T K` holds the kernel's autocorrelation at the difference of two taps, whatever the kernel,
    so it is the same seen from the other end. It splits into one system for the even part of a
    filter and one for the odd part, each of half the side; a symmetric kernel has no odd part.

    Args:
        kernels: (F, Kh, Kw) float64, odd sides.
        size: side of the filters, odd.
        ridge: added to the diagonal.

    Returns:
        (F, size, size).

    Raises:
        SingularSystem: a factorisation met a pivot that is zero to working precision.
    """
    taps = _offsets(size)
    count = len(taps) // 2
    first, middle = taps[:count], 2 * (size - 1)
    reach = 2 * middle + 1  # of the table of autocorrelations below
    minus = _flat(first[:, None] - first[None, :], middle, reach)
    plus = _flat(first[:, None] + first[None, :], middle, reach)
    table = _window(_correlate(kernels, kernels), middle).flatten(1)
    wanted = _window(kernels.flip(1, 2), size // 2).flatten(1)
    mirrored = wanted.flip(1)
    even = table.new_empty(len(kernels), count + 1, count + 1)
    even[:, :count, :count] = table[:, minus] + table[:, plus]
    even[:, count, :count] = math.sqrt(2) * table[:, _flat(first, middle, reach)]
    even[:, :count, count] = even[:, count, :count]
    even[:, count, count] = table[:, reach * middle + middle]
    right = (wanted + mirrored)[:, : count + 1] / math.sqrt(2)
    right[:, count] = wanted[:, count]
    half = _solve(even, right, ridge)
    filters = torch.empty_like(wanted)
    filters[:, :count] = half[:, :count] / math.sqrt(2)
    filters[:, count] = half[:, count]
    filters[:, count + 1 :] = filters[:, :count].flip(1)
    right = (wanted - mirrored)[:, :count] / math.sqrt(2)
    if bool(right.any()):
        odd = _solve(table[:, minus] - table[:, plus], right, ridge) / math.sqrt(2)
        filters[:, :count] += odd
        filters[:, count + 1 :] -= odd.flip(1)
    return filters.unflatten(1, (size, size))


def solve_jointly(filters: Sequence[Tensor], size: int, ridge: float) -> Tensor:
    """Inverse filters d_i with `sum_i filters_i * d_i` near delta, of smallest norm.

    Args:
        filters: (h, w) float64 each, odd sides.
        size: side of the inverse filters, odd.
        ridge: added to the diagonal.

    Returns:
        (len(filters), size, size).

    Raises:
        SingularSystem: as :func:`solve_each`.
    """
    filters = [_cropped(each) for each in filters]
    height, width = (size - 1 + max(each.shape[axis] for each in filters) for axis in (0, 1))
    if height * width < len(filters) * size**2:
        solution = _through_rows(filters, size, ridge, (height, width))
    else:
        solution = _through_columns(filters, size, ridge)
    return solution.view(len(filters), size, size)


def _through_columns(filters: Sequence[Tensor], size: int, ridge: float) -> Tensor:
    """`(Q^T Q + ridge I)^-1 Q^T delta`: each block holds the correlation of two filters."""
    side = max(max(each.shape) for each in filters)
    stack = torch.stack([_window(each[None], side // 2)[0] for each in filters])
    count, taps, middle = len(filters), _offsets(size), size - 1
    index = _flat(taps[:, None] - taps[None, :], middle, 2 * middle + 1)
    gram = stack.new_empty(count, size**2, count, size**2)
    for i in range(count):
        table = _window(_correlate(stack[i].expand_as(stack), stack), middle).flatten(1)
        for j in range(i + 1):  # only the lower triangle is looked at
            gram[i, :, j] = table[j][index]
    right = _window(stack.flip(1, 2), size // 2).reshape(1, -1)
    return _solve(gram.view(1, right.shape[1], -1), right, ridge)[0]


def _through_rows(
    filters: Sequence[Tensor], size: int, ridge: float, frame: tuple[int, int]
) -> Tensor:
    """`Q^T (Q Q^T + ridge I)^-1 delta`; few taps are not zero, so the product is sparse."""
    # Imported where it is used, to keep `import blurops` light.
    import scipy.sparse

    height, width = frame
    taps = _offsets(size).numpy()
    rows, columns, values = [], [], []
    for i, each in enumerate(filters):
        for tap in each.nonzero().tolist():
            row = taps[:, 0] + tap[0] - each.shape[0] // 2 + height // 2
            column = taps[:, 1] + tap[1] - each.shape[1] // 2 + width // 2
            rows.append(row * width + column)
            columns.append(i * size**2 + np.arange(size**2))
            values.append(np.full(size**2, float(each[tuple(tap)])))
    shape = (height * width, len(filters) * size**2)
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    system = scipy.sparse.csr_matrix(entries, shape=shape)
    # What no filter reaches, in the frame's corners, would make the system singular.
    reached = np.flatnonzero(np.diff(system.indptr))
    delta = torch.from_numpy((reached == shape[0] // 2).astype(np.float64))
    system = system[reached]
    gram = torch.from_numpy((system @ system.T).toarray())
    multipliers = _solve(gram[None], delta[None], ridge)[0]
    return torch.from_numpy(system.T @ multipliers.numpy())


def solve_periodic(
    filters: Sequence[Tensor], size: int, ridge: float, grid: int | None = None
) -> Tensor:
    """The same by FFT, `conj(Q_i) / (sum_j |Q_j|^2 + ridge)` on a periodic grid, cropped.

    The grid has side `grid`, by default `size`, or that of the largest filter where this is larger.
    """
    side = max(grid or size, *(max(each.shape) for each in filters))
    stack = torch.stack([_window(each[None], side // 2)[0] for each in filters])
    spectra = torch.fft.rfft2(torch.fft.ifftshift(stack, dim=(1, 2)))
    power = spectra.abs().square().sum(0) + ridge
    if float(power.min()) <= _EPS * float(power.max()):
        raise SingularSystem
    inverse = torch.fft.irfft2(spectra.conj() / power, s=(side, side))
    return _window(torch.fft.fftshift(inverse, dim=(1, 2)), size // 2)


def _solve(gram: Tensor, right: Tensor, ridge: float) -> Tensor:
    """Solve symmetric systems (F, n, n) for (F, n) right sides; `gram` is overwritten."""
    gram.diagonal(dim1=1, dim2=2).add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    # A pivot this small is rounding noise, and what follows from it is noise too.
    least = gram.shape[-1] * _EPS * pivots.amax(1)
    if bool(failed.any()) or not bool((pivots.amin(1) > least).all()):
        raise SingularSystem
    return torch.cholesky_solve(right[..., None], factor)[..., 0]


def _correlate(first: Tensor, second: Tensor) -> Tensor:
    """(F, 2 Kh - 1, 2 Kw - 1) of `sum_p first[p] second[p + t]`, t = 0 in the middle."""
    height, width = (2 * side - 1 for side in first.shape[1:])
    spectrum = torch.fft.rfft2(first, (height, width)).conj() * torch.fft.rfft2(
        second, (height, width)
    )
    return torch.fft.fftshift(torch.fft.irfft2(spectrum, s=(height, width)), dim=(1, 2))


def _offsets(size: int) -> Tensor:
    """(size^2, 2) taps (row, column) from the middle, in reading order."""
    line = torch.arange(size) - size // 2
    return torch.cartesian_prod(line, line)


def _flat(offset: Tensor, middle: int, side: int) -> Tensor:
    """Index into a flattened square table of that side, whose middle is offset 0."""
    return (offset[..., 0] + middle) * side + offset[..., 1] + middle


def _window(tables: Tensor, radius: int) -> Tensor:
    """(F, 2 radius + 1, 2 radius + 1) around the middle, zeros where the tables end."""
    down, right = (radius - side // 2 for side in tables.shape[1:])
    return torch.nn.functional.pad(tables, (right, right, down, down))


def _cropped(kernel: Tensor) -> Tensor:
    """The smallest window about the middle that holds every tap."""
    reach = [0, 0]
    for axis in (0, 1):
        used = kernel.any(dim=1 - axis).nonzero()
        if len(used):
            reach[axis] = int((used - kernel.shape[axis] // 2).abs().max())
    rows, columns = (
        slice(n // 2 - r, n // 2 + r + 1) for n, r in zip(kernel.shape, reach, strict=True)
    )
    return kernel[rows, columns]
