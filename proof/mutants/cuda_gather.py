# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the CUDA kernels of NU-Conv and motion blur, which the host emulation must catch."""

from proof.engine import Mutant, Selection

_FIELDS = "csrc/nu_conv/cuda/fields.h"
_GATHER = "csrc/nu_conv/cuda/gather.h"
_BANK = "csrc/nu_conv/cuda/grad_bank.h"
_MOTION = "csrc/motion_blur/cuda/blur.h"
_LINE = "csrc/motion_blur/cuda/line.h"
_SYNTHESIS = "csrc/nu_conv/cuda/synthesis.h"
_SPREAD = "csrc/nu_conv/cuda/spread.h"
_ROUNDING = "csrc/nu_conv/cuda/rounding.h"
_PLANES = "csrc/gpu/planes.cu"

# Few selections: each is tried without a bug too.
CONV = "nu_conv and (every_member and reflect or clamped or schedule) or several_blocks"
ROUNDED = "rounded and replicate or keeps_sums or gathered"
MOTION = "motion_blur and (every_member and zeros or clamped) or transpose and segment"
MISSING = "no_motion and valid and segment"


def _bug(name: str, file: str, old: str, new: str, keyword: str) -> Mutant:
    tests = Selection(("tests/test_cuda_gather.py",), keyword)
    return Mutant(f"cuda gather {name}", file, old, new, tests)


MUTANTS = (
    _bug(
        "nu_conv: an index outside the bank is not clamped",
        _FIELDS,
        "return filter < 0 ? 0 : filter > last ? last : filter;",
        "return filter < 0 ? 0 : filter > last ? 0 : filter;",
        CONV,
    ),
    _bug(
        "nu_conv: the adjoint's filters are turned",
        _GATHER,
        "bank + (dy * p.kernel_width + dx) * p.filters;",
        "bank + (f.taps() - 1 - dy * p.kernel_width - dx) * p.filters;",
        CONV,
    ),
    _bug(
        "nu_conv: a shared weight's gradient is the first sample's",
        _GATHER,
        "end = p.weight_batched ? sample + 1 : p.count;",
        "end = sample + 1;",
        CONV,
    ),
    _bug(
        "grad_bank: chunks of pixels overlap",
        _BANK,
        "(part.chunk * args.tiles + tile) * kBankThreads;",
        "(part.chunk + tile) * kBankThreads;",
        CONV,
    ),
    _bug(
        "spread: no barrier before the tile's sums are added up",
        _SPREAD,
        "    gpu::warp_barrier();\n  }\n  gpu::barrier();\n",
        "    gpu::warp_barrier();\n  }\n",
        ROUNDED,
    ),
    _bug(
        "spread: rows above the tile are taken from its first",
        _SPREAD,
        "from < 0 || from >= kBlurRows ? kZeroRow : from;",
        "from >= kBlurRows ? kZeroRow : from < 0 ? 0 : from;",
        ROUNDED,
    ),
    _bug(
        "grad_bank: sums that went to memory are counted again",
        _BANK,
        "+= gpu::read(sums + i * kBankThreads);\n    gpu::write(sums + i * kBankThreads, 0.f);\n",
        "+= gpu::read(sums + i * kBankThreads);\n",
        CONV,
    ),
    _bug(
        "synthesis: no barrier between two rows of taps",
        _SYNTHESIS,
        "    put(step + 1, next);\n    gpu::barrier();\n",
        "    put(step + 1, next);\n",
        ROUNDED,
    ),
    _bug(
        "synthesis: every group has the first one's coefficients",
        _SYNTHESIS,
        "                        group * kListedGroup;",
        "                        0 * group;",
        ROUNDED,
    ),
    _bug(
        "synthesis: a crowded tile is left to nobody",
        _SYNTHESIS,
        "= crowded ? 1 : 0;",
        "= 0;",
        ROUNDED,
    ),
    _bug(
        "rounding: what a pixel's weights lose is lost",
        _ROUNDING,
        "if (j == taker && kept < 4 && kept > -4) value = kept;",
        "if (j == taker && kept > 4) value = kept;",
        ROUNDED,
    ),
    _bug(
        "planes: the border is not folded back",
        _PLANES,
        "if (u >= 0) total +=",
        "if (u >= 0 && k < 2) total +=",
        CONV,
    ),
    _bug(
        "motion_blur: upright motions do not lengthen the reach",
        _MOTION,
        "const float far = extent.right > extent.down ? extent.right : extent.down;",
        "const float far = extent.right;",
        MOTION,
    ),
    _bug(
        "motion_blur: what the zeros outside weigh is forgotten",
        _MOTION,
        "    if (weight == 0) return;\n    total += weight;\n"
        "    const int64_t at = view.at(q, offset);\n    if (at < 0) return;\n",
        "    if (weight == 0) return;\n"
        "    const int64_t at = view.at(q, offset);\n    if (at < 0) return;\n"
        "    total += weight;\n",
        MOTION,
    ),
    _bug(
        "motion_blur: a length below 1 is taken as it is",
        _LINE,
        "if (pixels_long < 1) pixels_long = 1;",
        "if (pixels_long < 0) pixels_long = 1;",
        MOTION,
    ),
    _bug(
        "motion_blur: a still pixel does not ask whether its angle is a number",
        _LINE,
        "return motion_of<float>(pixels_long + missing,",
        "return motion_of<float>(pixels_long,",
        MISSING,
    ),
    _bug(
        "motion_blur: what has no motion spreads nothing, not even NaN",
        _MOTION,
        "add(half - half, from);",
        "add(0.f, from);",
        MISSING,
    ),
)
