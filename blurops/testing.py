# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of every op share, for users who add ops or backends of their own."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurops import _check
from blurops.ops.basis_blur.shapes import blurred_size

# The float32 tolerance holds up to this many terms of a sum; beyond, rounding grows as its root.
_TERMS = 30_000


class Accuracy(NamedTuple):
    """How far a result may be from the float64 reference of the same inputs.

    ``relative`` bounds ``|y - ref|_2 / |ref|_2``; ``peak`` bounds ``max |y - ref|`` over the
    largest sum of the magnitudes that went into one result; ``dot`` bounds the gap of
    :func:`dot_gap`.
    """

    relative: float
    peak: float
    dot: float


def accuracy(dtype: torch.dtype, terms: int = 1) -> Accuracy:
    """The tolerances of a result that sums ``terms`` products.

    Args:
        dtype: of the result.
        terms: products summed per result, such as B * Kh * Kw.

    Returns:
        For float32, 2e-6, 4e-6 and 2e-6, growing with the root of the terms beyond 30,000. For
        float64 the same in units of its own precision, twice, because the reference errs as much;
        the dot gap is 1e-12. For the half types one rounding of the result and as much again: what
        plain torch errs at the least, doubled.

    Example:
        >>> import torch
        >>> accuracy(torch.float32).relative
        2e-06
    """
    growth = max(1.0, math.sqrt(terms / _TERMS))
    eps = torch.finfo(dtype).eps
    if dtype == torch.float32:
        return Accuracy(2e-6 * growth, 4e-6 * growth, 2e-6 * growth)
    if dtype == torch.float64:
        unit = 2 * growth * eps / torch.finfo(torch.float32).eps
        return Accuracy(2e-6 * unit, 4e-6 * unit, 1e-12 * growth)
    return Accuracy(eps, eps, eps)


def relative_error(result: Tensor, reference: Tensor) -> float:
    """``|result - reference|_2 / |reference|_2`` in float64; 0 when both are zero."""
    difference = torch.linalg.vector_norm(result.double() - reference.double())
    norm = torch.linalg.vector_norm(reference.double())
    return float(difference / norm) if norm > 0 else float(difference)


def dot_gap(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    magnitude: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
) -> float:
    """``|<Hx, y> - <x, H^T y>| / <|H||x|, |y|>``, accumulated in float64.

    Args:
        forward: H.
        adjoint: what should be its transpose.
        magnitude: |H|, the same operator with every coefficient replaced by its magnitude.
        x: an input of H.
        y: an input of its transpose.

    Returns:
        A number at most :attr:`Accuracy.dot` when ``adjoint`` is the transpose of ``forward``.

    Example:
        >>> import torch
        >>> dot_gap(torch.neg, torch.neg, torch.abs, torch.ones(3), torch.ones(3))
        0.0
    """
    left = torch.sum(forward(x).double() * y.double())
    right = torch.sum(x.double() * adjoint(y).double())
    scale = torch.sum(magnitude(x.abs()).double() * y.abs().double())
    return float((left - right).abs() / scale)


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """Check values (index range, length) on GPUs too, where the ops clamp them without looking.

    Example:
        >>> with checked():
        ...     pass  # a call with an index outside the bank raises here on every device
    """
    before, _check.VALUES.seen_everywhere = _check.VALUES.seen_everywhere, True
    try:
        yield
    finally:
        _check.VALUES.seen_everywhere = before


