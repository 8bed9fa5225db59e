# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in blind deblurring in a kernel space."""

from proof.engine import Mutant, Selection

_FOLDER = "python/blurmodels/kernel_space/"
_PARTS = "tests/test_blind_priors.py"
PRIORS = Selection((_PARTS,), "specified")
DOUBLING = Selection((_PARTS,), "doubling")
LOSSES = Selection((_PARTS,), "authors_losses")
RUNS = Selection(("tests/test_blind_kernel_space.py",), "bit_for_bit")

MUTANTS = (
    Mutant(
        "image prior: the mean over places counts those before pooling",
        f"{_FOLDER}priors.py",
        "theta) / phi.shape[2]",
        "theta) / theta.shape[2]",
        PRIORS,
    ),
    Mutant(
        "image prior: the outermost gradient of doubling counts as any other",
        f"{_FOLDER}priors.py",
        "even.narrow(axis, 0, 1), alpha=0.25",
        "even.narrow(axis, 0, 1), alpha=0.0",
        DOUBLING,
    ),
    Mutant(
        "authors' losses: the second half begins a step late",
        f"{_FOLDER}losses_blind.py",
        "if done < 0.5:",
        "if done <= 0.5:",
        LOSSES,
    ),
    Mutant(
        "blind state: the random numbers start anew",
        f"{_FOLDER}blind_state.py",
        "problem.generator.set_state(found.tensors[_GENERATOR])",
        "pass",
        RUNS,
    ),
    Mutant(
        "blind state: the moments of Adam are forgotten",
        f"{_FOLDER}blind_state.py",
        "optimisers[kind].setdefault(int(number), {})[key] = tensor",
        "optimisers[kind].setdefault(int(number), {})[key] = 0 * tensor",
        RUNS,
    ),
)
