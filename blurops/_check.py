# SPDX-License-Identifier: BSD-3-Clause
"""Argument checks, and the one way their errors are phrased.

Every message reads ``<function>: <argument> must <requirement>, got <what was seen>``.
``TypeError`` is for what is not a tensor or has the wrong dtype, ``ValueError`` for shapes, values
and mixed devices.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

BOUNDARIES = ("reflect", "replicate", "circular", "zeros", "valid")
METHODS = ("auto", "direct", "fft")
PRECISIONS = ("default", "high")
BACKENDS = ("native", "triton", "reference")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

# Whether the ops look at values on every device; see blurops.testing.checked().
VALUES = SimpleNamespace(seen_everywhere=False)


def sees_values(value: Tensor) -> bool:
    """Whether an op may look at the values of a tensor: on a GPU that would wait for it."""
    return value.device.type == "cpu" or (VALUES.seen_everywhere and value.device.type != "meta")


def message(function: str, argument: str, requirement: str, got: object) -> str:
    """The sentence every error of blurops is made of."""
    return f"{function}: {argument} must {requirement}, got {got}"


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def choice(function: str, argument: str, value: object, choices: Sequence[str]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(
            message(function, argument, f"be one of {', '.join(choices)}", repr(value))
        )


def options(
    function: str, *, boundary: str, method: str, precision: str, backend: str | None
) -> None:
    """Check the four options that every op takes."""
    choice(function, "boundary", boundary, BOUNDARIES)
    choice(function, "method", method, METHODS)
    choice(function, "precision", precision, PRECISIONS)
    if backend is not None:
        choice(function, "backend", backend, BACKENDS)


def tensor(function: str, argument: str, value: Any, layout: str) -> None:
    """Raise unless ``value`` is a floating-point tensor with the axes that ``layout`` lists."""
    if not isinstance(value, Tensor):
        raise TypeError(
            message(function, argument, f"be a tensor of shape {layout}", type(value).__name__)
        )
    if value.dtype not in DTYPES:
        wanted = f"have dtype {', '.join(map(dtype_name, DTYPES))}"
        raise TypeError(message(function, argument, wanted, dtype_name(value.dtype)))
    if value.ndim != layout.count(",") + 1:
        raise ValueError(message(function, argument, f"be {layout}", tuple(value.shape)))


def same_kind(function: str, argument: str, value: Tensor, first: str, reference: Tensor) -> None:
    """Raise unless ``value`` has the dtype and device of ``reference``, the argument ``first``."""
    if value.dtype != reference.dtype:
        raise TypeError(
            message(
                function,
                argument,
                f"have the dtype of {first} ({dtype_name(reference.dtype)})",
                dtype_name(value.dtype),
            )
        )
    if value.device != reference.device:
        raise ValueError(
            message(
                function,
                argument,
                f"be on the device of {first} ({reference.device})",
                value.device,
            )
        )


def batch(function: str, argument: str, value: Tensor, count: int) -> None:
    """Raise unless the leading axis of ``value`` is ``count`` or a broadcasting 1."""
    if value.shape[0] != 1 and value.shape[0] != count:
        raise ValueError(
            message(function, argument, f"have a leading size of 1 or {count}", tuple(value.shape))
        )


def image(function: str, argument: str, value: Any) -> None:
    """Raise unless ``value`` is an (N, C, H, W) image with at least one pixel."""
    tensor(function, argument, value, "(N, C, H, W)")
    if value.shape[-2] < 1 or value.shape[-1] < 1:
        raise ValueError(message(function, argument, "have at least one pixel", tuple(value.shape)))


def gradient(function: str, grad: Any, sharp: Tensor, size: Sequence[int]) -> None:
    """Raise unless ``grad`` is a gradient of the (H, W) = ``size`` image blurred from ``sharp``."""
    image(function, "grad", grad)
    same_kind(function, "image", sharp, "grad", grad)
    wanted = (sharp.shape[0], sharp.shape[1], *size)
    if tuple(grad.shape) != wanted:
        raise ValueError(
            message(function, "grad", f"have the blurred image's shape {wanted}", tuple(grad.shape))
        )


def kernel_size(function: str, argument: str, size: Sequence[int], got: object) -> None:
    """Raise unless ``size`` is an odd, positive (Kh, Kw)."""
    if len(size) != 2 or any(side < 1 or side % 2 == 0 for side in size):
        raise ValueError(message(function, argument, "have odd sides Kh and Kw", got))


def fits(
    function: str,
    size: Sequence[int],
    image_size: Sequence[int],
    boundary: str,
    argument: str = "kernels",
) -> None:
    """Raise when a (Kh, Kw) kernel is too large for an (H, W) image under ``boundary``."""
    kernel_text, image_text = "x".join(map(str, size)), "x".join(map(str, image_size))
    if boundary == "reflect" and any(k // 2 >= n for k, n in zip(size, image_size, strict=True)):
        raise ValueError(
            message(
                function,
                argument,
                f"have Kh//2 < H and Kw//2 < W for boundary 'reflect' on a {image_text} image",
                kernel_text,
            )
        )
    if boundary == "valid" and any(k > n for k, n in zip(size, image_size, strict=True)):
        raise ValueError(
            message(
                function,
                argument,
                f"be no larger than the {image_text} image for boundary 'valid'",
                kernel_text,
            )
        )


def finite(function: str, argument: str, value: Tensor) -> None:
    """Raise when ``value`` holds a NaN or an infinity. It synchronises: for solvers and files."""
    if not bool(torch.isfinite(value).all()):
        raise ValueError(message(function, argument, "be finite", "NaN or infinity"))
