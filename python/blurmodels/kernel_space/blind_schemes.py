# SPDX-License-Identifier: BSD-3-Clause
"""How image and blur are optimised: together, in turns, or the blur anew before each image step.

Tran et al. describe turns, print algorithm 1 and publish code that takes both steps together.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from blurmodels.kernel_space.losses_blind import BlindLoss
from blurmodels.kernel_space.priors import jittered
from blurmodels.training_settings import computing_in

SCHEMES = ("joint", "alternate", "algorithm1")
# Of Adam: the authors', and how the rate falls.
RATE, DECAY, DECAY_EVERY = 5e-4, 0.7, 1000


class Problem:
    """An observed image, a prior that makes the sharp one, a blur, and the loss between them.

    Attributes:
        prior, noise: make the sharp image.
        blur: an operator of `blind_operators`.
        observed: (1, C, H, W).
        trust: (1, 1, H, W) factor of both images in the loss, or None.
        precision: of the sharp image's prior, one of `training_settings.PRECISIONS`; the blur and
            the loss are computed in the observed image's own.
        optimisers: of the image's and the blur's parameters.
        sharp, blurred: of the last evaluation.
    """

    def __init__(
        self,
        observed: Tensor,
        prior: nn.Module,
        noise: Tensor,
        blur: nn.Module,
        loss: BlindLoss,
        generator: torch.Generator,
        *,
        rates: tuple[float, float] = (RATE, RATE),
        trust: Tensor | None = None,
        precision: str = "float32",
    ) -> None:
        self.trust, self.precision = trust, precision
        self.observed, self.prior, self.noise, self.blur = observed, prior, noise, blur
        self.loss, self.generator = loss, generator
        self.optimisers = {
            "image": torch.optim.Adam(prior.parameters(), lr=rates[0], foreach=True),
            "blur": torch.optim.Adam(blur.groups(rates[1]), lr=rates[1], foreach=True),
        }
        self.sharp, self.blurred = observed, observed

    def evaluate(self, done: float) -> Tensor:
        """The loss with fresh jitter of the noise."""
        self.sharp = self._image(jittered(self.noise, self.generator))
        self.blurred = self.blur(self.sharp)
        blurred, observed = self.blurred, self.observed
        if self.trust is not None:
            blurred, observed = self.trust * blurred, self.trust * observed
        return self.loss(blurred, observed, self.sharp, self.blur.kernel(), done)

    def _image(self, noise: Tensor) -> Tensor:
        prior = computing_in(self.prior, self.precision, noise.device)
        return prior(noise).to(self.observed.dtype)

    def step(self, done: float, moved: tuple[str, ...] = ("image", "blur")) -> Tensor:
        """One step of Adam on the parameters named; the loss before it."""
        value = self.evaluate(done)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        value.backward()
        for name in moved:
            self.optimisers[name].step()
        return value.detach()

    def decay(self, factor: float) -> None:
        """Multiplies the learning rates."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] *= factor

    def renew_blur(self) -> None:
        """Starts the blur anew, its optimiser included."""
        self.blur.renew()
        old = self.optimisers["blur"]
        rate = old.param_groups[0]["lr"]
        groups = self.blur.groups(rate)
        self.optimisers["blur"] = torch.optim.Adam(groups, lr=rate, foreach=True)


def plan(scheme: str, steps: int, inner: int) -> Iterator[tuple[tuple[str, ...], bool]]:
    """What moves in each of `steps` steps, and whether the blur starts anew before it.

    Args:
        scheme: "joint"; "alternate": `inner` steps of the blur, then as many of the image;
            "algorithm1": the blur anew and `inner` steps of it, then one of the image.
        steps: in all.
        inner: see above.

    Example:
        >>> ["".join(part[0] for part in moved) for moved, _ in plan("alternate", 5, 2)]
        ['b', 'b', 'i', 'i', 'b']
        >>> [anew for _, anew in plan("algorithm1", 5, 2)]
        [True, False, False, True, False]
    """
    round_ = {"joint": 1, "alternate": 2 * inner, "algorithm1": inner + 1}[scheme]
    for step in range(steps):
        at = step % round_
        if scheme == "joint":
            yield ("image", "blur"), False
        else:
            yield (("blur",) if at < inner else ("image",)), scheme == "algorithm1" and at == 0


def optimise(
    problem: Problem,
    *,
    scheme: str,
    steps: int,
    inner: int = 100,
    first: int = 0,
    losses: list[float] | None = None,
    decay: bool = True,
    after: Callable[[int, list[float]], Any] | None = None,
) -> list[float]:
    """Runs a scheme from step `first` on.

    Args:
        problem: is changed.
        scheme, steps, inner: as `plan` takes them.
        first: steps that are done already.
        losses: of those.
        decay: multiply the rates by 0.7 every 1,000 steps.
        after: is called after each step with the number of steps done and all losses; what it
            returns, if true, ends the run.

    Returns:
        The loss before each step.
    """
    losses = [] if losses is None else losses
    for step, (moved, anew) in enumerate(plan(scheme, steps, inner)):
        if step < first:
            continue
        if anew:
            problem.renew_blur()
        # The authors step the schedule before the optimiser.
        if decay and (step + 1) % DECAY_EVERY == 0:
            problem.decay(DECAY)
        losses.append(float(problem.step(step / steps, moved)))
        if after is not None and after(step + 1, losses):
            break
    return losses


def stalled(losses: list[float], patience: int) -> bool:
    """Whether the mean of the last losses is not below that of as many before."""
    if len(losses) < 2 * patience:
        return False
    return sum(losses[-patience:]) >= sum(losses[-2 * patience : -patience])
