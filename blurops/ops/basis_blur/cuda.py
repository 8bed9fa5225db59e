# SPDX-License-Identifier: BSD-3-Clause
"""The CUDA half of the native backend: what it can serve, and its workspace.

It keeps to what the caller's stream orders: nothing here waits for the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from blurops import _native

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
    if options.get("method") == "fft":
        return "its CUDA kernels are direct, and method is 'fft'"
    width, widest = _kernel_width(args), _native.ask("widest_kernel_cuda")
    if width > widest:
        return f"its CUDA kernels are at most {widest} taps wide, and these have {width}"
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
    precision: str,
) -> Tensor:
    """Queue a member of the family; ``image``, ``kernels`` and ``mixing`` are their shapes."""
    if out.numel() == 0:
        return out
    # Problem in csrc/basis_blur/basis_blur.h, in its order, without a tiling.
    numbers = (
        *image[:2], kernels[1], *image[2:], *mixing[-2:], *kernels[-2:], *anchor,
        int(kernels[0] > 1), int(mixing[0] > 1), 0, 0, 0, 0,
    )  # fmt: skip
    problem = (_native.DTYPE_CODES[out.dtype], _native.BOUNDARY_CODES[boundary], numbers)
    high = precision == "high"
    size = _native.ask(f"{member}_cuda_bytes", *problem, high)
    workspace = out.new_empty(size, dtype=torch.uint8)
    inputs = [t.contiguous() for t in tensors]
    _native.call_on_stream(f"{member}_cuda", out.device, *problem, high, *inputs, out, workspace)
    return out
