# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the compiled Richardson-Lucy step and in its backward."""

from proof.engine import Mutant, Selection


def _tests(keyword: str) -> Selection:
    return Selection(("tests/test_rl_native.py",), keyword)


# Small selections: every one of these mutants is compiled, and without optimisation.
VALUES = _tests("equals_the_exact_formula and direct and reflect")
TILES = _tests("equals_the_exact_formula and fft and reflect and float32")
KNOWN = _tests("follows")
NEGATIVE = _tests("negative")
SETS = _tests("Sets")
RESPONSE = _tests("response_is_exact")
SLOPES = _tests("derivatives_are_those_of_the_formula and direct")
GRAPH = _tests("graph")
MEMORY = _tests("Memory or wanted or Backends")

_OP = "blurops/ops/rl_step/op.py"
_REFERENCE = "blurops/ops/rl_step/reference.py"
_NATIVE = "blurops/ops/rl_step/native.py"
_LAUNCHERS = "csrc/rl_step/cpu.cpp"
_PASSES = "csrc/rl_step/pointwise.cpp"
_LINES = "csrc/rl_step/lines.h"
_BRIGHT = "csrc/rl_step/bright.h"
_RESPONSE = "csrc/rl_step/response.h"
_DIRECT = "csrc/basis_blur/direct.cpp"

