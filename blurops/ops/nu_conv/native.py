# SPDX-License-Identifier: BSD-3-Clause
"""The compiled ops: makes inputs contiguous, allocates the output, launches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops import _native
from blurops.ops import gather_cuda
from blurops.ops.basis_blur.tiling import DIRECT, Work
from blurops.ops.nu_conv import tiling

# Members that a tile of the basis-mixed blur can serve; the bank's gradient sums over the taps.
_TILED = ("nu_conv", "nu_conv_adjoint", "nu_conv_grad_weight")


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when the compiled module can serve the call, else why not."""
    reason = gather_cuda.reason(args)
    if reason is not None or options["method"] != "fft":
        return reason
    if args[0].device.type != "cpu":
        return "it sums over the taps on GPUs and has no spectra"
    if _bank_sides(args) == 4:
        return "it sums over the taps of a bank (F, C, K, K) and has no spectra"
    return None


def _bank_sides(args: tuple) -> int:
    """Dimensions of the bank: the second argument, or a gradient's third, or its shape."""
    if len(args) == 4:
        return args[1].ndim
    return args[2].ndim if isinstance(args[4], bool) else len(args[4])


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
    method: str,
    precision: str,
) -> Tensor:
    """Call a launcher; ``image`` (the sharp one), ``bank`` and ``weight`` are their shapes."""
    if image[0] == 0:
        return out.zero_()
    valid = boundary == "valid"
    tiles, budget = _tiles(member, out, image, bank, index, method)
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
        tile_height=tiles.height,
        tile_width=tiles.width,
        parts_down=tiles.parts_down,
        parts_across=tiles.parts_across,
        budget=budget,
    )
    launch = gather_cuda.LAUNCH[out.device.type]
    launch(member, problem, tensors, out, (precision == "high",))
    return out


def _tiles(
    member: str, out: Tensor, image: Sequence[int], bank: Sequence[int], index: Tensor, method: str
) -> tiling.Choice:
    """The tiles of a call, `DIRECT` where the member has none."""
    if out.is_cuda or len(bank) == 4 or member not in _TILED:
        return tiling.Choice(DIRECT, 0.0)
    element = 8 if out.dtype == torch.float64 else 4
    work = Work(
        "basis_blur", image[0], image[1], bank[0], tuple(index.shape[-2:]), tuple(bank[-2:]),
        element,
    )  # fmt: skip
    return tiling.choose(work, index.shape[1], method)


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
        method=method, precision=precision,
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
        method=method, precision=precision,
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
        method=method, precision=precision,
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
        method=method, precision=precision,
    )  # fmt: skip
