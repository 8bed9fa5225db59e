# SPDX-License-Identifier: BSD-3-Clause
"""Bugs of NU-Conv by tiles: what the pixels of a tile pick, and what they are given."""

from proof.engine import Mutant, Selection

_TESTS = Selection(("tests/test_nu_conv_tiles.py",))
_WINDOW = "csrc/basis_blur/tile_window.h"

MUTANTS = (
    Mutant(
        "picked tiles: the second filter of a pair has the first one's weights",
        _WINDOW,
        "to_second[x] += index[x] == b ? value : A(0);",
        "to_second[x] += index[x] == a ? value : A(0);",
        _TESTS,
    ),
    Mutant(
        "picked tiles: of a filter picked twice the last weight counts",
        _WINDOW,
        "to_first[x] += index[x] == a ? value : A(0);",
        "to_first[x] = index[x] == a ? value : to_first[x];",
        _TESTS,
    ),
    Mutant(
        "picked tiles: weights are shared by the batch where the index is",
        _WINDOW,
        "    const T* weight = pick_of<T>(plan, tile, picks.weight, picks.weight_batched, j);",
        "    const T* weight = pick_of<T>(plan, tile, picks.weight, picks.index_batched, j);",
        _TESTS,
    ),
    Mutant(
        "picked tiles: a filter's gradient goes to the pixels of its partner",
        "csrc/basis_blur/tiles.cpp",
        "if (index[x] == b) store(second[x], out + x);",
        "if (index[x] == b) store(first[x], out + x);",
        _TESTS,
    ),
    Mutant(
        "picked tiles: any number of filters is worth its transforms",
        "csrc/basis_blur/tile_launch.cpp",
        "return all <= plan.picks->budget && ",
        "return ",
        _TESTS,
    ),
)
