# SPDX-License-Identifier: BSD-3-Clause
"""The compiled ops: makes inputs contiguous, allocates the output, launches."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from blurops import _native
from blurops.ops import gather_cuda


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when the compiled module can serve the call, else why not."""
    reason = gather_cuda.reason(args)
    if reason is None and options["method"] == "fft":
        return "it sums over the taps and has no spectra"
    return reason


def _launch(
    member: str,
    out: Tensor,
    tensors: Sequence[Tensor],
    *,
    image: Sequence[int],
    bank: Sequence[int],
    index: Tensor,
    weight: Sequence[int],
    boundary: str,
    precision: str,
) -> Tensor:
    """Call a launcher; ``image`` (the sharp one), ``bank`` and ``weight`` are their shapes."""
    if image[0] == 0:
        return out.zero_()
    valid = boundary == "valid"
    problem: Any = _native.fill(
        "NuConv",
        dtype=_native.DTYPE_CODES[out.dtype],
        boundary=_native.BOUNDARY_CODES[boundary],
        count=image[0],
        channels=image[1],
        filters=bank[0],
        picked=index.shape[1],
        height=image[-2],
        width=image[-1],
        out_height=index.shape[-2],
        out_width=index.shape[-1],
        kernel_height=bank[-2],
        kernel_width=bank[-1],
        anchor_y=0 if valid else bank[-2] // 2,
        anchor_x=0 if valid else bank[-1] // 2,
        own=len(bank) == 4,
        index_batched=index.shape[0] > 1,
        weight_batched=weight[0] > 1,
    )
    launch = gather_cuda.LAUNCH[out.device.type]
    launch(member, problem, tensors, out, (precision == "high",))
    return out


def nu_conv(
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    weight: Tensor,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """See :func:`blurops.nu_conv`."""
    channels = image.shape[1] if bank.ndim == 3 else 1
    out = image.new_empty(image.shape[0], channels, *index.shape[-2:])
    return _launch(
        "nu_conv", out, (image, bank, index, weight),
        image=image.shape, bank=bank.shape, index=index, weight=weight.shape, boundary=boundary,
        precision=precision,
    )  # fmt: skip


def nu_conv_adjoint(
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    weight: Tensor,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """See :func:`blurops.nu_conv_adjoint`."""
    grown = [k - 1 if boundary == "valid" else 0 for k in bank.shape[-2:]]
    size = [n + more for n, more in zip(image.shape[-2:], grown, strict=True)]
    channels = image.shape[1] if bank.ndim == 3 else bank.shape[1]
    out = image.new_empty(image.shape[0], channels, *size)
    return _launch(
        "nu_conv_adjoint", out, (image, bank, index, weight),
        image=out.shape, bank=bank.shape, index=index, weight=weight.shape, boundary=boundary,
        precision=precision,
    )  # fmt: skip


def nu_conv_grad_bank(
    grad: Tensor,
    image: Tensor,
    index: Tensor,
    weight: Tensor,
    bank_shape: Sequence[int],
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """See :func:`blurops.nu_conv_grad_bank`."""
    out = grad.new_empty(*bank_shape)
    return _launch(
        "nu_conv_grad_bank", out, (grad, image, index, weight),
        image=image.shape, bank=bank_shape, index=index, weight=weight.shape, boundary=boundary,
        precision=precision,
    )  # fmt: skip


def nu_conv_grad_weight(
    grad: Tensor,
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    shared: bool,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """See :func:`blurops.nu_conv_grad_weight`."""
    out = grad.new_empty(1 if shared else grad.shape[0], *index.shape[1:])
    return _launch(
        "nu_conv_grad_weight", out, (grad, image, bank, index),
        image=image.shape, bank=bank.shape, index=index, weight=out.shape, boundary=boundary,
        precision=precision,
    )  # fmt: skip
