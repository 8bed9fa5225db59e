# SPDX-License-Identifier: BSD-3-Clause
"""What the generator of training data wants to know of a sharp picture."""

import zlib
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


class Scene(NamedTuple):
    """A sharp picture in parts.

    Attributes:
        image: (3, H, W) float32 values in [0, 1] as a display shows them.
        masks: (J, H, W) float32, 1 where a pixel belongs to the part and 0 elsewhere; background
            first, then the objects. Every pixel belongs to one part.
    """

    image: Tensor
    masks: Tensor


@runtime_checkable
class Scenes(Protocol):
    """A source of scenes: as many as are wanted, each known by its index.

    `len` is the number of scenes of an epoch; indices run on beyond it.
    """

    def __len__(self) -> int: ...

    def scene(self, index: int, height: int, width: int) -> Scene:
        """Scene `index`, of that size."""


def random_stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A generator of its own for item `index` of what is drawn for `purpose` under `seed`."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), index])


class Repeated:
    """The first scenes of a source over and over, turned and mirrored, kept in memory in 8 bits.

    For training where making scenes costs more than learning from them.

    Args:
        scenes: the source.
        count: how many of its scenes; about 1 MB for ten scenes of 160 x 160 pixels.
        seed: which turns.

    Example:
        >>> from blurmodels.scenes import DeadLeaves
        >>> scenes = Repeated(DeadLeaves(), 3)
        >>> len(scenes), scenes.scene(7, 48, 48).image.shape
        (3, torch.Size([3, 48, 48]))
    """

    def __init__(self, scenes: Scenes, count: int, *, seed: int = 0) -> None:
        self.scenes, self.count, self.seed = scenes, count, seed
        self._kept: dict[tuple[int, int, int], Scene] = {}

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int, height: int, width: int) -> Scene:
        """Scene `index` modulo the count; turned by right angles only where it is square."""
        key = (index % self.count, height, width)
        if key not in self._kept:
            scene = self.scenes.scene(*key)
            self._kept[key] = Scene((scene.image * 255).round().byte(), scene.masks.byte())
        image, masks = self._kept[key]
        turns = int(random_stream(self.seed, "turns", index).integers(8))
        turned = [_turned(image.float() / 255, turns), _turned(masks.float(), turns)]
        return Scene(*turned)


def _turned(image: Tensor, turns: int) -> Tensor:
    """One of the eight symmetries of a square, or of the four of a rectangle."""
    square = image.shape[-1] == image.shape[-2]
    image = torch.rot90(image, turns % 4 if square else turns % 4 // 2 * 2, (-2, -1))
    return (image.flip(-1) if turns >= 4 else image).contiguous()
