# SPDX-License-Identifier: BSD-3-Clause
"""What a camera records of a blurred scene."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields._streams import stream
from blurops.fields.field import BlurField

if TYPE_CHECKING:
    from blurops import Saturation


def observe(
    sharp: Tensor,
    operator: BlurField | Any,
    *,
    noise: float = 0.0,
    saturation: "Saturation | None" = None,
    gamma: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """The picture a camera takes of a blurred scene, `v = R(H u + n)^(1 / gamma)`.

    Carbajal et al., eq. 3: blur H, white Gaussian noise n, sensor response R (eq. 4), display
    gamma. Noise can make `R(H u + n)` negative, where the power has no value: it is clipped at 0
    first, whatever the gamma.

    Args:
        sharp: (N, C, H, W) scene u in linear light, non-negative; 1 is the level of white, and
            highlights may exceed it.
        operator: a BlurField, applied with its own boundary, or any operator with `forward(image)`.
        noise: standard deviation of n in linear light.
        saturation: the sensor, whose `a` and `level` are used; None records every value.
        gamma: above 0; 2.2 gives display values.
        seed: which noise. It is drawn in float32 on the CPU, the same for every dtype and device.

    Returns:
        v, of the shape, dtype and device of the blurred image.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or `sharp` and the
            field do not fit each other.

    Example:
        >>> from blurops.fields import camera_shake_field
        >>> field = camera_shake_field(40, 50, basis_size=3, kernel_size=9)
        >>> observe(torch.rand(1, 3, 40, 50), field, noise=0.002, gamma=2.2).shape
        torch.Size([1, 3, 40, 50])
    """
    _check.tensor("observe", "sharp", sharp, "(N, C, H, W)")
    noise = arguments.real("observe", "noise", noise, least=0)
    gamma = arguments.real("observe", "gamma", gamma, above=0)
    seed = arguments.seed("observe", seed)
    blurred = _blur(sharp, operator)
    if noise > 0:
        draw = torch.randn(blurred.shape, generator=stream(seed, "noise"), dtype=torch.float32)
        blurred = blurred + noise * draw.to(blurred)
    if saturation is not None:
        from blurops.ops.saturate.op import saturate

        blurred = saturate(blurred, saturation.a, saturation.level)
    blurred = blurred.clamp(min=0)
    return blurred if gamma == 1 else blurred.pow(1 / gamma)


def _blur(sharp: Tensor, operator: BlurField | Any) -> Tensor:
    if isinstance(operator, BlurField):
        from blurops.ops.basis_blur.op import basis_blur

        return basis_blur(sharp, operator.kernels, operator.mixing, boundary=operator.boundary)
    forward = getattr(operator, "forward", None)
    if not callable(forward):
        wanted = "be a BlurField or have a forward method"
        raise TypeError(message("observe", "operator", wanted, type(operator).__name__))
    return forward(sharp)
