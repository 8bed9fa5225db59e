# SPDX-License-Identifier: BSD-3-Clause
"""How to train: the optimiser and its rate, the precision, and how often what is written."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
DECAYS = ("halving", "cosine", "restarts")
OPTIMISERS = ("adam", "sgd")


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        steps: of the optimiser, in all.
        batch_size: of all processes together.
        learning_rate: of the optimiser.
        optimiser: "adam" or "sgd", stochastic gradient descent.
        momentum: of "sgd".
        betas: of "adam".
        decay: "halving" halves the rate every `halve_every` steps; "cosine" brings it to 0 along
            half of a cosine's period; "restarts" brings it to `least_rate` that way in each of
            `periods` steps, at whose ends it jumps back, and stays at `least_rate` after the last.
        halve_every: None for never.
        periods: steps from restart to restart.
        least_rate: of "restarts".
        warmup: steps over which the rate rises to its value.
        clip: largest norm of the gradient; None for no limit.
        precision: "float32", or "bfloat16" or "float16" for what autocast thinks safe; losses and
            sums stay in float32.
        channels_last: lay the channels of a pixel side by side, which half types like.
        checkpoint_every, log_every, picture_every: steps between two.
        workers: processes that make data; 0 makes them in the training process.
        seed: of initial weights, data and whatever a network draws.
    """

    steps: int
    batch_size: int = 8
    learning_rate: float = 1e-4
    optimiser: str = "adam"
    momentum: float = 0.0
    decay: str = "halving"
    halve_every: int | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    periods: tuple[int, ...] = ()
    least_rate: float = 0.0
    warmup: int = 0
    clip: float | None = None
    precision: str = "float32"
    channels_last: bool = False
    checkpoint_every: int = 500
    log_every: int = 10
    picture_every: int = 500
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "log_every", "picture_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"Settings: {name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"Settings: learning_rate must be positive, got {self.learning_rate}")
        if self.decay == "restarts" and (not self.periods or min(self.periods) < 1):
            raise ValueError(f"Settings: periods must be positive numbers, got {self.periods}")
        for name, choices in (
            ("decay", DECAYS), ("precision", tuple(PRECISIONS)), ("optimiser", OPTIMISERS),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"Settings: {name} must be one of {', '.join(choices)},"
                    f" got {getattr(self, name)!r}"
                )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0.

        Example:
            >>> settings = Settings(steps=8, learning_rate=1.0, halve_every=3)
            >>> [settings.rate(step) for step in (0, 2, 3, 6)]
            [1.0, 1.0, 0.5, 0.25]
        """
        rate = self.learning_rate
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        elif self.decay == "restarts":
            rate = self._restarted(step)
        elif self.halve_every is not None:
            rate *= 0.5 ** (step // self.halve_every)
        return rate * min(1.0, (step + 1) / (self.warmup + 1))

    def _restarted(self, step: int) -> float:
        for period in self.periods:
            if step < period:
                share = 0.5 * (1 + math.cos(math.pi * step / period))
                return self.least_rate + (self.learning_rate - self.least_rate) * share
            step -= period
        return self.least_rate


def computing_in(network: nn.Module, precision: str, device: torch.device) -> Callable:
    """The network under autocast.

    Args:
        network: what is called.
        precision: one of `PRECISIONS`; in "float32" the network is itself.
        device: of its inputs.
    """
    dtype = PRECISIONS[precision]
    if dtype is None:
        return network

    def call(*args: Any) -> Any:
        with torch.autocast(device.type, dtype=dtype):
            return network(*args)

    return call
