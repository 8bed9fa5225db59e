# SPDX-License-Identifier: BSD-3-Clause
"""Blurred images whose straight motion is known at each pixel: what Motion-Net learns from.

Every source is addressed by index and seed: item i is the same whenever it is asked for. What
IRC-Net learns from, and why it is made otherwise, is in `scenes`.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from blurmodels.datasets import read_colours
from blurmodels.scenes import Scene, Scenes, random_stream
from blurops import motion_blur
from blurops.fields import CameraMotion, MotionField

# Eboli et al., section 4.1: variance 2, which can only be in steps of 255.
NOISE = math.sqrt(2) / 255


class Example(NamedTuple):
    """A blurred image and its motion.

    Attributes:
        observed: (3, H, W) values as recorded.
        length: (H, W) pixels, at least 1.
        angle: (H, W) radians, counter-clockwise with y upwards.
        sharp: (3, H, W) the same without blur and noise.
    """

    observed: Tensor
    length: Tensor
    angle: Tensor
    sharp: Tensor


class Examples(Protocol):
    """A source of examples; `len` is the number of an epoch, indices run on beyond it.

    Attributes:
        record: JSON values that say what it gives.
    """

    record: dict

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example:
        """Example `index`."""


def camera_field(motion: CameraMotion, height: int, width: int) -> MotionField:
    """The straight motions that a moving camera makes: each pixel's way from start to end.

    A pixel that sees the scene move by (x, y) between the two ends of the exposure has the length
    `1 + hypot(x, y)` and the angle of (x, -y). Rotation bends the way between a little; what is
    blurred along these straight lines has exactly this field.

    Args:
        motion: of the camera.
        height, width: size of the blurred image.

    Returns:
        The field, (1, H, W).

    Example:
        >>> field = camera_field(CameraMotion(translation=(3.0, 4.0)), 8, 9)
        >>> round(float(field.length[0, 2, 3]), 4), round(math.degrees(field.angle[0, 2, 3]), 2)
        (6.0, 126.87)
    """
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )  # fmt: skip
    points = torch.stack([columns.flatten(), rows.flatten()], dim=-1)
    ways = motion.displacements(points, (height, width), 1)
    x, y = (ways[:, 1] - ways[:, 0]).reshape(height, width, 2).unbind(-1)
    angle = torch.remainder(torch.atan2(-y, x), math.pi)
    return MotionField((1 + torch.hypot(x, y)).float()[None], angle.float()[None])


def random_camera(
    random: np.random.Generator, height: int, width: int, max_length: float
) -> CameraMotion:
    """A camera that turns and shifts, so that the longest motion is uniform up to a limit.

    Args:
        random: what is drawn from.
        height, width: size of the image.
        max_length: longest motion at any pixel, pixels.
    """
    focal = float(max(height, width))
    # Each alone would move the border by about a pixel.
    rotation = random.normal(size=3) / focal * (2.0, 1.0, 1.0) * random.integers(2, size=3)
    translation = random.normal(size=2)
    wanted = random.uniform(0, max_length - 1)
    scale = 1.0
    # Displacements are nearly proportional to the motion.
    for _ in range(3):
        motion = CameraMotion(scale * rotation, scale * translation)
        scale *= wanted / max(float(camera_field(motion, height, width).length.max()) - 1, 1e-9)
    return CameraMotion(scale * rotation, scale * translation)


@dataclass(frozen=True)
class CameraSettings:
    """How scenes are blurred.

    Attributes:
        max_length: of the longest motion, pixels; the paper's moderate tests have 21, its severe
            ones and its training 35.
        noise: standard deviation of Gaussian noise in the values recorded.
        gamma: what is blurred are the scene's values to this power; the paper blurs values.
    """

    max_length: float = 35.0
    noise: float = NOISE
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("max_length", 1), ("noise", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(
                    f"CameraSettings: {name} must be at least {least}, got {getattr(self, name)}"
                )
        if not self.gamma > 0:
            raise ValueError(f"CameraSettings: gamma must be positive, got {self.gamma}")


class CameraBlurs:
    """Scenes seen by a camera that turns and shifts, with the exact field of its motion.

    Args:
        scenes: where sharp pictures come from: generated, or `Photographs`.
        size: (H, W), or one number for both, of the blurred images.
        settings: motions and noise.
        seed: which ones.

    Example:
        >>> from blurmodels.scenes import DeadLeaves
        >>> blurs = CameraBlurs(DeadLeaves(4), 32, CameraSettings(max_length=9))
        >>> blurs[1].observed.shape, blurs[1].length.shape, bool(blurs[1].length.max() <= 9)
        (torch.Size([3, 32, 32]), torch.Size([32, 32]), True)
    """

    def __init__(
        self,
        scenes: Scenes,
        size: int | tuple[int, int] = 256,
        settings: CameraSettings | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.scenes, self.seed = scenes, seed
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.settings = settings or CameraSettings()
        self.record = {
            "kind": type(self).__name__,
            "scenes": type(scenes).__name__,
            "count": len(scenes),
            "size": list(self.size),
            "max_length": self.settings.max_length,
            "noise": self.settings.noise,
            "gamma": self.settings.gamma,
            "seed": seed,
        }

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Example:
        """Scene `index`, blurred; what lies beyond the border is the scene's own."""
        settings, (height, width) = self.settings, self.size
        random = random_stream(self.seed, "camera", index)
        field = camera_field(
            random_camera(random, height, width, settings.max_length), height, width
        )
        # Beyond the limit by rounding at the most.
        length = field.length.clamp(max=settings.max_length)
        margin = math.ceil((settings.max_length - 1) / 2)
        sharp = self.scenes.scene(index, height + 2 * margin, width + 2 * margin).image
        light = sharp[None] ** settings.gamma
        blurred = motion_blur(light, length, field.angle, boundary="valid")[0]
        observed = _recorded(blurred, settings.gamma, settings.noise, random)
        inner = sharp[:, margin : margin + height, margin : margin + width]
        return Example(observed, length[0], field.angle[0], inner)


