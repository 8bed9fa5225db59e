# SPDX-License-Identifier: BSD-3-Clause
"""Fast, exact, differentiable operators for images blurred differently at every pixel.

Conventions, the same everywhere:

- Images are (N, C, H, W); basis kernels (N or 1, B, Kh, Kw) with odd sides and their centre at (Kh//2, Kw//2); mixing
  coefficients (N or 1, B, H, W), shared by the channels. A leading 1 broadcasts over the batch, nothing else does.
- Kernels are **correlated** with the image, as ``torch.nn.functional.conv2d`` does. Turn a point-spread function with
  :func:`flip` first.
- **Mixing comes after blurring**: ``(H x)[p] = sum_b mixing_b[p] sum_d kernels_b[d] x[p + d]``, so the row of H at a
  pixel is that pixel's own kernel.
- ``boundary`` is ``"reflect"`` (default), ``"replicate"``, ``"circular"``, ``"zeros"`` or ``"valid"``; the adjoint is
  the exact transpose for the boundary chosen.
- float64 and float32 everywhere; float16 and bfloat16 are storage with float32 accumulation.
- Inputs are never written, outputs are fresh and contiguous.
- Image values are linear light in the solvers; ``gamma`` is explicit.
"""

from blurops.ops.basis_blur.op import (
    basis_blur,
    basis_blur_adjoint,
    basis_blur_grad_kernels,
    basis_blur_grad_mixing,
    flip,
)

__version__ = "0.1.0"

# Temporary while the parts are being built side by side (LEAD replaces this by plain imports).
import contextlib as _c

with _c.suppress(ImportError):
    from blurops.ops.saturate.op import saturate, saturate_derivative
with _c.suppress(ImportError):
    from blurops.solvers.saturation import Saturation
with _c.suppress(ImportError):
    from blurops.ops.rl_step.op import rl_step
with _c.suppress(ImportError):
    from blurops.operators import BasisBlur, UniformBlur, check_adjoint
with _c.suppress(ImportError):
    from blurops.solvers import Restoration, richardson_lucy
with _c.suppress(ImportError):
    from blurops.fields import BlurField, load_field, observe, save_field
