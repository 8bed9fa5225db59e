# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures shared by all tests."""

import os

# Before anything imports Triton, which reads it once: its kernels are tested without a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
import torch

from blurops import _native, _triton
from tests.backends import PATHS
from tests.rl_problems import on


@pytest.fixture(autouse=True, scope="session")
def _settings():
    # Deterministic mode fills fresh tensors with NaN, and so shows an element that nobody wrote.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # The samples are tiny: threads only get in each other's way. Tests of threads set their own.
    torch.set_num_threads(1)


@pytest.fixture
def native():
    """The compiled module; afterwards it uses the instruction set it would have chosen itself."""
    module = _native.module()
    if module is None:
        pytest.skip(f"the compiled paths cannot be tested: {_native.missing_reason()}")
    chosen = module.isa()
    yield module
    module.force_isa(chosen)


@pytest.fixture(params=PATHS)
def rl_step(request):
    """``blurops.rl_step`` on each path."""
    return on(request.param)


@pytest.fixture
def threads():
    """Set torch's thread count; restored afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def triton_launches(monkeypatch):
    """The names of the Triton kernels that were launched."""
    names, launch = [], _triton.launch

    def note(kernel, *args, **sizes):
        names.append(kernel.fn.__name__)
        launch(kernel, *args, **sizes)

    monkeypatch.setattr(_triton, "launch", note)
    return names
