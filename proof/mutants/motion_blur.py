# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in motion blur: the line, the reference, gradients, checks, C++."""

from proof.engine import Mutant, Selection

_CONTRACT, _OWN = "tests/test_gather_ops.py", "tests/test_motion_blur.py"
LINE = Selection((_OWN,), "(spot or caps or length_1 or dense) and reference")
DERIVATIVES = Selection(
    (_CONTRACT, _OWN), "(test_gradients or derivative) and motion and not native"
)
ERRORS = Selection((_OWN,), "bad")
MISSING = Selection((_OWN,), "(no_motion or derivatives_of_its) and valid")
NATIVE = Selection(
    (_CONTRACT, _OWN), "motion_blur and native and (float32 or length_1 or dense or spot)"
)

SWEEP = Selection(("tests/test_motion_backward.py",), "members or uses_it")

_LINE = "blurops/ops/motion_blur/line.py"
_REFERENCE = "blurops/ops/motion_blur/reference.py"
_OP = "blurops/ops/motion_blur/op.py"
_SHAPES = "blurops/ops/motion_blur/shapes.py"
_KERNELS = "csrc/motion_blur/kernels.cpp"
_FORMULA = "csrc/motion_blur/formula.h"

REFERENCE = (
    Mutant(
        "motion_blur: y points downwards",
        _LINE,
        "p * self.cos - q * self.sin, q * self.cos + p * self.sin",
        "p * self.cos + q * self.sin, q * self.cos - p * self.sin",
        LINE,
    ),
    Mutant(
        "motion_blur: the overshoot at the caps has the wrong sign",
        _LINE,
        "along, across = p * self.cos - q * self.sin, q * self.cos + p * self.sin\n"
        "        beyond = along.abs() - self.half",
        "along, across = p * self.cos - q * self.sin, q * self.cos + p * self.sin\n"
        "        beyond = ((p + across * self.sin) / self.cos).abs() - self.half",
        LINE,
    ),
    Mutant(
        "motion_blur: caps begin one pixel late",
        _LINE,
        "self.half * self.half <= p * p + q * q if",
        "self.half * self.half < p * p + q * q if",
        LINE,
    ),
    Mutant(
        "motion_blur: a line covers its length and one pixel",
        _LINE,
        "self.half = (length - 1) / 2",
        "self.half = length / 2",
        LINE,
    ),
    Mutant(
        "motion_blur: a still pixel is not left alone",
        _LINE,
        "still = self.half == 0",
        "still = self.half < 0",
        LINE,
    ),
    Mutant(
        "motion_blur: the adjoint divides by the sums of the pixels that receive",
        _REFERENCE,
        "y = y / total.unsqueeze(1)\n",
        "y = y / total.roll(1, -1).unsqueeze(1)\n",
        LINE,
    ),
    Mutant(
        "motion_blur: the adjoint drops the border",
        _REFERENCE,
        "return fold(extended, self.reach, self.boundary)",
        'return fold(extended, self.reach, "zeros" if self.boundary != "valid" else "valid")',
        LINE,
    ),
    Mutant(
        "motion_blur: the normaliser's derivative is forgotten",
        _REFERENCE,
        "out = (slope - total_slope * weighted / total) / total",
        "out = slope / total",
        DERIVATIVES,
    ),
    Mutant(
        "motion_blur: the derivative by angle has the wrong sign at the caps",
        _LINE,
        "side = -across * along.sign() * self.half / divisor",
        "side = across * along.sign() * self.half / divisor",
        DERIVATIVES,
    ),
    Mutant(
        "motion_blur: a motion of length 1 cannot grow",
        _LINE,
        "edge = 1 + 16 * torch.finfo(distance.dtype).eps",
        "edge = 1 - 16 * torch.finfo(distance.dtype).eps",
        DERIVATIVES,
    ),
    Mutant(
        "motion_blur: second derivatives by length are silently zero",
        _OP,
        "return _Attach.apply(result, *(_Refuse.apply(m) for m in maps))",
        "return result",
        DERIVATIVES,
    ),
    Mutant(
        "motion_blur: the tangent's transpose is the tangent of the other map",
        _OP,
        "_tangent_adjoint(blurred, length, angle, grad, by, size, **options)",
        '_tangent_adjoint(blurred, length, angle, grad, "angle", size, **options)',
        DERIVATIVES,
    ),
    Mutant(
        "motion_blur: a length below 1 is accepted",
        _SHAPES,
        "if not (shortest >= 1 and",
        "if not (shortest >= 0.4 and",
        ERRORS,
    ),
    Mutant(
        "motion_blur: the adjoint spreads a NaN as far as other pixels move",
        _REFERENCE,
        "total = lines.divisor(sum(lines.weight(*offset) for offset in lines.offsets()))",
        "total = sum(lines.weight(*offset) for offset in lines.offsets())",
        MISSING,
    ),
)

CPP = (
    Mutant(
        "motion_blur native: the overshoot at the caps has the wrong sign",
        _FORMULA,
        "at.beyond = magnitude_of(at.along, A(0)) - line.half;",
        "at.beyond = magnitude_of(at.along + A(0.2) * at.across, A(0)) - line.half;",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: an offset inside some lines is taken for inside all",
        _KERNELS,
        "k == kCotLow || k == kLimitLow ?",
        "k == kCotLow ?",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: the columns of a row are those of the mirrored line",
        _FORMULA,
        "const A one = -q * cot_low,",
        "const A one = q * cot_low,",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: an odd number of quarter turns is taken for an even one",
        _FORMULA,
        "const bool odd = (pairs - kRound) * 2 != turns;",
        "const bool odd = (pairs - kRound) * 2 > turns;",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: cosines keep 12 bits",
        _KERNELS,
        "row[kCosLo * pitch + x] = motion.cos_lo;",
        "row[kCosLo * pitch + x] = A(0);",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: the adjoint takes its own pixel's line",
        _KERNELS,
        "const Line<A> line(planes - offset, plan.line_pitch);",
        "const Line<A> line(planes, plan.line_pitch);",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: the adjoint's sums are those of another sample",
        _KERNELS,
        "line_row<A>(plan, map_of(plan, n), y) + kNorm * plan.line_pitch",
        "line_row<A>(plan, 0 * n, y) + kNorm * plan.line_pitch",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: the adjoint does not fold the border",
        _KERNELS,
        "if (column >= 0) folded[column] +=",
        "if (column >= 0 && u >= p.reach) folded[column] +=",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: the gradient forgets the normaliser's derivative",
        _KERNELS,
        "return (moved - change * mean / total) / total;",
        "return moved / total;",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: a shared map's gradient is the first sample's",
        _KERNELS,
        "const int64_t begin = batched ? sample : 0, end = batched ? sample + 1 : p.count;",
        "const int64_t begin = sample, end = sample + 1;",
        NATIVE,
    ),
    Mutant(
        "motion_blur native: the sweep's gradient by length has those of the line's inside too",
        _KERNELS,
        "if (kLength && !kInner) length.add(slope_of<false, kInner>(where, line), product);",
        "if (kLength && (kAngle || !kInner)) length.add(slope_of<kInner, kInner>(where, line), product);",
        SWEEP,
    ),
    Mutant(
        "motion_blur: in one sweep where a second derivative is wanted",
        _OP,
        "if all(needs) and not torch.is_grad_enabled() and",
        "if all(needs) and",
        SWEEP,
    ),
)

MUTANTS = (*REFERENCE, *CPP)
