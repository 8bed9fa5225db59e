# SPDX-License-Identifier: BSD-3-Clause
"""Descent on spheres: any optimiser, whose parameters keep their length, and rates that vary."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from blurmodels.evaluation._errors import message

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "sgd": torch.optim.SGD,
    "sgdm": partial(torch.optim.SGD, momentum=0.9),
}
SCHEDULES = ("linear1cycledrop", "linear1cycle", "fixed")
_EPSILON = 1e-9
# The part of all steps that the cycle takes before the drop, and what it starts and ends with.
_CYCLE, _LOW, _LAST = 0.9, 1 / 10, 1 / 1000


class SphericalDescent:
    """Spherical projected gradient descent of Menon et al., "PULSE", CVPR 2020.

    After each step of an optimiser, every parameter is scaled so that its norm over all axes but
    the first two, `sqrt(sum p^2 + 1e-9)`, is what it was at the beginning: a latent (1, L, D) has L
    spheres, a map of noise (1, 1, h, w) has one.

    Args:
        parameters: of three axes or more.
        name: one of `OPTIMISERS`.
        rate: the learning rate.

    Attributes:
        optimiser: torch's; it has the state.

    Raises:
        ValueError: the name is another.

    Example:
        >>> latent = nn.Parameter(torch.tensor([[[3.0, 4.0]]]))
        >>> descent = SphericalDescent([latent], "sgd", 1.0)
        >>> latent.grad = torch.tensor([[[3.0, -2.0]]])  # leads to (0, 6)
        >>> descent.step()
        >>> latent.detach()
        tensor([[[0., 5.]]])
    """

    def __init__(self, parameters: Sequence[nn.Parameter], name: str, rate: float) -> None:
        if name not in OPTIMISERS:
            choices = ", ".join(OPTIMISERS)
            raise ValueError(message("SphericalDescent", "name", f"be one of {choices}", name))
        self.optimiser = OPTIMISERS[name](list(parameters), lr=rate)
        self._radii = [(each, _norm(each.detach())) for each in parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One step of the optimiser, and back to the spheres."""
        self.optimiser.step()
        for parameter, radius in self._radii:
            parameter.mul_(radius / _norm(parameter))


def _norm(parameter: Tensor) -> Tensor:
    axes = tuple(range(2, parameter.ndim))
    return (parameter.square().sum(axes, keepdim=True) + _EPSILON).sqrt()


def schedule(name: str, step: int, steps: int) -> float:
    """The factor of the learning rate at step t of T.

    "fixed" is 1. "linear1cycle" is `(9 (1 - |2 t / T - 1|) + 1) / 10`: from a tenth to 1 in the
    middle, and back. "linear1cycledrop" does so within 0.9 T, and then falls linearly from a tenth
    to a thousandth at T.

    Args:
        name: one of `SCHEDULES`.
        step: t, from 0 on.
        steps: T, at least 1.

    Raises:
        ValueError: the name is another.

    Example:
        >>> [round(schedule("linear1cycledrop", t, 20), 4) for t in (0, 9, 18, 19)]
        [0.1, 1.0, 0.1, 0.0505]
    """
    if name not in SCHEDULES:
        raise ValueError(message("schedule", "name", f"be one of {', '.join(SCHEDULES)}", name))
    if name == "fixed":
        return 1.0
    cycle = steps if name == "linear1cycle" else _CYCLE * steps
    if step < cycle or name == "linear1cycle":
        return (9 * (1 - abs(2 * step / cycle - 1)) + 1) / 10
    return _LOW + (step - cycle) / (steps - cycle) * (_LAST - _LOW)


def set_rates(optimiser: torch.optim.Optimizer, rates: Sequence[float], factor: float) -> None:
    """Gives each group of parameters its rate times a factor."""
    groups: list[dict[str, Any]] = optimiser.param_groups
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = factor * rate
