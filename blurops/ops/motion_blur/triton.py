# SPDX-License-Identifier: BSD-3-Clause
"""Motion blur for GPUs on which the native module has no kernels: turns angles, launches.

Beside its inputs and its result a call holds the cosines and sines in float64, and the transpose
seven numbers more per pixel. How far motions reach is found on the device: nothing waits for it.
All sums have a fixed order, so results repeat bit for bit.
"""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from blurops import _triton
from blurops._triton_tiles import (
    LARGEST_PLANE,
    count_tiles,
    group_of,
    step_of,
    tile_for,
    working_type,
)
from blurops.ops.motion_blur import shapes

# Of boundaries that have room for any motion: more than any image has pixels along an axis.
_ENDLESS = 2**24


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when Triton's kernels can serve the call, else why not."""
    reason = _triton.reason(args[0], options)
    if reason is not None:
        return reason
    if options["method"] == "fft":
        return "it sums over the taps and has no spectra"
    sizes = [t.shape[-2:].numel() for t in args[:2]]
    if len(args) == 4 and not isinstance(args[3], Tensor) and args[3] is not None:
        sizes.append(args[3][0] * args[3][1])
    if max(sizes) > LARGEST_PLANE:
        return f"it counts pixels in 32 bits, and the image has {max(sizes)}"
    return None


@functools.cache
def _kernels() -> ModuleType:
    """Imported on first use, because they import Triton."""
    from blurops.ops.motion_blur import triton_kernels

    return triton_kernels


def _motion(length: Tensor, angle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    angle = angle.double().contiguous()
    return length.contiguous(), angle.cos(), angle.sin()


def _sizes(sharp: Sequence[int], size: Sequence[int], boundary: str) -> tuple[int, ...]:
    """From ``room`` to ``maps``, as all kernels that read images take them."""
    room = shapes.room(sharp, size, boundary)
    margin = ((s - n) // 2 for s, n in zip(sharp, size, strict=True))
    plane, maps = sharp[0] * sharp[1], size[0] * size[1]
    return (_ENDLESS if room is None else room, *sharp, *size, *margin, plane, maps)


def _arithmetic(tensor: Tensor, boundary: str, caps: str) -> dict[str, Any]:
    """What all kernels that read images are compiled for."""
    accumulator = _triton.sums_type(tensor.dtype)
    return {"ACC": accumulator, "BOUNDARY": boundary, "SEGMENT": caps == "segment"}


def motion_blur(
    image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str, method: str,
    precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur`."""
    (count, channels), size = image.shape[:2], length.shape[-2:]
    out = image.new_empty(count, channels, *size)
    if out.numel() == 0:
        return out
    tile, group = tile_for(size, image), group_of(channels)
    _triton.launch(
        _kernels().blur, count_tiles(size, tile) * count * -(-channels // group),
        image.contiguous(), *_motion(length, angle), out,
        channels, *_sizes(image.shape[-2:], size, boundary), step_of(length), step_of(angle),
        like=out, GROUP=group, **tile, **_arithmetic(image, boundary, caps),
    )  # fmt: skip
    return out


def motion_blur_adjoint(
    image: Tensor, length: Tensor, angle: Tensor, size: Sequence[int] | None, *, caps: str,
    boundary: str, method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_adjoint`."""
    count, channels, *blurred = image.shape
    sharp = blurred if size is None else size
    out = image.new_empty(count, channels, *sharp)
    if out.numel() == 0:
        return out
    sizes = _sizes(sharp, blurred, boundary)
    lines, reach = _lines(length, angle, sizes[0], caps)
    tile, group = tile_for(sharp, image), group_of(channels)
    _triton.launch(
        _kernels().adjoint, count_tiles(sharp, tile) * count * -(-channels // group),
        image.contiguous(), lines, reach, out,
        channels, *sizes, step_of(lines),
        like=out, GROUP=group, **tile, **_arithmetic(image, boundary, caps),
    )  # fmt: skip
    return out


def _lines(length: Tensor, angle: Tensor, room: int, caps: str) -> tuple[Tensor, Tensor]:
    """The lines of all pixels, (N or 1, 7, H, W), and how far they reach: down, across."""
    size, motions = length.shape[-2:], max(len(length), len(angle))
    tile = tile_for(size, length)
    programs = count_tiles(size, tile) * motions
    lines = length.new_empty(motions, 7, *size, dtype=working_type(length))
    reach = length.new_empty(programs, 2, dtype=torch.int32)
    _triton.launch(
        _kernels().lines, programs, *_motion(length, angle), lines, reach,
        room, *size, size[0] * size[1], step_of(length), step_of(angle),
        like=length, ACC=_triton.sums_type(length.dtype), SEGMENT=caps == "segment", **tile,
    )  # fmt: skip
    return lines, reach.amax(0)


def _gradient(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, by: str, caps: str, boundary: str
) -> Tensor:
    like, size = length if by == "length" else angle, length.shape[-2:]
    out = like.new_empty(like.shape)
    if grad.numel() == 0:
        return out.zero_()
    tile = tile_for(size, grad)
    _triton.launch(
        _kernels().gradient, count_tiles(size, tile) * len(like),
        grad.contiguous(), image.contiguous(), *_motion(length, angle), out,
        len(grad) // len(like), grad.shape[1], *_sizes(image.shape[-2:], size, boundary),
        step_of(length), step_of(angle),
        like=grad, ANGLE=by == "angle", **tile, **_arithmetic(grad, boundary, caps),
    )  # fmt: skip
    return out


def motion_blur_grad_length(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str,
    method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_grad_length`."""
    return _gradient(grad, image, length, angle, "length", caps, boundary)


def motion_blur_grad_angle(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str,
    method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_grad_angle`."""
    return _gradient(grad, image, length, angle, "angle", caps, boundary)
