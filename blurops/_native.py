# SPDX-License-Identifier: BSD-3-Clause
"""The native module: is it there, and the only place where tensors become raw pointers."""

import functools
import importlib
import os
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from blurops import _triton

_C: ModuleType | None = None
_IMPORT_ERROR: ImportError | None = None
try:
    _C = importlib.import_module("blurops._C")
except ImportError as error:
    _IMPORT_ERROR = error

# The codes of csrc/common/dtype.h.
DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
# The codes of csrc/common/boundary.h.
BOUNDARY_CODES = {"reflect": 0, "replicate": 1, "circular": 2, "zeros": 3, "valid": 4}


# The threads of an OpenMP runtime do not survive a fork, and waiting for them would never end: a
# forked child, such as a DataLoader's worker, computes on one thread.
_forked = False


def _note_fork() -> None:
    global _forked  # noqa: PLW0603 - one fact about this process
    _forked = True


os.register_at_fork(after_in_child=_note_fork)


def module() -> ModuleType | None:
    """The compiled module, or ``None``."""
    return _C


def missing_reason() -> str | None:
    """Why there is no compiled module, in one line; ``None`` when there is."""
    if _C is not None:
        return None
    if isinstance(_IMPORT_ERROR, ModuleNotFoundError):
        return "the native module is not built"
    return f"the native module does not load ({_IMPORT_ERROR})".replace("\n", " ")


@functools.cache
def warn_if_missing() -> None:
    """Say once, in one line, why calls are slower than they could be."""
    reason = missing_reason()
    if reason is not None:
        # warn_explicit() shows no source line, which would be a second line of ours.
        warnings.warn_explicit(
            f"blurops runs on its slower torch paths because {reason}; "
            "install a C++17 compiler and reinstall blurops to get the fast ones",
            RuntimeWarning,
            filename="blurops",
            lineno=1,
        )


def call(launcher: str, *args: Any) -> Any:
    """Call a launcher of the native module: tensors go as addresses, ``None`` as no address.

    The caller has made every tensor contiguous and keeps them alive.
    """
    return getattr(_C, launcher)(*map(_raw, args), 1 if _forked else torch.get_num_threads())


def call_on_stream(launcher: str, device: torch.device, *args: Any) -> None:
    """Call a launcher of the CUDA half, which queues its work on torch's current stream.

    The caller has made every tensor contiguous. The caching allocator keeps memory that is freed
    here from other streams until this one has passed.
    """
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream(device).cuda_stream
        getattr(_C, launcher)(*map(_raw, args), stream)


def ask(function: str, *args: Any) -> Any:
    """What the native module knows; tensors as :func:`call` passes them."""
    return getattr(_C, function)(*map(_raw, args))


def fill(struct: str | Any, **fields: Any) -> Any:
    """A struct of the native module, made when named, with fields set as :func:`call` passes them.

    The caller keeps the tensors alive.
    """
    filled = getattr(_C, struct)() if isinstance(struct, str) else struct
    for name, value in fields.items():
        setattr(filled, name, _raw(value))
    return filled


def _raw(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.data_ptr()
    return 0 if value is None else value


def cuda_reason() -> str | None:
    """Why the CUDA half of the compiled module cannot run, in one line; ``None`` when it can."""
    if _C is None:
        return missing_reason()
    status = _C.cuda_status()
    if status is None:
        return "the native module was built without CUDA"
    available, text = status
    return None if available else text


def backends() -> dict[str, str | None]:
    """Which backends can compute here.

    Returns:
        Backend name -> ``None`` when it is active, or one line that says why it is not.

    Example:
        >>> import blurops
        >>> blurops.backends()["reference"] is None
        True
    """
    return {
        "native": missing_reason(),
        "triton": _triton.unavailable_reason(),
        "reference": None,
    }
