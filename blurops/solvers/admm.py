# SPDX-License-Identifier: BSD-3-Clause
"""Deconvolution with a sparse prior: ADMM or HQS, with residual compensation inside."""

from collections.abc import Callable, Sequence

from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.operators import Operator
from blurops.operators.operator import check_operator
from blurops.solvers import problem
from blurops.solvers import splitting as engine
from blurops.solvers.compensation import Compensation
from blurops.solvers.inverse_blur import inverse_blur, neighbours
from blurops.solvers.irc import COMBINE, combined
from blurops.solvers.problem import Callback, Deconvolution

Inverse = Sequence[Operator] | Callable[[float], Sequence[Operator]]


def admm_irc(
    observed: Tensor,
    operator: Operator,
    inverse: Inverse | None = None,
    *,
    weight: float = engine.WEIGHT,
    penalty: float | Sequence[float] = engine.PENALTY,
    norm: int = 1,
    data_weight: float = 0.5,
    stages: int = 10,
    inner: int = 2,
    memory: int | None = None,
    rate: float = 1.0,
    splitting: str = "admm",
    analysis: Tensor | Sequence[Tensor] | None = None,
    combine: str = "filters",
    initial: Tensor | None = None,
    tol: float = 0.0,
    callback: Callback | None = None,
    progress: bool = False,
) -> Deconvolution:
    """Restore a blurred image under a sparse prior, with residual compensation inside ADMM.

    Minimises `data_weight ||H x - y||^2 + weight sum_i ||k_i * x||_l` (Eboli, Sun and Ponce,
    "Neural Embedding of an Iterative Deconvolution Algorithm for Motion Blur Estimation and
    Removal", eq. 1 with data_weight 1/2; eq. 16 has 1). A stage thresholds `k_i * x + b_i` softly
    (l = 1, at weight / penalty) or hard (l = 0, at sqrt(2 weight / penalty)) to z_i, makes `inner`
    steps of `x <- x + D_0 (y - H x) + sum_i D_i (z_i - b_i - k_i * x)`, and adds
    `rate (k_i * x - z_i)` to the multipliers b_i.

    Args:
        observed: (N, C, H, W) y, finite.
        operator: H, any operator. With boundary "valid" the sharp image is larger than the
            observation, and beyond it only the prior and the filters' reach say something.
        inverse: the n + 1 operators D_i, made for the penalty `penalty / (2 data_weight)` of
            :func:`inverse_blur`; or a function from that number to them. Default: what
            :func:`inverse_blur` makes.
        weight: of the prior. The default and the penalty's are our reading of the paper's table 1:
            a threshold of 0.003 for images in [0, 1].
        penalty: rho, one number or one per stage; several need `inverse` to be a function.
        norm: l, 1 or 0.
        data_weight: of the squared residual.
        stages: of thresholding and compensation; the paper's network has 5, its table 1 uses 10.
        inner: steps of compensation in a stage, at least 1; the paper's network has 2.
        memory: None, as in the paper, for corrections of length 1. A number m, beyond the paper:
            each correction is made orthogonal to the last m, by what H and the k_i make of them,
            and given the length that minimises the stage's `data_weight ||y - H x||^2 + penalty /
            2 sum_i ||k_i * x + b_i - z_i||^2` (Orthomin(m): Vinsome, 1976). No stage can diverge
            then, and border bands, where the D_i know least, come in a fraction of the steps. It
            costs no operator, but the memory of 2 + n images for each of the m.
        rate: of the multipliers.
        splitting: `"admm"`, or `"hqs"` (half-quadratic splitting, no multipliers).
        analysis: n filters k_i as :func:`inverse_filters` takes them. Default: the horizontal and
            the vertical difference.
        combine: `"filters"` or `"outputs"`, as in :func:`irc`.
        initial: (N, C, H, W) first estimate, of the sharp size. Default: the observation, its
            border replicated outwards where the sharp image is larger.
        tol: stop when a stage changes the image by no more than this, relative to its norm; 0 goes
            through all stages.
        callback: called as `callback(stage, image, residual)` after each stage.
        progress: show a progress bar on stderr.

    Returns:
        :class:`Deconvolution`; with `"outputs"` as in :func:`irc`.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Note:
        The result is differentiable by unrolling.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.full((1, 5), 0.2), boundary="replicate")
        >>> sharp = torch.zeros(1, 1, 16, 24)
        >>> sharp[..., 8:] = 1.0
        >>> blurred = blur @ sharp
        >>> result = blurops.admm_irc(blurred, blur)
        >>> bool((result.image - sharp).norm() < 0.3 * (blurred - sharp).norm())
        True
    """
    name = "admm_irc"
    problem.check_problem(name, observed, operator, initial=initial)
    problem.check_numbers(name, callback, inner=inner)
    if inner < 1:
        raise ValueError(message(name, "inner", "be at least 1", inner))
    if memory is not None:
        problem.check_numbers(name, None, memory=memory)
    _check.choice(name, "combine", combine, COMBINE)
    chosen = engine.choose(
        name, weight=weight, penalty=penalty, norm=norm, data_weight=data_weight, stages=stages,
        rate=rate, splitting=splitting, tol=tol,
    )  # fmt: skip
    analysis = engine.default_analysis(analysis, operator)
    filters = problem.analysis_operators(name, analysis, operator)
    if inverse is None:

        def inverse(share: float) -> Sequence[Operator]:
            return inverse_blur(operator, analysis=analysis, penalty=share)

    inverses = _by_penalty(name, inverse, chosen, 1 + len(filters))
    start = problem.sharp_start(name, observed, operator, initial)
    for some in inverses.values():
        problem.check_inverse(name, some[0], observed, start)

    def run(of: dict[float, Sequence[Operator]], callback: Callback | None) -> Deconvolution:
        step = Compensation(observed, (operator, *filters), of, chosen.data_weight, inner, memory)
        return engine.alternate(
            "ADMM-IRC", observed, operator, filters, chosen, step, start, callback, progress
        )

    if combine == "filters":
        return run(inverses, callback)
    split = {penalty: neighbours(name, some) for penalty, some in inverses.items()}
    weights = [each for each, _ in next(iter(split.values()))] if split else []
    parts = [
        run({penalty: some[j][1] for penalty, some in split.items()}, None)
        for j in range(len(weights))
    ]
    return combined(weights, parts)


def _by_penalty(
    name: str, inverse: Inverse, chosen: engine.Splitting, count: int
) -> dict[float, Sequence[Operator]]:
    """The inverse operators of each penalty, checked."""
    different = dict.fromkeys(chosen.penalties)
    if not callable(inverse) and len(different) > 1:
        wanted = "be a function of the penalty where this changes from stage to stage"
        raise ValueError(message(name, "inverse", wanted, f"{len(different)} penalties"))
    found = {}
    for penalty in different:
        share = penalty / (2 * chosen.data_weight)
        some = list(inverse(share)) if callable(inverse) else list(inverse)
        for each in some:
            check_operator(name, each)
        if len(some) != count:
            wanted = f"hold one operator for the blur and one per analysis filter ({count} in all)"
            raise ValueError(message(name, "inverse", wanted, len(some)))
        found[penalty] = some
    return found
