# SPDX-License-Identifier: BSD-3-Clause
"""The compiled family: makes inputs contiguous, allocates the output, launches."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from blurops import _native

# Multiply-adds of the direct kernel, per pixel, that one transform of a plane is taken to cost.
# Measured side by side on two AVX-512 cores it costs 50 to 200, depending on the sizes: spectra
# must be about twice as fast before the direct kernel's constant memory is given up for them.
_TRANSFORM_COST = 300


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when the compiled module can serve the call, else why not."""
    reason = _native.missing_reason()
    if reason is not None:
        return reason
    if args[0].device.type != "cpu":
        return f"it has kernels for the CPU only, and the input is on {args[0].device}"
    if options["method"] == "fft":
        return "it has no FFT method"
    if options["method"] == "auto" and options["backend"] is None and _spectra_are_faster(args):
        return "torch's FFT is faster at these sizes"
    return None


def _spectra_are_faster(args: tuple) -> bool:
    """Compare multiply-adds per pixel: each tap costs B + C of them, each transform its own."""
    if len(args) == 5:  # basis_blur_grad_kernels has no kernels, only their size
        basis, taps = args[2].shape[1], args[3][0] * args[3][1]
    else:
        kernels = args[1] if len(args) == 3 else args[2]
        basis, taps = kernels.shape[1], kernels.shape[-2] * kernels.shape[-1]
    channels = args[0].shape[1]
    transforms = basis + channels + basis * channels
    return (basis + channels) * taps > _TRANSFORM_COST * transforms


def _sizes(
    image: Tensor, kernels: Sequence[int], mixing: Sequence[int], blurred: Sequence[int]
) -> tuple:
    """The numbers of Problem in csrc/basis_blur/basis_blur.h, in its order."""
    count, channels, height, width = image.shape
    batch, basis, kernel_height, kernel_width = kernels
    return (
        count, channels, basis, height, width, *blurred[-2:], kernel_height, kernel_width,
        int(batch > 1), int(mixing[0] > 1),
    )  # fmt: skip


def _launch(
    name: str, out: Tensor, tensors: Sequence[Tensor], sizes: tuple, boundary: str
) -> Tensor:
    if out.numel() > 0:
        _native.call(
            name,
            _native.DTYPE_CODES[out.dtype],
            _native.BOUNDARY_CODES[boundary],
            *sizes,
            *(t.contiguous() for t in tensors),
            out,
        )
    return out


def basis_blur(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """See :func:`blurops.basis_blur`."""
    out = image.new_empty(*image.shape[:2], *mixing.shape[-2:])
    sizes = _sizes(image, kernels.shape, mixing.shape, out.shape)
    return _launch("basis_blur_cpu", out, (image, kernels, mixing), sizes, boundary)


def basis_blur_into(
    launcher: str,
    step: Any,
    image: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> None:
    """Blur, and let a launcher's epilogue take the values instead of storing them.

    All tensors are contiguous; ``step`` is the native struct that the epilogue works on, ``image``
    the one that it names.
    """
    sizes = _sizes(image, kernels.shape, mixing.shape, mixing.shape)
    codes = _native.DTYPE_CODES[image.dtype], _native.BOUNDARY_CODES[boundary]
    _native.call(launcher, *codes, *sizes, step, kernels, mixing)


def basis_blur_adjoint(
    image: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    *,
    boundary: str,
    method: str,
    precision: str,
    out: Tensor | None = None,
) -> Tensor:
    """See :func:`blurops.basis_blur_adjoint`; written to ``out`` where it is given."""
    grown = (kernels.shape[-2] - 1, kernels.shape[-1] - 1) if boundary == "valid" else (0, 0)
    size = (image.shape[-2] + grown[0], image.shape[-1] + grown[1])
    if out is None:
        out = image.new_empty(*image.shape[:2], *size)
    sizes = _sizes(out, kernels.shape, mixing.shape, image.shape)
    return _launch("basis_blur_adjoint_cpu", out, (image, kernels, mixing), sizes, boundary)


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
    count = 1 if shared else image.shape[0]
    out = grad.new_empty(count, mixing.shape[1], *kernel_size)
    if grad.numel() == 0:
        return out.zero_()
    sizes = _sizes(image, out.shape, mixing.shape, grad.shape)
    return _launch("basis_blur_grad_kernels_cpu", out, (grad, image, mixing), sizes, boundary)


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
    count = 1 if shared else image.shape[0]
    out = grad.new_empty(count, kernels.shape[1], *grad.shape[-2:])
    if grad.numel() == 0:
        return out.zero_()
    sizes = _sizes(image, kernels.shape, out.shape, grad.shape)
    return _launch("basis_blur_grad_mixing_cpu", out, (grad, image, kernels), sizes, boundary)
