# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the training of the two-headed network: losses, data, and what a killed run goes on with."""

from proof.engine import Mutant, Selection

_LOSS = "python/blurmodels/basis_kernels/kernel_loss.py"
_REBLUR = "python/blurmodels/basis_kernels/losses.py"
_SAMPLES = "python/blurmodels/basis_kernels/data/samples.py"
_ADE20K = "python/blurmodels/basis_kernels/data/ade20k.py"
_TRAINING = "python/blurmodels/training.py"
_STATE = "python/blurmodels/training_state.py"

DENSE = Selection(("tests/test_kernel_loss.py",), "equals_the_dense_formula")
OPTIMUM = Selection(("tests/test_kernel_loss.py",), "cancel")
REBLUR = Selection(("tests/test_kernel_loss.py",), "is_the_formula")
ALGORITHM = Selection(("tests/test_training_data.py",), "algorithm_1")
PEOPLE = Selection(("tests/test_training_data.py",), "large_enough")
RESUMED = Selection(("tests/test_training.py",), "ends_as_one_that_was_not and not workers")
DRAWN = Selection(("tests/test_training.py",), "draws")

MUTANTS = (
    Mutant(
        "kernel loss: products of the Gram form are summed in float32",
        _LOSS,
        "    bases = bases.double()\n",
        "    bases = bases.float().double()\n",
        DENSE,
    ),
    Mutant(
        "kernel loss: squares are not clamped at 0",
        _LOSS,
        ".sum(0).clamp_(min=0)",
        ".sum(0)",
        OPTIMUM,
    ),
    Mutant(
        "kernel loss: the gradient by the kernels leaves the weights out",
        _LOSS,
        "moments.addmm_(own[:basis] * weight, signs)",
        "moments.addmm_(own[:basis], signs)",
        DENSE,
    ),
    Mutant(
        "kernel loss: a factor of the loss does not reach the gradients",
        _LOSS,
        "factor = grad / ctx.count",
        "factor = 1 / ctx.count",
        DENSE,
    ),
    Mutant(
        "reblur loss: values recorded are compared with linear light",
        _REBLUR,
        "observed = observed**gamma",
        "observed = observed",
        REBLUR,
    ),
    Mutant(
        "samples: every mask is blurred by the background's kernel",
        _SAMPLES,
        "kernels.reshape(count * parts, 1, side, side)",
        "kernels[:, :1].expand_as(kernels).reshape(count * parts, 1, side, side)",
        ALGORITHM,
    ),
    Mutant(
        "samples: brightness multiplies linear light whatever the domain",
        _SAMPLES,
        "factors = factors**settings.gamma",
        "factors = factors",
        ALGORITHM,
    ),
    Mutant(
        "ADE20K: objects are counted from the value 0",
        _ADE20K,
        "values = values[values > 0]",
        "values = values[values >= 0]",
        PEOPLE,
    ),
    Mutant(
        "training: a run goes on with a fresh optimiser",
        _STATE,
        '{"state": state, "param_groups"',
        '{"state": {}, "param_groups"',
        RESUMED,
    ),
    Mutant(
        "training: a run goes on with data from the start",
        _TRAINING,
        "sampler=steps,",
        "sampler=range(len(steps)),",
        RESUMED,
    ),
    Mutant(
        "training: a run goes on with fresh generators",
        _STATE,
        "        torch.set_rng_state(states[0])\n",
        "",
        DRAWN,
    ),
)
