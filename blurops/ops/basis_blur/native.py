# SPDX-License-Identifier: BSD-3-Clause
"""The compiled family: makes inputs contiguous, allocates the output, launches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops import _native
from blurops.ops.basis_blur import cuda, tiling
from blurops.ops.basis_blur.tiling import Tiling, Work


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when the compiled module can serve the call, else why not."""
    reason = _native.missing_reason()
    if reason is not None:
        return reason
    device = args[0].device
    if device.type == "cuda":
        return cuda.reason(args, options)
    if device.type != "cpu":
        return f"it has kernels for CPU and CUDA only, and the input is on {device}"
    return None


def _anchor(kernel_size: Sequence[int], boundary: str) -> tuple[int, int]:
    """Tap d reads the sharp pixel p + d - anchor."""
    return (0, 0) if boundary == "valid" else (kernel_size[-2] // 2, kernel_size[-1] // 2)


def _trim(kernels: Tensor, boundary: str) -> tuple[Tensor, tuple[int, int]]:
    """The kernels without the zeros around all of them, and their anchor.

    On CUDA as they are: to look for zeros is to wait for the device.
    """
    anchor = _anchor(kernels.shape, boundary)
    if kernels.is_cuda:
        return kernels, anchor
    kernels = kernels.contiguous()
    count, basis, height, width = kernels.shape
    code = _native.DTYPE_CODES[kernels.dtype]
    top, bottom, left, right = _native.ask(
        "kernel_support", code, count * basis, height, width, kernels
    )
    if bottom == 0:  # one tap, which is zero, stands for all of them
        return kernels[..., :1, :1], anchor
    if (top, bottom, left, right) == (0, height, 0, width):
        return kernels, anchor
    return kernels[..., top:bottom, left:right], (anchor[0] - top, anchor[1] - left)


def _launch(
    member: str,
    out: Tensor,
    tensors: Sequence[Tensor],
    *,
    image: Sequence[int],
    kernels: Sequence[int],
    mixing: Sequence[int],
    anchor: tuple[int, int],
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """Call a launcher; ``image``, ``kernels`` and ``mixing`` are their shapes."""
    if out.is_cuda:
        return cuda.launch(
            member, out, tensors, image=image, kernels=kernels, mixing=mixing,
            anchor=anchor, boundary=boundary, method=method, precision=precision,
        )  # fmt: skip
    if out.numel() > 0:
        problem = _problem(member, out, image, kernels, mixing, anchor, boundary, method)
        _native.call(f"{member}_cpu", *problem, *(t.contiguous() for t in tensors), out)
    return out


def _problem(
    member: str,
    like: Tensor,
    image: Sequence[int],
    kernels: Sequence[int],
    mixing: Sequence[int],
    anchor: tuple[int, int],
    boundary: str,
    method: str,
) -> tuple[int, int, tuple[int, ...]]:
    """What a launcher takes for its Problem: the codes of dtype and boundary, and the numbers."""
    work = _work(member, like, image, kernels, mixing)
    # Problem in csrc/basis_blur/basis_blur.h, in its order.
    numbers = (
        work.count, work.channels, work.basis, *image[-2:], *work.size, *work.taps, *anchor,
        int(kernels[0] > 1), int(mixing[0] > 1), *tiling.choose(work, method),
    )  # fmt: skip
    return _native.DTYPE_CODES[like.dtype], _native.BOUNDARY_CODES[boundary], numbers


def _work(
    member: str, like: Tensor, image: Sequence[int], kernels: Sequence[int], mixing: Sequence[int]
) -> Work:
    """What the time of a call with tensors of these shapes depends on."""
    element = 8 if like.dtype == torch.float64 else 4
    return Work(member, *image[:2], kernels[1], tuple(mixing[-2:]), tuple(kernels[-2:]), element)


def basis_blur(
    image: Tensor, kernels: Tensor, mixing: Tensor, *, boundary: str, method: str, precision: str
) -> Tensor:
    """See :func:`blurops.basis_blur`."""
    out = image.new_empty(*image.shape[:2], *mixing.shape[-2:])
    kernels, anchor = _trim(kernels, boundary)
    return _launch(
        "basis_blur", out, (image, kernels, mixing),
        image=image.shape, kernels=kernels.shape, mixing=mixing.shape,
        anchor=anchor, boundary=boundary, method=method,
        precision=precision,
    )  # fmt: skip


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

    ``image`` and ``mixing`` are contiguous; ``step`` is the native struct that the epilogue works
    on, and names the image.
    """
    kernels, anchor = _trim(kernels, boundary)
    if image.is_cuda:
        cuda.launch_into(
            launcher, step, image, kernels, mixing,
            anchor=anchor, boundary=boundary, method=method, precision=precision,
        )  # fmt: skip
        return
    problem = _problem(
        "basis_blur", image, image.shape, kernels.shape, mixing.shape, anchor, boundary, method
    )
    _native.call(launcher, *problem, step, kernels.contiguous(), mixing)


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
    kernels, anchor = _trim(kernels, boundary)
    return _launch(
        "basis_blur_adjoint", out, (image, kernels, mixing),
        image=out.shape, kernels=kernels.shape, mixing=mixing.shape,
        anchor=anchor, boundary=boundary, method=method,
        precision=precision,
    )  # fmt: skip


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
    return _launch(
        "basis_blur_grad_kernels", out, (grad, image, mixing),
        image=image.shape, kernels=out.shape, mixing=mixing.shape,
        anchor=_anchor(kernel_size, boundary), boundary=boundary, method=method,
        precision=precision,
    )  # fmt: skip


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
    kernels, anchor = _trim(kernels, boundary)
    return _launch(
        "basis_blur_grad_mixing", out, (grad, image, kernels),
        image=image.shape, kernels=kernels.shape, mixing=out.shape,
        anchor=anchor, boundary=boundary, method=method,
        precision=precision,
    )  # fmt: skip


def basis_blur_backward(
    grad: Tensor,
    image: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    needs: Sequence[bool],
    *,
    boundary: str,
    method: str,
    precision: str,
) -> list[Tensor]:
    """The gradients of a blur that are needed, in one sweep unless that is slower than one by one.

    The others have no elements.
    """
    outs = [
        like.new_empty(like.shape if needed else 0)
        for like, needed in zip((image, kernels, mixing), needs, strict=True)
    ]
    if grad.numel() == 0:
        return [out.zero_() for out in outs]
    work = _work("basis_blur_backward", grad, image.shape, kernels.shape, mixing.shape)
    if all(needs) and not tiling.is_one_sweep(work, method):
        how = {"boundary": boundary, "method": method, "precision": precision}
        size, shared = kernels.shape[-2:], [t.shape[0] == 1 for t in (kernels, mixing)]
        return [
            basis_blur_adjoint(grad, kernels, mixing, **how),
            basis_blur_grad_kernels(grad, image, mixing, size, shared[0], **how),
            basis_blur_grad_mixing(grad, image, kernels, shared[1], **how),
        ]
    if needs[1]:  # zero taps have gradients too
        anchor = _anchor(kernels.shape, boundary)
    else:
        kernels, anchor = _trim(kernels, boundary)
    problem = _problem(
        "basis_blur_backward", grad, image.shape, kernels.shape, mixing.shape, anchor, boundary,
        method,
    )  # fmt: skip
    tensors = [t.contiguous() for t in (grad, image, kernels, mixing)]
    wanted = (out if needed else None for out, needed in zip(outs, needs, strict=True))
    _native.call("basis_blur_backward_cpu", *problem, *tensors, *wanted)
    return outs


def tile_of(
    member: str,
    image: Sequence[int],
    kernels: Sequence[int],
    element: int = 4,
    method: str = "auto",
) -> Tiling:
    """The tiling that images of (N, C, H, W) blurred with (., B, Kh, Kw) get; for benchmarks."""
    work = Work(
        member, image[0], image[1], kernels[1], tuple(image[-2:]), tuple(kernels[-2:]), element
    )
    return tiling.choose(work, method)
