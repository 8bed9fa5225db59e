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
from blurops import motion_blur

REDUCTIONS = ("mean", "sum")
# Added to the mean square of what is unexplained: a quarter of a step of 8 bits, squared.
_LEAST = 1e-6


class DeblurTask:
    """A `blurmodels.training.Task`: the squared error of the restored image.

    The error as a function of motion is all but flat where two motions restore alike, and lets an
    estimator drift. A blind pipeline may therefore also be asked that its motion m explains the
    blurred image y by the sharp one x, which training has: `reblur` times the root of the mean of
    `(H(m) x - y)^2` over each image, H being `blurops.motion_blur`. No motion needs to be known
    for that either; the root keeps images of strong contrast from speaking for all.

    Args:
        network: an `IRCNet`, which is told the motions, or a `BlindDeblurrer`, which is not.
        samples: what it learns from.
        reduction: `"mean"` over values, or half the `"sum"` of each image, to which the paper's
            learning rates belong.
        reblur: the weight, 0 or more, of what the motion leaves unexplained; of a pipeline only.

    Raises:
        ValueError: samples have motions beyond the bank, the reduction is unknown, or `reblur` is
            negative or meant for an `IRCNet`.
    """

    def __init__(
        self,
        network: irc_net.IRCNet | joint.BlindDeblurrer,
        samples: MotionSamples,
        reduction: str = "mean",
        reblur: float = 0.0,
    ) -> None:
        self.network, self.data, self.reduction = network, samples, reduction
        self.reblur = float(reblur)
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
        if not self.reblur >= 0 or (self.reblur > 0 and not self.blind):
            wanted = "not be negative" if self.blind else "be 0 where motions are told"
            raise ValueError(f"DeblurTask: reblur must {wanted}, got {reblur}")
        self.record = {
            "patch": samples.patch,
            "seed": samples.seed,
            "motion": asdict(samples.settings),
            "scenes": type(samples.scenes).__name__,
            "reduction": reduction,
            "network": network.architecture,
        }
        if self.reblur > 0:
            self.record["reblur"] = self.reblur

    def samples(self, first: int, last: int, part: slice) -> list[MotionSample]:
        """What the samples of a batch are made of."""
        return [self.data[index] for index in range(first, last)[part]]

    def losses(
        self, network: Callable, samples: list[MotionSample], step: int, device: torch.device
    ) -> dict[str, Tensor]:
        """The squared error of a batch, and what the motion leaves unexplained."""
        batch = motion_batch(samples, device)
        if self.reblur == 0:
            given = () if self.blind else (batch.length, batch.angle)
            return {"error": self._error(network(batch.observed, *given), batch.sharp)}
        restored, length, angle = network(batch.observed, with_motion=True)
        # Beyond the longest motion of the samples, the picture has no margin to blur.
        length = length.float().clamp(max=self.data.settings.max_length)
        again = motion_blur(batch.whole, length, angle.float(), boundary="valid")
        unexplained = (again - batch.observed).square().mean((1, 2, 3))
        return {
            "error": self._error(restored, batch.sharp),
            # Without noise the root may be that of zero, where it has no slope.
            "reblur": self.reblur * (unexplained + _LEAST).sqrt().mean(),
        }

    def _error(self, restored: Tensor, sharp: Tensor) -> Tensor:
        error = (restored.float() - sharp).square()
        return error.mean() if self.reduction == "mean" else error.sum() / (2 * len(error))

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
