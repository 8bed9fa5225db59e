# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the bank of straight motions, its interpolation and the motion files."""

from proof.engine import Mutant, Selection

BANK = Selection(("tests/test_motion_bank.py",), "not rejects")
FILES = Selection(("tests/test_motion_files.py",), "again or upright")

_BANK = "blurops/fields/motion_bank.py"

MUTANTS = (
    Mutant(
        "bank: entries run by length, not by angle",
        _BANK,
        "entry = steps * torch.remainder(q, ANGLES) + m",
        "entry = ANGLES * (m - 1) + torch.remainder(q, ANGLES) + 1",
        BANK,
    ),
    Mutant(
        "bank: length 1 has thirty entries",
        _BANK,
        "return torch.where(m > 0, entry, 0).to(torch.int32)",
        "return entry.to(torch.int32)",
        BANK,
    ),
    Mutant(
        "bank: 180 degrees lie beyond the bank",
        _BANK,
        "steps * torch.remainder(q, ANGLES) + m",
        "steps * q + m",
        BANK,
    ),
    Mutant(
        "bank: distances in steps of the bank",
        _BANK,
        "(LENGTH_STEP * (position - up)) ** 2 + (ANGLE_STEP * (turn - on)) ** 2",
        "(position - up) ** 2 + (turn - on) ** 2",
        BANK,
    ),
    Mutant(
        "bank: the farthest neighbour wins",
        _BANK,
        'sign = 1 if mode == "softmax_plus" else -1',
        'sign = -1 if mode == "softmax_plus" else 1',
        BANK,
    ),
    Mutant(
        "bank: the distance, not its square",
        _BANK,
        "torch.softmax(sign * torch.stack(squares, dim=1), dim=1)",
        "torch.softmax(sign * torch.stack(squares, dim=1).sqrt(), dim=1)",
        BANK,
    ),
    Mutant(
        "bank: the two mixed neighbours are exchanged",
        _BANK,
        "corners = [(m + up, q + on) for up in (0, 1) for on in (0, 1)]",
        "corners = [(m + up, q + on) for on in (0, 1) for up in (0, 1)]",
        BANK,
    ),
    Mutant(
        "bank: a grid angle in float32 falls into the cell before",
        _BANK,
        "q = (turn.detach() + _ROUNDING).floor()",
        "q = turn.detach().floor()",
        BANK,
    ),
    Mutant(
        "bank: the longest motion has a cell of its own",
        _BANK,
        "m = position.detach().floor().clamp(max=steps - 1)",
        "m = position.detach().floor()",
        BANK,
    ),
    Mutant(
        "bank: 175 degrees and more are 0",
        _BANK,
        "torch.where(turn > ANGLES - 0.5 + _ROUNDING, ANGLES,",
        "torch.where(turn > ANGLES - 1, ANGLES,",
        BANK,
    ),
    Mutant(
        "bank: no gradient reaches the length",
        _BANK,
        "position, turn = _length_position(length, steps), degrees / ANGLE_STEP",
        "position, turn = _length_position(length, steps).detach(), degrees / ANGLE_STEP",
        BANK,
    ),
    Mutant(
        "motion files: angles are read as they stand",
        "blurops/fields/motion_files.py",
        "angle = torch.deg2rad(torch.remainder(90 - degrees, 180.0))",
        "angle = torch.deg2rad(torch.remainder(degrees, 180.0))",
        FILES,
    ),
    Mutant(
        "motion files: angles are written as they are",
        "blurops/fields/motion_files.py",
        "degrees = torch.remainder(90 - torch.rad2deg(angle), 180.0)",
        "degrees = torch.remainder(torch.rad2deg(angle), 180.0)",
        FILES,
    ),
)
