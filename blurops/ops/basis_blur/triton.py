# SPDX-License-Identifier: BSD-3-Clause
"""The family for GPUs on which the native module has no kernels: extends, launches, folds.

Beside its inputs and its result a call holds at most two images extended by the kernel's radius and
a few million partial sums; nothing of the size of the mixing. All sums have a fixed order, so
results repeat bit for bit.
"""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

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

# The gradient by the kernels is shared out among about so many programs.
_PROGRAMS = 1024
_TAPS = 16


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when Triton's kernels can serve the call, else why not."""
    reason = _triton.reason(args[0], options)
    if reason is not None:
        return reason
    if options["method"] == "fft":
        return "it sums over the taps and has no spectra"
    sides = ([t.shape[axis] for t in args[:3]] for axis in (-2, -1))
    pixels = 1
    for side, taps in zip(sides, _kernel_size(args), strict=True):
        pixels *= max(side) + taps
    if pixels > LARGEST_PLANE:
        return f"it counts pixels in 32 bits, and the extended image has {pixels}"
    return None


def _kernel_size(args: tuple) -> Sequence[int]:
    """(Kh, Kw) in a call of any member."""
    if len(args) == 5:  # basis_blur_grad_kernels
        return args[3]
    return (args[2] if len(args) == 4 else args[1]).shape[-2:]


@functools.cache
def _kernels() -> ModuleType:
    """Imported on first use, because they import Triton."""
    from blurops.ops.basis_blur import triton_kernels

    return triton_kernels


def _arithmetic(tensor: Tensor, basis: int, precision: str) -> dict[str, Any]:
    """What all kernels are compiled for."""
    return {
        "ACC": _triton.sums_type(tensor.dtype),
        "PRECISION": _triton.precision(tensor.dtype, tensor.device, precision),
        "BASIS": 16 if basis <= 16 else 32,
    }


def basis_blur(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """See :func:`blurops.basis_blur`."""
    count, channels = image.shape[:2]
    basis, *taps = kernels.shape[1:]
    size = mixing.shape[-2:]
    out = image.new_empty(count, channels, *size)
    if out.numel() == 0:
        return out
    image = extend(image, taps, boundary)
    kernels, mixing = kernels.contiguous(), mixing.contiguous()
    tile, group = tile_for(size, image), group_of(channels)
    _triton.launch(
        _kernels().blur, count_tiles(size, tile) * count * -(-channels // group),
        image, kernels, mixing, out,
        channels, basis, taps[0] * taps[1], taps[1], *size, image.shape[-1],
        image.shape[-2] * image.shape[-1], size[0] * size[1], step_of(kernels), step_of(mixing),
        like=out, GROUP=group, TAPS=_TAPS, **tile, **_arithmetic(image, basis, precision),
    )  # fmt: skip
    return out


def basis_blur_adjoint(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """See :func:`blurops.basis_blur_adjoint`."""
    count, channels, *size = image.shape
    basis, *taps = kernels.shape[1:]
    radius = (taps[0] // 2, taps[1] // 2)
    folded = boundary not in ("zeros", "valid")
    # Where the first tap of out's first pixel comes from, and how far out reaches beyond image.
    origin = radius if boundary == "zeros" else (0, 0)
    grown = (0, 0) if boundary == "zeros" else (taps[0] - 1, taps[1] - 1)
    out = image.new_empty(
        count, channels, size[0] + grown[0], size[1] + grown[1],
        dtype=working_type(image) if folded else image.dtype,
    )  # fmt: skip
    if out.numel() > 0:
        image, kernels, mixing = image.contiguous(), kernels.contiguous(), mixing.contiguous()
        block = min(_TAPS, power_of_2(taps[1]))
        tile = tile_for(out.shape[2:], out, extra=block - 1)
        group = group_of(channels)
        _triton.launch(
            _kernels().adjoint,
            count_tiles(out.shape[2:], tile, extra=block - 1) * count * -(-channels // group),
            image, kernels, mixing, out,
            channels, basis, *taps, *size, *out.shape[2:], *origin,
            out.shape[2] * out.shape[3], size[0] * size[1], step_of(kernels), step_of(mixing),
            like=out, GROUP=group, TAPS=block, **tile, **_arithmetic(image, basis, precision),
        )  # fmt: skip
    if folded:
        out = fold(out, radius, boundary).to(image.dtype)
    return out.contiguous()


def basis_blur_grad_kernels(
    grad: Tensor,
    image: Tensor,
    mixing: Tensor,
    kernel_size: Sequence[int],
    shared: bool,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """See :func:`blurops.basis_blur_grad_kernels`."""
    count, channels, *size = grad.shape
    results, basis, taps = 1 if shared else count, mixing.shape[1], kernel_size[0] * kernel_size[1]
    if grad.numel() == 0:
        return grad.new_zeros(results, basis, *kernel_size)
    image = extend(image, kernel_size, boundary)
    grad, mixing = grad.contiguous(), mixing.contiguous()
    tile, arithmetic = tile_for(size, grad), _arithmetic(grad, basis, precision)
    blocks = -(-taps // _TAPS) * -(-basis // arithmetic["BASIS"]) * results
    chunks = min(-(-_PROGRAMS // blocks), count_tiles(size, tile))
    parts = grad.new_empty(chunks, results, basis, *kernel_size, dtype=working_type(grad))
    _triton.launch(
        _kernels().grad_kernels, blocks * chunks,
        grad, image, mixing, parts,
        count // results, chunks, channels, basis, taps, kernel_size[1], *size, image.shape[-1],
        image.shape[-2] * image.shape[-1], size[0] * size[1], step_of(mixing),
        like=grad, TAPS=_TAPS, **tile, **arithmetic,
    )  # fmt: skip
    return parts.sum(0).to(grad.dtype)


def basis_blur_grad_mixing(
    grad: Tensor,
    image: Tensor,
    kernels: Tensor,
    shared: bool,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """See :func:`blurops.basis_blur_grad_mixing`."""
    count, channels, *size = grad.shape
    results, (basis, *taps) = 1 if shared else count, kernels.shape[1:]
    if grad.numel() == 0:
        return grad.new_zeros(results, basis, *size)
    image = extend(image, taps, boundary)
    grad, kernels = grad.contiguous(), kernels.contiguous()
    out = grad.new_empty(results, basis, *size)
    tile, arithmetic = tile_for(size, grad), _arithmetic(grad, basis, precision)
    _triton.launch(
        _kernels().grad_mixing,
        count_tiles(size, tile) * -(-basis // arithmetic["BASIS"]) * results,
        grad, image, kernels, out,
        count // results, channels, basis, taps[0] * taps[1], taps[1], *size, image.shape[-1],
        image.shape[-2] * image.shape[-1], size[0] * size[1], step_of(kernels),
        like=grad, TAPS=_TAPS, **tile, **arithmetic,
    )  # fmt: skip
    return out
