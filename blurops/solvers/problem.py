# SPDX-License-Identifier: BSD-3-Clause
"""What the linear solvers share: the problem that they are given, and what they return."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.operators import Operator, UniformBlur
from blurops.operators.operator import check_operator

Callback = Callable[[int, Tensor, float], None]


class Deconvolution(NamedTuple):
    """What a linear solver returns.

    Attributes:
        image: (N, C, H, W) the restored image, in the values given, not clamped.
        iterations: the iterations or stages it took.
        residuals: `|y - H x| / |y|` of the first estimate and after each iteration (with analysis
            filters in :func:`irc`, over all residuals and targets).
        changes: `|x' - x| / |x'|` of each iteration.
        status: `"converged"`, when the tolerance was reached; `"iterations"`, when the iterations
            were used up first; `"diverged"`, when the residual grew beyond twice its smallest value
            or was no longer finite: then `image` is the estimate whose residual was smallest.
    """

    image: Tensor
    iterations: int
    residuals: tuple[float, ...]
    changes: tuple[float, ...]
    status: str


class Track:
    """Follows a run: residuals, changes, the best estimate, and whether to stop.

    Args:
        name: of the solver, for the progress bar.
        start: the first estimate, and its residual.
        residual: see `start`.
        limit: the most iterations.
        callback: called as `callback(iteration, image, residual)`, or None.
        progress: whether to show a bar.
    """

    def __init__(
        self,
        name: str,
        start: Tensor,
        residual: float,
        limit: int,
        callback: Callback | None,
        progress: bool,
    ) -> None:
        self.residuals, self.changes = [residual], []
        self.status = "iterations"
        self._image = self._best = start
        self._callback = callback
        self._bar = tqdm(total=limit, disable=not progress, desc=name)

    def diverged(self) -> bool:
        """Whether the last residual says so; if it does, the run is over."""
        least, last = min(self.residuals), self.residuals[-1]
        if math.isfinite(last) and last <= 2 * max(least, _tiny(self._image)):
            return False
        self.status = "diverged"
        return True

    def add(self, image: Tensor, residual: float) -> bool:
        """Record an iteration; True when it diverged."""
        self.changes.append(norm(image - self._image) / (norm(image) or 1.0))
        self.residuals.append(residual)
        self._image = image
        self._bar.update()
        if self.diverged():
            return True
        if residual <= min(self.residuals):
            self._best = image
        if self._callback is not None:
            self._callback(len(self.changes), image.detach(), residual)
        return False

    def result(self) -> Deconvolution:
        """The end of the run."""
        self._bar.close()
        image = self._best if self.status == "diverged" else self._image
        return Deconvolution(
            image, len(self.changes), tuple(self.residuals), tuple(self.changes), self.status
        )


def norm(*images: Tensor) -> float:
    """Euclidean norm of all values together, in float64."""
    squares = [float(torch.linalg.vector_norm(each.detach().double()) ** 2) for each in images]
    return math.sqrt(sum(squares))


def _tiny(image: Tensor) -> float:
    """A relative residual that is rounding: it may grow twofold and more by chance."""
    return 1e3 * torch.finfo(image.dtype).eps


def check_problem(name: str, observed: Any, operator: Any, **images: Any) -> None:
    """Raise unless observation and operator fit; `images` are optional further images."""
    check_operator(name, operator)
    for argument, image in (("observed", observed), *images.items()):
        if image is None:
            continue
        _check.tensor(name, argument, image, "(N, C, H, W)")
        if image.numel() == 0:
            got = tuple(image.shape)
            raise ValueError(message(name, argument, "have at least one pixel", got))
        _check.finite(name, argument, image)
        if argument != "observed":
            _check.same_kind(name, argument, image, "observed", observed)
    if operator.dtype != observed.dtype:
        wanted = f"have the dtype of observed ({_check.dtype_name(observed.dtype)})"
        raise TypeError(message(name, "operator", wanted, _check.dtype_name(operator.dtype)))
    if observed.dtype in (torch.float16, torch.bfloat16):
        got = _check.dtype_name(observed.dtype)
        raise TypeError(message(name, "observed", "have dtype float32, float64", got))


def check_same_size(name: str, operator: Operator, image: Tensor, argument: str = "operator") -> None:
    """Raise unless the operator keeps the size of images."""
    size = tuple(operator.forward(image).shape)
    if size != tuple(image.shape):
        wanted = f"keep the size of images, {tuple(image.shape)} (any boundary but 'valid')"
        raise ValueError(message(name, argument, wanted, size))


def check_numbers(name: str, callback: Any, **numbers: Any) -> None:
    """Raise unless counts are whole and not negative, and the callback is callable."""
    for argument, value in numbers.items():
        arguments.whole(name, argument, value, 0)
    if callback is not None and not callable(callback):
        raise TypeError(message(name, "callback", "be callable", type(callback).__name__))


def analysis_operators(
    name: str, analysis: Tensor | Sequence[Tensor], operator: Operator
) -> list[UniformBlur]:
    """Analysis filters as operators with the boundary, dtype and device of the blur."""
    boundary = getattr(operator, "boundary", "replicate")
    # Beyond a 'valid' border nothing is known, and the sharp image is larger than the observed one.
    boundary = "replicate" if boundary == "valid" else boundary
    found = []
    for each in analysis:
        _check.tensor(name, "analysis", each, "(h, w)")
        _check.kernel_size(name, "analysis", each.shape, tuple(each.shape))
        kernel = each.to(dtype=operator.dtype, device=operator.device)
        found.append(UniformBlur(kernel, boundary=boundary))
    return found
