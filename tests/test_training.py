# SPDX-License-Identifier: BSD-3-Clause
"""Training: it lowers the losses, survives being killed, and repeats."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blurmodels import checkpoints, training
from blurmodels.basis_kernels.data import BlurSettings, KernelBank, Samples
from blurmodels.basis_kernels.held_out import held_out
from blurmodels.basis_kernels.image_refinement import refine_on_image
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.basis_kernels.recipes import RECIPES, settings_of
from blurmodels.basis_kernels.task import FieldTask, LossSettings, initialise
from blurmodels.scenes import DeadLeaves
from blurmodels.training import Settings, train
from blurops.cli import main

ROOT = Path(__file__).parents[1]


def tiny_task(seed=0, **losses):
    """A network of 6,000 numbers that learns from images of 32 x 32 pixels."""
    network = TwoHeadsNetwork(2, width=1)
    initialise(network, seed)
    samples = Samples(DeadLeaves(4, seed=seed), KernelBank(8, exposure=0.05, seed=seed), 32)
    return FieldTask(network, samples, LossSettings(**losses))


SETTINGS = Settings(steps=5, batch_size=2, learning_rate=1e-3, checkpoint_every=2, log_every=1)


def weights(folder):
    return checkpoints.load(folder / training.WEIGHTS).tensors


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


class Killed(Exception):
    """Stands for a signal between two steps."""


def killed_after(last):
    def on_step(step, losses):
        if step == last:
            raise Killed

    return on_step


@pytest.mark.parametrize("change", [{}, {"precision": "bfloat16", "workers": 1}], ids=str)
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, change):
    settings = replace(SETTINGS, halve_every=2, warmup=2, clip=0.1, **change)
    train(tiny_task(l1_from=3), settings, tmp_path / "whole")
    # Killed between checkpoints, and again on one.
    for last in (3, 4):
        with pytest.raises(Killed):
            train(tiny_task(l1_from=3), settings, tmp_path / "killed", on_step=killed_after(last))
    train(tiny_task(l1_from=3), settings, tmp_path / "killed")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    logs = [(tmp_path / name / training.LOG).read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    assert [row["step"] for row in csv.DictReader(logs[0].splitlines())] == list("12345")


def test_what_a_network_draws_goes_on_where_it_was(tmp_path):
    class Drawing(FieldTask):
        def losses(self, network, samples, step, device):
            return {"drawn": torch.rand(()) * self.network.inc_rgb[0].bias.square().sum()}

    def task():
        made = tiny_task()
        made.network.inc_rgb[0].bias.data.fill_(1)
        return Drawing(made.network, made.data)

    settings = replace(SETTINGS, checkpoint_every=1)
    train(task(), settings, tmp_path / "whole")
    with pytest.raises(Killed):
        train(task(), settings, tmp_path / "killed", on_step=killed_after(2))
    torch.rand(7)
    train(task(), settings, tmp_path / "killed")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


COMMAND = (
    "train basis_kernels {folder} --recipe starter --width 1 --basis-size 2 --patch 32 --seed 3"
    " --epoch 4 --batch-size 2 --steps {steps} --checkpoint-every 1 --log-every 1 --threads 1"
    " --precision float32"
)


def test_the_command_survives_sigkill(tmp_path):
    def words(name, steps=12):
        return COMMAND.format(folder=tmp_path / name, steps=steps).split()

    assert main(words("whole")) == 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "blurops", *words("killed")], env=environment, cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    state, deadline = tmp_path / "killed" / training.STATE, time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.exists()
    assert main(words("killed")) == 0
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_a_seed_gives_one_result_and_another_seed_another(tmp_path):
    settings = replace(SETTINGS, steps=2)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tiny_task(seed), replace(settings, seed=seed), tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))
    samples = [tiny_task(seed).data[0].image for seed in (0, 1)]
    assert not torch.equal(*samples)


def test_a_folder_is_not_taken_for_another_training(tmp_path):
    train(tiny_task(), replace(SETTINGS, steps=1), tmp_path)
    with pytest.raises(FileExistsError):
        train(tiny_task(), SETTINGS, tmp_path, resume=False)
    with pytest.raises(ValueError, match="learning_rate must be that of the training in"):
        train(tiny_task(), replace(SETTINGS, learning_rate=0.5), tmp_path)
    with pytest.raises(ValueError, match="losses must be that of the training in"):
        train(tiny_task(form="values"), SETTINGS, tmp_path)
    other = FieldTask(TwoHeadsNetwork(3, width=1), tiny_task().data)
    with pytest.raises(ValueError, match="network must be that of the training in"):
        train(other, SETTINGS, tmp_path)
    (tmp_path / training.STATE).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="must be a complete safetensors file"):
        train(tiny_task(), SETTINGS, tmp_path)


def test_a_diverged_run_stops_and_keeps_its_checkpoint(tmp_path):
    class Diverging(FieldTask):
        def losses(self, network, samples, step, device):
            found = super().losses(network, samples, step, device)
            return {**found, "extra": torch.tensor(float("nan") if step == 3 else 0.0)}

    made = tiny_task()
    with pytest.raises(FloatingPointError, match="loss must be finite, got nan in step 4"):
        train(Diverging(made.network, made.data), SETTINGS, tmp_path)
    assert checkpoints.load(tmp_path / training.STATE).extra["step"] == 2
    assert all(bool(t.isfinite().all()) for t in weights(tmp_path).values())


def test_gray_images_get_the_layer_of_colours(tmp_path):
    train(tiny_task(), replace(SETTINGS, steps=2), tmp_path)
    network = TwoHeadsNetwork.from_pretrained(tmp_path / training.WEIGHTS)
    gray = torch.rand(1, 1, 32, 32) - 0.5
    for ours, theirs in zip(network(gray), network(gray.expand(-1, 3, -1, -1)), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_tensorboard_gets_scalars_and_pictures(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = replace(SETTINGS, steps=4, picture_every=4)
    train(tiny_task(), settings, tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / training.EVENTS)).Reload()
    with (tmp_path / training.LOG).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "reblur", "kernel", "rate"):
        logged = [float(row[name]) for row in rows]
        assert [e.value for e in events.Scalars(name)] == pytest.approx(logged, rel=1e-5)
    assert {"observed", "estimated and true kernel"} <= set(events.Tags()["images"])


def test_without_tensorboard_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'blurops\[train\]'"):
        train(tiny_task(), SETTINGS, tmp_path, tensorboard=True)


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch has no gloo")
def test_two_processes_learn_what_one_does(tmp_path):
    folder = tmp_path / "two"
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "blurops", *COMMAND.format(folder=folder, steps=3).split(),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert main(COMMAND.format(folder=tmp_path / "one", steps=3).split()) == 0
    one, two = weights(tmp_path / "one"), weights(folder)
    start = initial_weights()
    # Gradients add up in another order, and Adam divides them by their size: a small part of how
    # far the three steps went.
    moved = sum((one[name] - start[name]).square().sum() for name in one).sqrt()
    apart = sum((one[name] - two[name]).square().sum() for name in one).sqrt()
    assert float(moved) > 0
    assert float(apart) <= 0.02 * float(moved)
    state = checkpoints.load(folder / training.STATE).tensors
    assert {"generator.0.0", "generator.1.0"} <= state.keys()
    # One process cannot go on with what two began.
    assert main(COMMAND.format(folder=folder, steps=3).split()) == 1


def initial_weights():
    network = TwoHeadsNetwork(2, width=1)
    initialise(network, 3)
    with torch.no_grad():
        network.inc_gray[0].weight.copy_(network.inc_rgb[0].weight.sum(1, keepdim=True))
    return network.state_dict()


def test_the_papers_schedule():
    settings = settings_of(RECIPES["paper"])
    epoch = 5888 // 8
    assert settings.steps == 1200 * epoch
    assert settings.rate(0) == settings.rate(150 * epoch - 1) == 1e-4
    assert settings.rate(150 * epoch) == 5e-5
    assert settings.rate(1199 * epoch) == 1e-4 / 2**7
    assert Settings(steps=10, decay="cosine").rate(5) == pytest.approx(5e-5)
    assert Settings(steps=10, warmup=3, learning_rate=1.0).rate(1) == 0.5
    with pytest.raises(
        ValueError, match="decay must be one of halving, cosine, restarts, got 'linear'"
    ):
        Settings(steps=1, decay="linear")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        Settings(steps=0)


def test_bad_input_ends_in_one_line(tmp_path, capsys):
    for words, text in (
        (f"{tmp_path} --ade20k {tmp_path / 'nowhere'}", "nowhere: not a folder"),
        (f"{tmp_path} --kernel-size 31", "kernel_size must be 33 or 65, got 31"),
        (f"{tmp_path} --ade20k {tmp_path}", "folder must hold NAME.jpg"),
        (f"{tmp_path} --device xyz", "device must be one that torch can use here, got 'xyz'"),
    ):
        assert main(["train", "basis_kernels", *words.split()]) == 1
        error = capsys.readouterr().err
        assert error.startswith("blurops: ")
        assert text in error
        assert error.count("\n") == 1


def test_learning_beats_the_best_fixed_kernel_on_held_out_scenes(tmp_path):
    # Two kernels, of a short and of a long exposure: which one it was, the image has to tell.
    bank = KernelBank(2, exposure=(0.02, 0.3), focal_length=1500, seed=34)
    settings = BlurSettings(brightness=(1.0, 1.0), noise=(0.0, 0.0))
    network = TwoHeadsNetwork(2, width=4)
    initialise(network, 0)
    learned = Samples(DeadLeaves(objects=0, seed=1), bank, 32, settings)
    unseen = Samples(DeadLeaves(objects=0, seed=2), bank, 32, settings, seed=2)
    before = held_out(network, unseen, range(8))
    task = FieldTask(network, learned, LossSettings(l1_from=130, grid=16))
    schedule = Settings(
        steps=150, batch_size=4, learning_rate=2e-3, decay="cosine", warmup=5, clip=1.0
    )
    path = train(task, schedule, tmp_path)
    after = held_out(TwoHeadsNetwork.from_pretrained(path), unseen, range(8))
    assert after.reblur < before.reblur / 2
    assert after.kernel_l2 < before.kernel_l2 / 2
    assert after.kernel_l1 < before.kernel_l1
    assert after.kernel_l2 < min(after.fixed_l2, after.sharp_l2)


def test_the_fixed_kernel_is_the_best_there_is():
    samples = tiny_task().data
    network = TwoHeadsNetwork(2, width=1)
    found = held_out(network, samples, range(3))
    assert found.fixed_l2 < min(found.kernel_l2, found.sharp_l2)


def test_refinement_explains_one_image_better():
    task = tiny_task()
    sharp = task.data[0].image[None, :, :40, :40]
    blurred = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    refined = refine_on_image(task.network, blurred, sharp, steps=8, learning_rate=1e-2)
    assert refined.losses[-1] < refined.losses[0]
    assert same(before, task.network.state_dict())
    assert not same(before, refined.network.state_dict())
    with pytest.raises(ValueError, match=r"sharp must have the shape of blurred, \(1, 3, 40, 40\)"):
        refine_on_image(task.network, blurred, sharp[..., :39])
