# SPDX-License-Identifier: BSD-3-Clause
"""Whole blur fields: hand-held shake, camera motion, moving objects."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields.field import BlurField, field_meta
from blurops.fields.kernel_field import (
    KernelField,
    LayeredKernelField,
    MotionKernelField,
    UniformKernelField,
)
from blurops.fields.mixing import segment_mixing, smooth_mixing
from blurops.fields.motion import CameraMotion, Motion, Path
from blurops.fields.reduce import ReductionError, reduce_kernel_field
from blurops.fields.tremor import camera_shake_kernels

Progress = Callable[[int, int], None] | None


def camera_shake_field(
    height: int,
    width: int,
    *,
    basis_size: int = 25,
    kernel_size: int = 33,
    seed: int = 0,
    mixing: str = "smooth",
    exposure: float | tuple[float, float] = 1.0,
    focal_length: float = 1000.0,
    strength: float = 1.0,
    scale: float = 0.25,
    contrast: float = 8.0,
    softness: float = 8.0,
    boundary: str = "reflect",
    gamma: float = 1.0,
) -> BlurField:
    """Hand-tremor kernels with random mixing maps: a blur field as Carbajal et al. train on.

    The kernels are those of `camera_shake_kernels`, the maps those of `smooth_mixing` or
    `segment_mixing`; the two draw from independent streams of `seed`.

    Args:
        height, width: size of the blurred image.
        basis_size: B.
        kernel_size: K, odd; at least 3.
        seed: which field.
        mixing: "smooth" or "segments".
        exposure, focal_length, strength: of the kernels, see `camera_shake_kernels`.
        scale, contrast: of smooth maps, see `smooth_mixing`.
        softness: of segments, see `segment_mixing`.
        boundary, gamma: recorded in the field's `meta`; the field itself is made in linear light.

    Returns:
        BlurField with kernels (1, B, K, K) and mixing (1, B, height, width), float32.

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.

    Example:
        >>> field = camera_shake_field(48, 64, basis_size=4, kernel_size=15, seed=2)
        >>> field.kernels.shape, field.mixing.shape
        (torch.Size([1, 4, 15, 15]), torch.Size([1, 4, 48, 64]))
    """
    name = "camera_shake_field"
    _check.choice(name, "mixing", mixing, ("smooth", "segments"))
    _check.choice(name, "boundary", boundary, _check.BOUNDARIES)
    gamma = arguments.real(name, "gamma", gamma, above=0)
    kernels = camera_shake_kernels(
        arguments.positive_int(name, "basis_size", basis_size),
        kernel_size,
        exposure=exposure,
        focal_length=focal_length,
        strength=strength,
        seed=seed,
    )
    if mixing == "smooth":
        maps = smooth_mixing(basis_size, height, width, scale=scale, contrast=contrast, seed=seed)
    else:
        maps = segment_mixing(basis_size, height, width, softness=softness, seed=seed)
    meta = field_meta(boundary, gamma, generator=name, seed=seed, maps=mixing)
    return BlurField(kernels[None], maps, meta)


def camera_motion_field(
    height: int,
    width: int,
    *,
    rotation: Path = (0.0, 0.0, 0.0),
    translation: Path = (0.0, 0.0),
    zoom: Path = 1.0,
    focal_length: float | None = None,
    basis_size: int = 25,
    kernel_size: int = 33,
    samples: int = 1024,
    boundary: str = "reflect",
    seed: int = 0,
    progress: Progress = None,
) -> tuple[BlurField, ReductionError]:
    """The blur of a camera that turns, shifts and zooms, reduced to B basis kernels.

    The kernel of each pixel is rendered from its path under `CameraMotion`, then the field is
    reduced by `reduce_kernel_field`. For a hand-held camera, pass `hand_tremor(exposure, 64)` as
    `rotation`.

    Args:
        height, width: size of the blurred image; the motion turns about its centre.
        rotation: radians (roll, pitch, yaw), the whole turn or a (T, 3) path; see `CameraMotion`.
        translation: pixels (x, y), or a (T, 2) path.
        zoom: ratio of end to start, or a (T,) path.
        focal_length: in pixels; None takes the longer side.
        basis_size, samples, boundary, seed, progress: see `reduce_kernel_field`.
        kernel_size: K, odd; the motion must fit.

    Returns:
        The BlurField and its ReductionError.

    Raises:
        TypeError, ValueError: an argument is of another kind or out of range, or the motion does
            not fit K x K.

    Example:
        >>> field, errors = camera_motion_field(
        ...     24, 32, rotation=(0.1, 0, 0), basis_size=6, kernel_size=7
        ... )
        >>> field.kernels.shape, errors.svd_bound <= errors.error
        (torch.Size([1, 6, 7, 7]), True)
    """
    _check.choice("camera_motion_field", "boundary", boundary, _check.BOUNDARIES)
    motion = CameraMotion(rotation, translation, zoom, focal_length)
    source = MotionKernelField(height, width, motion, kernel_size)
    field, errors = reduce_kernel_field(
        source, basis_size, samples=samples, boundary=boundary, seed=seed, progress=progress
    )
    return _named(field, "camera_motion_field"), errors


def moving_objects_field(
    height: int,
    width: int,
    masks: Tensor,
    motions: Sequence[Motion | Tensor],
    *,
    background: Motion | Tensor | None = None,
    basis_size: int = 25,
    kernel_size: int = 33,
    samples: int = 1024,
    boundary: str = "reflect",
    seed: int = 0,
    progress: Progress = None,
) -> tuple[BlurField, ReductionError]:
    """The blur of objects that move on their own before a background.

    Carbajal et al., algorithm 1, with each layer's mask blurred by its own kernels; see
    `LayeredKernelField`. When every layer has one kernel for all its pixels and `basis_size` holds
    them all, the field is exact: the layers' kernels with the blurred masks as mixing. Otherwise
    the kernels are reduced by `reduce_kernel_field`.

    Args:
        height, width: size of the blurred image.
        masks: (J, height, width), bool or floating point in [0, 1]: where each object is in the
            sharp image. A J of 0 leaves the background alone.
        motions: J motions, one for each mask: an `ObjectMotion`, a `CameraMotion`, or a kernel
            (K, K), in correlation orientation, such as one of `camera_shake_kernels`.
        background: likewise; None stands still.
        basis_size, samples, boundary, seed, progress: see `reduce_kernel_field`.
        kernel_size: K, odd; each motion must fit on its object's pixels.

    Returns:
        The BlurField and its ReductionError, zeros when the field is exact.

    Raises:
        TypeError, ValueError: an argument is of another kind or out of range, or a motion does not
            fit K x K.

    Example:
        >>> from blurops.fields import ObjectMotion
        >>> mask = torch.zeros(1, 20, 30)
        >>> mask[:, 5:15, 10:20] = 1
        >>> field, _ = moving_objects_field(20, 30, mask, [ObjectMotion((4, 0))], kernel_size=7)
        >>> field.kernels.shape
        torch.Size([1, 2, 7, 7])
    """
    name = "moving_objects_field"
    _check.choice(name, "boundary", boundary, _check.BOUNDARIES)
    basis_size = arguments.positive_int(name, "basis_size", basis_size)
    masks = _checked_masks(masks, len(motions), (height, width))
    layers = [
        _layer(height, width, kernel_size, CameraMotion() if background is None else background)
    ]
    for motion, mask in zip(motions, masks, strict=True):
        layers.append(_layer(height, width, kernel_size, motion, mask > 0))
    source = LayeredKernelField(layers[0], layers[1:], masks)
    if len(layers) <= basis_size and all(isinstance(item, UniformKernelField) for item in layers):
        kernels = torch.stack([layer.kernel for layer in layers]).float()
        meta = field_meta(boundary, generator=name, seed=seed)
        field = BlurField(kernels[None], source.uniform_mixing().float()[None], meta)
        return field, ReductionError(0.0, 0.0, 0.0)
    field, errors = reduce_kernel_field(
        source, basis_size, samples=samples, boundary=boundary, seed=seed, progress=progress
    )
    return _named(field, name), errors


def _layer(
    height: int, width: int, kernel_size: int, motion: Motion | Tensor, where: Tensor | None = None
) -> KernelField:
    """The kernel field of one layer; a motion that moves all pixels alike becomes one kernel."""
    if isinstance(motion, Tensor):
        field = UniformKernelField(height, width, motion)
        if field.kernel_size != kernel_size:
            wanted = f"be motions or ({kernel_size}, {kernel_size}) kernels"
            raise ValueError(
                message("moving_objects_field", "motions", wanted, tuple(motion.shape))
            )
        return field
    field = MotionKernelField(height, width, motion, kernel_size, where=where)
    if motion.uniform:
        kernel = field.kernels_at(torch.zeros(1).long(), torch.zeros(1).long())[0]
        return UniformKernelField(height, width, kernel)
    return field


def _checked_masks(masks: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """`masks` as float64; raises unless they are `count` maps of `size` with values in [0, 1]."""
    name = "moving_objects_field"
    shape = (count, *size)
    if not isinstance(masks, Tensor):
        raise TypeError(
            message(name, "masks", f"be a tensor of shape {shape}", type(masks).__name__)
        )
    if masks.dtype != torch.bool and not masks.is_floating_point():
        got = _check.dtype_name(masks.dtype)
        raise TypeError(message(name, "masks", "be bool or floating point", got))
    if tuple(masks.shape) != shape:
        raise ValueError(
            message(name, "masks", f"be {shape}, one for each motion", tuple(masks.shape))
        )
    masks = masks.double()
    if not bool(((masks >= 0) & (masks <= 1)).all()):
        raise ValueError(message(name, "masks", "lie in [0, 1]", "other values"))
    return masks


def _named(field: BlurField, generator: str) -> BlurField:
    return field._replace(meta=field.meta | {"generator": generator})
