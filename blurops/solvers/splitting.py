# SPDX-License-Identifier: BSD-3-Clause
"""Splitting a prior on filtered images from the data: ADMM and half-quadratic splitting.

    minimise  data_weight ||H x - y||^2 + weight sum_i ||k_i * x||_l,   l = 0 or 1

(Eboli et al., eq. 1 has data_weight 1/2, eq. 16 has 1). With z_i = k_i * x, scaled multipliers b_i
and the penalty rho, a stage is

    z_i <- argmin weight |z_i|_l + rho / 2 |k_i * x + b_i - z_i|^2       thresholding
    x   <- argmin data_weight ||H x - y||^2 + rho / 2 sum_i ||k_i * x + b_i - z_i||^2
    b_i <- b_i + rate (k_i * x - z_i)                                    (none in HQS)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.operators import Operator
from blurops.solvers import problem
from blurops.solvers.inverse_filters import difference_filters
from blurops.solvers.problem import Callback, Deconvolution

SPLITTINGS = ("admm", "hqs")

# What table 1 of the paper states, weight 0.003 and penalty 2.43e-5, would set every gradient to
# zero. 2.43e-5 is 0.003 times 0.0081, the first penalty of the authors' later code: we read 0.003
# as the threshold, which is weight / penalty.
WEIGHT, PENALTY = 2.43e-5, 8.1e-3

# (image, rests, rho, [z_i - b_i]) -> the next image, and its rests where they are known. Rests are
# y - H x and the z_i - b_i - k_i * x.
Step = Callable[[Tensor, list[Tensor], float, list[Tensor]], tuple[Tensor, list[Tensor] | None]]


@dataclass(frozen=True)
class Splitting:
    """The choices of a splitting, checked; `penalties` holds rho of each stage."""

    weight: float
    penalties: tuple[float, ...]
    order: int
    data_weight: float
    rate: float
    multipliers: bool
    tol: float


def choose(
    name: str,
    *,
    weight: float,
    penalty: float | Sequence[float],
    norm: int,
    data_weight: float,
    stages: int,
    rate: float,
    splitting: str,
    tol: float,
) -> Splitting:
    """Check the arguments that the solvers share."""
    _check.choice(name, "splitting", splitting, SPLITTINGS)
    if norm not in (0, 1) or isinstance(norm, bool):
        raise ValueError(message(name, "norm", "be 0 or 1", repr(norm)))
    stages = arguments.whole(name, "stages", stages, 0)
    several = isinstance(penalty, Sequence)
    penalties = tuple(penalty) if several else (penalty,) * stages
    if len(penalties) != stages:
        wanted = f"be one number, or one for each of the {stages} stages"
        raise ValueError(message(name, "penalty", wanted, f"{len(penalties)} numbers"))
    return Splitting(
        arguments.real(name, "weight", weight, least=0),
        tuple(arguments.real(name, "penalty", each, above=0) for each in penalties),
        norm,
        arguments.real(name, "data_weight", data_weight, above=0),
        arguments.real(name, "rate", rate, least=0),
        splitting == "admm",
        arguments.real(name, "tol", tol, least=0),
    )


def default_analysis(analysis: Any, operator: Operator) -> Any:
    """The analysis filters; by default the two differences."""
    return difference_filters(operator.dtype) if analysis is None else analysis


def shrink(values: Tensor, weight: float, penalty: float, order: int) -> Tensor:
    """`argmin_z weight |z|_order + penalty / 2 (values - z)^2`: soft or hard thresholding."""
    if order == 1:
        return torch.nn.functional.softshrink(values, weight / penalty)
    return torch.where(values.abs() > math.sqrt(2 * weight / penalty), values, 0)


def alternate(
    title: str,
    observed: Tensor,
    operator: Operator,
    filters: Sequence[Operator],
    chosen: Splitting,
    step: Step,
    start: Tensor,
    callback: Callback | None,
    progress: bool,
) -> Deconvolution:
    """Run the stages; `step` solves for x."""
    scale = problem.norm(observed) or 1.0
    image, rest = start, observed - operator.forward(start)
    stages = len(chosen.penalties)
    track = problem.Track(
        title, image, problem.norm(rest) / scale, stages, False, callback, progress
    )
    filtered = [each.forward(image) for each in filters]
    multipliers = [torch.zeros_like(each) for each in filtered]
    for penalty in chosen.penalties:
        split = [
            shrink(each + b, chosen.weight, penalty, chosen.order)
            for each, b in zip(filtered, multipliers, strict=True)
        ]
        targets = [z - b for z, b in zip(split, multipliers, strict=True)]
        rests = [rest, *(t - each for t, each in zip(targets, filtered, strict=True))]
        image, rests = step(image, rests, penalty, targets)
        if rests is None:
            rest = observed - operator.forward(image)
            filtered = [each.forward(image) for each in filters]
        else:
            rest = rests[0]
            filtered = [t - each for t, each in zip(targets, rests[1:], strict=True)]
        if chosen.multipliers:
            multipliers = [
                b + chosen.rate * (each - z)
                for b, each, z in zip(multipliers, filtered, split, strict=True)
            ]
        if track.add(image, problem.norm(rest) / scale):
            break
        # An image that stood still while multipliers moved has not arrived: 0 is never reached.
        if chosen.tol and track.changes[-1] <= chosen.tol:
            track.status = "converged"
            break
    return track.result()
