# SPDX-License-Identifier: BSD-3-Clause
"""The ways one call can be computed on this machine, listed once for all tests."""

import pytest
import torch

from blurops import _native, _triton
from blurops.testing import SHAPES, Shape

# (backend, method)
PATHS = {
    "native": ("native", "direct"),
    "tiles": ("native", "fft"),
    "reference": ("reference", "direct"),
    "fft": ("reference", "fft"),
}
# With those whose calls take so long that a test makes do with a few small ones.
EVERY_PATH = {**PATHS, "triton": ("triton", "direct")}


def _uninterpreted() -> str | None:
    return None if _triton.interpreting() else "TRITON_INTERPRET is off"


_MISSING = {
    "native": _native.missing_reason,
    "triton": lambda: _triton.missing_reason() or _uninterpreted(),
}


def options(path: str) -> dict[str, str]:
    """The keyword arguments that choose a path; skips, with the reason, one that cannot run."""
    backend, method = EVERY_PATH[path]
    reason = _MISSING[backend]() if backend in _MISSING else None
    if reason is not None:
        pytest.skip(f"the {backend} path cannot be tested: {reason}")
    return {"backend": backend, "method": method}


def slow(path: str) -> bool:
    """Whether it is interpreted."""
    return path not in PATHS


# Batches with their own and with shared fields, a kernel larger than the image, one pixel; more
# taps, bases and channels than a block has; more bases than two blocks have.
_FEW = (
    Shape(2, 3, 6, 7, 3, 3, 5, kernels_shared=False),
    Shape(2, 1, 3, 4, 2, 7, 11, mixing_shared=False),
    Shape(1, 1, 1, 1, 1, 1, 1),
    Shape(1, 5, 3, 37, 17, 1, 19),
    Shape(2, 1, 2, 130, 33, 1, 3),
    Shape(0, 2, 5, 6, 2, 3, 3),
)


def shapes(path: str, dtype: torch.dtype) -> tuple[Shape, ...]:
    """The sizes on which a path is held to the reference."""
    if not slow(path):
        return SHAPES
    return _FEW[: {torch.float32: 6, torch.float64: 2}.get(dtype, 1)]
