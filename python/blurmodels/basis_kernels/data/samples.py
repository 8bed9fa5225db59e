# SPDX-License-Identifier: BSD-3-Clause
"""Blurred images with their truth, by Carbajal et al.'s algorithm 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

import blurops
from blurmodels.basis_kernels.data.kernel_bank import KernelBank
from blurmodels.basis_kernels.losses import segment_weights
from blurmodels.scenes import Scenes, random_stream

DOMAINS = ("linear", "values")
# Added to the sum of the soft masks before the division, as the released generator does.
_EPSILON = 1e-6


@dataclass(frozen=True)
class BlurSettings:
    """How scenes are lit, blurred and recorded.

    Attributes:
        gamma: linear light = value ** gamma.
        brightness: (low, high) of a random factor of the HSV value. Hue and saturation do not
            change when red, green and blue are multiplied by one number, so that is what is done.
        brightness_domain: "linear", the factor multiplies linear light (the released generator), or
            "values", the values that a display gets (the paper read literally).
        normalise: divide the blurred masks by their sum at each pixel (the released generator); the
            paper does not say so.
        saturation: a sensor's response, eq. 4, after the noise.
        noise: (low, high) of the standard deviation of Gaussian noise, in linear light.
        photons: of the light of white; their number is Poisson. None for no such noise.
        clip: cut what is recorded to [0, 1].
    """

    gamma: float = 2.2
    brightness: tuple[float, float] = (0.5, 1.5)
    brightness_domain: str = "linear"
    normalise: bool = True
    saturation: bool = False
    noise: tuple[float, float] = (0.0, 0.01)
    photons: float | None = None
    clip: bool = True

    def __post_init__(self) -> None:
        if self.brightness_domain not in DOMAINS:
            raise ValueError(
                f"BlurSettings: brightness_domain must be one of {', '.join(DOMAINS)},"
                f" got {self.brightness_domain!r}"
            )
        if not self.gamma > 0:
            raise ValueError(f"BlurSettings: gamma must be positive, got {self.gamma}")
        for name in ("brightness", "noise"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"BlurSettings: {name} must be 0 <= low <= high, got {low, high}")
        if self.photons is not None and not self.photons > 0:
            raise ValueError(f"BlurSettings: photons must be positive, got {self.photons}")


class Sample(NamedTuple):
    """What makes up one blurred image, before it is blurred.

    Attributes:
        image: (3, H + K - 1, W + K - 1) sharp values in [0, 1].
        masks: (J, H + K - 1, W + K - 1), background first.
        kernels: (J, K, K), one for each mask.
        brightness, noise: what was drawn.
        seed: of the noise.
    """

    image: Tensor
    masks: Tensor
    kernels: Tensor
    brightness: float
    noise: float
    seed: int


class Batch(NamedTuple):
    """Blurred images and all that is known of them.

    Attributes:
        observed: (N, 3, H, W) values as recorded.
        sharp: (N, 3, H + K - 1, W + K - 1) linear light, brightened, not cut.
        kernels: (N, J, K, K), correlation orientation.
        mixing: (N, J, H, W), the blurred masks: pixel p's kernel is `sum_j mixing_j[p] kernels_j`.
        weights: (N, 1, H, W) of the pixels in the losses, see `losses.segment_weights`.
    """

    observed: Tensor
    sharp: Tensor
    kernels: Tensor
    mixing: Tensor
    weights: Tensor


class Samples:
    """Random crops of scenes with random kernels: sample i is the same whenever it is asked for.

    Args:
        scenes: where sharp pictures come from.
        bank: where kernels come from.
        patch: (H, W), or one number for both, of the blurred images; the paper has 256.
        settings: light and noise.
        seed: which kernels, light and noise.

    Example:
        >>> from blurmodels.basis_kernels.data import KernelBank
        >>> from blurmodels.scenes import DeadLeaves
        >>> samples = Samples(DeadLeaves(), KernelBank(kernel_size=9), patch=48)
        >>> batch = blur_batch([samples[0], samples[1]], samples.settings)
        >>> tuple(batch.observed.shape), tuple(batch.sharp.shape)
        ((2, 3, 48, 48), (2, 3, 56, 56))
    """

    def __init__(
        self,
        scenes: Scenes,
        bank: KernelBank,
        patch: int | tuple[int, int] = 256,
        settings: BlurSettings | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.scenes, self.bank, self.seed = scenes, bank, seed
        self.patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
        self.settings = settings or BlurSettings()

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        """What sample `index` is made of."""
        height, width = (side + self.bank.kernel_size - 1 for side in self.patch)
        image, masks = self.scenes.scene(index, height, width)
        random = random_stream(self.seed, "samples", index)
        # Without replacement: an object does not move as its background does.
        chosen = random.choice(len(self.bank), len(masks), replace=len(masks) > len(self.bank))
        return Sample(
            image,
            masks,
            torch.stack([self.bank[int(i)] for i in chosen]),
            float(random.uniform(*self.settings.brightness)),
            float(random.uniform(*self.settings.noise)),
            int(random.integers(1 << 32)),
        )


def blur_batch(
    samples: Sequence[Sample],
    settings: BlurSettings | None = None,
    device: torch.device | str = "cpu",
) -> Batch:
    """Blurs each part of each scene by its own kernel, and records the sum.

    Carbajal et al., algorithm 1: `v = sum_j (m_j * k_j) (k_j * u)`, the masks blurred by their own
    kernels; then eq. 3, `R(v + n)`, and the display's gamma. As `m_j * k_j` is what a pixel takes
    of kernel j, that is `blurops.basis_blur`, and the blurred masks are the true mixing.

    Args:
        samples: N samples of one size.
        settings: light and noise; that of the samples.
        device: where to compute. The noise is drawn on the CPU, the same for every device.

    Returns:
        The batch. Scenes of fewer parts than others get parts that no pixel takes.
    """
    settings = settings or BlurSettings()
    parts = max(len(sample.masks) for sample in samples)
    image = torch.stack([sample.image for sample in samples]).to(device)
    masks = torch.stack([_filled(sample.masks, parts) for sample in samples]).to(device)
    kernels = torch.stack([_filled(sample.kernels, parts) for sample in samples]).to(device)
    factors = image.new_tensor([sample.brightness for sample in samples])[:, None, None, None]
    if settings.brightness_domain == "values":
        factors = factors**settings.gamma
    sharp = image**settings.gamma * factors
    mixing = _soft_masks(masks, kernels)
    if settings.normalise:
        mixing = mixing / (mixing.sum(1, keepdim=True) + _EPSILON)
    light = blurops.basis_blur(sharp, kernels, mixing, boundary="valid")
    light = torch.stack([
        _noisy(one, sample, settings) for one, sample in zip(light, samples, strict=True)
    ])  # fmt: skip
    if settings.saturation:
        light = blurops.saturate(light)
    light = light.clamp(min=0, max=1 if settings.clip else None)
    radius = kernels.shape[-1] // 2
    inner = masks[:, :, radius : masks.shape[2] - radius, radius : masks.shape[3] - radius]
    return Batch(
        light ** (1 / settings.gamma), sharp, kernels, mixing, segment_weights(inner.contiguous())
    )


def _soft_masks(masks: Tensor, kernels: Tensor) -> Tensor:
    """Every mask correlated with its own kernel, where the kernel fits."""
    count, parts, height, width = masks.shape
    side = kernels.shape[-1]
    ones = masks.new_ones(1, 1, height - side + 1, width - side + 1)
    blurred = blurops.basis_blur(
        masks.reshape(count * parts, 1, height, width),
        kernels.reshape(count * parts, 1, side, side),
        ones,
        boundary="valid",
    )
    return blurred.reshape(count, parts, *ones.shape[2:]).clamp(0, 1)


def _noisy(light: Tensor, sample: Sample, settings: BlurSettings) -> Tensor:
    generator = torch.Generator().manual_seed(sample.seed)
    if settings.photons is not None:
        expected = light.clamp(min=0).cpu() * settings.photons
        light = (torch.poisson(expected, generator=generator) / settings.photons).to(light)
    draw = torch.randn(light.shape, generator=generator)
    return light + sample.noise * draw.to(light)


def _filled(parts: Tensor, count: int) -> Tensor:
    """Zeros behind the parts up to their number."""
    return torch.cat([parts, parts.new_zeros(count - len(parts), *parts.shape[1:])])
