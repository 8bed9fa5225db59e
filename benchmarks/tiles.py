# SPDX-License-Identifier: BSD-3-Clause
"""By how much whole tiles cover more than the image."""

import math

from benchmarks.cases import Case
from blurops import _native
from blurops.ops.basis_blur import tiling

_MEMBERS = {"forward": "basis_blur", "adjoint": "basis_blur_adjoint"}


def rounding(case: Case, member: str) -> float | None:
    """Pixels covered by the native path's tiles over pixels of the image.

    None for other members, for the direct method, and without the native module.
    """
    if member not in _MEMBERS or _native.module() is None:
        return None
    size, taps = (case.size, case.size), (case.kernel, case.kernel)
    work = tiling.Work(_MEMBERS[member], 1, case.channels, case.basis, size, taps, 4)
    chosen = tiling.choose(work, "auto")
    if chosen == tiling.DIRECT:
        return None
    kept = (
        chosen.height - math.ceil(case.kernel / chosen.parts_down) + 1,
        chosen.width - math.ceil(case.kernel / chosen.parts_across) + 1,
    )
    counts = tiling.tile_counts(size, taps, chosen)
    return math.prod(counts) * math.prod(kept) / math.prod(size)
