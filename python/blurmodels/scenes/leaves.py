# SPDX-License-Identifier: BSD-3-Clause
"""Sharp scenes without a data set: dead leaves with natural sizes, textures and colours.

Opaque shapes fall on each other. Where the number of shapes of radius r goes as r^-3 the picture
looks alike at all scales, as photographs do, down to their derivatives' heavy tails (Lee, Mumford
and Huang, "Occlusion models for natural images", IJCV 2001). Each leaf has

- a colour whose logarithm is normal along the principal axes of natural light: much luminance, less
  yellow against blue, least red against green, nearly independent (Ruderman, Cronin and Chiao,
  "Statistics of cone responses to natural images", JOSA A 1998); the widths here are our own, wider
  than those of the woods that they photographed;
- a texture whose amplitude falls as 1 / f^a, a near 1 (Field, "Relations between the statistics of
  natural images and the response properties of cortical cells", JOSA A 1987);
- a gradual shading.
"""

import math

import numpy as np
import torch

from blurmodels.scenes.scene import Scene, random_stream

# Achromatic, yellow against blue, red against green; in the logarithm of linear light.
_AXES = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])
_SCENE_SPREAD = np.array([0.5, 0.20, 0.06])  # of a whole scene's light
_LEAF_SPREAD = np.array([1.3, 0.35, 0.15])  # of one leaf beside another
_GRAY = math.log(0.2)  # the mean of the log of linear light is near that of a gray card
_LEAST_RADIUS = 2.5  # pixels; smaller leaves are texture
_COVER = 2.5  # area of all leaves over that of the scene
_TEXTURES = 2  # per scene
_LEAST_OBJECT = 400  # pixels, as the paper's choice of images
_DISPLAY = 2.2


class DeadLeaves:
    """Scenes of dead leaves with a few large objects in front.

    Args:
        size: scenes of an epoch, the number of the paper's images by default. There is no end of
            them: every index is another scene.
        objects: the largest number of objects in a scene.
        seed: which scenes.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> image, masks = DeadLeaves(seed=1).scene(5, 80, 96)
        >>> image.shape, tuple(masks.shape[1:]), bool((masks.sum(0) == 1).all())
        (torch.Size([3, 80, 96]), (80, 96), True)
    """

    def __init__(self, size: int = 5888, *, objects: int = 3, seed: int = 0) -> None:
        for name, value, least in (("size", size, 1), ("objects", objects, 0), ("seed", seed, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"DeadLeaves: {name} must be a whole number of at least {least}, got {value!r}"
                )
        self.size, self.objects, self.seed = size, objects, seed

    def __len__(self) -> int:
        return self.size

    def scene(self, index: int, height: int, width: int) -> Scene:
        """Scene `index`, (height, width) pixels of it."""
        random = random_stream(self.seed, "leaves", index)
        log_light = self._layer(random, height, width)
        labels = _object_labels(random, height, width, int(random.integers(self.objects + 1)))
        # An object shows another part of the same world, in another light.
        for number in np.unique(labels[labels > 0]):
            other = np.roll(log_light, random.integers(1, (height, width)), (0, 1))
            light = (random.normal(size=3) * _LEAF_SPREAD / 2) @ _AXES
            log_light = np.where(labels[..., None] == number, other[::-1] + light, log_light)
        image = np.exp(np.minimum(log_light, 0) / _DISPLAY)
        parts = [0, *np.unique(labels[labels > 0])]
        masks = np.stack([labels == part for part in parts])
        return Scene(
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)),
            torch.from_numpy(masks.astype(np.float32)),
        )

    def _layer(self, random: np.random.Generator, height: int, width: int) -> np.ndarray:
        """(H, W, 3) logarithm of linear light."""
        largest = 0.6 * min(height, width)
        # The mean of pi r^2 over the density 2 a^2 r^-3 from a on.
        mean_area = 2 * math.pi * _LEAST_RADIUS**2 * math.log(max(largest / _LEAST_RADIUS, 1.5))
        count = math.ceil(_COVER * height * width / mean_area)
        radius = _LEAST_RADIUS / np.sqrt(1 - random.random(count))
        labels = _fall(random, np.minimum(radius, largest), height, width)
        labels = labels.ravel()
        count += 1  # number 0 is the ground
        light = _GRAY + (random.normal(size=3) * _SCENE_SPREAD) @ _AXES
        contrast = random.uniform(0.3, 1)
        colours = light + contrast * (random.normal(size=(count, 3)) * _LEAF_SPREAD) @ _AXES
        texture = np.stack([
            _texture(random, height, width, random.uniform(0.7, 1.5)) for _ in range(_TEXTURES)
        ])  # fmt: skip
        which = random.integers(_TEXTURES, size=count)
        strength = 0.7 * random.random(count) ** 2 * contrast
        shift = random.integers(height * width, size=count)
        rows, columns = (axis.ravel() for axis in np.indices((height, width)))
        place = (rows * width + columns + shift[labels]) % (height * width)
        slope = random.normal(size=(2, count)) * contrast * 0.4
        shading = slope[0][labels] * (rows / height - 0.5) + slope[1][labels] * (
            columns / width - 0.5
        )
        detail = strength[labels] * texture.reshape(_TEXTURES, -1)[which[labels], place] + shading
        return (colours[labels] + detail[:, None]).reshape(height, width, 3)


