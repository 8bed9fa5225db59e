# SPDX-License-Identifier: BSD-3-Clause
"""R and R' in plain torch: differentiable to any order, under every function transform."""

import torch
import torch.nn.functional as F
from torch import Tensor


def supports(args: tuple, options: dict) -> str | None:
    """The reference serves every call."""
    return None


def saturate(x: Tensor, a: float = 50.0, level: float = 1.0) -> Tensor:
    """``x - log(1 + exp(a (x - level))) / a``.

    Each side of the level has the form that neither overflows nor cancels: below, a small
        correction to x; above, a
    small correction to the level. Both are smooth, so the derivatives agree at the level too.
    """
    work = _working(x)
    t = a * (work - level)
    below = work - F.softplus(t) / a
    above = level - F.softplus(-t) / a
    return torch.where(t <= 0, below, above).to(x.dtype)


def saturate_derivative(x: Tensor, a: float = 50.0, level: float = 1.0) -> Tensor:
    """``1 / (1 + exp(a (x - level)))``."""
    return torch.sigmoid(a * (level - _working(x))).to(x.dtype)


def _working(x: Tensor) -> Tensor:
    """Half types are storage: compute in float32. Contiguous, because op results always are."""
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return x.contiguous()
