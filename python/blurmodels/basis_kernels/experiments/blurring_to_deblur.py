# SPDX-License-Identifier: BSD-3-Clause
"""Blurring to deblur, in small: table 3 with a small generator, on generated scenes.

A DeblurGAN generator is trained on pairs, then resumed twice from the same weights, on the same
batches: with the loss that it had, which is the table's control, and with `ReblurLoss` beside it,
through the scenes' own blur fields, or through those that a network estimates from the images.
"""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurmodels.basis_kernels.data import Batch, BlurSettings, KernelBank, Samples, blur_batch
from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator
from blurmodels.basis_kernels.estimate import network_input
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.basis_kernels.reblur import ReblurLoss
from blurmodels.evaluation import Row, Table, mean_scores, plain_scores, psnr
from blurmodels.scenes import DeadLeaves, Repeated
from blurmodels.training import Settings, train

_HELD_OUT = 1_000_000  # the index of the first held-out sample, far from those trained on


@dataclass(frozen=True)
class Options:
    """What is tried.

    Attributes:
        pretrain_steps: steps on the supervised loss alone.
        resume_steps: further steps of each of the two.
        batch_size: images a step.
        patch: their side.
        kernel_size: of the camera shake.
        exposure: of the hand-held camera in seconds.
        width, blocks: of the generator.
        learning_rate: while pre-training; a half of it afterwards.
        weight: of the reblur loss, beside a mean absolute error of weight 1.
        scenes: sharp scenes that are turned and mirrored, each with kernels that never repeat.
        held_out: images to score on, from other scenes.
        seed: of everything.
    """

    pretrain_steps: int = 600
    resume_steps: int = 300
    batch_size: int = 4
    patch: int = 64
    kernel_size: int = 17
    exposure: float = 1.0
    width: int = 16
    blocks: int = 3
    learning_rate: float = 2e-3
    weight: float = 1.0
    scenes: int = 128
    held_out: int = 16
    seed: int = 0


class _Pairs:
    """Blurred images, the sharp ones, and the blur of what `ReblurLoss` counts."""

    def __init__(self, options: Options, scenes_seed: int, count: int) -> None:
        bank = KernelBank(
            kernel_size=options.kernel_size, exposure=options.exposure, seed=options.seed
        )
        leaves = DeadLeaves(seed=scenes_seed)
        self.samples = Samples(
            Repeated(leaves, count, seed=options.seed),
            bank,
            options.patch,
            BlurSettings(noise=(0.0, 0.005)),
            seed=options.seed,
        )
        self.gamma, self.radius = self.samples.settings.gamma, options.kernel_size // 2

    def sharp(self, batch: Batch) -> Tensor:
        """The sharp values of the blurred size, clipped as a camera would."""
        r = self.radius
        return batch.sharp[:, :, r:-r, r:-r].clamp(0, 1) ** (1 / self.gamma)

    def inner(self, batch: Batch) -> Tensor:
        """Mixing where all light comes from inside the blurred image."""
        return _inner(batch.mixing, self.radius)


def _inner(mixing: Tensor, radius: int) -> Tensor:
    return mixing[:, :, radius:-radius, radius:-radius].contiguous()


