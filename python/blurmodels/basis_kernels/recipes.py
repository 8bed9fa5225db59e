# SPDX-License-Identifier: BSD-3-Clause
"""Trainings by name: the paper's, one for a single GPU, and that of the starter weights."""

import math
from dataclasses import dataclass
from typing import Any

from blurmodels.basis_kernels.data import ADE20K, BlurSettings, KernelBank, Samples
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.basis_kernels.task import FieldTask, LossSettings, initialise
from blurmodels.scenes import DeadLeaves, Repeated, Scenes
from blurmodels.training import Settings


@dataclass(frozen=True)
class Recipe:
    """A network, its data and its schedule, in epochs.

    Attributes:
        width, basis_size, kernel_size: of the network.
        patch: side of the blurred images.
        epoch: scenes of an epoch where they are generated; of a data set it is what there is.
        l2_epochs, l1_epochs: with the one norm in the kernel loss, then with the other.
        learning_rate, halve_epochs, decay, warmup, clip, batch_size, precision, channels_last: see
            `training.Settings`; `halve_epochs` in epochs.
        kernels, exposure, focal_length: of the `KernelBank`.
        objects: the largest number in a scene.
        repeat: make so many scenes only and show them turned and mirrored; None makes them anew.
        grid: of `LossSettings`.
        he: initial weights of `task.initialise` rather than torch's.
    """

    width: int = 64
    basis_size: int = 25
    kernel_size: int = 33
    patch: int = 256
    epoch: int = 5888
    l2_epochs: float = 300
    l1_epochs: float = 900
    learning_rate: float = 1e-4
    halve_epochs: float | None = 150
    decay: str = "halving"
    warmup: int = 0
    clip: float | None = None
    batch_size: int = 8
    precision: str = "float32"
    channels_last: bool = False
    kernels: int = 500_000
    exposure: tuple[float, float] = (0.05, 1.0)
    focal_length: float = 1000.0
    objects: int = 3
    repeat: int | None = None
    grid: int | None = None
    he: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """Batches that show every scene of an epoch once."""
        return math.ceil(self.epoch / self.batch_size)


RECIPES = {
    # Carbajal et al., appendix A.2. They state no size of the batch.
    "paper": Recipe(),
    # Nearly the same in a fifth of the time: a warmed-up, larger rate that falls along a cosine.
    "default": Recipe(
        l2_epochs=80, l1_epochs=160, learning_rate=3e-4, halve_epochs=None, decay="cosine",
        warmup=1000, clip=1.0, he=True,
    ),
    # Half an hour on one core: small patches, short exposures through a long lens, one object.
    "starter": Recipe(
        width=8, basis_size=8, patch=96, epoch=1200, l2_epochs=60, l1_epochs=8,
        learning_rate=1e-3, halve_epochs=None, decay="cosine", warmup=100, clip=1.0,
        exposure=(0.02, 0.2), focal_length=2000.0, objects=1, repeat=1200, grid=48, he=True,
        precision="bfloat16", channels_last=True,
    ),
}  # fmt: skip


def scenes_of(recipe: Recipe, folder: str | None = None, *, seed: int = 0) -> Scenes:
    """Where a recipe's scenes come from.

    Args:
        recipe: the recipe.
        folder: of the ADE20K data set; None generates scenes.
        seed: which scenes or crops.
    """
    if folder is not None:
        return ADE20K(folder, objects=recipe.objects, seed=seed)
    leaves = DeadLeaves(recipe.epoch, objects=recipe.objects, seed=seed)
    return leaves if recipe.repeat is None else Repeated(leaves, recipe.repeat, seed=seed)


def samples_of(
    recipe: Recipe, scenes: Scenes, *, blur: BlurSettings | None = None, seed: int = 0
) -> Samples:
    """A recipe's samples. Those of two seeds share no kernel and no generated scene."""
    bank = KernelBank(
        recipe.kernels, recipe.kernel_size, exposure=recipe.exposure,
        focal_length=recipe.focal_length, seed=seed,
    )  # fmt: skip
    return Samples(scenes, bank, recipe.patch, blur, seed=seed)


def task_of(
    recipe: Recipe,
    samples: Samples,
    *,
    seed: int = 0,
    form: str = "linear",
    saturation: bool = True,
) -> FieldTask:
    """A recipe's network, with initial weights, and what it learns."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TwoHeadsNetwork(recipe.basis_size, recipe.kernel_size, width=recipe.width)
    if recipe.he:
        initialise(network, seed)
    losses = LossSettings(
        l1_from=round(recipe.l2_epochs * recipe.steps_per_epoch), form=form,
        saturation=saturation, grid=recipe.grid,
    )  # fmt: skip
    return FieldTask(network, samples, losses)


def settings_of(recipe: Recipe, *, seed: int = 0, **others: Any) -> Settings:
    """A recipe's schedule in steps; `others` are further settings, which win."""
    epoch = recipe.steps_per_epoch
    halve = None if recipe.halve_epochs is None else round(recipe.halve_epochs * epoch)
    found = {
        "steps": round((recipe.l2_epochs + recipe.l1_epochs) * epoch),
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "decay": recipe.decay,
        "halve_every": halve,
        "warmup": recipe.warmup,
        "clip": recipe.clip,
        "precision": recipe.precision,
        "channels_last": recipe.channels_last,
        "seed": seed,
    }
    return Settings(**(found | others))
