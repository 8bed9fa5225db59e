# SPDX-License-Identifier: BSD-3-Clause
"""The fused backward on GPUs: the step once more, then three passes around a blur and an adjoint.

Nothing but the inputs is saved for it. Beside them and its results it holds at most 14 images of
size C*H*W at a time, 9 with one set, and what the family's members hold.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from blurops import _triton
from blurops.ops.rl_step import formula, gradients
from blurops.ops.rl_step import triton as step


def supports_gradients(args: tuple, options: dict) -> str | None:
    """``None`` when :func:`rl_step_backward` can serve the call, else why not."""
    if args[0].dtype in (torch.float16, torch.bfloat16):
        return "its derivatives are in float32 and float64"
    return step.supports(args, options)


def rl_step_backward(
    grad: Tensor, *arguments: Any, backend: str | None, **options: Any
) -> list[Tensor]:
    """The derivatives by the six tensors; one that is not needed has no elements."""
    *tensors, needs = arguments
    if grad.numel() == 0:
        return gradients.zeros(tensors, needs)
    estimate, observed, kernels, mixing, given, mask = (
        None if t is None else t.contiguous() for t in tensors
    )
    how = {name: options[name] for name in step.FAMILY}
    family = step.blurs(estimate, kernels, mixing, {**how, "backend": backend})
    blur = functools.partial(family.basis_blur, kernels=kernels, mixing=mixing, **how)
    adjoint = functools.partial(family.basis_blur_adjoint, kernels=kernels, mixing=mixing, **how)
    sums = given
    if sums is None:
        count = max(kernels.shape[0], mixing.shape[0])
        sums = adjoint(observed.new_ones(count, 1, *observed.shape[2:]))
    lost, clean = step.sets(estimate, observed.shape[-2:], options, blur)
    blurred = blur(estimate).contiguous()
    ratios = step.ratios_of(blurred, observed, mask, clean, options)
    corrections = adjoint(ratios)
    by_corrections, by_estimate, by_sums = _grad_update(
        grad.contiguous(), estimate, corrections, sums, lost, options["tv"]
    )
    del corrections
    by_blurred, by_observed, by_mask = _grad_ratios(
        blur(by_corrections), blurred, observed, mask, clean, options, needs[5]
    )
    del blurred
    if needs[0]:
        by_estimate += adjoint(by_blurred)
    pairs = [(ratios, by_corrections), (by_blurred, estimate)]
    if given is None:
        pairs.append((torch.ones_like(by_blurred[:, :1]), by_sums))
    by_field = gradients.by_field(family, pairs, kernels, mixing, needs[2:4], how)
    found = (by_estimate, by_observed, *by_field, by_sums, by_mask)
    return gradients.wanted(found, tensors, needs)


def _grad_update(
    grad: Tensor, estimate: Tensor, corrections: Tensor, sums: Tensor, lost: Tensor | None,
    tv: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """By the corrections, by the estimate where it stands beside them, and by the column sums."""
    from blurops.ops.rl_step import triton_gradients

    dtype = estimate.dtype
    by_estimate, by_sums = torch.empty_like(estimate), torch.empty_like(estimate)
    by_corrections = torch.empty_like(corrections)
    by_divergence = torch.empty_like(estimate) if tv > 0 else None
    tiny, how = torch.finfo(dtype).tiny, {"ACC": _triton.sums_type(dtype), "BLOCK": step.BLOCK}
    _triton.launch(
        triton_gradients.grad_update, step.programs(estimate),
        grad, estimate, corrections, sums, lost, by_estimate, by_corrections, by_sums,
        by_divergence, *estimate.shape[1:], step.stride(sums, 0),
        formula.smallest_column_sum(dtype), tv, tiny, like=estimate, TV=tv > 0, **how,
    )  # fmt: skip
    if tv > 0:
        _triton.launch(
            triton_gradients.grad_tv, step.programs(estimate),
            estimate, by_divergence, by_estimate, *estimate.shape[2:], tiny, like=estimate, **how,
        )  # fmt: skip
    return by_corrections, by_estimate, by_sums.sum(1, keepdim=True)


def _grad_ratios(
    grad: Tensor, blurred: Tensor, observed: Tensor, mask: Tensor | None, clean: Tensor | None,
    options: dict, masked: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """By H U, by the observation and by the mask, of the gradient by the ratios."""
    from blurops.ops.rl_step import triton_gradients

    channels, *size = observed.shape[1:]
    by_blurred, by_observed = torch.empty_like(blurred), torch.empty_like(blurred)
    by_mask = torch.empty_like(blurred) if masked else None
    _triton.launch(
        triton_gradients.grad_ratios, step.programs(observed),
        grad.contiguous(), blurred, observed, mask, clean, by_blurred, by_observed, by_mask,
        channels, size[0] * size[1],
        *((0, 0) if mask is None else (step.stride(mask, 0), step.stride(mask, 1))),
        *(options[name] for name in ("a", "level", "eps")), like=blurred,
        SATURATED=options["saturated"], ACC=_triton.sums_type(blurred.dtype), BLOCK=step.BLOCK,
    )  # fmt: skip
    return by_blurred, by_observed, by_mask
