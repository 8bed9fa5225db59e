# SPDX-License-Identifier: BSD-3-Clause
"""By how much whole tiles cover more than the image."""

import math

from benchmarks.cases import Case
from blurops.ops.basis_blur import native


def rounding(case: Case, member: str) -> float | None:
    """Pixels covered by the native path's tiles over pixels of the image.

    None where the native path takes no tiles. ``native.tile_of(kernel_size, image_size, channels,
    basis, member)`` returns the (rows, columns) that survive in a tile, or None.
    """
    tile_of = getattr(native, "tile_of", None)
    if tile_of is None or member not in ("forward", "adjoint"):
        return None
    sides = (case.size, case.size)
    tile = tile_of((case.kernel, case.kernel), sides, case.channels, case.basis, member)
    if tile is None:
        return None
    return math.prod(
        math.ceil(side / kept) * kept / side for side, kept in zip(sides, tile, strict=True)
    )
