# SPDX-License-Identifier: BSD-3-Clause
"""Deconvolution by conjugate gradients, alone or inside ADMM: the baseline."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from blurops.fields import _arguments as arguments
from blurops.operators import Operator
from blurops.solvers import problem
from blurops.solvers import splitting as engine
from blurops.solvers.problem import Callback, Deconvolution


def cg_deblur(
    observed: Tensor,
    operator: Operator,
    *,
    weight: float = 0.0,
    penalty: float | Sequence[float] = engine.PENALTY,
    norm: int = 1,
    data_weight: float = 0.5,
    stages: int = 10,
    iterations: int = 30,
    inner_tol: float = 1e-6,
    rate: float = 1.0,
    splitting: str = "admm",
    analysis: Tensor | Sequence[Tensor] | None = None,
    initial: Tensor | None = None,
    tol: float = 0.0,
    callback: Callback | None = None,
    progress: bool = False,
) -> Deconvolution:
    """Restore a blurred image by conjugate gradients on the normal equations.

    With weight 0: least squares, `min ||H x - y||^2`, by at most `iterations` iterations, whose
    number is the only regulariser. With a weight: the problem of :func:`admm_irc`, where conjugate
    gradients, started from the stage before, solve for x
    (Eboli et al., table 1: "CG"; with `splitting="hqs"` and a non-uniform blur the alternating
    minimisation of Wang et al., 2008, with conjugate gradients for x: their "NU-CG").

    Args:
        observed: (N, C, H, W) y, finite.
        operator: H, any operator with an exact adjoint. With boundary "valid" the sharp image is
            larger than the observation.
        weight, penalty, norm, data_weight, stages, rate, splitting, analysis: as in
            :func:`admm_irc`; looked at with a weight above 0 only.
        iterations: of conjugate gradients, the most in a stage.
        inner_tol: conjugate gradients stop when the gradient has fallen to this share of
            `|H^T y|`-like right sides.
        initial: (N, C, H, W) first estimate, of the sharp size. Default: the observation, its
            border replicated outwards where the sharp image is larger.
        tol: with a weight, stop when a stage changes the image by no more than this, relative to
            its norm; 0 goes through all stages.
        callback: called as `callback(iteration, image, residual)` after each iteration, or each
            stage with a weight.
        progress: show a progress bar on stderr.

    Returns:
        :class:`Deconvolution`.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Note:
        Each sample of a batch has its own step lengths; one decision stops them all.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.tensor([[0.2, 0.6, 0.2]]))
        >>> sharp = torch.rand(1, 1, 12, 16)
        >>> result = blurops.cg_deblur(blur @ sharp, blur)
        >>> bool(torch.allclose(result.image, sharp, atol=1e-2))
        True
    """
    name = "cg_deblur"
    problem.check_problem(name, observed, operator, initial=initial)
    problem.check_numbers(name, callback, iterations=iterations)
    inner_tol = arguments.real(name, "inner_tol", inner_tol, least=0)
    chosen = engine.choose(
        name, weight=weight, penalty=penalty, norm=norm, data_weight=data_weight, stages=stages,
        rate=rate, splitting=splitting, tol=tol,
    )  # fmt: skip
    start = problem.sharp_start(name, observed, operator, initial)
    if not chosen.weight:
        return _least_squares(observed, operator, start, iterations, inner_tol, callback, progress)
    analysis = engine.default_analysis(analysis, operator)
    filters = problem.analysis_operators(name, analysis, operator)

    def step(
        image: Tensor, rests: list[Tensor], penalty: float, targets: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        weights = [chosen.data_weight, *[penalty / 2] * len(filters)]
        right = [observed, *targets]
        steps = _descend((operator, *filters), weights, image, rests, right, iterations, inner_tol)
        found = image, rests
        for found in steps:  # noqa: B007
            pass
        return found

    return engine.alternate(
        "ADMM-CG", observed, operator, filters, chosen, step, start, callback, progress
    )


def _least_squares(
    observed: Tensor,
    operator: Operator,
    start: Tensor,
    iterations: int,
    tol: float,
    callback: Callback | None,
    progress: bool,
) -> Deconvolution:
    scale = problem.norm(observed) or 1.0
    rest = observed - operator.forward(start)
    track = problem.Track(
        "CG", start, problem.norm(rest) / scale, iterations, False, callback, progress
    )
    steps = _descend((operator,), [1.0], start, [rest], [observed], iterations, tol)
    for image, rests in steps:
        if track.add(image, problem.norm(rests[0]) / scale):
            break
    else:
        if len(track.changes) < iterations:
            track.status = "converged"
    return track.result()


def _descend(
    forward: Sequence[Operator],
    weights: Sequence[float],
    image: Tensor,
    rests: Sequence[Tensor],
    right: Sequence[Tensor],
    iterations: int,
    tol: float,
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Conjugate gradients for `min sum_i w_i ||K_i x - t_i||^2`, in the form that keeps `t - K x`.

    Yields the image and the `t_i - K_i x` after each iteration, until the gradient is at most
    `tol` times the right side `sum_i w_i K_i^T t_i`.
    """

    def gradient(parts: Sequence[Tensor]) -> Tensor:
        return sum(w * k.adjoint(r) for w, k, r in zip(weights, forward, parts, strict=True))

    def squared(each: Tensor) -> Tensor:
        return each.square().sum((1, 2, 3), keepdim=True)

    limit = tol**2 * squared(gradient(right).detach())
    slope = gradient(rests)
    size, direction = squared(slope), slope
    for _ in range(iterations):
        if bool((size.detach() <= limit).all()):
            return
        moved = [each.forward(direction) for each in forward]
        curvature = sum(w * squared(each) for w, each in zip(weights, moved, strict=True))
        # A sample that has arrived has nothing left to divide.
        length = torch.where(curvature > 0, size / torch.where(curvature > 0, curvature, 1), 0)
        image = image + length * direction
        rests = [r - length * each for r, each in zip(rests, moved, strict=True)]
        yield image, rests
        slope, before = gradient(rests), size
        size = squared(slope)
        share = torch.where(before > 0, size / torch.where(before > 0, before, 1), 0)
        direction = slope + share * direction
