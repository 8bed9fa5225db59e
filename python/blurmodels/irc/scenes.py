# SPDX-License-Identifier: BSD-3-Clause
"""Training data of IRC-Net: generated scenes under straight motions, each known by its index.

`motion_data.CameraBlurs`, what Motion-Net learns from, makes camera motions too, and little is the
same: its cameras turn about three axes, by exact rotations, and it blurs each scene when it is
asked for; here the turn is small and about the optical axis alone, which makes the field a sum of
linear functions, noise differs from sample to sample, and batches are blurred on the device.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from blurmodels.scenes import Scenes, random_stream
from blurops import motion_blur
from blurops.fields import bank_motions

KINDS = ("camera", "bank")


@dataclass(frozen=True)
class MotionSettings:
    """How scenes are blurred.

    Attributes:
        max_length: of the longest motion, pixels, odd.
        kind: `"camera"`, a turn about the optical axis and a shift, different at each pixel; or
            `"bank"`, one motion of the bank for the whole patch, as the paper's training has it.
        noise: range of the noise's deviation, in which its logarithm is uniform.
        gamma: light is the scene's values to this power. The paper blurs the values themselves.
    """

    max_length: int = 35
    kind: str = "camera"
    noise: tuple[float, float] = (0.005, 0.02)
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"MotionSettings: kind must be one of {', '.join(KINDS)}, got {self.kind!r}"
            )
        if not 0 < self.noise[0] <= self.noise[1]:
            raise ValueError(
                "MotionSettings: noise must be a range of positive deviations, from the smaller to"
                f" the larger, got {self.noise}"
            )


class MotionSample(NamedTuple):
    """What a blurred image is made of.

    Attributes:
        sharp: (3, H + 2 m, W + 2 m) light, m the reach of the longest motion.
        length, angle: (H, W) pixels, and radians counter-clockwise with y upwards.
        noise: (3, H, W), what is added.
    """

    sharp: Tensor
    length: Tensor
    angle: Tensor
    noise: Tensor


class MotionBatch(NamedTuple):
    """A batch for training.

    Attributes:
        observed, sharp: (N, 3, H, W).
        length, angle: (N, H, W).
        whole: the sharp picture with all around it that was blurred into the observed one.
    """

    observed: Tensor
    sharp: Tensor
    length: Tensor
    angle: Tensor
    whole: Tensor


class MotionSamples:
    """Scenes with random straight motions and noise: sample i is the same whenever it is asked for.

    Args:
        scenes: where sharp pictures come from.
        patch: side of the blurred images.
        settings: motions, noise and light.
        seed: which motions and noise.

    Example:
        >>> from blurmodels.scenes import DeadLeaves
        >>> samples = MotionSamples(DeadLeaves(), 32, MotionSettings(max_length=9))
        >>> batch = motion_batch([samples[0], samples[1]])
        >>> batch.observed.shape, batch.length.shape
        (torch.Size([2, 3, 32, 32]), torch.Size([2, 32, 32]))
    """

    def __init__(
        self, scenes: Scenes, patch: int = 128, settings: MotionSettings | None = None, *,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.scenes, self.patch, self.seed = scenes, patch, seed
        self.settings = settings or MotionSettings()

    def __getitem__(self, index: int) -> MotionSample:
        settings, side = self.settings, self.patch
        random = random_stream(self.seed, "motion", index)
        whole = side + settings.max_length - 1
        image = self.scenes.scene(index, whole, whole).image
        if settings.kind == "bank":
            length, angle = _bank_motion(random, settings.max_length, side)
        else:
            length, angle = _camera_motion(random, settings.max_length, side)
        low, high = np.log(settings.noise)
        deviation = math.exp(random.uniform(low, high))
        noise = random.normal(scale=deviation, size=(3, side, side)).astype(np.float32)
        return MotionSample(image**settings.gamma, length, angle, torch.from_numpy(noise))


def motion_batch(samples: list[MotionSample], device: torch.device | str = "cpu") -> MotionBatch:
    """Blurs samples, on the device.

    Nothing is assumed of what lies beyond the border: the sharp picture is larger.

    Args:
        samples: of one size.
        device: where to compute.
    """
    sharp, length, angle, noise = (
        torch.stack(each).to(device) for each in zip(*samples, strict=True)
    )
    observed = motion_blur(sharp, length, angle, boundary="valid") + noise
    margin = (sharp.shape[-1] - length.shape[-1]) // 2
    inside = slice(margin, margin + length.shape[-1])
    return MotionBatch(observed, sharp[..., inside, inside], length, angle, sharp)


def _bank_motion(random: np.random.Generator, longest: int, side: int) -> tuple[Tensor, Tensor]:
    lengths, angles = bank_motions(longest)
    entry = int(random.integers(len(lengths)))
    one = torch.ones(side, side)
    return float(lengths[entry]) * one, float(angles[entry]) * one


def _camera_motion(random: np.random.Generator, longest: int, side: int) -> tuple[Tensor, Tensor]:
    """A shift, and a turn that moves the corners as far as the shift at the most."""
    place = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    towards = random.uniform(0, 2 * math.pi)
    turn = random.uniform(-1, 1) / (place[-1] * math.sqrt(2))
    right = math.cos(towards) - turn * place[:, None].expand(side, side)
    down = -math.sin(towards) + turn * place[None, :].expand(side, side)
    far = torch.hypot(right, down)
    length = 1 + random.uniform(0, longest - 1) * far / far.max()
    return length.float(), torch.atan2(-down, right).float()
