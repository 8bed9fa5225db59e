# SPDX-License-Identifier: BSD-3-Clause
"""Small Richardson-Lucy problems, and the update on every path."""

import functools
import math

import torch

import blurops
from blurops import Saturation
from tests.backends import options

DOUBLE = torch.float64
SATURATIONS = {
    "linear": None,
    "one set": Saturation(a=9.0, threshold=math.inf),
    "two sets": Saturation(a=9.0, threshold=0.7),
    "hard sets": Saturation(a=9.0, level=0.9, threshold=0.6, erode=False, smooth=False),
    "soft z": Saturation(a=9.0, threshold=0.7, dilate=False),
}


def problem(boundary="reflect", *, seed=0, count=1, channels=2, size=(4, 5), dtype=DOUBLE):
    """Random estimate, observation, kernels and mixing; kernels sum to about 1, some taps are 0."""
    torch.manual_seed(seed)
    shape = (size[0] - 2, size[1] - 2) if boundary == "valid" else size
    kernels = torch.rand(1, 2, 3, 3, dtype=DOUBLE) / 4.5
    kernels[0, 1, 2] = 0
    mixing = torch.rand(count, 2, *shape, dtype=DOUBLE)
    estimate = 0.1 + torch.rand(count, channels, *size, dtype=DOUBLE)
    observed = torch.rand(count, channels, *shape, dtype=DOUBLE)
    return tuple(t.to(dtype) for t in (estimate, observed, kernels, mixing))


def on(path):
    """``rl_step`` on a path of :mod:`tests.backends`."""
    return functools.partial(blurops.rl_step, **options(path))
