# SPDX-License-Identifier: BSD-3-Clause
"""Blind deblurring without weights: explicit kernels fitted under a deep image prior."""

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from blurmodels.basis_kernels.photograph import check_photograph
from blurmodels.evaluation._errors import message
from blurmodels.kernel_space import blind_state
from blurmodels.kernel_space.blind_operators import BasisKernels, UniformKernel, image_prior
from blurmodels.kernel_space.blind_schemes import SCHEMES, Problem, optimise, stalled
from blurmodels.kernel_space.losses_blind import GRADIENTS, BlindLoss, PaperLoss
from blurmodels.kernel_space.priors import draw_noise
from blurops.fields import BlurField

OPERATORS = ("uniform", "basis")
PRECISIONS = ("float32", "bfloat16")
# Each level of the pyramid is so much larger than the one before.
_RATIO = math.sqrt(2)
_COARSEST_KERNEL = 5
# The finest levels on which every place has a kernel of its own.
_LOCAL_LEVELS = 2
# Adam's rates for the image's prior and the kernels.
_RATES = (1e-2, 5e-2)
# The weight of the gradients falls to this part on each level; it is meant for this contrast.
_LAST_GRADIENTS, _CONTRAST = 0.1, 0.22
_SATURATED = 0.98
_SAVE_EVERY = 100


class Fitted(NamedTuple):
    """Attributes: field, the blur; sharp, (1, 1, H, W) linear light from the prior; losses."""

    field: BlurField
    sharp: Tensor
    losses: list[float]


# Gets the steps done, all steps, the sharp image at this level, and the losses.
Callback = Callable[[int, int, Tensor, list[float]], Any]


