# SPDX-License-Identifier: BSD-3-Clause
"""Iterative residual compensation, and the radius that says whether it converges."""

from collections.abc import Sequence

import torch
from torch import Tensor

from blurops._check import choice, message
from blurops.fields import _arguments as arguments
from blurops.operators import Operator
from blurops.operators.operator import check_operator
from blurops.solvers import problem
from blurops.solvers.compensation import Correction
from blurops.solvers.inverse_blur import inverse_blur, neighbours
from blurops.solvers.problem import Callback, Deconvolution

COMBINE = ("filters", "outputs")


def irc(
    observed: Tensor,
    operator: Operator,
    inverse: Operator | Sequence[Operator] | None = None,
    *,
    iterations: int = 10,
    tol: float = 0.0,
    analysis: Tensor | Sequence[Tensor] | None = None,
    targets: Sequence[Tensor] = (),
    combine: str = "filters",
    initial: Tensor | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> Deconvolution:
    """Restore a blurred image by iterative residual compensation.

    `x <- x + sum_i D_i (z_i - K_i x)`, with K_0 = H the blur, z_0 = y the observation, and D_i
    approximate inverses, `sum_i D_i K_i` near the identity (Eboli, Sun and Ponce, "Neural Embedding
    of an Iterative Deconvolution Algorithm for Motion Blur Estimation and Removal", algorithm 2.1).
    Without analysis filters this is `x <- x + D (y - H x)`: the error obeys `e <- (I - D H) e`, so
    it converges where the :func:`spectral_radius` of I - D H is below 1.

    Args:
        observed: (N, C, H, W) y, finite.
        operator: H, any operator. With boundary "valid" the sharp image is larger than the
            observation.
        inverse: D, or the D_i, one for the blur and one per analysis filter. Default: those of
            :func:`inverse_blur` without analysis filters, which must then be given.
        iterations: the most to make.
        tol: stop when `sqrt(sum_i |r_i|^2 / sum_i |z_i|^2)` is at most this.
        analysis: n filters K_i, as :func:`inverse_filters` takes them.
        targets: n images z_i.
        combine: `"filters"`: inverse filters are mixed at each pixel. `"outputs"`: restore once
            with each of the J filters that a `NUConv` inverse has at a pixel, and average the J
            results with its weights (the reading of the paper's figure 4).
        initial: (N, C, H, W) first estimate, of the sharp size. Default: the observation, as in the
            authors' later code, its border replicated outwards where the sharp image is larger.
            The paper's `sum_i D_i z_i` is right only where the D_i know what lies beyond the image.
        callback: called as `callback(iteration, image, residual)` after each iteration.
        progress: show a progress bar on stderr.

    Returns:
        :class:`Deconvolution`. With `"outputs"`, residuals and changes are those of the neighbour
        that did worst, and so is the status.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes do not fit or values are not finite.

    Note:
        The result is differentiable by unrolling. Iterations deblur and amplify noise: with a
        noisy observation stop early, or use :func:`admm_irc`.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.tensor([[0.2, 0.6, 0.2]]), boundary="replicate")
        >>> sharp = torch.rand(1, 1, 12, 16)
        >>> result = blurops.irc(blur @ sharp, blur, iterations=20)
        >>> result.status, bool(torch.allclose(result.image, sharp, atol=1e-3))
        ('iterations', True)
    """
    name = "irc"
    problem.check_problem(name, observed, operator, initial=initial)
    problem.check_numbers(name, callback, iterations=iterations)
    tol = arguments.real(name, "tol", tol, least=0)
    choice(name, "combine", combine, COMBINE)
    filters = problem.analysis_operators(name, () if analysis is None else analysis, operator)
    for target in targets:
        problem.check_problem(name, observed, operator, targets=target)
    if len(targets) != len(filters):
        wanted = f"be as many as analysis filters ({len(filters)})"
        raise ValueError(message(name, "targets", wanted, len(targets)))
    inverses = _inverses(name, inverse, operator, len(filters))
    forward, wanted_images = (operator, *filters), (observed, *targets)
    start = problem.sharp_start(name, observed, operator, initial)
    problem.check_inverse(name, inverses[0], observed, start)
    if combine == "filters":
        return _run(forward, wanted_images, inverses, iterations, tol, start, callback, progress)
    split = neighbours(name, inverses)
    parts = [
        _run(forward, wanted_images, some, iterations, tol, start, None, progress)
        for _, some in split
    ]
    return combined([weight for weight, _ in split], parts)


def combined(weights: list[Tensor], parts: list[Deconvolution]) -> Deconvolution:
    """The average of the neighbours' images, and the history of the worst of them."""
    image = sum(weight * part.image for weight, part in zip(weights, parts, strict=True))
    worst = max(parts, key=lambda part: (part.status == "diverged", part.residuals[-1]))
    return worst._replace(image=image)


def _run(
    forward: Sequence[Operator],
    targets: Sequence[Tensor],
    inverses: Sequence[Operator],
    iterations: int,
    tol: float,
    start: Tensor,
    callback: Callback | None,
    progress: bool,
) -> Deconvolution:
    image, correction = start, Correction(inverses)
    scale = problem.norm(*targets) or 1.0

    def residuals_of(image: Tensor) -> list[Tensor]:
        return [z - k.forward(image) for k, z in zip(forward, targets, strict=True)]

    residuals = residuals_of(image)
    size = problem.norm(*residuals) / scale
    track = problem.Track("IRC", image, size, iterations, True, callback, progress)
    while len(track.changes) < iterations:
        if size <= tol:
            track.status = "converged"
            break
        image = image + correction(residuals)
        residuals = residuals_of(image)
        size = problem.norm(*residuals) / scale
        if track.add(image, size):
            break
    else:
        if size <= tol:
            track.status = "converged"
    return track.result()


def _inverses(
    name: str, inverse: Operator | Sequence[Operator] | None, operator: Operator, extra: int
) -> list[Operator]:
    """The n + 1 inverse operators, checked."""
    if inverse is None:
        if extra:
            wanted = "be given with analysis filters, whose penalty it holds"
            raise ValueError(message(name, "inverse", wanted, "None"))
        return list(inverse_blur(operator))
    found = [inverse] if isinstance(inverse, Operator) else list(inverse)
    for each in found:
        check_operator(name, each)
    if len(found) != 1 + extra:
        wanted = f"hold one operator for the blur and one per analysis filter ({1 + extra} in all)"
        raise ValueError(message(name, "inverse", wanted, len(found)))
    return found


def spectral_radius(
    operator: Operator,
    inverse: Operator | Sequence[Operator],
    shape: Sequence[int],
    *,
    analysis: Tensor | Sequence[Tensor] | None = None,
    iterations: int = 200,
    seed: int = 0,
) -> float:
    """Estimate the spectral radius of `I - sum_i D_i K_i` by power iteration.

    Below 1, :func:`irc` converges, and its error shrinks by about this factor per iteration in the
    end; at or above 1 it diverges, from some image at least. The estimate is the mean growth of a
    random image's norm over the second half of the iterations. It approaches the radius from below
    when directions of nearly the same size compete, more slowly the closer they are.

    Args:
        operator: H.
        inverse: D, or the D_i, as :func:`irc` takes them.
        shape: (N, C, H, W) of the sharp images; use the size that is to be restored, because
            borders matter. One sample and one channel are enough.
        analysis: the filters K_i, i > 0.
        iterations: at least 2.
        seed: of the first image.

    Returns:
        The estimate; 0 where the iteration dies out.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.tensor([[0.2, 0.6, 0.2]]), boundary="circular")
        >>> half = blurops.UniformBlur(torch.tensor([[0.5]]))     # a poor inverse
        >>> round(blurops.spectral_radius(blur, half, (1, 1, 4, 8)), 2)   # 1 - 0.2 / 2
        0.9
    """
    name = "spectral_radius"
    check_operator(name, operator)
    if arguments.whole(name, "iterations", iterations, 2) < 2 or len(tuple(shape)) != 4:
        raise ValueError(message(name, "shape", "be (N, C, H, W)", tuple(shape)))
    filters = problem.analysis_operators(name, () if analysis is None else analysis, operator)
    correction = Correction(_inverses(name, inverse, operator, len(filters)))
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
    image = image.to(device=operator.device, dtype=operator.dtype)
    growth = []
    with torch.no_grad():
        for _ in range(iterations):
            size = problem.norm(image)
            if size == 0:
                return 0.0
            image = image / size
            residuals = [-each.forward(image) for each in (operator, *filters)]
            image = image + correction(residuals)
            growth.append(problem.norm(image))
    late = torch.tensor(growth[iterations // 2 :], dtype=torch.float64)
    return float(late.log().mean().exp())