MUTANTS = (
    Mutant(
        "native step: the epilogue gets every strip as the first",
        _DIRECT,
        "n, c, y, x0, inside, sums);",
        "n, c, y, 0 * x0, inside, sums);",
        VALUES,
    ),
    Mutant(
        "native step: a blur that is known is read as its first plane",
        _LAUNCHERS,
        "const int64_t row = (n * step.channels + c) * height + y;",
        "const int64_t row = y;",
        KNOWN,
    ),
    Mutant(
        "native step: the epilogue gets the first row of a tile every time",
        "csrc/basis_blur/tiles.cpp",
        "                       sums + y * stride);",
        "                       sums);",
        TILES,
    ),
    Mutant(
        "native step: eps is left out of the ratio",
        _PASSES,
        "(non_negative(response) + A(step.eps))",
        "non_negative(response)",
        VALUES,
    ),
    Mutant(
        "native step: unreliable data ask for darkness",
        _PASSES,
        "+ (A(1) - weight);",
        ";",
        VALUES,
    ),
    Mutant(
        "native step: the mask's channels are all the first one",
        _PASSES,
        "c * step.mask_channel_stride",
        "0 * c * step.mask_channel_stride",
        VALUES,
    ),
    Mutant(
        "native step: the response may be negative",
        _PASSES,
        "return observed * weight / (non_negative(response)",
        "return observed * weight / ((response)",
        VALUES,
    ),
    Mutant(
        "native step: negative light is not cut off",
        _PASSES,
        "const Trust<A> trust = trust_in(step, non_negative(blurred), mask, x, count);\n    const",
        "const Trust<A> trust = trust_in(step, blurred, mask, x, count);\n    const",
        NEGATIVE,
    ),
    Mutant(
        "native step: the second set's ratio is not a difference",
        _PASSES,
        "clean == 1 ? Vec{} : all - careful",
        "clean == 1 ? Vec{} : all",
        VALUES,
    ),
    Mutant(
        "native step: clean data are those that are not",
        _PASSES,
        "share[i] <= A(step.lost_share) ? A(1) : A(0)",
        "share[i] <= A(step.lost_share) ? A(0) : A(1)",
        VALUES,
    ),
    Mutant(
        "native step: the two sets are exchanged",
        _PASSES,
        "(A(1) - result.lost) * result.reliable + result.lost * result.bright",
        "result.lost * result.reliable + (A(1) - result.lost) * result.bright",
        VALUES,
    ),
    Mutant(
        "native step: unseen pixels are multiplied by what no data say",
        _PASSES,
        "return seen ? non_negative(correction) / (seen ? sum : Vec{} + A(1)) : Vec{} + A(1);",
        "return non_negative(correction) / (seen ? sum : Vec{} + A(1));",
        VALUES,
    ),
    Mutant(
        "native step: every sample takes the first one's column sums",
        _PASSES,
        "n * step.sums_stride + y",
        "0 * n * step.sums_stride + y",
        VALUES,
    ),
    Mutant(
        "native step: TV has the wrong sign",
        _LINES,
        "return A(1) - A(step_.tv) * divergence",
        "return A(1) + A(step_.tv) * divergence",
        VALUES,
    ),
    Mutant(
        "native step: TV takes the slope of its own row for the one above",
        _LINES,
        "read(down_ + x, count) - read(before_ + x, count)",
        "read(down_ + x, count) - read(down_ + x, count)",
        VALUES,
    ),
    Mutant(
        "native step: TV takes the slope two pixels to the left",
        _LINES,
        "read(across_ + x - 1, count) +",
        "read(across_ + x - 2, count) +",
        VALUES,
    ),
    Mutant(
        "native step: a block forgets the slopes of the row above it",
        _LINES,
        "if (first_row == 0) {",
        "if (first_row >= 0) {",
        VALUES,
    ),
    Mutant(
        "native step: the last column has a slope",
        _LINES,
        "to[width] = row[width - 1];",
        "to[width] = row[0];",
        VALUES,
    ),
    Mutant(
        "native step: the last row has a slope",
        _LINES,
        "y + 1 < height ? row + width : row",
        "y + 1 < height ? row + width : plane",
        VALUES,
    ),
    Mutant(
        "native step: the bright set grows to one side only",
        _BRIGHT,
        "columns[x - 1] & columns[x] & columns[x + 1]",
        "columns[x] & columns[x] & columns[x + 1]",
        VALUES,
    ),
    Mutant(
        "native step: the outside erodes",
        _BRIGHT,
        "std::memset(to - 1, 1, width + 2);",
        "std::memset(to - 1, 0, width + 2);",
        VALUES,
    ),
    Mutant(
        "native step: the mean counts the outside",
        _BRIGHT,
        "const int64_t rows = 1 + (y > 0) + (y + 1 < height);",
        "const int64_t rows = 3;",
        VALUES,
    ),
    Mutant(
        "native step: NaN counts as dark",
        _BRIGHT,
        "to[x] = from[x] < A(how.threshold)",
        "to[x] = !(from[x] >= A(how.threshold))",
        SETS,
    ),
    Mutant(
        "native step: bright pixels of the last rows are overlooked",
        _PASSES,
        "(block.end - block.begin) * step.width,\n                A(how.threshold)",
        "(block.end - block.begin - 1) * step.width,\n                A(how.threshold)",
        SETS,
    ),
    Mutant(
        "native step: the response bends the wrong way above the level",
        _RESPONSE,
        "(above ? Vec{} + level : x) - bend",
        "(above ? Vec{} + level : x) + bend",
        RESPONSE,
    ),
    Mutant(
        "native step: the exponential is cut off early",
        _RESPONSE,
        "int k = C::kDegree; k > 0",
        "int k = C::kDegree - 3; k > 0",
        RESPONSE,
    ),
    Mutant(
        "native step: the logarithm is cut off early",
        _RESPONSE,
        "int k = ExpConstants<A>::kTerms; k > 0",
        "int k = ExpConstants<A>::kTerms / 2; k > 0",
        RESPONSE,
    ),
    Mutant(
        "native step: clamped corrections have a derivative",
        _PASSES,
        "return correction < 0 ? Vec{} : passed;",
        "return passed;",
        NEGATIVE,
    ),
    Mutant(
        "native step: the derivative leaves out the second set",
        _PASSES,
        "first += second;  // the first correction is part of both",
        ";",
        SLOPES,
    ),
    Mutant(
        "native step: the column sums' derivative has the wrong sign",
        _PASSES,
        "Vec by_sum = -first * factors.reliable;",
        "Vec by_sum = first * factors.reliable;",
        SLOPES,
    ),
    Mutant(
        "native step: only the last channel reaches the column sums",
        _PASSES,
        "c == 0 ? by_sum : read(grad_sums + x, count) + by_sum",
        "by_sum",
        SLOPES,
    ),
    Mutant(
        "native step: the TV term's derivative is not divided twice",
        _PASSES,
        "A(step.tv) * grad * estimate * factors.mixed / term, count);",
        "A(step.tv) * grad * estimate * factors.mixed, count);",
        SLOPES,
    ),
    Mutant(
        "native step: slopes turn the wrong way in the derivative",
        _PASSES,
        "-slope.across * turn",
        "slope.across * turn",
        SLOPES,
    ),
    Mutant(
        "native step: the TV term's derivative forgets the row above a block",
        _PASSES,
        "if (block.begin > 0) {",
        "if (block.begin < 0) {",
        SLOPES,
    ),
    Mutant(
        "native step: the derivative of the mask has no slope",
        _PASSES,
        "by_weight * trust.slope, count",
        "by_weight, count",
        SLOPES,
    ),
    Mutant(
        "native step: the response's slope is constant in the derivative",
        _PASSES,
        "(by_response - by_slope * A(step.a) * (A(1) - trust.slope))",
        "by_response",
        SLOPES,
    ),
    Mutant(
        "native step: both ratios' derivatives are taken from the first",
        _PASSES,
        "(grad - bright) * read(",
        "grad * read(",
        SLOPES,
    ),
    Mutant(
        "native step: the light's own adjoint is left out",
        _NATIVE,
        "by_estimate += _adjoint(by_blurred, kernels, mixing, how)",
        "by_estimate += 0",
        SLOPES,
    ),
    Mutant(
        "native step: the sums that it computes have no derivative",
        _NATIVE,
        "if column_sums is None:\n        pairs",
        "if column_sums is not None:\n        pairs",
        SLOPES,
    ),
    Mutant(
        "native step: a graph of the gradient is cut",
        _OP,
        "torch.is_grad_enabled() or ",
        "",
        GRAPH,
    ),
    Mutant(
        "native step: aliases share their derivatives",
        _REFERENCE,
        "t.view_as(t) if further",
        "t if further",
        GRAPH,
    ),
    Mutant(
        "native step: a solve's memory is not used again",
        _NATIVE,
        "buffers.give_back(step.ratios, step.corrections, *step.sets)",
        "buffers.give_back(step.ratios)",
        MEMORY,
    ),
    Mutant(
        "native step: the reference is never taken",
        _OP,
        'asked = options["backend"] in (None, name)',
        'asked = options["backend"] != ""',
        MEMORY,
    ),
)
