# SPDX-License-Identifier: BSD-3-Clause
"""The compiled update: a few passes over images around the compiled blur and adjoint.

Beside its inputs and its results a step holds at most 5 images of size C*H*W at a time, 2 with one
set; the derivatives, for which nothing but the inputs is saved, 12 and 8.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurops import _native
from blurops.ops.basis_blur import native as family
from blurops.ops.rl_step import buffers, formula, gradients

_FAMILY = ("boundary", "method", "precision")


class _Step(NamedTuple):
    """A step as far as the corrections, and the native struct that points to its parts."""

    struct: Any
    tensors: tuple  # the six arguments, contiguous, the column sums filled in
    ratios: Tensor
    corrections: Tensor
    sets: tuple[Tensor | None, ...]  # 1 - z0 and z
    blurred: Tensor | None


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when the compiled module can serve the call, else why not."""
    estimate, _, kernels, mixing = args[:4]
    if estimate.device.type != "cpu" and _native.missing_reason() is None:
        return f"it has kernels for the CPU only, and the input is on {estimate.device}"
    return family.supports((estimate, kernels, mixing), options)


def rl_step(
    *tensors: Tensor | None, backend: str | None, blurred: Tensor | None = None, **options: Any
) -> Tensor:
    """See :func:`blurops.rl_step`; ``blurred`` is H U, when it is known."""
    dtype = tensors[0].dtype
    if dtype in (torch.float16, torch.bfloat16):
        *wide, blurred = (None if t is None else t.float() for t in (*tensors, blurred))
        result = rl_step(*wide, backend=backend, blurred=blurred, **options)
        return result.clamp_(max=torch.finfo(dtype).max).to(dtype)
    out = tensors[0].new_empty(tensors[0].shape)
    if out.numel() > 0:
        step = _prepare(tensors, options, keep=False, known=blurred)
        _native.call("rl_update_cpu", step.struct, out)
        buffers.give_back(step.ratios, step.corrections, *step.sets)
    return out


def supports_gradients(args: tuple, options: dict) -> str | None:
    """:func:`supports` for :func:`rl_step_backward`."""
    if args[0].dtype in (torch.float16, torch.bfloat16):
        return "its derivatives are in float32 and float64"
    return supports(args, options)


def rl_step_backward(
    grad: Tensor,
    estimate: Tensor,
    observed: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    column_sums: Tensor | None,
    mask: Tensor | None,
    needs: list[bool],
    **options: Any,
) -> list[Tensor]:
    """The derivatives by the six tensors; one that is not needed has no elements."""
    tensors = (estimate, observed, kernels, mixing, column_sums, mask)
    if grad.numel() == 0:
        return gradients.zeros(tensors, needs)
    how = {name: options[name] for name in _FAMILY}
    step = _prepare(tensors, options, keep=True)
    _, _, kernels, mixing, _, _ = step.tensors
    by_corrections, by_estimate, by_sums = _grad_update(step, grad.contiguous(), options["tv"] > 0)
    ratios, step = step.ratios, step._replace(corrections=None)
    by_ratios = family.basis_blur(by_corrections, kernels, mixing, **how)
    by_blurred, by_observed, by_mask = _grad_ratios(step, by_ratios, needs[5])
    del step, by_ratios
    if needs[0]:
        by_estimate += _adjoint(by_blurred, kernels, mixing, how)
    # Each pair is a blurred and a sharp image that H multiplies: q and the gradient of H^T q, the
    # gradient of H U and U, and 1 and the gradient of H^T 1.
    pairs = [(ratios, by_corrections), (by_blurred, estimate)]
    if column_sums is None:
        pairs.append((torch.ones_like(by_blurred[:, :1]), by_sums))
    by_field = gradients.by_field(family, pairs, kernels, mixing, needs[2:4], how)
    found = (by_estimate, by_observed, *by_field, by_sums, by_mask)
    return gradients.wanted(found, tensors, needs)


def _adjoint(
    image: Tensor, kernels: Tensor, mixing: Tensor, how: dict, out: Tensor | None = None
) -> Tensor:
    return family.basis_blur_adjoint(image, kernels, mixing, **how, out=out)


