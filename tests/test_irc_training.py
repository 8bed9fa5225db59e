# SPDX-License-Identifier: BSD-3-Clause
"""Training of IRC-Net, alone and with an estimator of motion."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import blurops
from blurmodels import checkpoints, training
from blurmodels.irc import BlindDeblurrer, IRCNet, MotionNet, joint
from blurmodels.irc.recipes import JOINT, RECIPES, pipeline_of, samples_of, settings_of
from blurmodels.irc.scenes import MotionSamples, MotionSettings, motion_batch
from blurmodels.irc.task import DeblurTask, held_out_scores
from blurmodels.scenes import DeadLeaves, Repeated
from blurmodels.training import Settings, train
from blurops.cli import main
from blurops.images import write_image

LONGEST = 5


class Tiny(nn.Module):
    """Looks at the slopes of an image as a whole; at first it says the same of every image."""

    name = "tiny"

    def __init__(self, length=2.0, angle=0.4):
        super().__init__()
        self.architecture = {"length": length, "angle": angle}
        # One learning rate serves the filters' taps and the motion.
        self.gain = torch.tensor([40.0, 10.0])
        self.look = nn.Conv2d(3, 4, 3, padding=1)
        self.say = nn.Linear(4, 2)
        with torch.no_grad():
            self.say.weight.zero_()
            self.say.bias.copy_(torch.tensor([length, angle]) / self.gain)

    def forward(self, image):
        seen = self.look(image).abs().mean((2, 3))
        length, angle = (self.gain * self.say(seen))[:, :, None, None].unbind(1)
        size = (len(image), *image.shape[2:])
        return length.expand(size), angle.expand(size)


def network(**options):
    chosen = {"max_length": LONGEST, "size": 9, "threshold": 0.02, "method": "fft", "grid": 65,
              "mode": "bilinear", "boundary": "valid"}  # fmt: skip
    return IRCNet(2, 2, **(chosen | options))


def samples(seed=0, **options):
    scenes = Repeated(DeadLeaves(4, seed=seed), 4, seed=seed)
    chosen = {"max_length": LONGEST, "noise": (0.01, 0.01)} | options
    return MotionSamples(scenes, 24, MotionSettings(**chosen), seed=seed)


class Sideways(MotionSamples):
    """All moved by 4.5 pixels to the right."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        one = torch.ones_like(sample.length)
        return sample._replace(length=4.5 * one, angle=0 * one)


class Killed(Exception):
    """Stands for a signal between two steps."""


def killed_after(last):
    def on_step(step, losses):
        if step == last:
            raise Killed

    return on_step


SETTINGS = Settings(steps=4, batch_size=2, learning_rate=1e-3, checkpoint_every=2, log_every=1)


@pytest.mark.parametrize("blind", [False, True])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, blind):
    def task():
        torch.manual_seed(0)
        restorer = network()
        learned = BlindDeblurrer(Tiny(), restorer) if blind else restorer
        return DeblurTask(learned, samples(), "sum" if blind else "mean")

    change = {"optimiser": "sgd", "momentum": 0.9, "learning_rate": 1e-5} if blind else {}
    settings = replace(SETTINGS, **change)
    train(task(), settings, tmp_path / "whole")
    with pytest.raises(Killed):
        train(task(), settings, tmp_path / "killed", on_step=killed_after(3))
    train(task(), settings, tmp_path / "killed")
    files = [tmp_path / name / training.WEIGHTS for name in ("whole", "killed")]
    one, other = (checkpoints.load(path).tensors for path in files)
    assert all(torch.equal(one[name], other[name]) for name in one)
    begun = task().network.state_dict()
    assert all(not torch.equal(one[name], begun[name]) for name in one if "look" not in name)


def test_a_state_without_an_optimiser_goes_on_with_adam(tmp_path, monkeypatch):
    train(DeblurTask(network(), samples()), replace(SETTINGS, steps=2), tmp_path)
    path = tmp_path / training.STATE
    found = checkpoints.load(path)
    extra = {**found.extra, "settings": {k: v for k, v in found.extra["settings"].items()
                                         if k not in ("optimiser", "momentum")}}  # fmt: skip
    checkpoints.save(path, found.tensors, model=found.model, architecture=found.architecture,
                     **extra)  # fmt: skip
    with pytest.raises(ValueError, match=r"optimiser must be .*'adam', got 'sgd'"):
        train(DeblurTask(network(), samples()), replace(SETTINGS, optimiser="sgd"), tmp_path)
    train(DeblurTask(network(), samples()), SETTINGS, tmp_path)
    assert checkpoints.load(path).extra["step"] == 4


