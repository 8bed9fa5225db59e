# SPDX-License-Identifier: BSD-3-Clause
"""The eight camera shakes of Levin et al. (CVPR 2009)."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from blurmodels.datasets._matlab import variables
from blurops import flip


def levin_kernels(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The kernels from .mat files: the variable `kernels` in one, or `f` in each.

    They are point-spread functions (`y = conv2(x, f)`), turned here; even sides get a row or a
    column of zeros before the first. A kernel that several files hold (Levin's have four pictures
    for each) counts once.

    Args:
        path: a file, or a folder of files, which are taken in the order of their names.

    Returns:
        "kernel 1", "kernel 2", ...: (Kh, Kw) float32 in correlation orientation, of sum 1.

    Raises:
        OSError: the file or the folder is missing.
        ValueError: a file is damaged or holds neither variable, or there is no file.
    """
    base = Path(path)
    files = sorted(base.glob("*.mat")) if base.is_dir() else [base]
    found: dict[str, Tensor] = {}
    for file in files:
        for kernel in _kernels(file):
            taps = torch.from_numpy(np.asarray(kernel, dtype=np.float64))
            taps = functional.pad(taps, (0, 1 - taps.shape[1] % 2, 0, 1 - taps.shape[0] % 2))
            if not any(_same(taps, known) for known in found.values()):
                found[f"kernel {len(found) + 1}"] = taps / taps.sum()
    if not found:
        raise ValueError(f"levin_kernels: '{base}' must hold .mat files, got none")
    return {name: flip(taps[None, None])[0, 0].float() for name, taps in found.items()}


def _kernels(file: Path) -> list[Any]:
    content = variables(file, ("kernels", "f"))
    if "kernels" in content:
        return list(content["kernels"].ravel())
    if "f" in content:
        return [content["f"]]
    raise ValueError(f"levin_kernels: '{file}' must hold the variable kernels or f, got neither")


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(torch.allclose(first / first.sum(), second))
