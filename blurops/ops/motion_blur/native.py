# SPDX-License-Identifier: BSD-3-Clause
"""The compiled ops: finds the window, makes inputs contiguous, allocates the output, launches."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from blurops import _native
from blurops.ops import gather_cuda
from blurops.ops.motion_blur import shapes

# On a GPU nobody looks how long the motions are; where nothing else limits them, this does.
FARTHEST = 512


def supports(args: tuple, options: dict) -> str | None:
    """``None`` when the compiled module can serve the call, else why not."""
    reason = gather_cuda.reason(args)
    if reason is None and options["method"] == "fft":
        return "it sums over the taps and has no spectra"
    return reason


def _reach(length: Tensor, room: int | None, derivative: bool) -> int:
    """How far the longest motion has weight, or in its derivative is about to have some.

    On a GPU, how far motions may go: to look at them is to wait for the device.
    """
    if length.is_cuda:
        return FARTHEST if room is None else min(room, FARTHEST)
    longest = float(length.max())
    reach = math.floor((longest - 1) / 2) + 1 if derivative else shapes.reach(longest)
    return reach if room is None else min(reach, room)


def _launch(
    member: str,
    out: Tensor,
    tensors: Sequence[Tensor],
    *more: Tensor,
    image: Sequence[int],
    length: Tensor,
    angle: Tensor,
    caps: str,
    boundary: str,
    derivative: bool = False,
) -> Tensor:
    """Call a launcher; ``image`` is the shape of the sharp one, ``more`` are further results."""
    if image[0] == 0 or image[1] == 0:
        for result in more:
            result.zero_()
        return out.zero_()
    size = length.shape[-2:]
    room = shapes.room(image[-2:], size, boundary)
    margin = [(s - n) // 2 for s, n in zip(image[-2:], size, strict=True)]
    problem: Any = _native.fill(
        "MotionBlur",
        dtype=_native.DTYPE_CODES[out.dtype],
        boundary=_native.BOUNDARY_CODES[boundary],
        count=image[0],
        channels=image[1],
        height=image[-2],
        width=image[-1],
        out_height=size[0],
        out_width=size[1],
        margin_y=margin[0],
        margin_x=margin[1],
        reach=_reach(length, room, derivative),
        segment=caps == "segment",
        length_batched=length.shape[0] > 1,
        angle_batched=angle.shape[0] > 1,
    )
    launch = gather_cuda.LAUNCH[out.device.type]
    launch(member, problem, (*tensors, length, angle), out, (), *more)
    return out


def motion_blur(
    image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str, method: str,
    precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur`."""
    out = image.new_empty(*image.shape[:2], *length.shape[-2:])
    return _launch(
        "motion_blur", out, (image,),
        image=image.shape, length=length, angle=angle, caps=caps, boundary=boundary,
    )  # fmt: skip


def motion_blur_adjoint(
    image: Tensor, length: Tensor, angle: Tensor, size: Sequence[int] | None, *, caps: str,
    boundary: str, method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_adjoint`."""
    out = image.new_empty(*image.shape[:2], *(image.shape[-2:] if size is None else size))
    return _launch(
        "motion_blur_adjoint", out, (image,),
        image=out.shape, length=length, angle=angle, caps=caps, boundary=boundary,
    )  # fmt: skip


def motion_blur_grad_length(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str,
    method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_grad_length`."""
    return _launch(
        "motion_blur_grad_length", grad.new_empty(length.shape), (grad, image),
        image=image.shape, length=length, angle=angle, caps=caps, boundary=boundary,
        derivative=True,
    )  # fmt: skip


def motion_blur_grad_angle(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str,
    method: str, precision: str,
) -> Tensor:  # fmt: skip
    """See :func:`blurops.motion_blur_grad_angle`."""
    return _launch(
        "motion_blur_grad_angle", grad.new_empty(angle.shape), (grad, image),
        image=image.shape, length=length, angle=angle, caps=caps, boundary=boundary,
        derivative=True,
    )  # fmt: skip


def motion_blur_backward(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, *, caps: str, boundary: str,
    method: str, precision: str,
) -> list[Tensor]:  # fmt: skip
    """The gradients by length and angle in one sweep, on the CPU; these are batched alike."""
    if grad.is_cuda:
        options: Any = {
            "caps": caps, "boundary": boundary, "method": method, "precision": precision,
        }  # fmt: skip
        members = (motion_blur_grad_length, motion_blur_grad_angle)
        return [member(grad, image, length, angle, **options) for member in members]
    outs = [grad.new_empty(length.shape), grad.new_empty(angle.shape)]
    _launch(
        "motion_blur_backward", outs[0], (grad, image), outs[1],
        image=image.shape, length=length, angle=angle, caps=caps, boundary=boundary,
        derivative=True,
    )  # fmt: skip
    return outs
