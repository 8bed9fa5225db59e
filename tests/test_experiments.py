# SPDX-License-Identifier: BSD-3-Clause
"""The paper's experiments in small: that they do what they say, not how well they come out."""

import shutil
from dataclasses import replace

import pytest
import torch

from blurmodels.basis_kernels.data import blur_batch
from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator
from blurmodels.basis_kernels.experiments import ablation
from blurmodels.basis_kernels.experiments import blurring_to_deblur as deblur
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.basis_kernels.reblur import ReblurLoss
from blurmodels.evaluation import show

TINY = deblur.Options(
    pretrain_steps=3, resume_steps=2, batch_size=2, patch=40, kernel_size=9, width=4, blocks=1,
    scenes=3, held_out=2,
)  # fmt: skip


class TestBlurringToDeblur:
    def test_both_arms_start_alike_and_end_apart(self):
        blurred, trained, resumed, ours = deblur.compare(TINY)
        again = deblur.compare(TINY)
        assert [blurred, trained, resumed, ours] == again
        assert len({result.psnr for result in again}) == 4
        table = show(deblur.as_table([again, again], TINY))
        assert f"{ours.psnr - resumed.psnr:+.2f}, {ours.psnr - resumed.psnr:+.2f} dB" in table
        assert f"| {ours.psnr:.2f}" in table

    def test_without_its_weight_our_arm_is_the_control(self):
        options = replace(TINY, weight=0.0, pretrain_steps=1)
        _, _, resumed, ours = deblur.compare(options)
        assert resumed[1:] == ours[1:]

    def test_the_true_field_reblurs_the_truth_to_the_image(self):
        """Up to noise, which is off: what is counted is free of the border."""
        pairs = deblur._Pairs(TINY, 0, 2)
        settings = deblur.BlurSettings(noise=(0.0, 0.0), brightness=(0.3, 0.3))
        batch = blur_batch([pairs.samples[0]._replace(noise=0.0, brightness=0.3)], settings)
        loss = ReblurLoss(gamma=pairs.gamma, saturation=None, boundary="valid", loss="l1")
        sharp = pairs.sharp(batch)
        error = loss(sharp, batch.observed, batch.kernels, pairs.inner(batch))
        assert error < 1e-3
        off = loss(sharp.roll(1, dims=3), batch.observed, batch.kernels, pairs.inner(batch))
        assert off > 10 * error

    def test_the_reblur_loss_alone_restores(self):
        """Self-supervised: with the true blur field, it brings an image nearer to the truth."""
        pairs = deblur._Pairs(TINY, 0, 2)
        batch = blur_batch([pairs.samples[0]], pairs.samples.settings)
        sharp = pairs.sharp(batch)
        image = batch.observed.clone().requires_grad_()
        optimiser = torch.optim.Adam([image], lr=0.01)
        loss = ReblurLoss(gamma=pairs.gamma, saturation=None, boundary="valid")
        middle = (..., slice(8, -8), slice(8, -8))
        before = (image - sharp)[middle].square().mean()
        for _ in range(20):
            optimiser.zero_grad()
            loss(image, batch.observed, batch.kernels, pairs.inner(batch)).backward()
            optimiser.step()
        assert (image - sharp)[middle].square().mean() < 0.8 * before

    def test_an_estimator_serves_the_loss_alone(self):
        torch.manual_seed(4)
        estimator = TwoHeadsNetwork(basis_size=2, width=2)
        before = [parameter.clone() for parameter in estimator.parameters()]
        own, estimated = (
            deblur.compare(replace(TINY, pretrain_steps=1), estimator=each)
            for each in (None, estimator)
        )
        assert own[:3] == estimated[:3]
        assert own[3] != estimated[3]
        for parameter, value in zip(estimator.parameters(), before, strict=True):
            assert torch.equal(parameter, value)
            assert parameter.grad is None

    def test_samples_are_addressed_by_the_step(self):
        pairs = deblur._Pairs(TINY, 0, 3)
        task = deblur.Deblurring(DeblurGANGenerator(4, blocks=1), pairs, 10, None)
        (one, other) = task.samples(4, 6, slice(None))
        assert torch.equal(one.image, pairs.samples[14].image)
        assert torch.equal(other.kernels, pairs.samples[15].kernels)
        assert len(task.samples(4, 8, slice(1, None, 2))) == 2


SMALL = ablation.Options(
    basis_sizes=(2, 3), l2_steps=2, batch_size=1, patch=40, width=2, scenes=2, held_out=2
)


class TestAblation:
    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        monkeypatch.setattr(ablation, "_AVERAGED", 8)

    def test_every_cell_is_there_and_repeats(self):
        cells = ablation.ablate(SMALL)
        names = [ablation.BLURRED, ablation.MEAN, ablation.TRUE]
        assert [cell[:2] for cell in cells[:3]] == [(name, 0) for name in names]
        assert [cell[:2] for cell in cells[3:]] == [
            (schedule, size) for size in (2, 3) for schedule in SMALL.schedules
        ]
        assert len({cell.psnr for cell in cells}) == 9
        assert cells[:6] == ablation.ablate(replace(SMALL, basis_sizes=(2,)))
        table = show(ablation.as_table([cells], SMALL))
        assert f"| {cells[8].psnr:.2f} ({cells[8].kernel_error:.3f})" in table

    def test_the_true_field_is_best_and_has_no_error(self):
        blurred, mean, true = ablation._baselines(SMALL, ablation._held_out(SMALL))
        assert true.kernel_error < 1e-6
        assert true.psnr > max(blurred.psnr, mean.psnr)
        # A kernel that does nothing, against ones that spread: nearly disjoint.
        assert 1 < blurred.kernel_error <= 2

    def test_the_phases_go_on_from_the_first(self, tmp_path):
        """Two L2 steps then one L1 step are one run of three steps, not a run of its own."""
        short = ablation._trained(SMALL, 2, tmp_path / "a", 2, None, False)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        went_on = ablation._trained(SMALL, 2, tmp_path / "b", 3, 2, False)
        at_once = ablation._trained(SMALL, 2, tmp_path / "c", 3, 2, False)
        other = ablation._trained(SMALL, 2, tmp_path / "d", 3, None, False)
        weight = [net.feat[0].weight for net in (short, went_on, at_once, other)]
        assert torch.equal(weight[1], weight[2])
        assert not torch.equal(weight[0], weight[1])
        assert not torch.equal(weight[3], weight[1])
