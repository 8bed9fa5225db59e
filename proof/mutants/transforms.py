# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in what carries the ops through torch.func, forward mode and other array libraries."""

from proof.engine import Mutant, Selection

FUNC = Selection(("tests/test_func.py",))
GATHER = Selection(("tests/test_func_gather.py",), "vmap and nu_conv or jvp and motion_blur")
GUARD = Selection(("tests/test_contract.py",), "tangent")
ARRAYS = Selection(("tests/test_arrays.py",))

_FUNC = "blurops/func/_rules.py"
_INTEROP = "blurops/_interop.py"

MUTANTS = (
    Mutant(
        "func: vmap folds its lanes into the batch in the wrong order",
        _FUNC,
        "return tensor.expand(lanes, count, *tensor.shape[2:]).flatten(0, 1)",
        "return tensor.expand(lanes, count, *tensor.shape[2:]).transpose(0, 1).flatten(0, 1)",
        FUNC,
    ),
    Mutant(
        "func: vmap repeats what all lanes share sample by sample",
        _FUNC,
        "return tensor.unsqueeze(0).expand(lanes, *tensor.shape).flatten(0, 1)",
        "return tensor.repeat_interleave(lanes, 0)",
        FUNC,
    ),
    Mutant(
        "func: only the last tangent counts",
        _FUNC,
        "total = term if total is None else total + term",
        "total = term",
        FUNC,
    ),
    Mutant(
        "func: a lane takes the filters of the first one's bank",
        "blurops/func/_nu_conv.py",
        "index = index.clamp(0, filters - 1) + first.view(-1, 1, 1, 1, 1)",
        "index = index.clamp(0, filters - 1) + 0 * first.view(-1, 1, 1, 1, 1)",
        GATHER,
    ),
    Mutant(
        "func: a motion's directional derivative forgets the angle",
        "blurops/func/_motion_blur.py",
        "None if rate is None else _Tangent.apply(",
        'None if rate is None or by == "angle" else _Tangent.apply(',
        GATHER,
    ),
    Mutant(
        "the guard lets forward tangents through",
        _INTEROP,
        "if forward_ad.unpack_dual(tensor).tangent is not None:",
        "if forward_ad.unpack_dual(tensor).tangent is tensor:",
        GUARD,
    ),
    Mutant(
        "arrays: the result is always a tensor",
        _INTEROP,
        "return _like(foreign, result)",
        "return result",
        ARRAYS,
    ),
)