def test_fine_tuning_improves_what_was_not_seen(tmp_path):
    learned, others = network(), samples(seed=9)
    before = held_out_scores(learned, others, 4).psnr
    settings = replace(SETTINGS, steps=30, checkpoint_every=30, learning_rate=3e-3, decay="cosine")
    train(DeblurTask(learned, samples()), settings, tmp_path)
    assert held_out_scores(learned, others, 4).psnr > before + 0.2


def test_only_filters_that_a_motion_picks_are_updated():
    learned = network(mode="nearest")
    task = DeblurTask(learned, samples(kind="bank", noise=(1e-3, 1e-3)))
    made = task.samples(2, 3, slice(None))
    task.losses(learned, made, 0, "cpu")["error"].backward()
    touched = learned.bank.grad.abs().amax((2, 3, 4)) > 0
    assert touched.sum(1).tolist() == [1, 1, 1, 1]
    kernels = torch.equal(made[0].length, made[0].length[:1, :1].expand(24, 24))
    assert kernels


class TestPipeline:
    def test_is_its_parts(self):
        pipeline = BlindDeblurrer(Tiny(), network())
        observed = torch.rand(2, 3, 24, 30)
        length, angle = torch.full((2, 24, 30), 2.0), torch.full((2, 24, 30), 0.4)
        for combine in ("filters", "outputs"):
            pipeline.combine = combine
            wanted = pipeline.network(observed, length, angle, combine=combine)
            torch.testing.assert_close(pipeline(observed), wanted)

    def test_gray_is_shown_as_colour(self):
        gray = torch.rand(1, 1, 20, 20)
        pipeline = BlindDeblurrer(Tiny(), network())
        found = pipeline(gray.expand(-1, 3, -1, -1))
        torch.testing.assert_close(pipeline(gray).expand(-1, 3, -1, -1), found)

    @pytest.mark.parametrize("mode", ["bilinear", "nearest"])
    def test_gradients_reach_the_motion_by_both_ways(self, mode):
        found = {}
        for through in (True, False):
            pipeline = BlindDeblurrer(Tiny(), network(mode=mode), through_blur=through)
            error = pipeline(torch.linspace(0, 1, 1728).reshape(1, 3, 24, 24) ** 2)
            error.square().sum().backward()
            grad = pipeline.estimator.say.bias.grad
            found[through] = torch.zeros(2) if grad is None else grad
        assert found[True].abs().min() > 0
        assert not torch.allclose(found[True], found[False], rtol=1e-2)
        assert (found[False].abs().min() > 0) == (mode != "nearest")

    def test_learns_motion_without_being_told(self, tmp_path):
        def scores(pipeline):
            made = Sideways(others.scenes, 24, others.settings, seed=9)
            batch = motion_batch([made[index] for index in range(4)])
            with torch.no_grad():
                length, angle = pipeline.motion(batch.observed)
                image = (pipeline(batch.observed) - batch.sharp).square().mean()
            doubled = torch.stack([(length - 1) * torch.cos(2 * angle),
                                   (length - 1) * torch.sin(2 * angle)])  # fmt: skip
            wanted = torch.tensor([3.5, 0.0]).reshape(2, 1, 1, 1)
            return float(image), float((doubled - wanted).square().sum(0).mean())

        torch.manual_seed(0)
        others, seen = samples(seed=9), samples()
        pipeline = BlindDeblurrer(Tiny(3.6, 0.25), network())
        before = scores(pipeline)
        task = DeblurTask(pipeline, Sideways(seen.scenes, 24, seen.settings))
        settings = replace(SETTINGS, steps=16, checkpoint_every=16, learning_rate=3e-3)
        train(task, settings, tmp_path)
        after = scores(pipeline)
        assert after[0] < 0.9 * before[0]
        assert after[1] < 0.5 * before[1]

    def test_reblurring_asks_the_motion_to_explain_the_image(self):
        """Its loss is that of the definition, and falls towards the true motion."""
        seen = samples(noise=(1e-3, 1e-3))
        made = Sideways(seen.scenes, 24, seen.settings)
        batch = motion_batch([made[0], made[1]])
        true = BlindDeblurrer(Tiny(4.5, 0.0), network())
        task = DeblurTask(true, made, reblur=2.0)
        terms = task.losses(true, [made[0], made[1]], 0, "cpu")
        noise = (made[0].noise.square().mean() + 1e-6).sqrt()
        noise = noise + (made[1].noise.square().mean() + 1e-6).sqrt()
        torch.testing.assert_close(terms["reblur"], noise, atol=1e-5, rtol=1e-3)
        plain = DeblurTask(true, made).losses(true, [made[0], made[1]], 0, "cpu")
        assert set(plain) == {"error"}
        torch.testing.assert_close(plain["error"], terms["error"])

        # Too short, or turned to the left; with a bank of longer motions than the samples have.
        for motion, which, sign in (((3.4, 0.0), 0, -1), ((4.5, 0.4), 1, 1)):
            other = BlindDeblurrer(Tiny(*motion), network(max_length=7))
            task = DeblurTask(other, made, reblur=2.0)
            terms = task.losses(other, [made[0], made[1]], 0, "cpu")
            length, angle = (torch.full_like(batch.length, value) for value in motion)
            again = blurops.motion_blur(batch.whole, length, angle, boundary="valid")
            wanted = 2 * ((again - batch.observed).square().mean((1, 2, 3)) + 1e-6).sqrt().mean()
            torch.testing.assert_close(terms["reblur"], wanted, atol=0, rtol=1e-3)
            (slope,) = torch.autograd.grad(terms["reblur"], other.estimator.say.bias)
            assert sign * slope[which] > 0

    def test_joint_training_lowers_both_errors_where_the_image_alone_leads_away(self, tmp_path):
        """The start from which the error of the restored image led away (docs/irc-net.md)."""
        seen, others = samples(), samples(seed=9)
        unseen = Sideways(others.scenes, 24, others.settings, seed=9)
        torch.manual_seed(0)
        pipeline = BlindDeblurrer(Tiny(2.0, 0.4), network())
        before = held_out_scores(pipeline, unseen, 4)
        task = DeblurTask(pipeline, Sideways(seen.scenes, 24, seen.settings), reblur=10.0)
        settings = replace(SETTINGS, steps=24, checkpoint_every=24, learning_rate=3e-3)
        train(task, settings, tmp_path)
        after = held_out_scores(pipeline, unseen, 4)
        assert after.psnr > before.psnr + 1
        assert after.motion < 0.5 * before.motion

    def test_an_estimator_of_another_size_is_refused(self):
        class Half(Tiny):
            def forward(self, image):
                return tuple(each[:, ::2] for each in super().forward(image))

        with pytest.raises(ValueError, match=r"estimator must give lengths \(1, 24, 24\)"):
            BlindDeblurrer(Half(), network())(torch.rand(1, 3, 24, 24))

    def test_checkpoints(self, tmp_path, monkeypatch):
        path = tmp_path / "p.safetensors"
        pipeline = BlindDeblurrer(Tiny(3.0), network(), combine="outputs", through_blur=False)
        pipeline.save_pretrained(path)
        with pytest.raises(ValueError, match="its estimator is 'tiny', of those known"):
            BlindDeblurrer.from_pretrained(path)
        monkeypatch.setitem(joint.ESTIMATORS, "tiny", Tiny)
        observed = torch.rand(1, 3, 24, 24)
        for again in (
            BlindDeblurrer.from_pretrained(path),
            BlindDeblurrer.from_pretrained(path, Tiny(3.0)),
        ):
            assert again.architecture == pipeline.architecture
            assert torch.equal(again(observed), pipeline(observed))
        network().save_pretrained(path)
        with pytest.raises(ValueError, match=r"hold weights of irc\.BlindDeblurrer"):
            BlindDeblurrer.from_pretrained(path)