def _fall(random: np.random.Generator, radius: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) number of the leaf on top, from 1 on; 0 where none fell."""
    count = len(radius)
    y, x = random.uniform(0, height, count), random.uniform(0, width, count)
    angle = random.uniform(0, math.pi, count)
    aspect = np.exp(random.uniform(-1, 1, count) * 0.7)
    power = random.uniform(1, 6, count)  # a rhombus, an ellipse, nearly a rectangle
    labels = np.zeros((height, width), dtype=np.int32)
    for i in range(count):
        _paint(
            labels, i + 1, (y[i], x[i]), radius[i] * aspect[i], radius[i] / aspect[i], angle[i],
            power[i],
        )  # fmt: skip
    return labels


def _paint(
    labels: np.ndarray,
    number: int,
    centre: tuple[float, float],
    long: float,
    short: float,
    angle: float,
    power: float,
) -> None:
    """Puts a superellipse, |u / long|^p + |v / short|^p < 1, on what lies there."""
    reach = math.hypot(long, short)
    top, left = (max(0, math.floor(c - reach)) for c in centre)
    bottom, right = (math.ceil(c + reach) + 1 for c in centre)
    box = labels[top:bottom, left:right]
    dy = np.arange(top, top + box.shape[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    dx = np.arange(left, left + box.shape[1], dtype=np.float32) - np.float32(centre[1])
    cos, sin = math.cos(angle), math.sin(angle)
    u = np.abs(dx * np.float32(cos / long) + dy * np.float32(sin / long))
    v = np.abs(dy * np.float32(cos / short) - dx * np.float32(sin / short))
    box[u**power + v**power < 1] = number


def _texture(random: np.random.Generator, height: int, width: int, fall: float) -> np.ndarray:
    """(H, W) noise of unit variance whose amplitude goes as 1 / f^fall."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=(height, width))) * frequency**-fall
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return noise / noise.std()


def _object_labels(random: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """(H, W) number of the object at each pixel, 0 for background; later ones lie in front."""
    labels = np.zeros((height, width), dtype=np.int32)
    for number in range(1, count + 1):
        centre = random.uniform(0.1, 0.9, 2) * (height, width)
        radius = min(height, width) * random.uniform(0.12, 0.35)
        # Overlapping shapes around one place: a body with limbs.
        for _ in range(random.integers(1, 5)):
            offset = random.normal(size=2) * radius * 0.5
            aspect = math.exp(random.uniform(-0.5, 0.5))
            size = radius * random.uniform(0.5, 1)
            _paint(
                labels, number, tuple(centre + offset), size * aspect, size / aspect,
                random.uniform(0, math.pi), random.uniform(1.5, 4),
            )  # fmt: skip
    for number in range(1, count + 1):
        if np.count_nonzero(labels == number) < _LEAST_OBJECT:
            labels[labels == number] = 0
    return labels
