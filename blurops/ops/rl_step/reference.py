# SPDX-License-Identifier: BSD-3-Clause
"""The update by its formula, in plain torch around the registered blur and adjoint."""

import functools
from typing import Any

import torch
from torch import Tensor

from blurops.ops.rl_step import formula
from blurops.ops.rl_step.saturation import Saturation

_SENSOR = ("a", "level", "threshold", "erode", "smooth", "dilate")
_FAMILY = ("boundary", "method", "precision", "backend")


def supports(args: tuple, options: dict) -> str | None:
    """The formula serves every call."""
    return None


def rl_step(*tensors: Tensor | None, blurred: Tensor | None = None, **options: Any) -> Tensor:
    """See :func:`blurops.rl_step`; ``blurred`` is H U, when it is known."""
    family = {name: options[name] for name in _FAMILY}
    sensor = {name: options[name] for name in _SENSOR}
    return formula.compose(
        *tensors,
        blurred=blurred,
        blur=functools.partial(torch.ops.blurops.basis_blur, **family),
        adjoint=functools.partial(torch.ops.blurops.basis_blur_adjoint, **family),
        saturation=Saturation(**sensor) if options["saturated"] else None,
        tv=options["tv"],
        eps=options["eps"],
    )


def gradients(grad: Tensor, tensors: tuple, needs: tuple, options: dict) -> tuple:
    """The derivatives by the tensors that need one, differentiable when gradients are enabled.

    The formula is computed anew, from aliases: a tensor that was made from another must not pass
    its own derivative on.
    """
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        aliases = [
            (t.view_as(t) if further else t.detach().requires_grad_()) if needed else t
            for t, needed in zip(tensors, needs, strict=True)
        ]
        result = rl_step(*aliases, **options)
        wanted = [t for t, needed in zip(aliases, needs, strict=True) if needed]
        found = iter(
            torch.autograd.grad(result, wanted, grad, create_graph=further, allow_unused=True)
        )
    return tuple(next(found) if needed else None for needed in needs)
