# SPDX-License-Identifier: BSD-3-Clause
"""Table 4 in small: basis size against training schedule, with narrow networks on generated scenes.

For each basis size a network is trained on the L2 kernel loss, and from there twice further: on the
same loss, and on the L1 loss. All are scored by what the same Richardson-Lucy makes of their
estimates on held-out scenes, as in the paper, and by the estimates themselves.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from blurmodels.basis_kernels.data import Batch, BlurSettings, KernelBank, Samples, blur_batch
from blurmodels.basis_kernels.estimate import estimate_field
from blurmodels.basis_kernels.losses import kernel_loss
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.basis_kernels.task import FieldTask, LossSettings, initialise
from blurmodels.evaluation import Row, Table, psnr
from blurmodels.scenes import DeadLeaves, Repeated
from blurmodels.training import Settings, train
from blurops import BasisBlur, richardson_lucy
from blurops.fields import BlurField

_KERNEL_SIZE = 33
_AVERAGED = 256  # kernels of the bank, in the baseline that is blind to the image
_HELD_OUT = 1_000_000  # the index of the first held-out sample, far from those trained on


@dataclass(frozen=True)
class Options:
    """What is tried.

    Attributes:
        basis_sizes: B, the table's columns.
        l2_steps: steps on the L2 loss; half as many follow.
        batch_size: images a step.
        patch: their side.
        width: of the networks, 64 in the paper.
        learning_rate: of Adam, constant.
        scenes: sharp scenes that are turned and mirrored, each with kernels that never repeat.
        held_out: images to score on, from other scenes.
        exposure: of the hand-held camera in seconds.
        seed: of everything.
    """

    basis_sizes: tuple[int, ...] = (15, 25, 40)
    l2_steps: int = 400
    batch_size: int = 4
    patch: int = 64
    width: int = 8
    learning_rate: float = 1e-3
    scenes: int = 64
    held_out: int = 12
    exposure: float = 0.5
    seed: int = 0

    @property
    def schedules(self) -> tuple[str, str, str]:
        """The table's rows."""
        first, more = self.l2_steps, self.l2_steps // 2
        return (
            f"L2, {first} steps",
            f"L2, {first + more} steps",
            f"L2, {first} steps, then L1, {more}",
        )


class Cell(NamedTuple):
    """What one network scores on held-out images.

    Attributes:
        schedule: the row.
        basis_size: the column; 0 for the baselines.
        psnr: of the restoration, dB.
        kernel_error: mean over the pixels of the L1 distance to the true kernel, from 0 to 2.
    """

    schedule: str
    basis_size: int
    psnr: float
    kernel_error: float


BLURRED, TRUE, MEAN = "blurred input", "true field", "mean kernel of the bank"


def ablate(options: Options | None = None, *, progress: bool = False) -> list[Cell]:
    """Trains and scores every network of the table.

    Args:
        options: what is tried.
        progress: show progress bars on stderr.

    Returns:
        The baselines (the blurred input; the same mean kernel everywhere, whatever the image; the
        true field), then row by row for each basis size.
    """
    options = options or Options()
    images = _held_out(options)
    cells = _baselines(options, images)
    for basis_size in options.basis_sizes:
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            more = options.l2_steps + options.l2_steps // 2
            runs = ((base / "l2", options.l2_steps, None), (base / "longer", more, None))
            runs = (*runs, (base / "l1", more, options.l2_steps))
            for schedule, (place, steps, l1_from) in zip(options.schedules, runs, strict=True):
                if place != runs[0][0]:
                    shutil.copytree(runs[0][0], place)
                network = _trained(options, basis_size, place, steps, l1_from, progress)
                fields = [estimate_field(batch.observed, network) for batch in images]
                cells.append(_score(schedule, basis_size, images, fields))
    return cells


def _samples(options: Options, scenes_seed: int, count: int) -> Samples:
    scenes = Repeated(DeadLeaves(seed=scenes_seed), count, seed=options.seed)
    bank = KernelBank(kernel_size=_KERNEL_SIZE, exposure=options.exposure, seed=options.seed)
    settings = BlurSettings(noise=(0.0, 0.005))
    return Samples(scenes, bank, options.patch, settings, seed=options.seed)


def _held_out(options: Options) -> list[Batch]:
    samples = _samples(options, options.seed + 1, options.held_out)
    return [
        blur_batch([samples[_HELD_OUT + index]], samples.settings)
        for index in range(options.held_out)
    ]


