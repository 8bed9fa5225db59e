# SPDX-License-Identifier: BSD-3-Clause
"""Motion-Net learns: its losses, what an interrupted run ends as, and that it does."""

import math
from dataclasses import replace

import pytest
import torch

from blurmodels import checkpoints, training
from blurmodels.irc import BlindDeblurrer, IRCNet, MotionNet
from blurmodels.irc.motion_data import CameraBlurs, CameraSettings
from blurmodels.irc.motion_recipes import RECIPES, examples_of, settings_of, task_of
from blurmodels.irc.motion_score import motion_mse
from blurmodels.irc.motion_task import MotionTask
from blurmodels.scenes import DeadLeaves, Scene
from blurmodels.training import Settings, train


class Grains:
    """Pictures of independent pixels, which show their blur well; the same 200 over and over."""

    def __init__(self, seed):
        self.seed, self.kept, self.record = seed, {}, {"grains": seed}
        self.blurs = CameraBlurs(self, 24, CameraSettings(9), seed=seed)

    def __len__(self):
        return 200

    def scene(self, index, height, width):
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        image = torch.rand(1, height, width, generator=generator)
        return Scene(image.expand(3, -1, -1), torch.ones(1, height, width))

    def __getitem__(self, index):
        index %= len(self)
        if index not in self.kept:
            self.kept[index] = self.blurs[index]
        return self.kept[index]


def test_a_short_run_beats_every_constant_motion(tmp_path):
    torch.manual_seed(0)
    network = MotionNet(18, width=6, blocks=(1, 1, 1, 1), output_stride=4, normalisation="layer")
    held_out = Grains(1)
    before = motion_mse(network, held_out, range(32))
    settings = Settings(steps=100, batch_size=16, learning_rate=3e-3, decay="cosine")
    train(MotionTask(network, Grains(0), "doubled"), settings, tmp_path)
    found = MotionNet.from_pretrained(tmp_path / training.WEIGHTS)
    after = motion_mse(found, held_out, range(32))
    assert after.mse < 0.9 * after.constant < after.constant < before.mse


class Leaves:
    """Dead leaves, each under a motion of its own; the same 160 over and over."""

    def __init__(self, seed):
        self.record = {"leaves": seed}
        leaves = DeadLeaves(160, objects=0, seed=seed)
        self.blurs = CameraBlurs(leaves, 40, CameraSettings(13), seed=seed)
        self.kept = {}

    def __len__(self):
        return 160

    def __getitem__(self, index):
        index %= len(self)
        if index not in self.kept:
            self.kept[index] = self.blurs[index]
        return self.kept[index]


def test_squared_differences_show_the_motion_of_edges(tmp_path):
    torch.manual_seed(0)
    network = MotionNet(
        18, width=6, blocks=(1, 1, 1, 1), output_stride=4, normalisation="layer",
        front="differences",
    )  # fmt: skip
    settings = Settings(steps=80, batch_size=16, learning_rate=4e-3, decay="cosine", clip=10.0)
    train(MotionTask(network, Leaves(0), "vector"), settings, tmp_path)
    scores = motion_mse(network.eval(), Leaves(1), range(48))
    assert scores.mse < 0.7 * scores.constant < scores.still


def tiny_task(loss="vector", output="doubled"):
    torch.manual_seed(0)
    network = MotionNet(18, width=2, blocks=(1, 1, 1, 1), output=output)
    blurs = CameraBlurs(DeadLeaves(4, objects=0), 24, CameraSettings(5))
    return MotionTask(network, blurs, loss)


class Killed(Exception):
    """Stands for a signal between two steps."""


@pytest.mark.parametrize("loss", ["vector", "doubled", "polar"])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, loss):
    def task():
        return tiny_task(loss, "polar" if loss == "polar" else "doubled")

    def on_step(step, losses):
        if step == 3:
            raise Killed

    settings = Settings(steps=4, batch_size=2, learning_rate=1e-2, checkpoint_every=2)
    train(task(), settings, tmp_path / "whole")
    with pytest.raises(Killed):
        train(task(), settings, tmp_path / "killed", on_step=on_step)
    train(task(), settings, tmp_path / "killed")
    one, other = (
        checkpoints.load(tmp_path / name / training.WEIGHTS).tensors for name in ("whole", "killed")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    fresh = task().network.state_dict()
    assert any(not torch.equal(one[name], fresh[name]) for name in one)


def test_losses_are_what_they_are_called():
    samples = tiny_task().samples(0, 2, slice(None))
    length, angle = (torch.stack([getattr(s, n) for s in samples]) for n in ("length", "angle"))

    def found(loss, one, other):
        task = tiny_task(loss, "polar" if loss == "polar" else "doubled")
        return task.losses(lambda _: (one, other), samples, 0, torch.device("cpu"))

    turned = found("vector", length + 2, angle + math.pi)
    assert float(turned["vector"]) == pytest.approx(4, 1e-4)
    across = found("doubled", length, angle + math.pi / 2)
    assert float(across["doubled"]) == pytest.approx(float(4 * (length - 1).square().mean()), 1e-4)
    parts = found("polar", length + 3, angle - 0.5)
    assert float(parts["length"]) == pytest.approx(9, 1e-4)
    assert float(parts["angle"]) == pytest.approx(0.25, 1e-4)
    with pytest.raises(ValueError, match="loss must be one of vector, doubled, polar, got 'l1'"):
        tiny_task("l1")
    with pytest.raises(ValueError, match="loss must be vector or doubled for a network"):
        tiny_task("polar")


def test_pictures():
    task = tiny_task()
    shown = task.pictures(task.network, 0, torch.device("cpu"))
    assert shown["true and estimated motion"].shape == (3, 24, 48)
    assert all(0 <= p.min() <= p.max() <= 1 for p in shown.values())


def test_recipes_are_the_papers():
    paper = RECIPES["paper"]
    settings = settings_of(paper, 10_000)
    assert (settings.steps, settings.batch_size) == (1_500_000, 1)
    # A tenth every 50 epochs, nearly.
    assert settings.rate(500_000) / settings.rate(0) == pytest.approx(0.1, rel=0.3)
    assert (paper.normalisation, paper.depth, paper.max_length) == ("instance", 101, 35)
    assert paper.noise == pytest.approx(2**0.5 / 255)
    small = replace(RECIPES["small"], size=20, epoch=4, repeat=2)
    task = task_of(small, examples_of(small), seed=1)
    again = task_of(small, examples_of(small), seed=1)
    assert torch.equal(task.data[5].observed, again.data[5].observed)
    assert torch.equal(task.network.stem.weight, again.network.stem.weight)
    other = task_of(small, examples_of(small, seed=2), seed=2)
    assert not torch.equal(task.data[5].observed, other.data[5].observed)


def test_the_blind_pipeline_takes_it(tmp_path):
    pipeline = BlindDeblurrer(tiny_task().network, IRCNet(1, 1, max_length=5, size=7))
    torch.nn.init.normal_(pipeline.estimator.last.weight, std=0.3)
    observed = torch.rand(1, 3, 20, 24)
    pipeline(observed).square().mean().backward()
    assert float(pipeline.estimator.stem[0].weight.grad.abs().sum()) > 0
    pipeline.save_pretrained(tmp_path / "p.safetensors")
    found = BlindDeblurrer.from_pretrained(tmp_path / "p.safetensors")
    assert isinstance(found.estimator, MotionNet)
    for name, tensor in pipeline.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    with torch.no_grad():
        # Memory that is aligned otherwise makes sums of another order.
        torch.testing.assert_close(found(observed), pipeline.eval()(observed))
