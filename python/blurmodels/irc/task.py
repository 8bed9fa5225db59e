# SPDX-License-Identifier: BSD-3-Clause
"""What IRC-Net, or the whole blind pipeline, learns: sharp images from generated blurred ones."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurmodels.irc import irc_net, joint
from blurmodels.irc.motion_score import motion_error
from blurmodels.irc.scenes import MotionSample, MotionSamples, motion_batch

REDUCTIONS = ("mean", "sum")


class DeblurTask:
    """A `blurmodels.training.Task`: the squared error of the restored image.

    Args:
        network: an `IRCNet`, which is told the motions, or a `BlindDeblurrer`, which is not.
        samples: what it learns from.
        reduction: `"mean"` over values, or half the `"sum"` of each image, to which the paper's
            learning rates belong.

    Raises:
        ValueError: samples have motions beyond the bank, or the reduction is unknown.
    """

    def __init__(
        self,
        network: irc_net.IRCNet | joint.BlindDeblurrer,
        samples: MotionSamples,
        reduction: str = "mean",
    ) -> None:
        self.network, self.data, self.reduction = network, samples, reduction
        self.blind = isinstance(network, joint.BlindDeblurrer)
        self.name = network.name
        longest = (network.network if self.blind else network).max_length
        if samples.settings.max_length > longest:
            raise ValueError(
                f"DeblurTask: samples must have motions of at most {longest} pixels, the longest of"
                f" the network's bank, got {samples.settings.max_length}"
            )
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"DeblurTask: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}"
            )
        self.record = {
            "patch": samples.patch,
            "seed": samples.seed,
            "motion": asdict(samples.settings),
            "scenes": type(samples.scenes).__name__,
            "reduction": reduction,
            "network": network.architecture,
        }

    def samples(self, first: int, last: int, part: slice) -> list[MotionSample]:
        """What the samples of a batch are made of."""
        return [self.data[index] for index in range(first, last)[part]]

    def losses(
        self, network: Callable, samples: list[MotionSample], step: int, device: torch.device
    ) -> dict[str, Tensor]:
        """The squared error of a batch."""
        batch = motion_batch(samples, device)
        given = () if self.blind else (batch.length, batch.angle)
        error = (network(batch.observed, *given).float() - batch.sharp).square()
        if self.reduction == "sum":
            return {"error": error.sum() / (2 * len(samples))}
        return {"error": error.mean()}

    @torch.no_grad()
    def pictures(self, network: Callable, step: int, device: torch.device) -> dict[str, Tensor]:
        """A blurred image and its restoration."""
        batch = motion_batch([self.data[0]], device)
        given = () if self.blind else (batch.length, batch.angle)
        both = [batch.observed, network(batch.observed, *given), batch.sharp]
        return {"observed, restored, sharp": torch.cat(both, dim=3)[0]}

    def export(self, path: Path, **record: Any) -> None:
        """Writes the weights for use."""
        self.network.save_pretrained(path, training=record)


class HeldOut(NamedTuple):
    """Means over images that were not learned from.

    Attributes:
        psnr: of restored images, dB, values clamped to [0, 1].
        motion: squared error of the estimated motion, pixels squared; None where it is told.
    """

    psnr: float
    motion: float | None


@torch.no_grad()
def held_out_scores(network: Callable, samples: MotionSamples, count: int) -> HeldOut:
    """How well a network restores, and estimates motion.

    Args:
        network: an `IRCNet` or a `BlindDeblurrer`.
        samples: other ones than it has learned from.
        count: how many.
    """
    from blurmodels.evaluation import psnr

    blind = isinstance(network, joint.BlindDeblurrer)
    found, errors = [], []
    for index in range(count):
        batch = motion_batch([samples[index]])
        motion = truth = batch.length, batch.angle
        if blind:
            motion = network.motion(batch.observed)
            errors.append(float(motion_error(*motion, *truth).mean()))
        restore = network.restored if blind else network
        restored = restore(batch.observed, *motion)
        found.append(psnr(restored.clamp(0, 1), batch.sharp))
    return HeldOut(sum(found) / count, sum(errors) / count if blind else None)
