# SPDX-License-Identifier: BSD-3-Clause
"""One compact deblurring network on generated scenes, which tables 2 and 4 in small are about.

The network and its loss are those of `basis_kernels.experiments.blurring_to_deblur`; what differs
between its trainings here is the blur of their pairs alone.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import blurops
from blurmodels.basis_kernels.data import Batch, BlurSettings, KernelBank, Samples, blur_batch
from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator
from blurmodels.evaluation import psnr
from blurmodels.scenes import DeadLeaves, random_stream
from blurmodels.training import Settings, train


@dataclass(frozen=True)
class Options:
    """What is tried.

    Attributes:
        steps: of each training.
        batch_size: images a step.
        patch: their side.
        pairs: images of a dataset.
        side: of these, at least the patch.
        kernel_size: of the blur.
        grid: kernels along each axis that blur is encoded by where no encoder is given.
        exposure: of the hand-held camera in seconds.
        unseen_exposure: of another one, table 4's third column.
        width, blocks: of the network.
        learning_rate: at the start.
        held_out: images to score on, from other scenes.
        seed: of everything.
    """

    steps: int = 600
    batch_size: int = 4
    patch: int = 64
    pairs: int = 128
    side: int = 96
    kernel_size: int = 17
    grid: int = 2
    exposure: float = 0.5
    unseen_exposure: float = 1.5
    width: int = 16
    blocks: int = 3
    learning_rate: float = 2e-3
    held_out: int = 24
    seed: int = 0

    @property
    def size(self) -> str:
        """What a reader of the tables must know."""
        return (
            f"{self.steps} steps of {self.batch_size} images of {self.patch} x {self.patch} from"
            f" {self.pairs} pairs a dataset; {self.held_out} held-out images"
        )


class Pairs(NamedTuple):
    """A dataset in memory.

    Attributes:
        blurred: (N, 3, S, S) in [0, 1].
        sharp: likewise.
    """

    blurred: Tensor
    sharp: Tensor


class Generated:
    """Scenes of a seed under a camera's shake, background and objects each with their own.

    Args:
        options: sizes.
        seed: of the scenes and the kernels.
        count: how many.
        exposure: of the camera in seconds.
    """

    def __init__(self, options: Options, seed: int, count: int, exposure: float) -> None:
        bank = KernelBank(kernel_size=options.kernel_size, exposure=exposure, seed=seed)
        settings = BlurSettings(noise=(0.0, 0.005))
        samples = Samples(DeadLeaves(seed=seed), bank, options.side, settings, seed=seed)
        self.gamma, self.radius = settings.gamma, options.kernel_size // 2
        self.batches = [blur_batch([samples[index]], settings) for index in range(count)]

    def pairs(self) -> Pairs:
        """The scenes with their own blur."""
        blurred = [batch.observed for batch in self.batches]
        return Pairs(torch.cat(blurred), torch.cat([self.sharp(batch) for batch in self.batches]))

    def sharp(self, batch: Batch) -> Tensor:
        """The sharp values of the blurred size, clipped as a camera would."""
        r = self.radius
        return batch.sharp[:, :, r:-r, r:-r].clamp(0, 1) ** (1 / self.gamma)

    def under(self, scene: int, other: int) -> Tensor:
        """The truth of a transfer: a scene under the blur of another one, without noise."""
        batch, blur = self.batches[scene], self.batches[other]
        light = blurops.basis_blur(batch.sharp, blur.kernels, blur.mixing, boundary="valid")
        return light.clamp(0, 1) ** (1 / self.gamma)


class Deblurring:
    """The task of `blurmodels.training.train`: mean absolute error on random crops of pairs."""

    name = "kernel_space.small"

    def __init__(self, network: DeblurGANGenerator, pairs: Pairs, options: Options) -> None:
        self.network, self.pairs, self.options = network, pairs, options
        self.record: dict[str, Any] = {"pairs": len(pairs.sharp)}

    def samples(self, first: int, last: int, part: slice) -> Any:
        """Crops (n, 2, 3, H, W), turned and mirrored, blurred and sharp alike."""
        crops = [self._crop(index) for index in range(first, last)[part]]
        return torch.stack(crops)

    def _crop(self, index: int) -> Tensor:
        random = random_stream(self.options.seed, "crops", index)
        # Along the range, not drawn: two datasets of one size see the same scenes in turn.
        which = index % len(self.pairs.sharp)
        top, left = random.integers(self.options.side - self.options.patch + 1, size=2)
        both = torch.stack([self.pairs.blurred[which], self.pairs.sharp[which]])
        patch = self.options.patch
        crop = both[..., top : top + patch, left : left + patch]
        turned = torch.rot90(crop, int(random.integers(4)), (-2, -1))
        return turned.flip(-1) if random.integers(2) else turned

    def losses(self, network: Any, samples: Any, step: int, device: torch.device) -> dict:
        """The one term of the loss."""
        blurred, sharp = samples.to(device).unbind(1)
        return {"error": (network(blurred) - sharp).abs().mean()}

    def pictures(self, network: Any, step: int, device: torch.device) -> dict[str, Tensor]:
        """None: the report has the numbers."""
        return {}

    def export(self, path: Path, **record: Any) -> None:
        """Writes the network."""
        self.network.save(path)


def trained(pairs: Pairs, options: Options, *, progress: bool = False) -> DeblurGANGenerator:
    """The network, from the same initial weights for the same seed, trained on pairs."""
    torch.manual_seed(options.seed)
    network = DeblurGANGenerator(options.width, blocks=options.blocks, dropout=0.0)
    settings = Settings(
        options.steps,
        options.batch_size,
        options.learning_rate,
        decay="cosine",
        seed=options.seed,
        log_every=options.steps,
        checkpoint_every=options.steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(Deblurring(network, pairs, options), settings, folder, progress=progress)
    return network.eval()


@torch.inference_mode()
def mean_psnr(restore: Any, pairs: Pairs) -> float:
    """The mean PSNR of the restored images."""
    each = [
        psnr(restore(blurred[None]), sharp[None])
        for blurred, sharp in zip(pairs.blurred, pairs.sharp, strict=True)
    ]
    return sum(each) / len(each)
