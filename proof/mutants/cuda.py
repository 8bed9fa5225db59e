# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the CUDA kernels, which the host emulation must catch: barriers, rings, layouts, folds."""

from proof.engine import Mutant, Selection

KERNELS = Selection(("tests/test_cuda_kernels.py",))

_LAYOUT = "csrc/basis_blur/cuda/layout.h"
_PACK = "csrc/basis_blur/cuda/pack.h"
_PLAN = "csrc/basis_blur/cuda/plan.h"
_BLUR = "csrc/basis_blur/cuda/blur.h"
_ADJOINT = "csrc/basis_blur/cuda/adjoint.h"
_GRADIENTS = "csrc/basis_blur/cuda/pack_gradients.h"
_BY_MIXING = "csrc/basis_blur/cuda/grad_mixing.h"
_BY_KERNELS = "csrc/basis_blur/cuda/grad_kernels.h"
_BOUNDARY = "csrc/common/boundary.h"


def _bug(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"cuda {name}", file, old, new, KERNELS)


MUTANTS = (
    _bug(
        "blur: no barrier before a kernel row is used",
        _BLUR,
        "    gpu::barrier();\n    blur_row<",
        "    blur_row<",
    ),
    _bug(
        "blur: waits for one group of copies too few",
        _BLUR,
        "gpu::wait_copies<kStages - 2>();",
        "gpu::wait_copies<kStages - 1>();",
    ),
    _bug(
        "rings: one kernel row less than are under way",
        _BLUR,
        "static_cast<unsigned>(step) % kStages",
        "static_cast<unsigned>(step) % (kStages - 1)",
    ),
    _bug(
        "blur: no barrier between groups of bases",
        _BLUR,
        "      if (group > 0) gpu::barrier();\n",
        "",
    ),
    _bug(
        "blur: no barrier before the window is filled again",
        _BLUR,
        "    if (band > 0) gpu::barrier();\n",
        "",
    ),
    _bug(
        "blur: the second band starts with the first one's kernel rows",
        _BLUR,
        "(int64_t{group} * s.kernel_height + band) * kVectors",
        "(int64_t{group} * s.kernel_height) * kVectors",
    ),
    _bug(
        "blur: the window slides one pixel too little",
        _BLUR,
        "held[c][i % kHeld] = gpu::read(window + c * plane + i);",
        "held[c][i % kHeld] = gpu::read(window + c * plane + i - 1);",
    ),
    _bug(
        "blur: runs of taps start one too late",
        _BLUR,
        "place.t * Taps<kJ>::kStride;\n  const int plane",
        "place.t * Taps<kJ>::kSlots;\n  const int plane",
    ),
    _bug(
        "blur: one of the four runs of taps is added twice",
        _BLUR,
        "gpu::shuffle_xor(sums[c][i], 2);",
        "gpu::shuffle_xor(sums[c][i], 1);",
    ),
    _bug(
        "blur: a pixel beyond the row is stored",
        _BLUR,
        "i / 2 == t && i < valid",
        "i / 2 == t && i <= valid",
    ),
    _bug(
        "blur: the scale of a pixel's coefficients stays in",
        _BLUR,
        "run[i] * pixel_scale[i] * kernel_scale",
        "run[i] * kernel_scale",
    ),
    _bug(
        "blur: rows are mapped as columns are",
        _BLUR,
        "map_index(u - s.anchor_y, s.height, s.boundary)",
        "map_index(u - s.anchor_y, s.width, s.boundary)",
    ),
    _bug(
        "layout: the second product takes the first one's kernels",
        _LAYOUT,
        "kernel.words[2], kernel.words[3]);",
        "kernel.words[0], kernel.words[1]);",
    ),
    _bug(
        "layout: the exchange of neighbouring runs is not undone",
        _LAYOUT,
        "(run & 1 ? -4 : 4)",
        "4",
    ),
    _bug(
        "layout: neighbouring runs are not exchanged when packed",
        _LAYOUT,
        "((pair * steps + step) ^ (run & 1)) * 4 + t",
        "(pair * steps + step) * 4 + t + 0 * run",
    ),
    _bug(
        "layout: samples share the first one's tiles",
        _LAYOUT,
        "part.sample = static_cast<int>(rest / sizes.channel_groups);",
        "part.sample = 0;",
    ),
    _bug(
        "adjoint: no barrier before a row is used",
        _ADJOINT,
        "    gpu::barrier();\n    const unsigned at",
        "    const unsigned at",
    ),
    _bug(
        "adjoint: waits for one group of copies too few",
        _ADJOINT,
        "gpu::wait_copies<kStages - 2>();",
        "gpu::wait_copies<kStages - 1>();",
    ),
    _bug(
        "adjoint: a ring without room for the rows under way",
        _ADJOINT,
        "static_cast<unsigned>(row) % kRing",
        "static_cast<unsigned>(row) % (kRing - 4)",
    ),
    _bug(
        "adjoint: no barrier between groups of bases",
        _ADJOINT,
        "    if (group > 0) gpu::barrier();\n",
        "",
    ),
    _bug(
        "adjoint: no barrier before the rings become sums",
        _ADJOINT,
        "  gpu::barrier();\n  float* gathered",
        "  float* gathered",
    ),
    _bug(
        "adjoint: no barrier after the sums are cleared",
        _ADJOINT,
        "  gpu::barrier();\n  float* to = gathered",
        "  float* to = gathered",
    ),
    _bug(
        "adjoint: overlapping sums without a barrier of the warp",
        _ADJOINT,
        "    gpu::warp_barrier();\n",
        "",
    ),
    _bug(
        "adjoint: no barrier before the sums are stored",
        _ADJOINT,
        "    gpu::warp_barrier();\n  }\n  gpu::barrier();\n",
        "    gpu::warp_barrier();\n  }\n",
    ),
    _bug(
        "adjoint: one of four products goes to the wrong tap",
        _ADJOINT,
        "to[2] = gpu::multiply_add(own[3], second, to[2]);",
        "to[1] = gpu::multiply_add(own[3], second, to[1]);",
    ),
    _bug(
        "adjoint: rows above the image are taken for rows of it",
        _ADJOINT,
        "y >= 0 && y < rows",
        "y < rows",
    ),
    _bug(
        "adjoint: the scale of a pixel's coefficients stays in",
        _ADJOINT,
        "load(image[x]) * scale",
        "load(image[x])",
    ),
    _bug(
        "adjoint: the right half of a strip is left out",
        _ADJOINT,
        "(left + right) * scale",
        "left * scale",
    ),
    _bug(
        "adjoint: a strip's reach into the next one is lost",
        _ADJOINT,
        "u < span ? 0 : (u - span) / kStrip + 1",
        "u / kStrip",
    ),
    _bug(
        "fold: reflection repeats the last pixel",
        _BOUNDARY,
        "anchor_ + 2 * (n_ - 1) - i_",
        "anchor_ + 2 * n_ - 1 - i_",
    ),
    _bug(
        "fold: an end is its own mirror and counted twice",
        _BOUNDARY,
        "(k == 0 && i_ == 0) || ",
        "",
    ),
    _bug(
        "fold: what lies before the first pixel is lost",
        _BOUNDARY,
        "      if (i == 0) first_ = 0;\n",
        "",
    ),
    _bug(
        "fold: only one turn of a circle is folded back",
        _BOUNDARY,
        "count_ = first_ < extended ? (extended - 1 - first_) / n + 1 : 0;",
        "count_ = 1;",
    ),
    _bug(
        "plan: every sample has the first one's scale of kernels",
        _PLAN,
        "own_kernels ? 1 : 0",
        "0",
    ),
    _bug(
        "plan: every sample has the first one's scales of pixels",
        _PLAN,
        "own_mixing ? pixel_stride : 0",
        "0",
    ),
    _bug(
        "packing: what rounding took from a pixel is dropped",
        _PACK,
        "entry == pixel.remainder.taker ? halved(value) + pixel.remainder.lost : value",
        "value",
    ),
    _bug(
        "packing: what rounding took from a kernel is dropped",
        _PACK,
        "i == remainder.taker ? halved(value) + remainder.lost : value",
        "value",
    ),
    _bug(
        "packing: the low half meets the wrong operand",
        _PACK,
        "entry / basis == 1 ? value",
        "entry / basis == 2 ? value",
    ),
    _bug(
        "packing: the last run of taps has no extra slot",
        _PACK,
        "dx / stride < 3 ? dx / stride : 3",
        "dx / stride",
    ),
    _bug(
        "packing: threads do not wait for each other's sums",
        _PACK,
        "  gpu::write(taker + thread, mine.taker);\n  gpu::barrier();\n",
        "  gpu::write(taker + thread, mine.taker);\n",
    ),
    _bug(
        "packing: the largest tap of the first thread alone",
        _PACK,
        "mine = other > mine ? other : mine;",
        "mine = other > mine ? mine : mine;",
    ),
    _bug(
        "gradients: kernels of summed samples keep scales of their own",
        _GRADIENTS,
        "k.scale[args.one_scale ? 0 : sample]",
        "k.scale[sample]",
    ),
    _bug(
        "gradients: an operand's words are exchanged",
        _GRADIENTS,
        "column % 16 / 8 * 2 + slot % 4 / 2",
        "column % 16 / 8 + slot % 4 / 2 * 2",
    ),
    _bug(
        "gradients: low halves are those of the other basis",
        _GRADIENTS,
        "const int low = args.basis + b;",
        "const int low = args.basis + (b ^ 1) % args.basis;",
    ),
    _bug(
        "gradients: products leave the range of halves",
        _GRADIENTS,
        "scale_to(gpu::float_of(largest[0]), 6)",
        "scale_to(gpu::float_of(largest[0]), 12)",
    ),
    _bug(
        "gradients: what halves lose of the products is not lost",
        _GRADIENTS,
        "if (kLow) first -= halved(first)",
        "if (kLow) first = halved(first)",
    ),
    _bug(
        "gradients: the largest of a warp is that of its first lane",
        _GRADIENTS,
        "mask < 32; mask *= 2",
        "mask < 1; mask *= 2",
    ),
    _bug(
        "by mixing: no barrier before a kernel row is used",
        _BY_MIXING,
        "    gpu::barrier();\n    grad_mixing_row<",
        "    grad_mixing_row<",
    ),
    _bug(
        "by mixing: no barrier before the window is filled again",
        _BY_MIXING,
        "        gpu::barrier();\n        fill_window<",
        "        fill_window<",
    ),
    _bug(
        "by mixing: the second pixel meets the first one's window",
        _BY_MIXING,
        "held[d + 1], s[1][d]",
        "held[d], s[1][d]",
    ),
    _bug(
        "by mixing: the last product of a row replaces the chain",
        _BY_MIXING,
        "gpu::mma_next(row[1], products[q], operand.z, operand.w);",
        "gpu::mma_first(row[1], products[q], operand.z, operand.w);",
    ),
    _bug(
        "by mixing: only the first sample counts",
        _BY_MIXING,
        "args.summed ? s.count - 1 : of.part.sample",
        "of.part.sample",
    ),
    _bug(
        "by kernels: no barrier before a row is used",
        _BY_KERNELS,
        "    gpu::barrier();\n    const uint4* mixing",
        "    const uint4* mixing",
    ),
    _bug(
        "by kernels: a ring without room for the rows under way",
        _BY_KERNELS,
        "static_cast<unsigned>(row) % kImageRing",
        "static_cast<unsigned>(row) % (kImageRing - 6)",
    ),
    _bug(
        "by kernels: no barrier between channels",
        _BY_KERNELS,
        "      gpu::barrier();\n      grad_kernels_chunk<kJ, kSteps, kC, false>",
        "      grad_kernels_chunk<kJ, kSteps, kC, false>",
    ),
    _bug(
        "by kernels: each warp takes the first one's row of the image",
        _BY_KERNELS,
        "rings.place(y + row + warp)",
        "rings.place(y + row + 0 * warp)",
    ),
    _bug(
        "by kernels: chunks overlap by a row",
        _BY_KERNELS,
        "top + args.chunk_rows < height ? top + args.chunk_rows : height",
        "top + args.chunk_rows < height ? top + args.chunk_rows + 1 : height",
    ),
    _bug(
        "by kernels: a thread's taps start one too late",
        _BY_KERNELS,
        "t * kRun + g * kJ + i);",
        "t * kRun + g * kJ + i + 1);",
    ),
    _bug(
        "by kernels: the second half of a strip meets the first one's mixing",
        _BY_KERNELS,
        "mixing + half * rings.kMixing / 2",
        "mixing",
    ),
    _bug(
        "by kernels: the last chunk is left out",
        _BY_KERNELS,
        "for (int64_t i = 0; i < count; ++i) sum",
        "for (int64_t i = 0; i + 1 < count; ++i) sum",
    ),
)
