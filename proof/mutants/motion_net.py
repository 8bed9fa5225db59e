# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the estimation of motion: turned fields, flows, errors, and the CPCR networks' stages."""

from proof.engine import Mutant, Selection

_DATA = "python/blurmodels/irc/motion_data.py"
_FRONT = "python/blurmodels/irc/motion_front.py"
_FRAMES = "python/blurmodels/irc/motion_data_frames.py"
_SCORE = "python/blurmodels/irc/motion_score.py"
_NET = "python/blurmodels/irc/motion_net.py"
_CPCR = "python/blurmodels/irc/cpcr.py"

TURNED = Selection(("tests/test_motion_data.py",), "turned_field")
CAMERA = Selection(("tests/test_motion_data.py",), "around_the_centre or is_their_motion")
NEARER = Selection(("tests/test_motion_data.py",), "nearer_sign")
KEPT = Selection(("tests/test_motion_net.py",), "computed_again")
STAGES = Selection(("tests/test_cpcr.py",), "uniform_network_is_its_equations and not non")
FRONT = Selection(("tests/test_motion_front.py",), "halfway or along or contrast")

MUTANTS = (
    Mutant(
        "motion front: offsets to the left are taken to the right",
        _FRONT,
        "            here, there = there, here\n",
        "            here, there = here, there\n",
        FRONT,
    ),
    Mutant(
        "motion front: logarithms keep the contrast",
        _FRONT,
        "maps += [logs - mean, mean / 3]",
        "maps += [logs, mean / 3]",
        FRONT,
    ),
    Mutant(
        "motion data: a mirrored field keeps its angles",
        _DATA,
        "torch.remainder(-angle if mirrored else angle, math.pi)",
        "torch.remainder(angle, math.pi)",
        TURNED,
    ),
    Mutant(
        "motion data: a quarter turn turns angles by half as much",
        _DATA,
        "angle = angle + quarters * math.pi / 2",
        "angle = angle + quarters * math.pi / 4",
        TURNED,
    ),
    Mutant(
        "motion data: the flow's y counts upwards",
        _FRAMES,
        "torch.atan2(-y, x)",
        "torch.atan2(y, x)",
        CAMERA,
    ),
    Mutant(
        "motion score: a motion and the one back are far apart",
        _SCORE,
        "torch.cos(angle - true_angle)).abs()",
        "torch.cos(angle - true_angle))",
        NEARER,
    ),
    Mutant(
        "Motion-Net: what could be computed again is kept",
        _NET,
        "if self.recompute and torch.is_grad_enabled()",
        "if self.recompute and not torch.is_grad_enabled()",
        KEPT,
    ),
    Mutant(
        "CPCR: the vertical difference is denoised untransposed",
        _CPCR,
        "self.denoiser[stage](down.transpose(-1, -2)).transpose(-1, -2)",
        "self.denoiser[stage](down)",
        STAGES,
    ),
    Mutant(
        "CPCR: the combining networks are taken step by step",
        _CPCR,
        "self.pooling[stage * self.inner + step]",
        "self.pooling[step * self.stages + stage]",
        STAGES,
    ),
)
