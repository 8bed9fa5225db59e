# SPDX-License-Identifier: BSD-3-Clause
"""Table 1 in small: narrow F and G learn a few kernels, and carry them over to other scenes.

The paper trains on images under Levin's eight kernels, takes the blur of a pair that was not seen
to a third image, and compares with that image under the true kernel. Here the kernels are straight
motions that begin at the sharp image, and the scenes are generated; `blurops.basis_blur` is the
ground truth.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from blurmodels.evaluation import Row, Table, psnr
from blurmodels.kernel_space.losses import charbonnier
from blurmodels.kernel_space.network import KernelWizard
from blurmodels.kernel_space.pairs import GeneratedPairs
from blurmodels.kernel_space.task import Batch, LossSettings, PairsTask, initialise
from blurmodels.training import Settings, train

SHARP, MEAN, CODED, MEAN_LATENT, NETWORKS = (
    "sharp image", "mean kernel", "best linear code", "F, mean k", "F and G",
)  # fmt: skip

# Pixels along the sides of what F's finest level has one place for.
_PLACE = 8
# The weight of the codes beside the distance of images.
_CODES = 0.005


@dataclass(frozen=True)
class Options:
    """What is tried.

    Attributes:
        steps, batch_size, learning_rate: of the training.
        width, kernel_dim: of F and G.
        detail: channels of F's finest level. What F adds to an image passes so
            many numbers for each 8 x 8 pixels; with far fewer than the 192 values of these it
            cannot take detail away, which the row "best linear code" shows.
        kernels: how many, 1 to 4: of motions to the right, down, left and up.
        length: of the motions in pixels.
        scenes: to learn from, each under all kernels in turn; they are kept in memory.
        side: of the images.
        taught: the part of the steps in which F takes a code of each kernel in place of G's k.
        held_out: pairs per kernel, of other scenes, whose blur is transferred.
        seed: of everything.
    """

    steps: int = 3600
    batch_size: int = 2
    learning_rate: float = 1e-3
    width: int = 16
    kernel_dim: int = 32
    detail: int = 64
    kernels: int = 2
    length: int = 13
    scenes: int = 160
    side: int = 256
    taught: float = 0.7
    held_out: int = 4
    seed: int = 0


def compare(
    options: Options | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> dict[str, list[float]]:
    """Trains F and G and transfers blur between held-out scenes.

    Args:
        options: what is tried.
        folder: keeps the training, to go on from; a temporary one by default.
        progress: show a progress bar on stderr.

    Returns:
        PSNR in dB against the true blur, one for each kernel, by row: the unblurred target; it
        under the mean of the kernels; what `best_code` leaves; under F with the mean of the k that
        G found; and under F with the pair's own k.
    """
    options = options or Options()
    kernels = motions_from_the_start(options.kernels, options.length)
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            network = trained(kernels, options, temporary, progress=progress)
    else:
        network = trained(kernels, options, folder, progress=progress)
    return transferred(network, kernels, options)


def motions_from_the_start(count: int, length: int) -> Tensor:
    """Kernels of straight motions to the right, down, left and up, no two of them alike.

    The sharp image is the first moment of each, so that the mean of the kernels blurs to all
    sides where each of them blurs to one.

    Args:
        count: of kernels, 1 to 4.
        length: pixels that a motion covers.

    Returns:
        (count, 2 length - 1, 2 length - 1), correlation orientation.

    Raises:
        ValueError: count is not 1 to 4.

    Example:
        >>> motions_from_the_start(3, 2)[::2, 1]
        tensor([[0.0000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.0000]])
    """
    if not 1 <= count <= 4:
        raise ValueError(f"motions_from_the_start: count must be 1 to 4, got {count}")
    kernels = torch.zeros(4, 2 * length - 1, 2 * length - 1)
    kernels[0, length - 1, length - 1 :] = 1 / length
    kernels[1], kernels[2] = kernels[0].T, kernels[0].flip(1)
    kernels[3] = kernels[1].flip(0)
    return kernels[:count]


class SceneByScene:
    """Pairs addressed by number, each scene under all kernels before the next.

    Where a batch is one scene under every kernel, its pairs differ in what k has to say alone.

    Args:
        source: its scenes and kernels.
    """

    def __init__(self, source: GeneratedPairs) -> None:
        self.source = source
        self.record = {"source": source.record, "order": "scene by scene"}
        self._seen: dict[int, Tensor] = {}

    def __getitem__(self, index: int) -> Tensor:
        """The pair of that number, (2, 3, side, side), sharp first."""
        scene, which = divmod(index, len(self.source.kernels))
        scene %= len(self.source)
        if scene not in self._seen:
            self._seen[scene] = self.source.sharp(scene)
        sharp = self._seen[scene]
        return torch.stack([sharp, self.source.under(sharp, self.source.kernels[which])])


class TaughtTask(PairsTask):
    """F learns with a code for each kernel, and G learns to find it; then both go on together.

    From the start on, what G says of a pair depends on its scene more than on its blur, and F
    learns to take no notice of it. The codes, one group of channels of k for each kernel, are what
    only generated pairs can tell. The loss is the pairs' distance, at first under F(x, code), then
    under F(x, G(x, y)), and the mean square of G(x, y) - code.

    Args:
        network: what learns.
        scenes: its pairs.
        losses: of the distance.
        until: the step from which F takes G's k.
    """

    def __init__(
        self, network: KernelWizard, scenes: SceneByScene, losses: LossSettings, until: int
    ) -> None:
        super().__init__(network, scenes, losses)
        self.until = until
        self.codes = codes(len(scenes.source.kernels), network.architecture["kernel_dim"])
        self.record = {**self.record, "taught until": until, "weight of codes": _CODES}

    def samples(self, first: int, last: int, part: slice) -> tuple[Batch, Tensor]:
        """The pairs of a batch and the code of each."""
        indices = torch.arange(first, last)[part]
        return super().samples(first, last, part), self.codes[indices % len(self.codes)]

    def losses(
        self, network: Callable, samples: tuple[Batch, Tensor], step: int, device: torch.device
    ) -> dict[str, Tensor]:
        """The distance, and how far G is from the codes."""
        batch, wanted = samples
        sharp, blurry = batch.pairs.to(device).unbind(1)
        wanted = wanted.to(device)
        found, mean, _ = network(sharp, blurry, wanted if step < self.until else None)
        data = charbonnier(
            found, blurry, epsilon=self.settings.epsilon, squared=self.settings.squared,
            reduction=self.settings.reduction,
        )  # fmt: skip
        return {"data": data, "codes": _CODES * (mean.float() - wanted).square().mean()}


def codes(count: int, kernel_dim: int) -> Tensor:
    """A k for each kernel: 1 in a group of channels of its own, 0 in the others.

    Args:
        count: of kernels, at most `kernel_dim`.
        kernel_dim: channels of k.

    Returns:
        (count, kernel_dim, 1, 1).

    Example:
        >>> codes(2, 5)[..., 0, 0]
        tensor([[1., 1., 1., 0., 0.],
                [0., 0., 0., 1., 1.]])
    """
    group = torch.arange(kernel_dim) * count // kernel_dim
    return (group == torch.arange(count)[:, None]).float()[..., None, None]


def trained(
    kernels: Tensor, options: Options, folder: str | os.PathLike[str], *, progress: bool = False
) -> KernelWizard:
    """F and G after their training on scenes under the kernels, (B, K, K)."""
    network = KernelWizard(options.width, options.kernel_dim, detail=options.detail)
    initialise(network, options.seed)
    scenes = SceneByScene(GeneratedPairs(kernels, options.side, options.scenes, seed=options.seed))
    settings = Settings(
        options.steps, options.batch_size, options.learning_rate, betas=(0.9, 0.99),
        decay="cosine", warmup=min(100, options.steps // 10), clip=1.0, seed=options.seed,
        checkpoint_every=100, channels_last=True,
    )  # fmt: skip
    # Blur changes few pixels: near the least absolute error is the identity, and F dies there.
    losses = LossSettings(epsilon=0.1, reduction="mean")
    task = TaughtTask(network, scenes, losses, int(options.taught * options.steps))
    train(task, settings, Path(folder), progress=progress)
    return network.eval()


@torch.inference_mode()
def transferred(network: KernelWizard, kernels: Tensor, options: Options) -> dict[str, list[float]]:
    """The rows of the table; see `compare`."""
    count = len(kernels) * options.held_out
    # Seeds of training are never negative, and hardly ever as large as this. By the scenes of 2**40
    # the settings were chosen.
    pairs = GeneratedPairs(kernels, options.side, count, seed=options.seed + 2**41)
    every = [pairs.read(index) for index in range(count)]
    latents = [network.extract_kernel(x[None], y[None]) for x, y in every]
    mean_latent, mean_kernel = torch.stack(latents).mean(0), kernels.mean(0)
    found: dict[str, list[float]] = {
        name: [0.0] * len(kernels) for name in (SHARP, MEAN, CODED, MEAN_LATENT, NETWORKS)
    }
    targets = [every[(index + 1) % count][0] for index in range(count)]
    truths = [pairs.under(x, kernels[index % len(kernels)]) for index, x in enumerate(targets)]
    sharp = torch.stack(targets)
    coded = sharp + best_code(torch.stack(truths) - sharp, options.detail)
    for index, k in enumerate(latents):
        which = index % len(kernels)
        target, truth = targets[index], truths[index][None]
        results = {
            SHARP: target[None],
            MEAN: pairs.under(target, mean_kernel)[None],
            CODED: coded[index][None],
            MEAN_LATENT: network.apply_blur(target[None], mean_latent),
            NETWORKS: network.apply_blur(target[None], k),
        }
        for name, result in results.items():
            found[name][which] += psnr(result.clamp(0, 1), truth) / options.held_out
    return found


def best_code(residuals: Tensor, numbers: int) -> Tensor:
    """Images out of so many numbers for each 8 x 8 pixels: their principal components.

    No linear code of disjoint blocks is nearer to them in the mean square. F, which need be
    neither, has to carry what blur changes through as many numbers.

    Args:
        residuals: (N, C, H, W); beyond the last whole block nothing is coded.
        numbers: for each block of 64 C values.

    Returns:
        (N, C, H, W).

    Example:
        >>> x = torch.rand(3, 1, 16, 16)
        >>> torch.allclose(best_code(x, 64), x, atol=1e-5), float(best_code(x, 0).abs().max())
        (True, 0.0)
    """
    options = {"kernel_size": _PLACE, "stride": _PLACE}
    blocks = functional.unfold(residuals.double(), **options).movedim(1, 2)
    _, components = torch.linalg.eigh(torch.einsum("nbi,nbj->ij", blocks, blocks))
    kept = components[:, components.shape[1] - min(numbers, components.shape[1]) :]
    coded = (blocks @ kept @ kept.T).movedim(2, 1)
    whole = functional.fold(coded, residuals.shape[2:], **options)
    return whole.to(residuals.dtype)


def as_table(runs: list[dict[str, list[float]]], options: Options) -> Table:
    """The first run's kernels, and the mean of all runs."""
    names = tuple(f"k{i + 1}" for i in range(len(runs[0][SHARP])))
    rows = []
    for name, each in runs[0].items():
        mean = sum(sum(run[name]) / len(run[name]) for run in runs) / len(runs)
        rows.append(Row(name, (*(f"{value:.2f}" for value in each), f"{mean:.2f}"), ours=True))
    size = (
        f"{options.steps} steps of {options.batch_size} scenes of {options.side} x {options.side};"
        f" F and G of width {options.width} ({options.detail} numbers for each"
        f" {_PLACE} x {_PLACE} pixels), {options.kernel_dim} channels of k;"
        f" {options.held_out} held-out pairs per kernel; seeds: {len(runs)}."
    )
    notes = (size, "Kernels are those of the first seed, the mean is that of all.")
    return Table("Transfer between generated scenes, PSNR", (*names, "mean"), tuple(rows), notes)
