# SPDX-License-Identifier: BSD-3-Clause
"""The ways one call can be computed on this machine, listed once for all tests."""

import pytest

from blurops import _native

# (backend, method)
PATHS = {
    "native": ("native", "direct"),
    "tiles": ("native", "fft"),
    "reference": ("reference", "direct"),
    "fft": ("reference", "fft"),
}


def options(path: str) -> dict[str, str]:
    """The keyword arguments that choose a path; skips, with the reason, one that cannot run."""
    backend, method = PATHS[path]
    reason = _native.missing_reason() if backend == "native" else None
    if reason is not None:
        pytest.skip(f"the native path cannot be tested: {reason}")
    return {"backend": backend, "method": method}
