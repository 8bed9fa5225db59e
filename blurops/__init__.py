# SPDX-License-Identifier: BSD-3-Clause
"""Fast, exact, differentiable operators for images blurred differently at every pixel.

Conventions, the same everywhere:

- Images are (N, C, H, W); basis kernels (N or 1, B, Kh, Kw) with odd sides and their centre at
  (Kh//2, Kw//2); mixing coefficients (N or 1, B, H, W), shared by the channels. A leading 1
  broadcasts over the batch, nothing else does.
- Maps of motions are (N or 1, H, W), lengths in pixels (1 is no motion) and angles in radians,
  counter-clockwise with y upwards; indices into a bank of filters (N or 1, J, H, W), int32.
- Kernels are **correlated** with the image, as ``torch.nn.functional.conv2d`` does. Turn a
  point-spread function with :func:`flip` first.
- **Mixing comes after blurring**: ``(H x)[p] = sum_b mixing_b[p] sum_d kernels_b[d] x[p + d]``, so
  the row of H at a pixel is that pixel's own kernel.
- ``boundary`` is ``"reflect"`` (default), ``"replicate"``, ``"circular"``, ``"zeros"`` or
  ``"valid"``; the adjoint is the exact transpose for the boundary chosen.
- float64 and float32 everywhere; float16 and bfloat16 are storage with float32 accumulation.
- Inputs are never written, outputs are fresh and contiguous.
- Image values are linear light in the solvers; ``gamma`` is explicit.
"""

from blurops import func
from blurops._native import backends
from blurops.fields import BlurField, load_field, observe, save_field
from blurops.fields.linear_motion import linear_motion_kernel
from blurops.fields.motion_bank import interpolate_motion, linear_motion_bank
from blurops.fields.motion_files import load_motion_field, save_motion_field
from blurops.operators import (
    BasisBlur,
    MotionBlur,
    NUConv,
    Operator,
    UniformBlur,
    check_adjoint,
)
from blurops.ops.basis_blur.op import (
    basis_blur,
    basis_blur_adjoint,
    basis_blur_grad_kernels,
    basis_blur_grad_mixing,
    flip,
)
from blurops.ops.basis_blur.prune import prune
from blurops.ops.motion_blur.op import (
    motion_blur,
    motion_blur_adjoint,
    motion_blur_grad_angle,
    motion_blur_grad_length,
)
from blurops.ops.nu_conv.op import (
    nu_conv,
    nu_conv_adjoint,
    nu_conv_grad_bank,
    nu_conv_grad_weight,
)
from blurops.ops.rl_step import Saturation, rl_step
from blurops.ops.saturate import saturate, saturate_derivative
from blurops.solvers import (
    Deconvolution,
    Restoration,
    admm_irc,
    cg_deblur,
    difference_filters,
    fft_deblur,
    fft_deblur_patches,
    inverse_blur,
    inverse_filters,
    irc,
    irc_patches,
    richardson_lucy,
    spectral_radius,
)

__version__ = "0.1.0"

__all__ = [
    "BasisBlur",
    "BlurField",
    "Deconvolution",
    "MotionBlur",
    "NUConv",
    "Operator",
    "Restoration",
    "Saturation",
    "UniformBlur",
    "admm_irc",
    "backends",
    "basis_blur",
    "basis_blur_adjoint",
    "basis_blur_grad_kernels",
    "basis_blur_grad_mixing",
    "cg_deblur",
    "check_adjoint",
    "difference_filters",
    "fft_deblur",
    "fft_deblur_patches",
    "flip",
    "func",
    "interpolate_motion",
    "inverse_blur",
    "inverse_filters",
    "irc",
    "irc_patches",
    "linear_motion_bank",
    "linear_motion_kernel",
    "load_field",
    "load_motion_field",
    "motion_blur",
    "motion_blur_adjoint",
    "motion_blur_grad_angle",
    "motion_blur_grad_length",
    "nu_conv",
    "nu_conv_adjoint",
    "nu_conv_grad_bank",
    "nu_conv_grad_weight",
    "observe",
    "prune",
    "richardson_lucy",
    "rl_step",
    "saturate",
    "saturate_derivative",
    "save_field",
    "save_motion_field",
    "spectral_radius",
]