def _trained(
    options: Options, basis_size: int, folder: Path, steps: int, l1_from: int | None, progress: bool
) -> TwoHeadsNetwork:
    network = TwoHeadsNetwork(basis_size, _KERNEL_SIZE, width=options.width)
    initialise(network, options.seed)
    samples = _samples(options, options.seed, options.scenes)
    task = FieldTask(network, samples, LossSettings(l1_from=l1_from, saturation=False))
    # A training goes on with equal losses only; here they are meant to change.
    task.record = {**task.record, "losses": "those of the table's row"}
    settings = Settings(
        steps,
        options.batch_size,
        options.learning_rate,
        clip=1.0,
        seed=options.seed,
        checkpoint_every=steps,
        log_every=steps,
    )
    train(task, settings, folder, progress=progress)
    return network.eval()


def _baselines(options: Options, images: list[Batch]) -> list[Cell]:
    bank = KernelBank(kernel_size=_KERNEL_SIZE, exposure=options.exposure, seed=options.seed)
    mean = torch.stack([bank[index] for index in range(_AVERAGED)]).mean(dim=0)[None, None]
    size = images[0].observed.shape[2:]
    fields = {
        BLURRED: (_delta(), torch.ones(1, 1, *size)),
        MEAN: (mean, torch.ones(1, 1, *size)),
    }
    meta = {"boundary": "reflect", "gamma": 2.2, "orientation": "correlation"}
    cells = [
        _score(name, 0, images, [BlurField(*field, meta)] * len(images))
        for name, field in fields.items()
    ]
    true = [BlurField(batch.kernels, batch.mixing, meta) for batch in images]
    return [*cells, _score(TRUE, 0, images, true)]


def _delta() -> Tensor:
    kernel = torch.zeros(1, 1, _KERNEL_SIZE, _KERNEL_SIZE)
    kernel[..., _KERNEL_SIZE // 2, _KERNEL_SIZE // 2] = 1
    return kernel


def _score(schedule: str, basis_size: int, images: list[Batch], fields: list[BlurField]) -> Cell:
    qualities, errors = [], []
    radius = _KERNEL_SIZE // 2
    for batch, field in zip(images, fields, strict=True):
        operator = BasisBlur(field.kernels, field.mixing, boundary=field.boundary)
        restored = richardson_lucy(batch.observed, operator, gamma=2.2, tv=2e-3).image.clamp(0, 1)
        sharp = batch.sharp[:, :, radius:-radius, radius:-radius].clamp(0, 1) ** (1 / 2.2)
        # A quarter of a kernel's side from the border, where mirrored light does most harm.
        inner = slice(radius // 2, -(radius // 2))
        qualities.append(psnr(restored[:, :, inner, inner], sharp[:, :, inner, inner]))
        height, width = batch.mixing.shape[2:]
        weights = torch.full((1, 1, height, width), 1 / (height * width))
        error = kernel_loss(
            field.kernels, field.mixing, batch.kernels, batch.mixing, weights, norm="l1"
        )
        errors.append(float(error))
    count = len(images)
    return Cell(schedule, basis_size, sum(qualities) / count, sum(errors) / count)


def as_table(runs: list[list[Cell]], options: Options) -> Table:
    """The cells as a table, means over several seeds: PSNR, and the error of the kernels behind."""
    means: dict[tuple[str, int], str] = {}
    for cells in zip(*runs, strict=True):
        numbers = torch.tensor([cell[2:] for cell in cells], dtype=torch.float64).mean(0)
        means[cells[0][:2]] = f"{numbers[0]:.2f} ({numbers[1]:.3f})"
    rows = [
        Row(name, (means[name, 0],) * len(options.basis_sizes), ours=True)
        for name in (BLURRED, MEAN, TRUE)
    ]
    rows += [
        Row(name, tuple(means[name, size] for size in options.basis_sizes), ours=True)
        for name in options.schedules
    ]
    size = (
        f"Networks of width {options.width}; batches of {options.batch_size} images of"
        f" {options.patch} x {options.patch}; {options.held_out} held-out ones; seeds: {len(runs)}."
    )
    error = "Kernel error: mean over the pixels of the L1 distance to the true kernel, 0 to 2."
    return Table(
        "Basis size against training schedule on generated scenes: PSNR (kernel error)",
        tuple(f"B = {size}" for size in options.basis_sizes),
        tuple(rows),
        (error, size),
    )
