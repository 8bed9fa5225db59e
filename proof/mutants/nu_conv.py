# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in NU-Conv: reference, gradients, checks, C++."""

from proof.engine import Mutant, Selection

_CONTRACT, _OWN = "tests/test_gather_ops.py", "tests/test_nu_conv.py"
DEFINITION = Selection((_OWN,), "dense and reference")
DERIVATIVES = Selection((_CONTRACT,), "test_gradients and reference and nu_conv")
ERRORS = Selection((_OWN,), "bad_input")
NATIVE = Selection((_CONTRACT, _OWN), "nu_conv and native and (float32 or dense or equals)")
REPEATS = Selection((_CONTRACT,), "(half_types or nan or layouts) and native and nu_conv")

_REFERENCE = "blurops/ops/nu_conv/reference.py"
_OP = "blurops/ops/nu_conv/op.py"
_SHAPES = "blurops/ops/nu_conv/shapes.py"
_LAUNCH = "blurops/ops/gather_cuda.py"
_PIXEL = "csrc/nu_conv/pixel.h"
_KERNELS = "csrc/nu_conv/kernels.cpp"
_CPU = "csrc/nu_conv/cpu.cpp"

REFERENCE = (
    Mutant(
        "nu_conv: all take the filters of the first that is picked",
        _REFERENCE,
        "return (weight.unsqueeze(2) * taps[index].movedim(-1, 2)).sum(1)",
        "return (weight.unsqueeze(2) * taps[index[:, :1]].movedim(-1, 2)).sum(1)",
        DEFINITION,
    ),
    Mutant(
        "nu_conv: filters are turned",
        _REFERENCE,
        "taps = bank[..., dy, dx]\n",
        "taps = bank.flip(-2, -1)[..., dy, dx]\n",
        DEFINITION,
    ),
    Mutant(
        "nu_conv: the adjoint gathers with the filters of the pixel that receives",
        _REFERENCE,
        "_at(extended, dy, dx, size).add_(_coefficient(k, index, w, dy, dx) * y)",
        "_at(extended, dy, dx, size).add_(_coefficient(k, index.roll(dx - kw // 2, -1), w, dy, dx) * y)",
        DEFINITION,
    ),
    Mutant(
        "nu_conv: the adjoint drops the border",
        _REFERENCE,
        "return fold(extended, _radius((kh, kw)), boundary).to(image.dtype).contiguous()",
        'return fold(extended, _radius((kh, kw)), "zeros" if boundary != "valid" else boundary)'
        ".to(image.dtype).contiguous()",
        DEFINITION,
    ),
    Mutant(
        "nu_conv: the bank's gradient forgets the weights",
        _REFERENCE,
        "term = (w * product[:, c : c + 1]).flatten()",
        "term = (w.ne(0) * product[:, c : c + 1]).flatten()",
        DEFINITION,
    ),
    Mutant(
        "nu_conv: a bank with channels does not sum over them",
        _REFERENCE,
        "out += term if k.ndim == 3 else term.sum(1, keepdim=True)",
        "out += term if k.ndim == 3 else term[:, :1]",
        DEFINITION,
    ),
)

GRADIENTS = (
    Mutant(
        "nu_conv: autograd gives the image the convolution for its adjoint",
        _OP,
        "_adjoint(filtered, bank, index, grad, **options) if needs[1]",
        "_conv(filtered, bank, index, grad, **options) if needs[1]",
        DERIVATIVES,
    ),
    Mutant(
        "nu_conv: the adjoint's gradients have their images exchanged",
        _OP,
        "_form_gradients(filtered, grad, bank,",
        "_form_gradients(grad, filtered, bank,",
        DERIVATIVES,
    ),
    Mutant(
        "nu_conv: an index one beyond the bank is accepted",
        _SHAPES,
        "largest >= filters",
        "largest > filters",
        ERRORS,
    ),
)

CPP = (
    Mutant(
        "nu_conv native: every sample takes the first one's index",
        _KERNELS,
        "plan.index + (p.index_batched ? n : 0) * maps + at",
        "plan.index + 0 * maps + at",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: weights are read from the neighbouring filter",
        _KERNELS,
        "if (kWeights) picked->weights[j] = load(row.weight[at]);",
        "if (kWeights) picked->weights[count - 1 - j] = load(row.weight[at]);",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: the last vector of taps is taken for one that follows on",
        _PIXEL,
        "const A* source = image + (v + 1 < vectors ? v * V::kLanes : last);\n      const auto taps",
        "const A* source = image + (v + 1 < vectors ? v * V::kLanes : last + (vectors > 1));\n"
        "      const auto taps",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: taps that two vectors have count twice",
        "csrc/nu_conv/plan.h",
        "int64_t fresh(int64_t v) const { return v * lanes - first(v); }",
        "int64_t fresh(int64_t v) const { return v < 0 ? first(v) : 0; }",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: a NaN is spread beyond the filter",
        _PIXEL,
        "const auto product = live ? taps * values[c] : typename V::Vec{};",
        "const auto product = taps * values[c];\n      (void)live;",
        Selection((_OWN,), "nan and native"),
    ),
    Mutant(
        "nu_conv native: the adjoint does not fold the columns left of the image",
        _KERNELS,
        "if (column >= 0) folded[column] += sum[u];",
        "if (column >= 0 && u >= p.anchor_x) folded[column] += sum[u];",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: the adjoint leaves out a block's last row",
        _KERNELS,
        "const int64_t bottom = smaller(top + plan.rows, p.height);",
        "const int64_t bottom = smaller(top + plan.rows, p.height) - (p.height > 1 ? 1 : 0);",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: what the bank's gradient has not flushed is lost",
        _KERNELS,
        "  flush_bank(plan, chunk, top, rows, sums);\n}",
        "  if (pixels > kPixelsPerFlush) flush_bank(plan, chunk, top, rows, sums);\n}",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: the shared weights' gradient is the first sample's",
        _KERNELS,
        "const int64_t end = p.weight_batched ? sample + 1 : p.count;",
        "const int64_t end = sample + 1;",
        NATIVE,
    ),
    Mutant(
        "nu_conv native: inputs are taken for contiguous",
        _LAUNCH,
        "*(t.contiguous() for t in tensors)",
        "*tensors",
        REPEATS,
    ),
)

MUTANTS = (*REFERENCE, *GRADIENTS, *CPP)