def _prepare(tensors: tuple, options: dict, keep: bool, known: Tensor | None = None) -> _Step:
    """Everything up to the corrections, from ``known`` H U or from U.

    With ``keep``, what the derivatives need besides is there too.
    """
    how = {name: options[name] for name in _FAMILY}
    estimate, observed, kernels, mixing, sums, mask = (
        None if t is None else t.contiguous() for t in tensors
    )
    if sums is None:
        count = max(kernels.shape[0], mixing.shape[0])
        ones = observed.new_ones(count, 1, *observed.shape[2:])
        sums = _adjoint(ones, kernels, mixing, how)
    tensors = (estimate, observed, kernels, mixing, sums, mask)
    struct = struct_of(tensors, options)
    sets = _sets(struct, tensors, options, how)
    count, channels, *size = observed.shape
    channels *= 1 if sets[0] is None else 2
    ratios = buffers.take((count, channels, *size), observed)
    blurred = torch.empty_like(observed) if keep else None
    _native.fill(struct, ratios=ratios, blurred=blurred)
    if known is None:
        family.basis_blur_into("rl_ratios_cpu", struct, estimate, kernels, mixing, **how)
    else:
        known = known.contiguous()
        _native.call("rl_ratios_of_cpu", struct, known)
    if not keep:
        buffers.give_back(*sets[1:])
        sets = sets[:1]
    corrections = buffers.take((count, channels, *estimate.shape[2:]), observed)
    _adjoint(ratios, kernels, mixing, how, corrections)
    _native.fill(struct, corrections=corrections)
    return _Step(struct, tensors, ratios, corrections, sets, blurred)


def struct_of(tensors: tuple, options: dict) -> Any:
    """The native RlStep of these tensors, without sets and results."""
    estimate, observed, _, _, sums, mask = tensors
    return _native.fill(
        "RlStep",
        dtype=_native.DTYPE_CODES[estimate.dtype],
        count=estimate.shape[0], channels=estimate.shape[1],
        height=estimate.shape[2], width=estimate.shape[3],
        out_height=observed.shape[2], out_width=observed.shape[3],
        **{name: options[name] for name in ("saturated", "a", "level", "eps", "tv")},
        smallest_sum=formula.smallest_column_sum(estimate.dtype),
        lost_share=formula.LOST_SHARE,
        sums_stride=_stride(sums, 0),
        mask_stride=0 if mask is None else _stride(mask, 0),
        mask_channel_stride=0 if mask is None else _stride(mask, 1),
        estimate=estimate, observed=observed, column_sums=sums, mask=mask,
    )  # fmt: skip


def _stride(tensor: Tensor, axis: int) -> int:
    """Elements from one sample or channel to the next; 0 where one serves all."""
    return tensor.stride(axis) if tensor.shape[axis] > 1 else 0


def _sets(struct: Any, tensors: tuple, options: dict, how: dict) -> tuple[Tensor | None, ...]:
    """``1 - z0`` and z, or twice ``None``: without bright pixels both sets' ratios are the same."""
    estimate, observed, kernels, mixing = tensors[:4]
    if not options["saturated"] or options["threshold"] == math.inf:
        return None, None
    lost = buffers.take(estimate.shape, estimate)
    membership = (options[name] for name in ("threshold", "erode", "smooth"))
    if not _native.call("rl_lost_cpu", struct, *membership, lost):
        buffers.give_back(lost)
        return None, None
    if options["dilate"]:
        clean = buffers.take(observed.shape, observed)
        _native.fill(struct, lost=lost, clean=clean)
        family.basis_blur_into("rl_clean_cpu", struct, lost, kernels, mixing, **how)
    else:
        clean = torch.rsub(formula.central(lost, observed.shape[-2:]), 1).contiguous()
        _native.fill(struct, lost=lost, clean=clean)
    return lost, clean


def _grad_update(step: _Step, grad: Tensor, tv: bool) -> tuple[Tensor, Tensor, Tensor]:
    """By the corrections, by the estimate where it stands beside them, and by the column sums."""
    estimate = step.tensors[0]
    by_corrections = torch.empty_like(step.corrections)
    by_estimate = torch.empty_like(estimate)
    by_sums = estimate.new_empty(estimate.shape[0], 1, *estimate.shape[2:])
    divergence = torch.empty_like(estimate) if tv else None
    _native.fill(
        step.struct, grad=grad, grad_corrections=by_corrections, grad_estimate=by_estimate,
        grad_sums=by_sums, grad_divergence=divergence,
    )  # fmt: skip
    _native.call("rl_grad_update_cpu", step.struct)
    return by_corrections, by_estimate, by_sums


def _grad_ratios(step: _Step, grad: Tensor, masked: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """By H U, by the observation and by the mask, of the gradient by the ratios."""
    by_blurred, by_observed = torch.empty_like(step.blurred), torch.empty_like(step.blurred)
    by_mask = torch.empty_like(step.blurred) if masked else None
    _native.fill(
        step.struct, grad_ratios=grad, grad_blurred=by_blurred, grad_observed=by_observed,
        grad_mask=by_mask,
    )  # fmt: skip
    _native.call("rl_grad_ratios_cpu", step.struct)
    return by_blurred, by_observed, by_mask
