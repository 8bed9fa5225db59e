# SPDX-License-Identifier: BSD-3-Clause
"""The ops for ``torch.func``: grad, vjp, jacrev, jvp, jacfwd, hessian and vmap.

The same functions as in :mod:`blurops`, with the same arguments and results. A registered op has no
forward-mode rule and no batching rule; these twins have both. A blur is linear in most arguments,
so its directional derivative is the sum of the op itself at each tangent, and its batching rule
folds the new axis into N. Outside ``torch.func``, and under ``torch.compile``, use the ops of
:mod:`blurops`.

Example:
    >>> import torch, blurops
    >>> kernels, mixing = torch.rand(1, 2, 3, 3), torch.rand(1, 2, 4, 4)
    >>> x, direction = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    >>> blur = lambda image: blurops.func.basis_blur(image, kernels, mixing)
    >>> _, slope = torch.func.jvp(blur, (x,), (direction,))
    >>> torch.allclose(slope, blur(direction))
    True
"""

from blurops.func._basis_blur import (
    basis_blur,
    basis_blur_adjoint,
    basis_blur_grad_kernels,
    basis_blur_grad_mixing,
)
from blurops.func._motion_blur import (
    motion_blur,
    motion_blur_adjoint,
    motion_blur_grad_angle,
    motion_blur_grad_length,
)
from blurops.func._nu_conv import (
    nu_conv,
    nu_conv_adjoint,
    nu_conv_grad_bank,
    nu_conv_grad_weight,
)
from blurops.func._rl_step import rl_step, saturate, saturate_derivative

__all__ = [
    "basis_blur",
    "basis_blur_adjoint",
    "basis_blur_grad_kernels",
    "basis_blur_grad_mixing",
    "motion_blur",
    "motion_blur_adjoint",
    "motion_blur_grad_angle",
    "motion_blur_grad_length",
    "nu_conv",
    "nu_conv_adjoint",
    "nu_conv_grad_bank",
    "nu_conv_grad_weight",
    "rl_step",
    "saturate",
    "saturate_derivative",
]