class Deblurring:
    """The task of `blurmodels.training.train`: mean absolute error, and the reblur loss if any."""

    name = "basis_kernels.blurring_to_deblur"

    def __init__(
        self,
        network: DeblurGANGenerator,
        pairs: _Pairs,
        first: int,
        weight: float | None,
        estimator: TwoHeadsNetwork | None = None,
    ) -> None:
        self.network, self.pairs, self.first, self.weight = network, pairs, first, weight
        self.estimator = estimator
        self.record = {"first": first, "weight": weight}
        # The scenes are brightened beyond white, and cut there: so is the sensor.
        self.reblur = ReblurLoss(gamma=pairs.gamma, saturation=None, boundary="valid", loss="l1")

    def samples(self, first: int, last: int, part: slice) -> list[Any]:
        """The samples of a step."""
        return [self.pairs.samples[self.first + i] for i in range(first, last)[part]]

    def losses(self, network: Any, samples: Any, step: int, device: torch.device) -> dict:
        """The terms of the loss."""
        batch = blur_batch(samples, self.pairs.samples.settings, device)
        restored = network(batch.observed)
        terms = {"error": (restored - self.pairs.sharp(batch)).abs().mean()}
        if self.weight is not None:
            again = self.reblur(restored, batch.observed, *self.field(batch))
            terms["reblur"] = self.weight * again
        return terms

    def field(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Kernels, and mixing where `ReblurLoss` counts."""
        if self.estimator is None:
            return batch.kernels, self.pairs.inner(batch)
        with torch.no_grad():
            kernels, mixing = self.estimator(network_input(batch.observed, self.pairs.gamma))
        return kernels, _inner(mixing, kernels.shape[-1] // 2)

    def pictures(self, network: Any, step: int, device: torch.device) -> dict[str, Tensor]:
        """None: the report has the numbers."""
        return {}

    def export(self, path: Path, **record: Any) -> None:
        """Writes the generator."""
        self.network.save(path)


class Result(NamedTuple):
    """Scores on held-out images.

    Attributes:
        name: what was scored.
        psnr: against the sharp image, dB.
        ssim: likewise.
        consistency: PSNR of the image, blurred again, against the blurred one, dB.
    """

    name: str
    psnr: float
    ssim: float
    consistency: float


def compare(
    options: Options | None = None,
    *,
    estimator: TwoHeadsNetwork | None = None,
    progress: bool = False,
) -> list[Result]:
    """Trains the generator and fine-tunes it without and with the reblur loss.

    Args:
        options: what is tried.
        estimator: estimates the blur fields of the reblur loss; the scenes' own by default.
        progress: show progress bars on stderr.

    Returns:
        The blurred input, the trained generator, the control and ours.
    """
    options = options or Options()
    pairs = _Pairs(options, options.seed, options.scenes)
    torch.manual_seed(options.seed)
    network = DeblurGANGenerator(options.width, blocks=options.blocks, dropout=0.0)
    held_out = _Pairs(options, options.seed + 1, options.held_out)

    def run(start: DeblurGANGenerator, steps: int, first: int, weight: float | None) -> Any:
        task = Deblurring(copy.deepcopy(start), pairs, first, weight, estimator)
        rate = options.learning_rate * (1.0 if first == 0 else 0.5)
        settings = Settings(
            steps, options.batch_size, rate, decay="cosine", seed=options.seed, log_every=steps
        )
        with tempfile.TemporaryDirectory() as folder:
            train(task, settings, folder, progress=progress)
        return task.network.eval()

    trained = run(network, options.pretrain_steps, 0, None)
    seen = options.pretrain_steps * options.batch_size
    resumed = run(trained, options.resume_steps, seen, None)
    reblurred = run(trained, options.resume_steps, seen, options.weight)
    return [
        _score("blurred input", lambda image: image, held_out, options),
        _score("generator", trained, held_out, options),
        _score("generator, resumed", resumed, held_out, options),
        _score("generator, with the reblur loss", reblurred, held_out, options),
    ]


def _score(name: str, restore: Any, pairs: _Pairs, options: Options) -> Result:
    reblur = ReblurLoss(gamma=pairs.gamma, saturation=None, boundary="valid")
    scores, consistency = [], []
    radius = pairs.radius
    for index in range(options.held_out):
        sample = pairs.samples[_HELD_OUT + index]
        batch = blur_batch([sample], pairs.samples.settings)
        with torch.inference_mode():
            restored = restore(batch.observed)
            again = reblur.reblur(restored, batch.kernels, pairs.inner(batch))
        scores.append(plain_scores(restored, pairs.sharp(batch)))
        middle = batch.observed[:, :, radius:-radius, radius:-radius]
        consistency.append(psnr(again, middle))
    means = mean_scores(scores)
    return Result(name, means.psnr, means.ssim, sum(consistency) / len(consistency))


def as_table(runs: list[list[Result]], options: Options) -> Table:
    """The results as a table, the mean over several seeds, with the gain of each seed."""
    rows = []
    for results in zip(*runs, strict=True):
        numbers = torch.tensor([result[1:] for result in results], dtype=torch.float64).mean(0)
        cells = tuple(f"{x:.{places}f}" for x, places in zip(numbers, (2, 3, 2), strict=True))
        rows.append(Row(results[0].name, cells, ours=True))
    gains = ", ".join(f"{run[3].psnr - run[2].psnr:+.2f}" for run in runs)
    size = (
        f"{options.pretrain_steps} + {options.resume_steps} steps of {options.batch_size} images of"
        f" {options.patch} x {options.patch}, {options.held_out} held-out ones; seeds: {len(runs)}."
    )
    gain = f"PSNR with the reblur loss minus PSNR resumed, seed by seed: {gains} dB."
    columns = ("PSNR", "SSIM", "PSNR blurred again")
    title = "Blurring to deblur on generated scenes"
    return Table(title, columns, tuple(rows), (size, gain))
