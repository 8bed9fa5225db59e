# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the sensor response, the Richardson-Lucy step, the operators and the solver."""

from proof.engine import Mutant, Selection

# Compiling is slow, and refused arguments never reach the arithmetic.
_VALUES = "not compiles and not opcheck and not bad"
RESPONSE = Selection(("tests/test_saturate.py",), _VALUES)
STEP = Selection(
    ("tests/test_rl_step.py", "tests/test_rl_limits.py"), f"{_VALUES} and not derivatives"
)
OPERATORS = Selection(("tests/test_operators.py",), _VALUES)

SOLVER = Selection(("tests/test_presets.py", "tests/test_richardson_lucy.py"), _VALUES)

_FORMULA = "blurops/ops/rl_step/formula.py"
_SATURATE = "blurops/ops/saturate/reference.py"
_KEPT = "blurops/operators/kept.py"
_OPERATOR = "blurops/operators/operator.py"
_SOLVER = "blurops/solvers/richardson_lucy.py"
_UPDATE = "blurops/solvers/update.py"
_AUTHORS = "blurops/solvers/authors.py"
_SETTINGS = "blurops/solvers/settings.py"

FORMULA = (
    Mutant(
        "saturate: the ceiling is not subtracted",
        _SATURATE,
        "t = a * (work - level)",
        "t = a * work",
        RESPONSE,
    ),
    Mutant(
        "saturate: the form for dark values is used for bright ones",
        _SATURATE,
        "torch.where(t <= 0, below, above)",
        "torch.where(t <= t.abs(), below, above)",
        RESPONSE,
    ),
    Mutant(
        "saturate: R' rises where it must fall",
        _SATURATE,
        "torch.sigmoid(a * (level - _working(x)))",
        "torch.sigmoid(a * (_working(x) - level))",
        RESPONSE,
    ),
    Mutant(
        "rl_step: the normaliser is dropped",
        _FORMULA,
        "factor = adjoint(ratios).clamp(min=0) / torch.where(seen, column_sums, 1)",
        "factor = adjoint(ratios).clamp(min=0)",
        STEP,
    ),
    Mutant(
        "rl_step: R stands where R' belongs",
        _FORMULA,
        "weight = saturate_derivative(light, saturation.a, saturation.level)",
        "weight = saturate(light, saturation.a, saturation.level)",
        STEP,
    ),
    Mutant(
        "rl_step: the reliable set is not eroded",
        _FORMULA,
        "inside = -F.max_pool2d(-inside, 3, stride=1, padding=1)",
        "inside = 1 * inside",
        STEP,
    ),
    Mutant(
        "rl_step: TV has the wrong sign",
        _FORMULA,
        "return 1 - tv * divergence",
        "return 1 + tv * divergence",
        STEP,
    ),
    Mutant(
        "rl_step: unseen pixels are multiplied by what no data say",
        _FORMULA,
        "return torch.where(seen, factor, 1)",
        "return factor",
        STEP,
    ),
    Mutant(
        "rl_step: tau of float32 is used in float64",
        _FORMULA,
        "return 1e-10 if dtype == torch.float64 else 1e-4",
        "return 1e-4",
        STEP,
    ),
    Mutant(
        "rl_step: unreliable data ask for darkness, not for no change",
        _FORMULA,
        "return observed * weight / (response + eps) + (1 - weight)",
        "return observed * weight / (response + eps)",
        STEP,
    ),
    Mutant(
        "rl_step: the two sets are exchanged",
        _FORMULA,
        "return reliable * for_reliable + (1 - reliable) * for_bright",
        "return reliable * for_bright + (1 - reliable) * for_reliable",
        STEP,
    ),
    Mutant(
        "rl_step: the damaged pixels are those that are not",
        _FORMULA,
        "(blur(1 - reliable) <= LOST_SHARE)",
        "(blur(1 - reliable) > LOST_SHARE)",
        STEP,
    ),
    Mutant(
        "rl_step: the mask is ignored beside a saturation",
        _FORMULA,
        "return response, weight if mask is None else weight * mask",
        "return response, weight",
        STEP,
    ),
)

SOLVE = (
    Mutant(
        "operators: kept column sums outlive a change of the kernels",
        _KEPT,
        "kept is now and version == now._version",
        "kept is now",
        OPERATORS,
    ),
    Mutant(
        "operators: the transpose applies the blur",
        _OPERATOR,
        "return self._operator.adjoint(x)",
        "return self._operator.forward(x)",
        OPERATORS,
    ),
    Mutant(
        "operators: check_adjoint finds nothing",
        "blurops/testing.py",
        "return float((left - right).abs() / scale)",
        "return float((left - left).abs() / scale)",
        OPERATORS,
    ),
    Mutant(
        "solver: the loss must rise for the solver to go on",
        _SOLVER,
        "losses[-2] - losses[-1] <= settings.stop_tol",
        "losses[-1] - losses[-2] <= settings.stop_tol",
        SOLVER,
    ),
    Mutant(
        "solver: gamma is not undone in the result",
        _UPDATE,
        "return state if self._in_values else power(state, 1 / self._gamma)",
        "return state",
        SOLVER,
    ),
    Mutant(
        "solver: the threshold is taken for linear light",
        _UPDATE,
        "threshold=settings.saturation.threshold**gamma)",
        "threshold=settings.saturation.threshold)",
        SOLVER,
    ),
    Mutant(
        "solver: the mask is ignored in the masked variant",
        _UPDATE,
        "return dark if mask is None else dark * mask",
        "return dark",
        SOLVER,
    ),
    Mutant(
        "solver: the authors' adjoint has its kernels as they are",
        _UPDATE,
        "turned = BasisBlur(flip(operator.kernels), ",
        "turned = BasisBlur(operator.kernels, ",
        SOLVER,
    ),
    Mutant(
        "solver: a preset is not looked at",
        _SETTINGS,
        "replace(PRESETS[preset] if preset else DEFAULT, **explicit)",
        "replace(DEFAULT, **explicit)",
        SOLVER,
    ),
    Mutant(
        "solver: the authors' divergence has the wrong sign",
        _AUTHORS,
        "return 1 - tv * (_sobel",
        "return 1 + tv * (_sobel",
        SOLVER,
    ),
    Mutant(
        "solver: the authors' mean leaves out the zeros around the image",
        _UPDATE,
        "count_outside=True",
        "count_outside=False",
        SOLVER,
    ),
    Mutant(
        "solver: the authors' loss clamps at the ceiling",
        _UPDATE,
        "light.clamp(max=self._saturation.level + 0.5)",
        "light.clamp(max=self._saturation.level)",
        SOLVER,
    ),
    Mutant(
        "solver: light may run away",
        _UPDATE,
        "return state.clamp_(max=largest) if in_place else state.clamp(max=largest)",
        "return state",
        SOLVER,
    ),
    Mutant(
        "solver: the authors' dilation asks for half the kernel's maximum",
        _AUTHORS,
        "total > 0.25 * total",
        "total > 0.5 * total",
        SOLVER,
    ),
    Mutant(
        "solver: the authors' preset dilates",
        _SETTINGS,
        "saturation=Saturation(dilate=False)",
        "saturation=Saturation(dilate=True)",
        SOLVER,
    ),
)

MUTANTS = FORMULA + SOLVE
