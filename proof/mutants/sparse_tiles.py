# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in what the tile method leaves out: channels, bases and taps that are zero."""

from proof.engine import Mutant, Selection

STRUCTURE = Selection(("tests/test_exact_structure.py",))

_KERNELS = "csrc/basis_blur/tiles.cpp"
_PASSES = "csrc/basis_blur/tile_passes.h"
_ALONE = "csrc/basis_blur/tile_alone.h"
_WINDOW = "csrc/basis_blur/tile_window.h"

# Whether anything in a plane or a window is not zero, and which channels that leaves.
ZEROS = (
    Mutant(
        "tiles: what is seen of a row ends with its whole vectors",
        _WINDOW,
        "      seen.add(rest);\n",
        "",
        STRUCTURE,
    ),
    Mutant(
        "tiles: a negative zero is not seen as one",
        _WINDOW,
        "found |= bits[i] + bits[i] != 0;",
        "found |= bits[i] != 0;",
        STRUCTURE,
    ),
    Mutant(
        "tiles: a NaN is seen as zero",
        _WINDOW,
        "bits |= reinterpret_cast<Bits>(value);",
        "bits |= reinterpret_cast<Bits>(value) & reinterpret_cast<Bits>(value == value);",
        STRUCTURE,
    ),
    Mutant(
        "tiles: a channel after one that is zero takes its number",
        _WINDOW,
        "list_[count_++] = channel;",
        "list_[count_] = 0 * channel + count_; ++count_;",
        STRUCTURE,
    ),
    Mutant(
        "tiles: a channel that the last part of the kernels does not see is zero",
        _PASSES,
        "any |= load_window(plan, tile, from, part, s.transform, s.window);",
        "any = load_window(plan, tile, from, part, s.transform, s.window);",
        STRUCTURE,
    ),
)

# Bases that a tile does not mix, and what is made of the others.
SPARSE = (
    Mutant(
        "sparse tiles: the last columns do not count",
        _WINDOW,
        "  if (x < count) seen.add(load_rest<A>(from, x, count));\n",
        "",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: the first row decides",
        _KERNELS,
        "if (mixed) continue;",
        "if (y > 0) continue;",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: the first tile decides for all",
        _PASSES,
        "* tiles + index) * p.basis;",
        "* tiles) * p.basis + 0 * index;",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: a basis without a partner is left out",
        _PASSES,
        "  if (waiting != BasisPair::kNone) add(",
        "  if (waiting != BasisPair::kNone && s.pair_count == 0) add(",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: a second kernel is turned the wrong way",
        _PASSES,
        "{a.re - b.im, a.im + b.re}",
        "{a.re + b.im, a.im - b.re}",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: every sample takes the first one's single kernels",
        _PASSES,
        "(sample * plan.owners + plan.own_index[b])",
        "plan.own_index[b]",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: a second channel is blurred like the first",
        _ALONE,
        "plane_of<T>(plan.first, plane.tile->n, c0 + plane.channel, p.channels,\n"
        "                                    p.height * p.width);",
        "plane_of<T>(plan.first, plane.tile->n, c0 + 0 * plane.channel, p.channels,\n"
        "                                    p.height * p.width);",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: a second plane takes the first one's response",
        _ALONE,
        "V::read(second_mixing + i) * value.im",
        "V::read(second_mixing + i) * value.re",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: a second tile takes the first one's mixing",
        _ALONE,
        "(plane.tile == &tiles[0] ? 0 : s.plane)",
        "(plane.tile ? 0 : s.plane)",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: a tile that mixes nothing is computed with its neighbour",
        _ALONE,
        "there && tiles.mixed[tile]}",
        "there}",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: the adjoint of a second plane is lost",
        _ALONE,
        "if (!plane.live) continue;",
        "if (!plane.live || j > 0) continue;",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: channels that are shared out begin with the first",
        _KERNELS,
        "c0 = unit % plan.turns * group;",
        "c0 = 0 * (unit % plan.turns);",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: the kernels' last rows are trimmed with the zeros",
        "csrc/basis_blur/support.cpp",
        "bottom = std::max(bottom, y + 1);",
        "bottom = std::max(bottom, y);",
        STRUCTURE,
    ),
)

MUTANTS = (*ZEROS, *SPARSE)