class TestData:
    def test_fields_are_those_of_a_turn_and_a_shift(self):
        made = samples()[3]
        across = (made.length - 1) * torch.cos(made.angle)
        down = -(made.length - 1) * torch.sin(made.angle)
        # A turn changes the sideways part along columns alone, and the other by as much along rows.
        assert float(across.diff(dim=1).abs().max()) < 1e-5
        assert float(down.diff(dim=0).abs().max()) < 1e-5
        steps = torch.cat([across[:, 0].diff(), -down[0].diff()])
        assert float(steps.std()) < 1e-5
        assert float(steps.abs().min()) > 1e-4
        assert 1 < float(made.length.max()) <= LONGEST

    def test_of_the_bank_there_is_one_motion(self):
        chosen = samples(kind="bank")
        found = {(float(s.length[0, 0]), float(s.angle[0, 0])) for s in map(chosen.__getitem__,
                                                                            range(12))}  # fmt: skip
        assert len(found) > 6
        assert {length for length, _ in found} <= {1.0, 3.0, 5.0}

    def test_observations_are_blurred_and_noisy(self):
        made = samples(noise=(0.02, 0.02))[1]
        again = samples(noise=(0.02, 0.02))[1]
        assert all(torch.equal(one, other) for one, other in zip(made, again, strict=True))
        batch = motion_batch([made])
        still = motion_batch([made._replace(length=torch.ones_like(made.length))])
        torch.testing.assert_close(still.observed, still.sharp + made.noise[None])
        assert float((batch.observed - still.observed).abs().max()) > 0.05
        assert float(made.noise.std()) == pytest.approx(0.02, rel=0.1)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match=r"motions of at most 5 pixels, .* got 7"):
            DeblurTask(network(), samples(max_length=7))
        with pytest.raises(ValueError, match="reblur must be 0 where motions are told, got 1"):
            DeblurTask(network(), samples(), reblur=1)
        with pytest.raises(ValueError, match="reblur must not be negative, got -1"):
            DeblurTask(BlindDeblurrer(Tiny(), network()), samples(), reblur=-1)
        with pytest.raises(ValueError, match="kind must be one of"):
            MotionSettings(kind="none")
        with pytest.raises(ValueError, match="noise must be a range"):
            MotionSettings(noise=(0.1, 0.05))


