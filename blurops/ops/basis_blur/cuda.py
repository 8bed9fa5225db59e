# SPDX-License-Identifier: BSD-3-Clause
"""The CUDA half of the native backend: what it can serve, and its workspace.

It keeps to what the caller's stream orders: nothing here waits for the device.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops import _native
from blurops.ops.basis_blur import cuda_tiling
from blurops.ops.basis_blur.tiling import Work

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def reason(args: tuple, options: dict) -> str | None:
    """``None`` when the CUDA kernels can serve a call on CUDA tensors, else why not."""
    why = _native.cuda_reason()
    if why is not None:
        return why
    tensors = [a for a in args if isinstance(a, Tensor)]
    dtype = tensors[0].dtype
    if dtype not in DTYPES:
        return f"its CUDA kernels serve float32, float16 and bfloat16, not {dtype}".replace(
            "torch.", ""
        )
    width, widest = _kernel_width(args), _native.ask("widest_kernel_cuda")
    if options.get("method") == "direct" and width > widest:
        return (
            f"its direct CUDA kernels are at most {widest} taps wide, and these have {width} "
            "(method 'auto' or 'fft' serves them)"
        )
    return None


def _kernel_width(args: tuple) -> int:
    """Of a member's arguments: the kernels, or their size where they are what is computed."""
    if len(args) > 3 and not isinstance(args[3], bool):
        return args[3][-1]
    return args[1 if len(args) == 3 else 2].shape[-1]


def launch(
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
    """Queue a member of the family; ``image``, ``kernels`` and ``mixing`` are their shapes."""
    if out.numel() == 0:
        return out
    problem = _problem(member, out, image, kernels, mixing, anchor, boundary, method, precision)
    inputs = [t.contiguous() for t in tensors]
    workspace = _workspace(member, problem, out)
    _native.call_on_stream(f"{member}_cuda", out.device, *problem, *inputs, out, workspace)
    return out


def launch_into(
    launcher: str,
    step: Any,
    image: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    *,
    anchor: tuple[int, int],
    boundary: str,
    method: str,
    precision: str,
) -> None:
    """Queue a blur whose epilogue does a part of a step; see ``native.basis_blur_into``."""
    problem = _problem(
        "basis_blur", image, image.shape, kernels.shape, mixing.shape, anchor, boundary, method,
        precision,
    )  # fmt: skip
    workspace = _workspace("basis_blur", problem, image)
    _native.call_on_stream(
        launcher, image.device, *problem, step, kernels.contiguous(), mixing, workspace
    )


def _problem(
    member: str,
    like: Tensor,
    image: Sequence[int],
    kernels: Sequence[int],
    mixing: Sequence[int],
    anchor: tuple[int, int],
    boundary: str,
    method: str,
    precision: str,
) -> tuple[int, int, tuple[int, ...], bool]:
    """What a launcher takes first: its Problem, as codes and numbers, and whether it is "high"."""
    high, size, taps = precision == "high", tuple(mixing[-2:]), tuple(kernels[-2:])
    work = Work(member, image[0], image[1], kernels[1], size, taps, 4)
    tiles = cuda_tiling.choose(
        work, method, high, _native.ask("widest_kernel_cuda"), cuda_tiling.shared_bytes(like.device)
    )
    # Problem in csrc/basis_blur/basis_blur.h, in its order.
    numbers = (
        *image[:2], kernels[1], *image[2:], *size, *taps, *anchor,
        int(kernels[0] > 1), int(mixing[0] > 1), *tiles,
    )  # fmt: skip
    return _native.DTYPE_CODES[like.dtype], _native.BOUNDARY_CODES[boundary], numbers, high


def _workspace(member: str, problem: tuple, like: Tensor) -> Tensor:
    size = _native.ask(f"{member}_cuda_bytes", *problem)
    return like.new_empty(size, dtype=torch.uint8)
