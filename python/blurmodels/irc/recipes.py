# SPDX-License-Identifier: BSD-3-Clause
"""Trainings by name: the paper's, a practical one, and one of a few minutes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from blurmodels.irc.irc_net import IRCNet
from blurmodels.irc.joint import BlindDeblurrer
from blurmodels.irc.motion_data import Photographs
from blurmodels.irc.scenes import MotionSamples, MotionSettings
from blurmodels.irc.task import DeblurTask
from blurmodels.scenes import DeadLeaves, Repeated, Scenes
from blurmodels.training import Settings


@dataclass(frozen=True)
class Recipe:
    """A network, its data and its schedule.

    Attributes:
        stages, inner, max_length, size, sharing, shrink, threshold, penalty, mode, boundary,
            method, grid: of `IRCNet`.
        patch: side of the blurred images.
        kind, noise: of `MotionSettings`.
        epoch: scenes of an epoch.
        epochs: how many.
        repeat: make so many scenes only and show them turned and mirrored; None makes them anew.
        reduction, reblur: of `DeblurTask`.
        through_blur: of `BlindDeblurrer`, where one learns.
        optimiser, momentum, learning_rate, decay, warmup, clip, batch_size: of `training.Settings`.
    """

    stages: int = 5
    inner: int = 2
    max_length: int = 35
    size: int = 31
    sharing: str = "step"
    shrink: str = "curve"
    threshold: float = 0.02
    penalty: float = 8.1e-3
    mode: str = "bilinear"
    boundary: str = "valid"
    method: str = "fft"
    grid: int | None = 257
    patch: int = 128
    kind: str = "camera"
    noise: tuple[float, float] = (0.005, 0.02)
    epoch: int = 5400
    epochs: float = 10
    repeat: int | None = None
    reduction: str = "mean"
    reblur: float = 0.0
    through_blur: bool = True
    optimiser: str = "adam"
    momentum: float = 0.0
    learning_rate: float = 5e-4
    decay: str = "cosine"
    warmup: int = 0
    clip: float | None = None
    batch_size: int = 4


RECIPES = {
    # Eboli et al., section 4.2: 5,400 patches of 121 pixels, each with one motion of the bank. The
    # number of epochs, the size of batches, and the noise are not stated.
    "paper": Recipe(
        threshold=3e-3, mode="softmax", boundary="replicate", method="exact", grid=None, patch=121,
        kind="bank", reduction="sum", optimiser="sgd", learning_rate=1e-7, decay="halving",
        batch_size=1,
    ),
    "default": Recipe(),
    # Some minutes on one core: motions of up to 15 pixels, small filters and patches.
    "small": Recipe(
        stages=4, max_length=15, size=21, patch=48, noise=(0.01, 0.01), epoch=200, epochs=1.5,
        repeat=200, learning_rate=1e-3, batch_size=2,
    ),
}  # fmt: skip

# Those of blind pipelines. Section 4.3: 6,000 images, half of them synthetic (all of them here) and
# half of GoPro's; gradients reach the motion through the weights of interpolation, and restored
# images alone are judged. In the others the motion has to explain the blurred image too.
JOINT = {
    "paper": replace(
        RECIPES["paper"], kind="camera", epoch=6000, learning_rate=1e-9, momentum=0.9,
        through_blur=False,
    ),
    "default": replace(RECIPES["default"], reblur=30.0, clip=1.0),
    "small": replace(
        RECIPES["small"], reblur=30.0, clip=1.0, patch=64, batch_size=8, epoch=3200, epochs=1.0,
        repeat=1000,
    ),
}  # fmt: skip


def scenes_of(
    recipe: Recipe, *, photographs: Sequence[str | os.PathLike[str]] = (), seed: int = 0
) -> Scenes:
    """Crops of photographs, or without any a recipe's generated scenes; two seeds' differ."""
    if photographs:
        return Photographs(photographs, seed=seed)
    leaves = DeadLeaves(recipe.epoch, seed=seed)
    return leaves if recipe.repeat is None else Repeated(leaves, recipe.repeat, seed=seed)


def samples_of(
    recipe: Recipe,
    *,
    photographs: Sequence[str | os.PathLike[str]] = (),
    seed: int = 0,
    patch: int | None = None,
) -> MotionSamples:
    """A recipe's samples. Those of two seeds share no motion and no generated scene."""
    settings = MotionSettings(max_length=recipe.max_length, kind=recipe.kind, noise=recipe.noise)
    scenes = scenes_of(recipe, photographs=photographs, seed=seed)
    return MotionSamples(scenes, patch or recipe.patch, settings, seed=seed)


def network_of(recipe: Recipe, *, cache: bool = False, progress: bool = False) -> IRCNet:
    """A recipe's network, untrained."""
    return IRCNet(
        recipe.stages, recipe.inner, max_length=recipe.max_length, size=recipe.size,
        sharing=recipe.sharing, shrink=recipe.shrink, threshold=recipe.threshold,
        penalty=recipe.penalty, mode=recipe.mode, boundary=recipe.boundary, method=recipe.method,
        grid=recipe.grid, cache=cache, progress=progress,
    )  # fmt: skip


def pipeline_of(
    recipe: Recipe, estimator: Any, network: IRCNet, *, combine: str = "filters"
) -> BlindDeblurrer:
    """The blind pipeline of an estimator of motion and an IRC-Net, as a recipe trains it."""
    return BlindDeblurrer(estimator, network, combine=combine, through_blur=recipe.through_blur)


def task_of(
    recipe: Recipe,
    network: Any,
    *,
    photographs: Sequence[str | os.PathLike[str]] = (),
    seed: int = 0,
) -> DeblurTask:
    """What a network or a pipeline learns by a recipe."""
    samples = samples_of(recipe, photographs=photographs, seed=seed)
    return DeblurTask(network, samples, recipe.reduction, recipe.reblur)


def settings_of(recipe: Recipe, *, seed: int = 0, **others: Any) -> Settings:
    """A recipe's schedule in steps; `others` are further settings, which win."""
    found = {
        "steps": max(1, round(recipe.epochs * recipe.epoch / recipe.batch_size)),
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "optimiser": recipe.optimiser,
        "momentum": recipe.momentum,
        "decay": recipe.decay,
        "warmup": recipe.warmup,
        "clip": recipe.clip,
        "seed": seed,
    }
    return Settings(**(found | others))
