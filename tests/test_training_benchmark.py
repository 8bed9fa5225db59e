# SPDX-License-Identifier: BSD-3-Clause
"""Both sides of the training step's benchmark compute the same. Nothing here looks at a time."""

import pytest

from benchmarks import training_step


def test_both_sides_compute_the_same():
    training_step.check()


def test_a_wrong_side_is_found(monkeypatch):
    def wrong(problem, norm):
        return 1.001 * training_step.ours(problem, norm)

    monkeypatch.setitem(training_step.SIDES, "blurops", wrong)
    with pytest.raises(ArithmeticError, match="l2: loss differ by"):
        training_step.check()