class Shape(NamedTuple):
    """The sizes of one call of the basis-mixed family."""

    count: int
    channels: int
    height: int
    width: int
    basis: int
    kernel_height: int
    kernel_width: int
    kernels_shared: bool = True
    mixing_shared: bool = True

    def allows(self, boundary: str) -> bool:
        """Whether the kernel fits the image under ``boundary``."""
        kernel, size = self[5:7], self[2:4]
        if boundary == "reflect":
            return all(k // 2 < n for k, n in zip(kernel, size, strict=True))
        return boundary != "valid" or all(k <= n for k, n in zip(kernel, size, strict=True))


# Odd and even sizes, batches with their own and with shared fields, one pixel, kernels larger than
# the image, strips that end anywhere, more channels than a group.
SHAPES = (
    Shape(2, 3, 6, 7, 3, 3, 5, kernels_shared=False),
    Shape(3, 1, 9, 8, 2, 5, 3, mixing_shared=False),
    Shape(1, 1, 1, 1, 1, 1, 1),
    Shape(2, 2, 3, 4, 2, 7, 11, kernels_shared=False, mixing_shared=False),
    Shape(1, 5, 21, 70, 9, 9, 17),
    Shape(0, 2, 5, 6, 2, 3, 3),
)


@dataclass(frozen=True)
class OpCase:
    """One op in the table that drives the contract tests.

    Attributes:
        name: of the registered op.
        sample: ``(shape, boundary, dtype, seed) -> (arguments, options)``; random, asymmetric,
        everywhere different.
        linear: positions of the arguments in which the op is linear.
        terms: ``shape -> products summed per result``.
    """

    name: str
    sample: Callable[[Shape, str, torch.dtype, int], tuple[tuple, dict[str, Any]]]
    linear: tuple[int, ...]
    terms: Callable[[Shape], int]

    def __str__(self) -> str:
        return self.name

    @property
    def op(self) -> Callable[..., Tensor]:
        """The registered op."""
        return getattr(torch.ops.blurops, self.name)


def random_tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Standard normal values, the same for every dtype up to its rounding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def family_tensors(shape: Shape, boundary: str, dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    """Image, kernels, mixing and a gradient of the blurred image, of one call."""
    n, c, h, w, b, kh, kw, kernels_shared, mixing_shared = shape
    blurred = blurred_size((h, w), (kh, kw), boundary)
    return {
        "image": random_tensor((n, c, h, w), dtype, seed),
        "kernels": random_tensor((1 if kernels_shared else n, b, kh, kw), dtype, seed + 1),
        "mixing": random_tensor((1 if mixing_shared else n, b, *blurred), dtype, seed + 2),
        "grad": random_tensor((n, c, *blurred), dtype, seed + 3),
    }


def _sampler(*names: str, extra: Callable[[Shape], tuple] = lambda shape: ()) -> Callable[..., Any]:
    def sample(shape: Shape, boundary: str, dtype: torch.dtype, seed: int) -> tuple[tuple, dict]:
        tensors = family_tensors(shape, boundary, dtype, seed)
        return (*(tensors[name] for name in names), *extra(shape)), {"boundary": boundary}

    return sample


def _taps(shape: Shape) -> int:
    return shape.basis * shape.kernel_height * shape.kernel_width


# Every member is linear in its three tensors.
CASES = (
    OpCase("basis_blur", _sampler("image", "kernels", "mixing"), (0, 1, 2), _taps),
    OpCase(
        "basis_blur_adjoint",
        _sampler("grad", "kernels", "mixing"),
        (0, 1, 2),
        # Every tap of a kernel, from every extended position that is folded onto a pixel.
        lambda s: _taps(s) * (1 + s.kernel_height // 2) * (1 + s.kernel_width // 2),
    ),
    OpCase(
        "basis_blur_grad_kernels",
        _sampler(
            "grad",
            "image",
            "mixing",
            extra=lambda s: ([s.kernel_height, s.kernel_width], s.kernels_shared),
        ),
        (0, 1, 2),
        lambda s: max(s.count, 1) * s.channels * s.height * s.width,
    ),
    OpCase(
        "basis_blur_grad_mixing",
        _sampler("grad", "image", "kernels", extra=lambda s: (s.mixing_shared,)),
        (0, 1, 2),
        lambda s: max(s.count, 1) * s.channels * s.kernel_height * s.kernel_width,
    ),
)
