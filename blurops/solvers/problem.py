# SPDX-License-Identifier: BSD-3-Clause
"""What the linear solvers share: the problem that they are given, and what they return."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
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
            were used up first; `"diverged"`, when the residual was no longer finite, or grew beyond
            twice its smallest value in :func:`irc`, beyond that of a black image in the others:
            then `image` is the estimate whose residual was smallest.
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
        monotone: whether the residual should fall: growth to twice its smallest value is then
            divergence. Else only a residual beyond that of a black image (1) and of the start is.
        callback: called as `callback(iteration, image, residual)`, or None.
        progress: whether to show a bar.
    """

    def __init__(
        self,
        name: str,
        start: Tensor,
        residual: float,
        limit: int,
        monotone: bool,
        callback: Callback | None,
        progress: bool,
    ) -> None:
        self.residuals, self.changes = [residual], []
        self.status = "iterations"
        self._image = self._best = start
        self._monotone = monotone
        self._callback = callback
        self._bar = tqdm(total=limit, disable=not progress, desc=name)

    def _diverged(self) -> bool:
        """Whether the last residual says so."""
        if self._monotone:
            # A residual that is rounding may grow twofold by chance.
            tiny = 1e3 * torch.finfo(self._image.dtype).eps
            most = 2 * max(min(self.residuals), tiny)
        else:
            most = max(1.0, self.residuals[0])
        return not self.residuals[-1] <= most

    def add(self, image: Tensor, residual: float) -> bool:
        """Record an iteration; True when it diverged."""
        self.changes.append(norm(image - self._image) / (norm(image) or 1.0))
        self.residuals.append(residual)
        self._image = image
        self._bar.update()
        if self._diverged():
            self.status = "diverged"
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


def sharp_start(name: str, observed: Tensor, operator: Operator, initial: Tensor | None) -> Tensor:
    """The first estimate: `initial`, or the observation, replicated outwards to the sharp size."""
    height, width = operator.adjoint(observed[:, :1]).shape[-2:]
    if initial is None:
        down, right = height - observed.shape[-2], width - observed.shape[-1]
        pad = (right // 2, right - right // 2, down // 2, down - down // 2)
        return F.pad(observed, pad, mode="replicate")
    wanted = (*observed.shape[:2], height, width)
    if tuple(initial.shape) != wanted:
        raise ValueError(message(name, "initial", f"be {wanted}", tuple(initial.shape)))
    return initial


def check_inverse(name: str, inverse: Operator, observed: Tensor, sharp: Tensor) -> None:
    """Raise unless an inverse takes observations to sharp images."""
    size = tuple(inverse.forward(observed[:, :1]).shape[-2:])
    if size != tuple(sharp.shape[-2:]):
        wanted = f"give images of the sharp size {tuple(sharp.shape[-2:])}"
        raise ValueError(message(name, "inverse", wanted, size))


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
