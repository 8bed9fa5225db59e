# SPDX-License-Identifier: BSD-3-Clause
"""NU-Conv for GPUs on which the native module has no kernels: extends, sorts, launches, folds.

Beside its inputs and its result a call holds at most two images extended by the kernel's radius.
The gradient by the bank holds the index in sorted order, and some hundred filters more. All sums
have a fixed order, so results repeat bit for bit.
"""

import functools
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from blurops import _triton
from blurops._triton_tiles import (
    LARGEST_PLANE,
    count_tiles,
    extend,
    fold,
    group_of,
    power_of_2,
    step_of,
    tile_for,
    working_type,
)

_TAPS = 16
# The gradient by the bank is shared out among about so many programs for each block of taps, and
# each adds up so many picks at once.
_SEGMENTS = 256
_PICKS = 32


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when Triton's kernels can serve the call, else why not."""
    reason = _triton.reason(args[0], options)
    if reason is not None:
        return reason
    if options["method"] == "fft":
        return "it sums over the taps and has no spectra"
    pixels = 1
    for axis in (-2, -1):
        # The image, or the gradient and the image, come first.
        sides = [t.shape[axis] for t in args[:2] if t.ndim == 4]
        pixels *= max(sides) + _kernel_size(args)[axis]
    if pixels > LARGEST_PLANE:
        return f"it counts pixels in 32 bits, and the extended image has {pixels}"
    return None


def _kernel_size(args: tuple) -> Sequence[int]:
    """(Kh, Kw) in a call of any member."""
    if len(args) == 4:  # nu_conv, nu_conv_adjoint
        return args[1].shape[-2:]
    last = args[4]
    return args[2].shape[-2:] if isinstance(last, bool) else last[-2:]


@functools.cache
def _kernels() -> ModuleType:
    """Imported on first use, because they import Triton."""
    from blurops.ops.nu_conv import triton_kernels

    return triton_kernels


