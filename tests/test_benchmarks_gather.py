# SPDX-License-Identifier: BSD-3-Clause
"""The contenders of NU-Conv and motion blur compute the same. Nothing here looks at a time."""

import pytest
import torch

from benchmarks import gather

PAIRS = [(op, name) for op, contenders in gather.CONTENDERS.items() for name in contenders]


@pytest.mark.parametrize(("op", "name"), PAIRS)
@pytest.mark.parametrize("smooth", [True, False])
def test_contenders_compute_the_same(op, name, smooth, native):
    gather.check(op, gather.CONTENDERS[op][name][0], smooth)


def test_a_wrong_contender_is_found(native):
    with pytest.raises(ArithmeticError, match="motion_blur: a contender errs by"):
        gather.check("motion_blur", lambda field: 1.01 * gather.motion_ours(field), True)


def test_fields_pick_inside_the_bank():
    for smooth in (True, False):
        field = gather.make_field(20, 30, smooth)
        assert field.index.dtype == torch.int32
        assert 0 <= int(field.index.min()) <= int(field.index.max()) < gather.FILTERS
        assert 1 <= float(field.length.min()) <= float(field.length.max()) <= gather.LONGEST