class Photographs:
    """Random crops of photographs as `Scenes`, of VOC 2012 for instance.

    Args:
        files: the photographs.
        seed: which crops, and in which order.

    Raises:
        ValueError: there is no file; or, later, one is smaller than the crop.
    """

    def __init__(self, files: Sequence[str | os.PathLike[str]], *, seed: int = 0) -> None:
        if not files:
            raise ValueError("Photographs: files must name at least one photograph, got none")
        self.files, self.seed = list(files), seed

    def __len__(self) -> int:
        return len(self.files)

    def scene(self, index: int, height: int, width: int) -> Scene:
        """A crop of a photograph; each comes once in `len` indices. There are no objects."""
        epoch, place = divmod(index, len(self.files))
        order = random_stream(self.seed, "order", epoch).permutation(len(self.files))
        image = crop_of(
            read_colours(self.files[order[place]])[0], (height, width),
            random_stream(self.seed, "crops", index), self.files[order[place]],
        )  # fmt: skip
        return Scene(image, torch.ones(1, height, width))


def crop_of(
    image: Tensor,
    size: tuple[int, int],
    random: np.random.Generator,
    name: str | os.PathLike[str],
) -> Tensor:
    """A random (3, H, W) part; an image that is too small is continued by reflection."""
    short = [max(0, want - have) for have, want in zip(image.shape[1:], size, strict=True)]
    if any(lack > 2 * (have - 1) for lack, have in zip(short, image.shape[1:], strict=True)):
        raise ValueError(
            f"Photographs: '{os.fspath(name)}' must have sides of about half {size[1]} x {size[0]}"
            f" pixels or more, got {image.shape[2]} x {image.shape[1]}"
        )
    down, right = short
    padding = (right // 2, right - right // 2, down // 2, down - down // 2)
    image = functional.pad(image.expand(3, -1, -1)[None], padding, mode="reflect")[0]
    top, left = (
        int(random.integers(have - want + 1))
        for have, want in zip(image.shape[1:], size, strict=True)
    )
    return image[:, top : top + size[0], left : left + size[1]].contiguous()


class Turned:
    """Another source's examples, turned by quarters and mirrored, the fields along with them.

    Args:
        examples: of square images; others are turned by halves only.
        seed: which turns.
    """

    def __init__(self, examples: Examples, *, seed: int = 0) -> None:
        self.examples, self.seed = examples, seed
        self.record = {"turned": examples.record, "seed": seed}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        """Example `index`, in one of eight (or four) ways."""
        example = self.examples[index]
        turns = int(random_stream(self.seed, "turns", index).integers(8))
        if example.observed.shape[1] != example.observed.shape[2]:
            turns -= turns % 2
        return turned(example, turns)


def turned(example: Example, turns: int) -> Example:
    """An example turned and mirrored: its field blurs the turned image to the turned blur.

    Args:
        example: what is turned.
        turns: quarter turns, counter-clockwise; 4 more mirror left and right afterwards.

    Returns:
        The other example; images and maps are moved, angles turn by 90 degrees with each quarter
        and change their sign in the mirror.
    """
    quarters, mirrored = turns % 4, turns // 4 % 2 == 1

    def move(values: Tensor) -> Tensor:
        values = torch.rot90(values, quarters, (-2, -1))
        return (values.flip(-1) if mirrored else values).contiguous()

    observed, length, angle, sharp = map(move, example)
    angle = angle + quarters * math.pi / 2
    angle = torch.remainder(-angle if mirrored else angle, math.pi)
    return Example(observed, length, angle, sharp)


class Mixed:
    """Several sources, one after the other in random order: an epoch shows each example once.

    Args:
        sources: at least one.
        seed: which order.
    """

    def __init__(self, sources: Sequence[Examples], *, seed: int = 0) -> None:
        if not sources:
            raise ValueError("Mixed: sources must hold at least one, got none")
        self.sources, self.seed = list(sources), seed
        self.record = {"mixed": [source.record for source in sources], "seed": seed}

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, index: int) -> Example:
        """Example `index`."""
        epoch, place = divmod(index, len(self))
        place = int(random_stream(self.seed, "mixed", epoch).permutation(len(self))[place])
        for source in self.sources:
            if place < len(source):
                return source[epoch * len(source) + place]
            place -= len(source)
        raise IndexError(index)


def _recorded(light: Tensor, gamma: float, noise: float, random: np.random.Generator) -> Tensor:
    """Values of light, with noise."""
    values = light.clamp(min=0) ** (1 / gamma)
    draw = random.normal(size=values.shape).astype(np.float32)
    return values + noise * torch.from_numpy(draw)
