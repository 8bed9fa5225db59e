# SPDX-License-Identifier: BSD-3-Clause
"""The gradients of motion blur by length and angle, in one sweep over the image.

They share the lines, the weights and what these weigh. An op of its own, so that ``torch.compile``
takes it, but an internal one: it is only called with what the members' shape rules have checked.
"""

import torch
from torch import Tensor

from blurops._register import LIBRARY
from blurops.ops.motion_blur import native

LIBRARY.define(
    "motion_blur_backward(Tensor grad, Tensor image, Tensor length, Tensor angle, *, str caps, "
    "str boundary, str method, str precision) -> Tensor[]"
)
_op = torch.ops.blurops.motion_blur_backward.default


def _fake(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, **options: str
) -> list[Tensor]:
    return [grad.new_empty(length.shape), grad.new_empty(angle.shape)]


LIBRARY.impl("motion_blur_backward", native.motion_blur_backward, "CPU")
torch.library.register_fake("blurops::motion_blur_backward", _fake, lib=LIBRARY)


def can(grad: Tensor, length: Tensor, angle: Tensor, options: dict) -> bool:
    """Only the CPU has kernels that share one sweep, for maps that are batched alike."""
    if grad.device.type != "cpu" or options["backend"] not in (None, "native"):
        return False
    return length.shape == angle.shape and native.supports((grad,), options) is None


def gradients(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, options: dict
) -> tuple[Tensor, Tensor]:
    """Derivatives of ``sum(grad * motion_blur(image, length, angle))`` by length and angle."""
    options = {name: value for name, value in options.items() if name != "backend"}
    by_length, by_angle = _op(grad, image, length, angle, **options)
    return by_length, by_angle