def _planes(bank: Sequence[int]) -> int:
    """Of each filter of a bank of this shape."""
    return bank[1] if len(bank) == 4 else 1


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
    (kh, kw), size, planes = bank.shape[-2:], weight.shape[-2:], _planes(bank.shape)
    count, channels = image.shape[0], 1 if bank.ndim == 4 else image.shape[1]
    out = image.new_empty(count, channels, *size)
    if out.numel() == 0 or planes == 0:
        return out.zero_()
    image = extend(image, (kh, kw), boundary)
    bank, index, weight = bank.contiguous(), index.contiguous(), weight.contiguous()
    tile, group = tile_for(size, image, share=2), group_of(channels)
    _triton.launch(
        _kernels().conv, count_tiles(size, tile) * count * -(-channels // group),
        image, bank, index, weight, out,
        channels, planes, bank.shape[0], index.shape[1], kh * kw, kw, *size, image.shape[-1],
        image.shape[-2] * image.shape[-1], size[0] * size[1], step_of(index), step_of(weight),
        like=out, ACC=_triton.sums_type(out.dtype), GROUP=group, TAPS=_TAPS, **tile,
    )  # fmt: skip
    return out


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
    (kh, kw), size, planes = bank.shape[-2:], image.shape[-2:], _planes(bank.shape)
    count, channels = image.shape[0], planes if bank.ndim == 4 else image.shape[1]
    radius, folded = (kh // 2, kw // 2), boundary not in ("zeros", "valid")
    # Where the first tap of out's first pixel comes from, and how far out reaches beyond image.
    origin = radius if boundary == "zeros" else (0, 0)
    grown = (0, 0) if boundary == "zeros" else (kh - 1, kw - 1)
    out = image.new_empty(
        count, channels, size[0] + grown[0], size[1] + grown[1],
        dtype=working_type(image) if folded else image.dtype,
    )  # fmt: skip
    if out.numel() > 0:
        image, bank = image.contiguous(), bank.contiguous()
        index, weight = index.contiguous(), weight.contiguous()
        tile = tile_for(out.shape[2:], out, share=2)
        group = group_of(channels) if planes == 1 else 1
        _triton.launch(
            _kernels().adjoint,
            count_tiles(out.shape[2:], tile) * count * -(-channels // group),
            image, bank, index, weight, out,
            channels, planes, bank.shape[0], index.shape[1], kh * kw, kw, *size, *out.shape[2:],
            *origin, out.shape[2] * out.shape[3], size[0] * size[1], step_of(index),
            step_of(weight),
            like=out, ACC=_triton.sums_type(image.dtype), GROUP=group, TAPS=_TAPS, **tile,
        )  # fmt: skip
    if folded:
        out = fold(out, radius, boundary).to(image.dtype)
    return out.contiguous()


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
    (filters, *_, kh, kw), planes = bank_shape, _planes(bank_shape)
    out = grad.new_empty(*bank_shape)
    if grad.numel() == 0 or planes == 0:
        return out.zero_()
    image = extend(image, (kh, kw), boundary)
    grad, weight = grad.contiguous(), weight.contiguous()
    order, bounds, firsts = _segments(index, filters)
    segments, blocks = len(bounds) - 1, -(-kh * kw // _TAPS)
    parts = grad.new_empty(segments, planes * kh * kw, dtype=working_type(grad))
    accumulator = _triton.sums_type(grad.dtype)
    maps = grad.shape[-2:].numel()
    _triton.launch(
        _kernels().grad_bank, segments * planes * blocks,
        grad, image, weight, order, bounds, parts,
        len(grad) // len(index), grad.shape[1], planes, index.shape[1], kh * kw, kw,
        grad.shape[-1], image.shape[-1], image.shape[-2] * image.shape[-1], maps, step_of(weight),
        like=grad, ACC=accumulator, PICKS=_PICKS, TAPS=_TAPS,
    )  # fmt: skip
    block = min(1024, power_of_2(parts.shape[1]))
    _triton.launch(
        _kernels().add_segments, filters * -(-parts.shape[1] // block),
        parts, firsts, out, parts.shape[1],
        like=grad, ACC=accumulator, BLOCK=block,
    )  # fmt: skip
    return out


def _segments(index: Tensor, filters: int) -> tuple[Tensor, Tensor, Tensor]:
    """The picks in the order of their filters, cut where a filter ends and after so many.

    Returns:
        The picks, flat places in index. Where segments begin and the last ends, in that order.
        For each filter, its first segment; the last of these is the number of all.
    """
    found, order = index.flatten().clamp(0, filters - 1).sort(stable=True)
    wanted = torch.arange(filters + 1, dtype=found.dtype, device=found.device)
    starts = torch.searchsorted(found, wanted)
    length = max(-(-len(found) // _SEGMENTS), _PICKS)
    cuts = torch.arange(0, len(found), length, device=found.device)
    bounds = torch.cat((starts, cuts)).sort().values
    return order, bounds, torch.searchsorted(bounds, starts)


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
    (kh, kw), size, planes = bank.shape[-2:], grad.shape[-2:], _planes(bank.shape)
    results = 1 if shared else len(grad)
    out = grad.new_empty(results, *index.shape[1:])
    if grad.numel() == 0:
        return out.zero_()
    image = extend(image, (kh, kw), boundary)
    grad, bank, index = grad.contiguous(), bank.contiguous(), index.contiguous()
    tile, picked = tile_for(size, grad, share=4), min(4, power_of_2(index.shape[1]))
    _triton.launch(
        _kernels().grad_weight, count_tiles(size, tile) * -(-index.shape[1] // picked) * results,
        grad, image, bank, index, out,
        len(grad) // results, grad.shape[1], planes, bank.shape[0], index.shape[1], kh * kw, kw,
        *size, image.shape[-1], image.shape[-2] * image.shape[-1], size[0] * size[1],
        step_of(index),
        like=grad, ACC=_triton.sums_type(grad.dtype), PICKED=picked, TAPS=_TAPS, **tile,
    )  # fmt: skip
    return out
