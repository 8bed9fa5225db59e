# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the fused gradients of a blur: shared sums, chunks, groups of tiles, what is skipped."""

from proof.engine import Mutant, Selection

_FILE = ("tests/test_backward.py",)
VALUES = Selection(_FILE, "equal_the_reference")
PARTS = Selection(_FILE, "parts")
SHARING = Selection(_FILE, "batches")
ZEROS = Selection(_FILE, "zeros_are_left_out")
TYPES = Selection(_FILE, "every_instruction_set")
THREADS = Selection(_FILE, "thread_count")
TRIMMING = Selection(_FILE, "zero_taps")
AUTOGRAD = Selection(_FILE, "uses_it or a_graph_of")

_SWEEP = "csrc/basis_blur/tile_backward.h"
_SUMS = "csrc/basis_blur/tile_sums.h"
_LAUNCH = "csrc/basis_blur/tile_launch.cpp"
_NATIVE = "blurops/ops/basis_blur/native.py"
_OP = "blurops/ops/basis_blur/op.py"

SWEEP = (
    Mutant(
        "backward: the adjoint's sums are not cleared between tiles",
        _SWEEP,
        "if (plan.target) clear(",
        "if (plan.target && tile.y == 0) clear(",
        VALUES,
    ),
    Mutant(
        "backward: the mixing's gradient runs on from pair to pair",
        _SWEEP,
        "      clear(s.sums, 2 * s.plane);\n",
        "",
        VALUES,
    ),
    Mutant(
        "backward: the mixing's gradient of a pair that is not mixed is left out",
        _SWEEP,
        "    if (plan.out) {\n",
        "    if (plan.out && (mixed || !(plan.target || plan.partial))) {\n",
        ZEROS,
    ),
    Mutant(
        "backward: the mixing of a second pair is that of the first",
        _SWEEP,
        "load_mixing<T>(plan, tile, s.pairs[pair], s.transform.y.size, s)",
        "load_mixing<T>(plan, tile, s.pairs[0 * pair], s.transform.y.size, s)",
        VALUES,
    ),
    Mutant(
        "backward: a channel that the image lacks is left out of the adjoint",
        _SWEEP,
        "  } else {\n    add_folded(",
        "  } else if (seen) {\n    add_folded(",
        ZEROS,
    ),
    Mutant(
        "backward: a channel that the image lacks has the spectra of the tile before",
        _SWEEP,
        "} else if (plan.partial && seen) {",
        "} else if (plan.partial) {",
        ZEROS,
    ),
    Mutant(
        "backward: the products of further parts land on the next pair's",
        _SWEEP,
        "pair * parts * spectrum : 0);",
        "pair * spectrum : 0);",
        PARTS,
    ),
    Mutant(
        "backward: both results of a pair take the spectrum of the kernels",
        _SUMS,
        "const auto product = plus_product(read_pair(products + i), value, read_pair(image + i));",
        "const auto product = plus_product(read_pair(products + i), value, read_pair(kernels + i));"
        "\n    (void)image;",
        VALUES,
    ),
    Mutant(
        "backward: every sample is the first",
        _SWEEP,
        "Tile(plan, n, plan.group[i])",
        "Tile(plan, 0 * n, plan.group[i])",
        SHARING,
    ),
    Mutant(
        "backward: the kernels of every sample are the first one's",
        _SWEEP,
        "{unit % plan.chunks, unit / plan.chunks, 0,",
        "{unit % plan.chunks, 0, 0,",
        SHARING,
    ),
)

LAUNCH = (
    Mutant(
        "backward: the last pair of a chunk is not flushed",
        _SUMS,
        "pair < chunk.end; ++pair) {",
        "pair < chunk.end - 1; ++pair) {",
        VALUES,
    ),
    Mutant(
        "backward: one by one, the mixing is the kernels' to share",
        "blurops/ops/basis_blur/native.py",
        "basis_blur_grad_mixing(grad, image, kernels, shared[1], **how)",
        "basis_blur_grad_mixing(grad, image, kernels, shared[0], **how)",
        Selection(("tests/test_backward.py",), "one_after_the_other"),
    ),
    Mutant(
        "backward: every group of tiles is the first",
        _LAUNCH,
        "plan.group = group.data();\n"
        "    plan.group_size = static_cast<int64_t>(group.size());\n"
        "    launch.run(",
        "plan.group = groups[0].data();\n"
        "    plan.group_size = static_cast<int64_t>(group.size());\n"
        "    launch.run(",
        VALUES,
    ),
    Mutant(
        "backward: a mixing that the batch shares gets one sample's gradient",
        _LAUNCH,
        "!(by_mixing && !p.mixing_batched && p.count > 1)",
        "(by_mixing || !by_mixing)",
        SHARING,
    ),
    Mutant(
        "backward: half types get no gradient of the image",
        _LAUNCH,
        "  if (target) target->finish();\n",
        "",
        TYPES,
    ),
    Mutant(
        "backward: the chunks depend on the number of threads",
        _LAUNCH,
        "std::max(total / 16 * 4, std::min<int64_t>(total, 4))",
        "threads",
        THREADS,
    ),
)

PYTHON = (
    Mutant(
        "backward: kernels are trimmed where their own gradient is wanted",
        _NATIVE,
        "    if needs[1]:  # zero taps",
        "    if needs[0]:  # zero taps",
        TRIMMING,
    ),
    Mutant(
        "backward: fused where a second derivative is wanted",
        _OP,
        "if sum(needs) > 1 and not torch.is_grad_enabled() and",
        "if sum(needs) > 1 and",
        AUTOGRAD,
    ),
    Mutant(
        "backward: not fused for two",
        _OP,
        "if sum(needs) > 1 and",
        "if sum(needs) > 2 and",
        AUTOGRAD,
    ),
)

MUTANTS = (*SWEEP, *LAUNCH, *PYTHON)