def fit_operator(
    image: Tensor,
    *,
    operator: str = "basis",
    gamma: float = 2.2,
    kernel_size: int = 15,
    grid: tuple[int, int] = (2, 2),
    steps: int = 200,
    width: int = 16,
    gradients: float = GRADIENTS,
    scheme: str = "joint",
    precision: str = "float32",
    seed: int = 0,
    patience: int | None = None,
    state: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> Fitted:
    """Fits a blur operator and a sharp image to a photograph, with nothing learned beforehand.

    Minimises eq. 6 of Tran et al., "Explore Image Deblurring via Encoded Blur Kernel Space",

        rho(y, H x) + lambda ||k||_2 + gamma mean (g_u(x)^2 + g_v(x)^2)^(alpha / 2),

    with an explicit blur H of kernels k in place of their network F, x the output of a deep image
    prior, and Adam on both. Kernels are a softmax over their taps: they stay convex combinations.
    A pyramid leads from flat kernels of 5 pixels to `kernel_size`; the network of the image goes
    from level to level, the kernels are resized and centred, and on each level gamma falls by a
    factor of 10: few edges first, details later. With "basis", the finest two levels have a kernel
    at each place of a grid and a small network that predicts the mixing (`BasisKernels`). It works
    on the mean of the channels, in linear light; restore the photograph with the field found.

    Args:
        image: (1, C, H, W), C 1 or 3, values of at least 0; saturated pixels are left out.
        operator: "uniform", one kernel, or "basis".
        gamma: linear light = image ** gamma.
        kernel_size: K, odd, at least 5 and at most a quarter of the image's shorter side.
        grid: of "basis", kernels down and across; B is their product.
        steps: on each level.
        width: channels of the image's prior; the authors' has 128 and is about 40 times slower.
        gradients: the weight gamma at first.
        scheme: "joint", "alternate" or, for one kernel, as in `blind_schemes.plan`.
        precision: "float32", or "bfloat16" for the prior's convolutions: a quarter quicker on a CPU
            that computes in it (avx512_bf16, amx), slower on others; blur, loss and what is
            optimised stay in float32.
        seed: of everything random; torch's global generators are left alone.
        patience: go to the next level when the mean loss of so many steps is not below that of so
            many steps before; None never.
        state: a file in which the run is kept every 100 steps and from which it goes on if it
            exists, to the same result bit for bit; it is left there at the end.
        callback: is called after every step.
        progress: show a progress bar on stderr.

    Returns:
        Fitted: field with kernels (1, B, K, K), mixing (1, B, H, W), boundary "reflect"; the
        prior's sharp image; the loss before each step.

    Raises:
        TypeError, ValueError: an argument is not as above, or the state is of another run.

    Note:
        About 0.03 s a step of one core for 144 x 144 pixels, and in proportion to the pixels.

    Example:
        >>> found = fit_operator(torch.rand(1, 1, 32, 36), kernel_size=5, steps=2, grid=(1, 2))
        >>> tuple(found.field.kernels.shape), tuple(found.sharp.shape), len(found.losses)
        ((1, 2, 5, 5), (1, 1, 32, 36), 2)
    """
    _check(image, operator, gamma, kernel_size, grid, steps, scheme, precision, patience)
    settings = {
        "image": blind_state.digest(image), "operator": operator, "gamma": float(gamma),
        "kernel_size": kernel_size, "grid": list(grid), "steps": steps, "width": width,
        "gradients": float(gradients), "scheme": scheme, "precision": precision, "seed": seed,
        "patience": patience,
    }  # fmt: skip
    found = None if state is None else blind_state.read(state, settings)
    run = _Run(image, settings)
    losses: list[float] = found.extra["losses"] if found else []
    sides = levels(kernel_size)
    begin, first = (found.extra["level"], found.extra["step"]) if found else (len(sides) - 1, 0)
    before = found.extra["before"] if found else 0
    losses, own = losses[:before], losses[before:]
    total = steps * len(sides)
    known = len(losses) + len(own)
    with tqdm(total=total, unit="step", initial=known, disable=not progress) as bar:
        for level in range(begin, -1, -1):
            problem = run.problem(level, sides[level])
            if found is not None and level == begin:
                blind_state.restore(problem, found)
            watch = _Watch(problem, level, total, losses, settings, state, callback, bar)
            optimise(
                problem, scheme=scheme, steps=steps, decay=False, after=watch, losses=own,
                first=first if level == begin else 0,
            )  # fmt: skip
            losses, own = losses + own, []
            run.blur = problem.blur
    return Fitted(*run.result(problem), losses)


def levels(kernel_size: int) -> list[int]:
    """The odd kernel side of each level of the pyramid, the finest first.

    Example:
        >>> levels(13)
        [13, 9, 7, 5]
    """
    sides = [kernel_size]
    while (side := kernel_size / _RATIO ** len(sides)) > _COARSEST_KERNEL - 1 and sides[-1] > 5:
        sides.append(max(_COARSEST_KERNEL, 2 * round((side - 1) / 2) + 1))
    return sides


class _Watch(NamedTuple):
    """What happens after each step of a level."""

    problem: Problem
    level: int
    total: int
    before: list[float]
    settings: dict[str, Any]
    state: str | os.PathLike[str] | None
    callback: Callback | None
    bar: tqdm

    def __call__(self, step: int, own: list[float]) -> bool:
        """Whether the level ends here."""
        losses = [*self.before, *own]
        self.bar.update()
        self.bar.set_postfix(loss=f"{own[-1]:.4f}", refresh=False)
        if self.callback is not None:
            self.callback(len(losses), self.total, self.problem.sharp.detach(), losses)
        steps, patience = self.settings["steps"], self.settings["patience"]
        stop = patience is not None and stalled(own, patience)
        if self.state is not None and (step % _SAVE_EVERY == 0 or step == steps or stop):
            blind_state.save(
                self.state, self.problem, settings=self.settings, level=self.level,
                step=steps if stop else step, losses=losses, before=len(self.before),
            )  # fmt: skip
        return stop


class _Run:
    """What goes from level to level."""

    def __init__(self, image: Tensor, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.trust = (image.amax(1, keepdim=True) < _SATURATED).to(torch.float32)
        self.light = (image.float() ** settings["gamma"]).mean(1, keepdim=True)
        self.generator = torch.Generator().manual_seed(settings["seed"])
        self.prior = image_prior(1, settings["width"], settings["seed"])
        self.blur: UniformKernel | BasisKernels | None = None
        first = settings["gradients"] * float(self.light.std() / _CONTRAST) ** (1 - 0.66)
        first = max(first, 1e-6)
        self.loss: BlindLoss = PaperLoss(gradients=(first, _LAST_GRADIENTS * first))

    def problem(self, level: int, side: int) -> Problem:
        """The problem of a level, started from the level before."""
        observed, trust = self.light, self.trust
        if level > 0:
            size = [round(length / _RATIO**level) for length in observed.shape[2:]]
            observed, trust = (_resized(plane, size) for plane in (observed, trust))
            # A pixel is trusted if all that it is made of is.
            trust = (trust > 0.99).to(trust.dtype)
        size = (observed.shape[2], observed.shape[3])
        noise = draw_noise(8, (size[0] + side - 1, size[1] + side - 1), self.generator)
        return Problem(
            observed, self.prior, noise.contiguous(memory_format=torch.channels_last),
            self._blur(level, side, size), self.loss, self.generator, rates=_RATES, trust=trust,
            precision=self.settings["precision"],
        )  # fmt: skip

    def _blur(self, level: int, side: int, size: tuple[int, int]) -> UniformKernel | BasisKernels:
        start = None if self.blur is None else self.blur.kernel().detach()
        if self.settings["operator"] == "uniform" or level >= _LOCAL_LEVELS:
            return UniformKernel(side, start)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings["seed"])
            own = BasisKernels(side, size, tuple(self.settings["grid"]), self.generator, start)
        if isinstance(self.blur, BasisKernels):
            own.follow(self.blur)
        return own

    @torch.no_grad()
    def result(self, problem: Problem) -> tuple[BlurField, Tensor]:
        height, width = self.light.shape[2:]
        kernels, mixing = problem.blur.field((height, width))
        margin = problem.blur.margin
        sharp = problem.prior(problem.noise)[
            ..., margin : margin + height, margin : margin + width
        ].contiguous()
        meta = {"boundary": "reflect", "gamma": self.settings["gamma"]}
        meta |= {"orientation": "correlation", "estimator": "kernel_space"}
        return BlurField(kernels, mixing, meta), sharp


def _resized(x: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(x, size, mode="bilinear", antialias=True)


def _check(
    image: Any, operator: Any, gamma: Any, kernel_size: Any, grid: Any, steps: Any, scheme: Any,
    precision: Any, patience: Any,
) -> None:  # fmt: skip
    name = "fit_operator"
    check_photograph(name, image)
    for argument, value, allowed in (
        ("operator", operator, OPERATORS), ("scheme", scheme, SCHEMES[:2]),
        ("precision", precision, PRECISIONS),
    ):  # fmt: skip
        if value not in allowed:
            raise ValueError(message(name, argument, f"be one of {', '.join(allowed)}", value))
    if not isinstance(kernel_size, int) or kernel_size < _COARSEST_KERNEL or kernel_size % 2 == 0:
        raise ValueError(message(name, "kernel_size", "be odd and at least 5", repr(kernel_size)))
    least = max(4 * kernel_size, 32)
    if least > min(image.shape[2:]):
        wanted = f"have sides of at least {least} pixels for kernels of {kernel_size}"
        got = f"{image.shape[3]} x {image.shape[2]}"
        raise ValueError(message(name, "image", wanted, got))
    if len(grid) != 2 or not all(isinstance(count, int) and count >= 1 for count in grid):
        raise ValueError(message(name, "grid", "be two positive integers", repr(grid)))
    for argument, value in (("steps", steps), ("patience", patience)):
        whole = isinstance(value, int) and value >= 1
        if not (whole or (argument == "patience" and value is None)):
            raise ValueError(message(name, argument, "be a positive integer", repr(value)))
    if not isinstance(gamma, int | float) or not gamma > 0:
        raise ValueError(message(name, "gamma", "be positive", repr(gamma)))
