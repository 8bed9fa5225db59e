# SPDX-License-Identifier: BSD-3-Clause
"""The update on GPUs: two passes over images around a blur and an adjoint.

Blur and adjoint are those of the native module where it has kernels for the device, else Triton's.
The native blur does the first pass in its epilogue, so that the blurred image is never written.
The sets of the two-set step come from a few torch operations on images, both sets' corrections from
one adjoint of twice as many channels. Beside its inputs and its result a step holds at most 6
images of size C*H*W at a time, 3 with one set, and what the blur and the adjoint hold.
triton_backward.py has the gradients.
"""

import functools
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from blurops import _native, _triton
from blurops.ops.basis_blur import native
from blurops.ops.basis_blur import triton as portable
from blurops.ops.rl_step import formula
from blurops.ops.rl_step import native as compiled
from blurops.ops.rl_step.saturation import Saturation

FAMILY = ("boundary", "method", "precision")
_SENSOR = ("a", "level", "threshold", "erode", "smooth", "dilate")
# Pixels that a program takes.
BLOCK = 512


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when Triton's kernels can serve the call, else why not."""
    estimate, _, kernels, mixing = args[:4]
    return portable.supports((estimate, kernels, mixing), options)


def blurs(estimate: Tensor, kernels: Tensor, mixing: Tensor, options: dict) -> ModuleType:
    """The module whose blur and adjoint the step calls."""
    if options["backend"] == "triton" or not estimate.is_cuda:
        return portable
    return portable if native.supports((estimate, kernels, mixing), options) else native


def rl_step(
    *tensors: Tensor | None, backend: str | None, blurred: Tensor | None = None, **options: Any
) -> Tensor:
    """See :func:`blurops.rl_step`; ``blurred`` is H U, when it is known."""
    dtype = tensors[0].dtype
    if dtype in (torch.float16, torch.bfloat16):
        *wide, blurred = (None if t is None else t.float() for t in (*tensors, blurred))
        result = rl_step(*wide, backend=backend, blurred=blurred, **options)
        return result.clamp_(max=torch.finfo(dtype).max).to(dtype)
    estimate, observed, kernels, mixing, sums, mask = (
        None if t is None else t.contiguous() for t in tensors
    )
    out = torch.empty_like(estimate)
    if out.numel() == 0:
        return out
    how = {name: options[name] for name in FAMILY}
    family = blurs(estimate, kernels, mixing, {**how, "backend": backend})
    if sums is None:
        count = max(kernels.shape[0], mixing.shape[0])
        ones = observed.new_ones(count, 1, *observed.shape[2:])
        sums = family.basis_blur_adjoint(ones, kernels, mixing, **how)
    blur = functools.partial(family.basis_blur, kernels=kernels, mixing=mixing, **how)
    lost, clean = sets(estimate, observed.shape[-2:], options, blur)
    if blurred is None and family is native:
        tensors = (estimate, observed, kernels, mixing, sums, mask)
        ratios = _blur_into_ratios(tensors, lost, clean, options, how)
    else:
        blurred = blur(estimate) if blurred is None else blurred
        ratios = ratios_of(blurred.contiguous(), observed, mask, clean, options)
    del blurred, clean
    corrections = family.basis_blur_adjoint(ratios, kernels, mixing, **how)
    del ratios
    _update(estimate, corrections, sums, lost, options["tv"], out)
    return out


def sets(
    estimate: Tensor, size: Sequence[int], options: dict, blur: Callable[[Tensor], Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """``1 - z0`` and z, or twice ``None`` where all pixels are one set."""
    if not options["saturated"] or options["threshold"] == math.inf:
        return None, None
    saturation = Saturation(**{name: options[name] for name in _SENSOR})
    lost = 1 - formula.reliable_set(estimate, saturation)
    if saturation.dilate:
        return lost, (blur(lost) <= formula.LOST_SHARE).to(lost.dtype)
    return lost, (1 - formula.central(lost, size)).contiguous()


def stride(tensor: Tensor, axis: int) -> int:
    """Elements from one sample or channel to the next; 0 where one serves all."""
    return tensor.stride(axis) if tensor.shape[axis] > 1 else 0


def programs(image: Tensor) -> int:
    """Of a kernel that takes the image's pixels."""
    count, channels, height, width = image.shape
    return count * channels * -(-height * width // BLOCK)


def _blur_into_ratios(
    tensors: tuple, lost: Tensor | None, clean: Tensor | None, options: dict, how: dict
) -> Tensor:
    """As :func:`ratios_of`, of the blurred estimate, which stays in the blur's registers."""
    estimate, observed, kernels, mixing = tensors[:4]
    count, channels, *size = observed.shape
    out = observed.new_empty(count, channels if clean is None else 2 * channels, *size)
    step = compiled.struct_of(tensors, options)
    _native.fill(step, lost=lost, clean=clean, ratios=out)
    native.basis_blur_into("rl_ratios_cuda", step, estimate, kernels, mixing, **how)
    return out


def ratios_of(
    blurred: Tensor, observed: Tensor, mask: Tensor | None, clean: Tensor | None, options: dict
) -> Tensor:
    """The ratios q of one set, or for the reliable and the bright one, along the channels."""
    from blurops.ops.rl_step import triton_kernels

    count, channels, *size = observed.shape
    out = observed.new_empty(count, channels if clean is None else 2 * channels, *size)
    _triton.launch(
        triton_kernels.ratios, programs(observed), blurred, observed, mask, clean, out,
        channels, size[0] * size[1],
        *((0, 0) if mask is None else (stride(mask, 0), stride(mask, 1))),
        *(options[name] for name in ("a", "level", "eps")),
        like=out, SATURATED=options["saturated"], ACC=_triton.sums_type(out.dtype), BLOCK=BLOCK,
    )  # fmt: skip
    return out


def _update(
    estimate: Tensor, corrections: Tensor, sums: Tensor, lost: Tensor | None, tv: float, out: Tensor
) -> None:
    from blurops.ops.rl_step import triton_kernels

    dtype = out.dtype
    _triton.launch(
        triton_kernels.update, programs(out), estimate, corrections, sums, lost, out,
        *out.shape[1:], stride(sums, 0),
        formula.smallest_column_sum(dtype), tv, torch.finfo(dtype).tiny,
        like=out, TV=tv > 0, ACC=_triton.sums_type(dtype), BLOCK=BLOCK,
    )  # fmt: skip