def test_recipes_are_the_papers_where_it_says():
    paper = RECIPES["paper"]
    assert (paper.stages, paper.inner, paper.max_length, paper.patch) == (5, 2, 35, 121)
    settings = settings_of(paper)
    assert (settings.optimiser, settings.learning_rate) == ("sgd", 1e-7)
    assert settings.steps == 10 * 5400
    blind = settings_of(JOINT["paper"])
    assert (blind.optimiser, blind.learning_rate, blind.momentum) == ("sgd", 1e-9, 0.9)
    assert not pipeline_of(JOINT["paper"], Tiny(), network()).through_blur
    # It judges restored images alone; the others' motions have to explain the blurred ones too.
    assert JOINT["paper"].reblur == 0 < min(JOINT["default"].reblur, JOINT["small"].reblur)


def test_the_command_trains_and_goes_on(tmp_path, capsys):
    words = (
        "train irc {} --recipe small --max-length 3 --size 7 --stages 1 --inner 1 --patch 16"
        " --epoch 4 --steps {} --checkpoint-every 1 --threads 1 --held-out 1"
    )
    assert main(words.format(tmp_path, 2).split()) == 0
    text = capsys.readouterr().out
    assert "2 steps: loss" in text
    assert "dB before" in text
    assert main(words.format(tmp_path, 2).split()) == 0
    assert "2 steps, all done before" in capsys.readouterr().out
    path = tmp_path / training.WEIGHTS
    assert IRCNet.from_pretrained(path).stages == 1
    assert checkpoints.load(path).extra["training"]["step"] == 2
    assert main(f"train irc {tmp_path}/x --weights {path} --stages 2".split()) == 2
    assert "--stages: goes without --weights" in capsys.readouterr().err


def test_photographs_in_place_of_scenes(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    picture = torch.rand(1, 3, 20, 22, generator=torch.Generator().manual_seed(0))
    write_image(tmp_path / "photos" / "a.png", picture)
    words = (
        f"train irc {tmp_path}/out --recipe small --max-length 3 --size 7 --stages 1 --inner 1"
        " --patch 16 --steps 1 --threads 1 --photographs {}"
    )
    assert main(words.format(tmp_path / "photos").split()) == 0
    record = checkpoints.load(tmp_path / "out" / training.WEIGHTS).extra["training"]
    assert record["task"]["scenes"] == "Photographs"
    # Each is a crop of the photograph.
    made = samples_of(RECIPES["small"], photographs=[tmp_path / "photos" / "a.png"], patch=4)[3]
    whole, crop = (picture * 255).round() / 255, made.sharp[None]
    places = [
        (whole[..., top : top + 18, left : left + 18] - crop).abs().max()
        for top in range(3)
        for left in range(5)
    ]
    assert float(min(places)) < 1e-6
    assert main(words.format(tmp_path / "out").split()) == 1
    assert "must hold photographs, got none" in capsys.readouterr().err


def test_what_a_step_of_the_whole_pipeline_keeps():
    kept = []

    def keep(tensor):
        kept.append(tensor.nbytes)
        return tensor

    # The paper's sizes, of which shapes alone are computed.
    with torch.device("meta"):
        estimator, observed = MotionNet(recompute=True), torch.rand(1, 3, 256, 256)
        restorer = IRCNet(bank=torch.empty(511, 3, 31, 31))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            estimator(observed)
    learned = sum(p.nbytes for each in (estimator, restorer) for p in each.parameters())
    # At the end of the forward: weights, Adam's two, and 40 images a step of compensation, as is
    # tested of the IRC-Net by itself, with a margin of the longest motion. Python and torch have
    # 0.4 GB; gradients come as what was kept goes.
    images = 40 * restorer.stages * restorer.inner * 3 * (256 + 34) ** 2 * 4
    assert 3 * learned + sum(kept) + images + 0.4e9 < 2e9
    assert sum(kept) < 0.2e9
