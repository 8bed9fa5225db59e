# SPDX-License-Identifier: BSD-3-Clause
"""What Motion-Net learns: the motion of each pixel of blurred images, where it is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blurmodels.irc.motion_data import Example, Examples
from blurmodels.irc.motion_net import MotionNet, doubled
from blurmodels.irc.motion_picture import motion_colours
from blurmodels.irc.motion_score import motion_error

LOSSES = ("vector", "doubled", "polar")


class MotionTask:
    """A `blurmodels.training.Task`: squared errors of the motion, means over all pixels.

    Args:
        network: what learns.
        examples: what it learns from, all of one size where a batch has several.
        loss: `"vector"`, the squared error of the motion vector, the smaller over its sign;
            `"doubled"`, that of the vector that turns twice as fast, which has one minimum only; or
            `"polar"`, of length and angle as numbers, jump at 180 degrees included.

    Raises:
        ValueError: the loss is none of these, or "polar" for a network of doubled vectors.
    """

    name = MotionNet.name

    def __init__(self, network: MotionNet, examples: Examples, loss: str = "vector") -> None:
        if loss not in LOSSES:
            raise ValueError(f"MotionTask: loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        if loss == "polar" and network.architecture["output"] != "polar":
            raise ValueError(
                "MotionTask: loss must be vector or doubled for a network of 'doubled'"
                " output, got 'polar'"
            )
        self.network, self.data, self.loss = network, examples, loss
        self.record = {"loss": loss, "examples": examples.record, "network": network.architecture}

    def samples(self, first: int, last: int, part: slice) -> list[Example]:
        """A batch's examples."""
        return [self.data[index] for index in range(first, last)[part]]

    def losses(
        self, network: Callable, samples: list[Example], step: int, device: torch.device
    ) -> dict[str, Tensor]:
        """The squared error, pixels squared; of "polar", radians squared beside it."""
        observed, length, angle, _ = (
            torch.stack(each).to(device) for each in zip(*samples, strict=True)
        )
        found = network(observed)
        if self.loss == "vector":
            return {"vector": motion_error(*found, length, angle).mean()}
        if self.loss == "doubled":
            errors = doubled(*found) - doubled(length, angle)
            return {"doubled": errors.square().sum(1).mean()}
        return {
            "length": (found[0] - length).square().mean(),
            "angle": (found[1] - angle).square().mean(),
        }

    @torch.no_grad()
    def pictures(self, network: Callable, step: int, device: torch.device) -> dict[str, Tensor]:
        """A blurred image; its true and its estimated motions, as colours."""
        example = self.data[0]
        length, angle = network(example.observed[None].to(device))
        most = float(example.length.max())
        pair = [
            motion_colours(*motion, most)
            for motion in ((example.length, example.angle), (length[0], angle[0]))
        ]
        return {
            "observed": example.observed.clamp(0, 1),
            "true and estimated motion": torch.cat([each.cpu() for each in pair], dim=2),
        }

    def export(self, path: Path, **record: Any) -> None:
        """Writes the weights for use."""
        self.network.save_pretrained(path, training=record)
