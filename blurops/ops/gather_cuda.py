# SPDX-License-Identifier: BSD-3-Clause
"""The CUDA half of the gathering ops, NU-Conv and motion blur: what it serves, and its launches.

It keeps to what the caller's stream orders: nothing here waits for the device, or looks at values.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops import _native

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def reason(args: tuple) -> str | None:
    """``None`` when the compiled module can serve tensors where these are, else why not."""
    why, device, dtype = _native.missing_reason(), args[0].device, args[0].dtype
    if why is not None or device.type == "cpu":
        return why
    if device.type != "cuda":
        return f"it has kernels for CPU and CUDA only, and the input is on {device}"
    why = _native.cuda_reason()
    if why is None and dtype not in DTYPES:
        return f"its CUDA kernels serve float32, float16 and bfloat16, not {str(dtype)[6:]}"
    return why


def launch_cpu(
    member: str, problem: Any, tensors: Sequence[Tensor], out: Tensor, high: tuple[bool, ...],
    *more: Tensor,
) -> None:  # fmt: skip
    """Compute a member on the CPU, where the precision is that of the dtype."""
    _native.call(f"{member}_cpu", problem, *(t.contiguous() for t in tensors), out, *more)


def launch_cuda(
    member: str, problem: Any, tensors: Sequence[Tensor], out: Tensor, high: tuple[bool, ...]
) -> None:
    """Queue a member; ``high``: its launcher's choice of precision, if it has one."""
    size = _native.ask(f"{member}_cuda_bytes", problem, *high)
    workspace = out.new_empty(size, dtype=torch.uint8)
    inputs = [t.contiguous() for t in tensors]
    _native.call_on_stream(f"{member}_cuda", out.device, problem, *high, *inputs, out, workspace)


LAUNCH = {"cpu": launch_cpu, "cuda": launch_cuda}
