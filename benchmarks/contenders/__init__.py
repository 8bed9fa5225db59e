# SPDX-License-Identifier: BSD-3-Clause
"""Ours and the baselines, one idea per file."""

from benchmarks.contenders import (
    authors,
    compiled,
    deepinv_op,
    direct,
    fft_batched,
    fft_by_hand,
    fft_loop,
    fft_packed,
    fft_real,
    fft_tiles,
    ours,
    scipy_fft,
    solver_fft,
    tiles_by_hand,
)
from benchmarks.contenders.base import Call, Contender

# The fast ones first: a slow one is measured against what was seen before it.
ALL: tuple[Contender, ...] = tuple(
    module.CONTENDER
    for module in (
        ours, fft_tiles, fft_real, fft_packed, tiles_by_hand, fft_by_hand, fft_loop, scipy_fft,
        fft_batched, deepinv_op, compiled, direct, solver_fft, authors,
    )
)  # fmt: skip

__all__ = ["ALL", "Call", "Contender"]
