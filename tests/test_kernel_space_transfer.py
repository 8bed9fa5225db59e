# SPDX-License-Identifier: BSD-3-Clause
"""Table 1 in small: each row against blur that is known, and a training that is interrupted."""

from dataclasses import replace

import pytest
import torch

from blurmodels.evaluation import psnr, show
from blurmodels.kernel_space import KernelWizard
from blurmodels.kernel_space.experiments import transfer
from blurmodels.kernel_space.pairs import GeneratedPairs
from blurmodels.kernel_space.task import initialise
from blurmodels.training import Settings, train

TINY = transfer.Options(
    steps=2, batch_size=1, width=1, kernel_dim=4, kernels=2, length=4, scenes=2, side=129,
    held_out=1,
)  # fmt: skip


class Shifts:
    """F and G of two kernels that shift: k is the shift, and F makes an error that grows with it.

    Shifts by 0 and 2 pixels have the mean 1, which is no kernel's shift.
    """

    def extract_kernel(self, sharp, blurry):
        errors = [(sharp.roll(-n, -1) - blurry)[..., 3:-3].abs().max() for n in (0, 2)]
        return torch.full((1, 1, 1, 1), 2.0 * int(errors[1] < errors[0]))

    def apply_blur(self, sharp, k):
        pixels = int(k)
        moved = torch.cat([sharp[..., pixels:], sharp[..., -1 - pixels : -1].flip(-1)], dim=-1)
        return moved + 0.001 * (1 + pixels)


def test_each_row_is_scored_against_the_true_blur():
    kernels = torch.zeros(2, 5, 5)
    kernels[0, 2, 2] = kernels[1, 2, 4] = 1
    options = replace(TINY, side=40, held_out=2, seed=3)
    found = transfer.transferred(Shifts(), kernels, options)
    # Values that are cut at 1 have a smaller error.
    assert found["F and G"][0] == pytest.approx(60, abs=0.3)
    assert found["F and G"][1] == pytest.approx(60 - 20 * 0.47712, abs=0.3)
    pairs = GeneratedPairs(kernels, 40, 4, seed=3 + 2**41)
    wanted = {"sharp image": 0.0, "mean kernel": 0.0, "F, mean k": 0.0}
    for target in (2, 0):
        sharp = pairs.sharp(target)
        truth = pairs.under(sharp, kernels[1])
        one = Shifts().apply_blur(sharp[None], torch.ones(1))[0]
        half = (sharp + truth) / 2
        for name, image in zip(wanted, (sharp, half, one), strict=True):
            wanted[name] += psnr(image[None].clamp(0, 1), truth[None]) / 2
    for name, value in wanted.items():
        assert found[name][1] == pytest.approx(value, abs=1e-3), name


def test_the_best_code_keeps_what_blocks_have_in_common():
    patterns = torch.rand(2, 3, 8, 8)
    weights = torch.rand(4, 2, 3, 2)
    images = torch.einsum("nrhw,rcyx->nchywx", weights, patterns).reshape(4, 3, 24, 16)
    images = torch.nn.functional.pad(images, (0, 5, 0, 3), value=0.5)
    found = transfer.best_code(images, 2)
    assert torch.allclose(found[..., :24, :16], images[..., :24, :16], atol=1e-5)
    assert float(found[..., 24:, :].abs().max()) == float(found[..., 16:].abs().max()) == 0
    # Of one pattern alone, something is left; of less, all that it explains.
    left = [float((transfer.best_code(images, n) - images)[..., :24, :16].norm()) for n in (0, 1)]
    assert 0.01 * left[0] < left[1] < 0.7 * left[0]


def test_motions_begin_at_the_sharp_image():
    kernels = transfer.motions_from_the_start(4, 3)
    sharp = torch.rand(3, 12, 12)
    pairs = GeneratedPairs(kernels, 12, 4)
    for kernel, (dim, step) in zip(kernels, ((2, -1), (1, -1), (2, 1), (1, 1)), strict=True):
        moved = sum(sharp.roll(step * n, dim) for n in range(3)) / 3
        found = pairs.under(sharp, kernel)
        assert torch.allclose(found[:, 3:-3, 3:-3], moved[:, 3:-3, 3:-3], atol=1e-6)
    with pytest.raises(ValueError, match="count must be 1 to 4, got 5"):
        transfer.motions_from_the_start(5, 3)


class Spy:
    """A network that says which k it was given: F gives its mean, G two."""

    def __init__(self):
        self.architecture = {"kernel_dim": 4}

    def __call__(self, sharp, blurry, k=None):
        self.given = k
        return sharp, torch.full((len(sharp), 4, 2, 2), 2.0), None


def test_f_is_taught_by_codes_and_then_by_g():
    kernels = transfer.motions_from_the_start(2, 3)
    scenes = transfer.SceneByScene(GeneratedPairs(kernels, 129, 2, seed=1))
    for index in range(6):
        sharp, blurry = scenes[index]
        assert torch.equal(sharp, scenes.source.sharp(index // 2 % 2))
        assert torch.equal(blurry, scenes.source.under(sharp, kernels[index % 2]))
    spy = Spy()
    task = transfer.TaughtTask(spy, scenes, transfer.LossSettings(reduction="mean"), until=5)
    samples = task.samples(2, 6, slice(1, None, 2))
    losses = task.losses(spy, samples, 4, torch.device("cpu"))
    # Both pairs are of the second kernel, whose code is (0, 0, 1, 1).
    assert spy.given[..., 0, 0].tolist() == [[0, 0, 1, 1]] * 2
    assert float(losses["codes"]) == pytest.approx(0.005 * (4 + 4 + 1 + 1) / 4)
    distance = (samples[0].pairs[:, 0] - samples[0].pairs[:, 1]).abs().mean()
    assert float(losses["data"]) == pytest.approx(float(distance), abs=1e-3)
    task.losses(spy, samples, 5, torch.device("cpu"))
    assert spy.given is None


def test_a_training_goes_on_in_its_folder(tmp_path):
    first = transfer.compare(TINY, folder=tmp_path)
    weights = KernelWizard.from_pretrained(tmp_path / "weights.safetensors")
    assert weights.architecture["width"] == 1
    assert transfer.compare(TINY, folder=tmp_path) == first
    table = show(transfer.as_table([first, first], TINY))
    assert f"{sum(first['F and G']) / 2:.2f}" in table
    assert "2 steps of 1 scenes" in table


class Killed(Exception):
    """Stands for a signal between two steps."""


def test_a_taught_training_goes_on_bit_for_bit(tmp_path):
    kernels = transfer.motions_from_the_start(2, 4)
    scenes = transfer.SceneByScene(GeneratedPairs(kernels, 129, 2))
    settings = Settings(4, batch_size=2, learning_rate=1e-3, checkpoint_every=1)

    def run(name, stop):
        def kill(step, losses):
            if step == stop:
                raise Killed

        network = KernelWizard(2, 4)
        initialise(network, 0)
        task = transfer.TaughtTask(network, scenes, transfer.LossSettings(reduction="mean"), 3)
        train(task, settings, tmp_path / name, on_step=kill)
        return network.state_dict()

    whole = run("whole", 9)
    with pytest.raises(Killed):
        run("killed", 2)
    found = run("killed", 9)
    assert all(torch.equal(whole[name], found[name]) for name in whole)
