# SPDX-License-Identifier: BSD-3-Clause
"""The contenders under pytest-benchmark, which keeps and compares runs: `make bench-suite`.

The published table comes from `make bench`, where contenders take turns; here each has its own
stretch of time.
"""

import pytest
import torch

from benchmarks.cases import LINEAR, Case
from benchmarks.contenders import ALL
from benchmarks.inputs import make_inputs, tolerance, truth
from blurops.testing import relative_error

CASES = (Case(512), Case(512, kernel=9), Case(512, basis=4), Case(256, kernel=65))

PAIRS = [
    pytest.param(case, contender, member, id=f"{member}-{case}-{contender.name}".replace(" ", "_"))
    for case in CASES
    for member in (*LINEAR, "gradients")
    for contender in ALL
    if member in contender.members and not contender.reference_only
]


@pytest.fixture(scope="module")
def truths():
    """Inputs and truths, computed once for all contenders of a case."""
    found = {}

    def get(case, member, algorithm):
        key = (case, member, algorithm)
        if key not in found:
            found.clear()
            inputs = make_inputs(case)
            found[key] = (inputs, truth(inputs, member, algorithm))
        return found[key]

    return get


@pytest.mark.parametrize(("case", "contender", "member"), PAIRS)
def test_speed(benchmark, truths, case, contender, member):
    torch.set_num_threads(case.threads)
    inputs, expected = truths(case, member, contender.algorithm)
    try:
        call = contender.members[member](inputs)
    except ImportError as error:
        pytest.skip(f"{contender.name}: {error}")
    results = call()
    for result, wanted in zip(results, expected, strict=True):
        assert relative_error(result, wanted) <= tolerance(case, member)
    benchmark.group = f"{member} {case}"
    benchmark.extra_info["contender"] = contender.name
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
