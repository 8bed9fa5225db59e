# SPDX-License-Identifier: BSD-3-Clause
"""Triton: can it be used, and how its kernels are launched.

``import blurops`` does not import Triton, and neither does a call that another backend serves.
"""

import functools
import importlib.util
import os
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

# What the kernels ask of an NVIDIA GPU.
_CAPABILITY = (8, 0)


def interpreting() -> bool:
    """Whether the kernels run in Triton's interpreter: slowly, on the CPU, to be tested.

    Triton reads the variable once, when it is imported.
    """
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "y", "yes")


@functools.cache
def missing_reason() -> str | None:
    """Why Triton cannot be imported, in one line; ``None`` when it can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    try:
        importlib.import_module("triton.language")
    except Exception as error:  # whatever a broken installation raises
        return f"Triton does not load ({error})".replace("\n", " ")
    return None


def reason(tensor: Tensor, options: dict) -> str | None:
    """Why no kernel can take this tensor, in one line; ``None`` when one can.

    The interpreter serves CPU tensors, too, but only those who ask for Triton by name: setting its
    variable for another library must not make ours slow.
    """
    device, asked = tensor.device, options.get("backend") == "triton"
    if device.type not in ("cpu", "cuda"):
        return f"it has kernels for NVIDIA and AMD GPUs only, and the input is on {device}"
    if device.type == "cpu" and not (asked and interpreting()):
        return "it has kernels for GPUs only, and the input is on cpu"
    if not asked and interpreting():
        return "its kernels would be interpreted (TRITON_INTERPRET)"
    return missing_reason() or (None if device.type == "cpu" else _gpu_reason(device))


def _gpu_reason(device: torch.device) -> str | None:
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < _CAPABILITY:
        return f"it needs compute capability 8.0 or later, which {device} does not have"
    return None


def unavailable_reason() -> str | None:
    """Why no call without ``backend="triton"`` can be served, in one line; ``None`` when one can.

    What the report of the active backends says.
    """
    if not torch.cuda.is_available():
        return "there is no GPU"
    return missing_reason() or _gpu_reason(torch.device("cuda", torch.cuda.current_device()))


def launch(kernel: Any, programs: int, *args: Any, like: Tensor, **sizes: Any) -> None:
    """Run a kernel on the device of ``like``; without loops in stages, whose buffers would spill.

    The caller has made every tensor contiguous.
    """
    on_device = torch.cuda.device(like.device) if like.is_cuda else nullcontext()
    with on_device:
        kernel[(programs,)](*args, **sizes, num_warps=4, num_stages=1)


def sums_type(dtype: torch.dtype) -> Any:
    """Triton's type for sums of values of ``dtype``, which is imported: a kernel is next."""
    from triton import language as tl

    return tl.float64 if dtype == torch.float64 else tl.float32


def precision(dtype: torch.dtype, device: torch.device, asked: str) -> str:
    """How matrix products are computed: what ``tl.dot`` calls ``input_precision``.

    "tf32" are the tensor cores of NVIDIA GPUs, on operands of 11 bits: what the default of the ops
    allows on GPUs. Everything else is "ieee", without rounding of the operands.
    """
    exact = dtype == torch.float64 or asked == "high"
    tensor_cores = device.type == "cuda" and torch.version.hip is None
    return "tf32" if tensor_cores and not exact else "ieee"
