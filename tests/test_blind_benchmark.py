# SPDX-License-Identifier: BSD-3-Clause
"""The blind benchmark's arithmetic, without the minutes."""

import torch

from benchmarks import blind


def test_a_perfect_estimate_scores_as_the_true_blur(monkeypatch):
    truth = blind.photograph("coins")[..., :64, :80]
    name, field, options = next(blind.blurs("held-out", (64, 80)))
    monkeypatch.setattr(blind, "estimate_blind", lambda image, **_: field)
    row = blind.score("coins", truth, name, field, options)
    assert row.blind == row.true_blur > row.blurred + 1
    assert row.gain == row.blind - row.blurred


def test_the_sets_share_no_photograph_kernel_or_motion():
    (tuned, seed, *_, motions), (unseen, other, *_, others) = (
        blind.SETS[name] for name in ("tuned", "held-out")
    )
    assert not set(tuned) & set(unseen)
    assert seed != other
    assert motions[0] != others[0]
    assert not set(motions[1]) & set(others[1])


def test_the_scene_is_blurred_in_linear_light(monkeypatch):
    monkeypatch.setattr(blind, "NOISE", 0.0)
    truth = blind.photograph("coins")[..., :64, :80]
    _, field, _ = next(blind.blurs("held-out", (64, 80)))
    seen = []
    monkeypatch.setattr(blind, "estimate_blind", lambda image, **_: (seen.append(image), field)[1])
    blind.score("coins", truth, "", field, {})
    wanted = blind.blurops.basis_blur(truth**2.2, field.kernels, field.mixing, boundary="reflect")
    torch.testing.assert_close(seen[0], wanted ** (1 / 2.2), atol=0.6 / 255, rtol=0)
