# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in what the tile method leaves out: channels, bases and taps that are zero."""

from proof.engine import Mutant, Selection

STRUCTURE = Selection(("tests/test_exact_structure.py",))

_KERNELS = "csrc/basis_blur/tiles.cpp"
_SUMS = "csrc/basis_blur/tile_sums.h"
_PASSES = "csrc/basis_blur/tile_passes.h"
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
        "    if (x < tile.columns) seen.add(load_rest<A>(from, x, tile.columns));\n",
        "",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: the first row decides",
        _WINDOW,
        "    if (seen.any()) return true;\n",
        "    return seen.any();\n",
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
        _PASSES,
        "plane_of<T>(image, tile.n, c0 + c + i, p.channels,",
        "plane_of<T>(image, tile.n, c0 + c, p.channels,",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: a second channel takes the first one's response",
        _SUMS,
        "V::write(second + i, m * value.im);",
        "V::write(second + i, m * value.re);",
        STRUCTURE,
    ),
    Mutant(
        "sparse tiles: the adjoint of a second channel is lost",
        _KERNELS,
        "second ? targets + (c + 1) * size : nullptr, s);",
        "static_cast<A*>(nullptr), s);",
        STRUCTURE,
    ),
)

MUTANTS = (*ZEROS, *SPARSE)
