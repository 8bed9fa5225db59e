# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in IRC-Net: its stages, its curves, and the way gradients take to the motion."""

from proof.engine import Mutant, Selection

_NET = "python/blurmodels/irc/irc_net.py"
_SHRINK = "python/blurmodels/irc/shrink.py"
_TASK = "python/blurmodels/irc/task.py"
_JOINT = "python/blurmodels/irc/joint.py"

SOLVER = Selection(("tests/test_irc_net.py",), "untrained_it_is_the_solver and reflect")
PLACE = Selection(("tests/test_irc_net.py",), "bank_of_its_place")
CURVE = Selection(("tests/test_irc_net.py",), "TestCurve and gradients")
WAYS = Selection(("tests/test_irc_training.py",), "both_ways and nearest")
REBLUR = Selection(("tests/test_irc_training.py",), "explain_the_image")

MUTANTS = (
    Mutant(
        "joint training: the motion explains the image without the root",
        _TASK,
        "(unexplained + _LEAST).sqrt()",
        "(unexplained + _LEAST)",
        REBLUR,
    ),
    Mutant(
        "IRC-Net: targets of the compensation have the multipliers with the wrong sign",
        _NET,
        "targets = [z - b for",
        "targets = [z + b for",
        SOLVER,
    ),
    Mutant(
        "inverse blur: maps with a batch are taken for one",
        "blurops/solvers/inverse_blur.py",
        "    count = max(length.shape[0], angle.shape[0])\n",
        "    count = 1\n",
        SOLVER,
    ),
    Mutant(
        "IRC-Net: banks are counted by steps first",
        _NET,
        "number = stage * self.inner + step",
        "number = step * self.stages + stage",
        PLACE,
    ),
    Mutant(
        "curve: beyond its ends the derivative is that of the last cell",
        _SHRINK,
        "torch.where(inside, slope, 1)",
        "slope",
        CURVE,
    ),
    Mutant(
        "curve: the neighbours' shares of the gradient are exchanged",
        _SHRINK,
        "[(1 - share) * wide, share * wide]",
        "[share * wide, (1 - share) * wide]",
        CURVE,
    ),
    Mutant(
        "pipeline: gradients reach the motion through H where they must not",
        _JOINT,
        "through = None if self.through_blur else (length.detach(), angle.detach())",
        "through = None",
        WAYS,
    ),
)
