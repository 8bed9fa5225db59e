# SPDX-License-Identifier: BSD-3-Clause
"""Trainings of Motion-Net by name: the paper's, a practical one, and a small one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blurmodels.irc.motion_data import (
    NOISE,
    CameraBlurs,
    CameraSettings,
    Examples,
    Mixed,
    Photographs,
    Turned,
)
from blurmodels.irc.motion_data_frames import AveragedFrames, Flow, estimated_flow
from blurmodels.irc.motion_net import MotionNet
from blurmodels.irc.motion_task import MotionTask
from blurmodels.scenes import DeadLeaves, Repeated, Scenes
from blurmodels.training import Settings


@dataclass(frozen=True)
class Recipe:
    """A network, its data and its schedule.

    Attributes:
        depth, width, output_stride, output, normalisation, blocks, front: of `MotionNet`.
        max_length: longest motion, pixels.
        size: side of the images.
        noise: standard deviation of the noise.
        epoch: generated scenes of an epoch, where there are no photographs.
        epochs: how many.
        repeat: make so many scenes only and show them turned; None makes them anew.
        loss: of `MotionTask`.
        learning_rate, decay, halve_epochs, warmup, clip, batch_size: of `training.Settings`.
    """

    depth: int = 101
    width: int = 64
    output_stride: int = 8
    output: str = "doubled"
    normalisation: str = "instance"
    blocks: tuple[int, ...] | None = None
    front: str = "pixels"
    max_length: float = 35.0
    size: int = 352
    noise: float = NOISE
    epoch: int = 10_000
    epochs: float = 150
    repeat: int | None = None
    loss: str = "doubled"
    learning_rate: float = 1e-4
    decay: str = "halving"
    halve_epochs: float | None = None
    warmup: int = 0
    clip: float | None = None
    batch_size: int = 1


RECIPES = {
    # Eboli et al., section 4.1: Adam, batches of one. The rate falls by half every 15 epochs, which
    # comes near to their tenth every 50; whole images become squares of 352 pixels.
    "paper": Recipe(halve_epochs=15),
    # Smaller, with a rate that falls along a cosine, and batches.
    "default": Recipe(
        depth=50, width=32, normalisation="layer", size=160, epoch=4000, epochs=30, repeat=2000,
        learning_rate=5e-4, decay="cosine", warmup=200, clip=10.0, batch_size=8,
    ),
    # Some minutes on one core of a CPU.
    "small": Recipe(
        depth=18, width=8, output_stride=4, normalisation="layer", blocks=(1, 1, 1, 1),
        front="differences", max_length=15, size=64, epoch=1000, epochs=32, repeat=1000,
        loss="vector", learning_rate=2e-3, decay="cosine", warmup=50, clip=10.0, batch_size=16,
    ),
}  # fmt: skip


def examples_of(
    recipe: Recipe,
    *,
    photographs: Sequence[Path] = (),
    videos: Sequence[Sequence[Path]] = (),
    flow: Flow = estimated_flow,
    seed: int = 0,
) -> Examples:
    """A recipe's examples: cameras before photographs, or generated scenes, and averaged videos.

    Args:
        recipe: the recipe.
        photographs: sharp ones; without any, and without videos, scenes are generated.
        videos: frames of each.
        flow: of `AveragedFrames`.
        seed: which motions, crops and noise.
    """
    settings = CameraSettings(max_length=recipe.max_length, noise=recipe.noise)
    sources: list[Examples] = []
    if photographs or not videos:
        scenes: Scenes = (
            Photographs(photographs, seed=seed) if photographs else _leaves(recipe, seed)
        )
        sources.append(CameraBlurs(scenes, recipe.size, settings, seed=seed))
    if videos:
        sources.append(
            AveragedFrames(
                videos, recipe.size, max_length=recipe.max_length, flow=flow, noise=recipe.noise,
                seed=seed,
            )
        )  # fmt: skip
    return Turned(sources[0] if len(sources) == 1 else Mixed(sources, seed=seed), seed=seed)


def _leaves(recipe: Recipe, seed: int) -> Scenes:
    leaves = DeadLeaves(recipe.epoch, objects=0, seed=seed)
    return leaves if recipe.repeat is None else Repeated(leaves, recipe.repeat, seed=seed)


def task_of(recipe: Recipe, examples: Examples, *, seed: int = 0) -> MotionTask:
    """A recipe's network, with initial weights, and what it learns."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MotionNet(
            recipe.depth, width=recipe.width, output_stride=recipe.output_stride,
            output=recipe.output, normalisation=recipe.normalisation, blocks=recipe.blocks,
            front=recipe.front,
        )  # fmt: skip
    return MotionTask(network, examples, recipe.loss)


def settings_of(recipe: Recipe, count: int, *, seed: int = 0, **others: Any) -> Settings:
    """A recipe's schedule in steps.

    Args:
        recipe: the recipe.
        count: examples of an epoch.
        seed: of the training.
        **others: further settings, which win.
    """
    epoch = max(1, count // recipe.batch_size)
    halve = None if recipe.halve_epochs is None else max(1, round(recipe.halve_epochs * epoch))
    found = {
        "steps": max(1, round(recipe.epochs * epoch)),
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "decay": recipe.decay,
        "halve_every": halve,
        "warmup": recipe.warmup,
        "clip": recipe.clip,
        "seed": seed,
    }
    return Settings(**(found | others))
