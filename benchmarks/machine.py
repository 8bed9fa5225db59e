# SPDX-License-Identifier: BSD-3-Clause
"""Where and when a run takes place, and what the machine can do at most."""

import datetime as dt
import functools
import subprocess
from pathlib import Path

import torch

from benchmarks.memory import cpu_name
from blurops import _native

_PROBE_SECONDS = 0.5
_PROBE_BYTES = 384 << 20  # beyond the last cache of what is to be expected


@functools.cache
def probes(threads: int) -> tuple[float, float]:
    """(GFLOP/s of float32 multiply-adds, GB/s of a triad); zeros without the native module."""
    module = _native.module()
    if module is None:
        return 0.0, 0.0
    flops = module.peak_flops(_PROBE_SECONDS, threads)
    return flops / 1e9, module.peak_bandwidth(_PROBE_BYTES, threads) / 1e9


def commit() -> str:
    """The commit of the checkout, with "+" when it has changes; "unknown" outside one."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    try:
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", "../blurops", "../csrc"
        )
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@functools.cache
def place() -> dict[str, str]:
    """The columns of a row that say where and when."""
    module = _native.module()
    return {
        "commit": commit(),
        "cpu": cpu_name(),
        "isa": module.isa() if module else "none",
        "torch": torch.__version__,
        "date": dt.date.today().isoformat(),
    }
