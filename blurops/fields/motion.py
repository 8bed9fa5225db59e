# SPDX-License-Identifier: BSD-3-Clause
"""Motions during the exposure, as displacements of every pixel.

Coordinates are pixels, x right and y down. At time t of the exposure the blurred image's pixel p
sees the sharp image at `p + delta_t(p)`, so the kernel of p, in correlation orientation, is the
density of `delta_t(p)` over time. A camera that turns right sees what lies to the right: delta > 0;
an object that moves right brings what lay to the left: delta < 0.
"""

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from blurops._check import message
from blurops.fields import _arguments as arguments

Path = Any  # floats, or a sequence of poses; a tensor, an array or nested tuples


@dataclasses.dataclass(frozen=True, eq=False)
class CameraMotion:
    """A camera that turns, shifts and zooms during the exposure, before a distant or flat scene.

    Pixel p sees the sharp image at `c + s_t + pi(K R_t K^-1 ((p - c) / z_t))`: the homography of a
    rotating camera (Whyte et al., "Non-uniform deblurring for shaken images", 2010), after a zoom
    and before a shift, with `K = diag(f, f, 1)`, c the image centre and pi the division by the
    third coordinate.

    Each of rotation, translation and zoom is either the whole change over the exposure, made at
    constant speed with the middle of the exposure as the reference pose, or a sequence of T >= 2
    poses at equal time steps, taken as they are and joined by straight lines.

    Args:
        rotation: (3,) or (T, 3) rotation vector (roll, pitch, yaw) in radians. Roll turns the
            camera clockwise as the photographer sees it, pitch turns it up, yaw to the right.
        translation: (2,) or (T, 2) shift (x, y) of the camera in pixels of the image, the same at
            every pixel, as for a flat scene parallel to the sensor.
        zoom: magnification, above 0. A number is the ratio of end to start (1.1 enlarges by a
            tenth, as stepping forward does); T numbers are relative to the reference.
        focal_length: in pixels; None takes the longer side of the image, a 53 degree field of view.

    Raises:
        ValueError: a shape or value is not as above; raised when the motion is made.

    Example:
        >>> CameraMotion(rotation=(0.01, 0.0, 0.0)).uniform
        False
    """

    rotation: Path = (0.0, 0.0, 0.0)
    translation: Path = (0.0, 0.0)
    zoom: Path = 1.0
    focal_length: float | None = None

    def __post_init__(self) -> None:
        """Turns the arguments into float64 pose tables and checks them."""
        _poses(self, "rotation", 3)
        _poses(self, "translation", 2)
        _zooms(self)
        if self.focal_length is not None:
            arguments.real("CameraMotion", "focal_length", self.focal_length, above=0)

    @property
    def uniform(self) -> bool:
        """Whether all pixels move alike: no rotation and no zoom."""
        return not bool(self.rotation.any()) and bool((self.zoom == 1).all())

    def displacements(self, points: Tensor, size: tuple[int, int], steps: int) -> Tensor:
        """Where each pixel looks, relative to itself, at `steps + 1` times.

        Args:
            points: (P, 2) float64 pixel positions (x, y).
            size: (H, W) of the image, whose centre and longer side the motion refers to.
            steps: number of equal time steps.

        Returns:
            (P, steps + 1, 2) float64 displacements delta (x, y) in pixels.
        """
        focal = float(self.focal_length or max(size))
        local = points - _centre(size)
        turn = _resample(self.rotation, steps)[:, [1, 2, 0]]  # about x (pitch), y (yaw), z (roll)
        matrix = _rotation_matrix(turn)  # (T, 3, 3)
        zoom = torch.exp(_resample(self.zoom.log(), steps))
        plane = local[:, None] / zoom[:, None]  # (P, T, 2)
        ray = torch.cat([plane, torch.full_like(plane[..., :1], focal)], dim=-1)
        ray = (matrix @ ray[..., None])[..., 0]
        if bool((ray[..., 2] <= 0).any()):
            raise ValueError(
                message("CameraMotion", "rotation", "keep the scene in front", "a larger turn")
            )
        seen = focal * ray[..., :2] / ray[..., 2:]
        return seen + _resample(self.translation, steps) - local[:, None]


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectMotion:
    """A flat object that moves in the image: it turns and grows about its centre, and shifts.

    A point of the object at q in the reference pose is at `c + z_t R_t (q - c) + s_t` at time t;
    pixel p therefore sees the reference at `c + R_t^-1 (p - s_t - c) / z_t`. Arguments are totals
    or tables of poses as in `CameraMotion`.

    Args:
        translation: (2,) or (T, 2) motion (x right, y down) of the object in pixels.
        rotation: radians, a number or T of them; positive turns the object clockwise as seen.
        zoom: growth, above 0, a number or T of them.
        centre: (x, y) in pixels that rotation and zoom leave in place; None takes the image centre.

    Raises:
        ValueError: a shape or value is not as above; raised when the motion is made.

    Example:
        >>> ObjectMotion(translation=(6.0, 0.0)).uniform
        True
    """

    translation: Path = (0.0, 0.0)
    rotation: Path = 0.0
    zoom: Path = 1.0
    centre: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Turns the arguments into float64 pose tables and checks them."""
        _poses(self, "translation", 2)
        _poses(self, "rotation", 1)
        _zooms(self)
        if self.centre is not None:
            if len(self.centre) != 2:
                raise ValueError(message("ObjectMotion", "centre", "be (x, y)", self.centre))
            for value in self.centre:
                arguments.real("ObjectMotion", "centre", value)

    @property
    def uniform(self) -> bool:
        """Whether all pixels of the object move alike: no rotation and no zoom."""
        return not bool(self.rotation.any()) and bool((self.zoom == 1).all())

    def displacements(self, points: Tensor, size: tuple[int, int], steps: int) -> Tensor:
        """Where each pixel looks, relative to itself; see `CameraMotion.displacements`."""
        centre = _centre(size) if self.centre is None else torch.tensor(self.centre).double()
        local = points - centre
        back = -_resample(self.rotation, steps)[:, 0]
        x, y = (local[:, None] - _resample(self.translation, steps)).unbind(-1)
        cosine, sine = back.cos(), back.sin()
        seen = torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)
        return seen / torch.exp(_resample(self.zoom.log(), steps))[:, None] - local[:, None]


Motion = CameraMotion | ObjectMotion


def time_steps(motion: Motion, reach: float) -> int:
    """How many steps follow a motion: all its poses, and enough for the curve of each path.

    A path of length L that turns by an angle a stays within L a / (8 n^2) of n chords; the turns
    here are small, and steps of about a pixel keep that far below a hundredth of a pixel.
    """
    poses = max(len(motion.rotation), len(motion.translation), len(motion.zoom)) - 1
    steps = max(8, math.ceil(2 * reach))
    return poses * math.ceil(steps / poses)


def _centre(size: tuple[int, int]) -> Tensor:
    """(x, y) of the middle of an (H, W) image."""
    return torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2], dtype=torch.float64)


def _table(owner: Any, name: str) -> Tensor:
    """The argument `name` as a finite float64 tensor."""
    function = type(owner).__name__
    try:
        value = torch.as_tensor(getattr(owner, name), dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        got = repr(getattr(owner, name))
        raise TypeError(message(function, name, "be numbers", got)) from error
    if not bool(torch.isfinite(value).all()):
        raise ValueError(message(function, name, "be finite", value.tolist()))
    return value


def _poses(owner: Any, name: str, axes: int) -> None:
    """Replaces the argument by its (T, axes) table of poses."""
    value = _table(owner, name)
    total = value.ndim == (0 if axes == 1 else 1)
    if axes == 1:
        value = value[..., None]
    if value.ndim not in (1, 2) or value.shape[-1] != axes or (value.ndim == 2 and len(value) < 2):
        shapes = "a number or T >= 2 numbers" if axes == 1 else f"({axes},) or (T, {axes}), T >= 2"
        got = tuple(value.shape[:-1] if axes == 1 else value.shape)
        raise ValueError(message(type(owner).__name__, name, f"be {shapes}", f"shape {got}"))
    if total:
        value = torch.stack([-value / 2, value / 2])
    object.__setattr__(owner, name, value.contiguous())


def _zooms(owner: Any) -> None:
    """Replaces `zoom` by its (T,) table."""
    value = _table(owner, "zoom")
    function = type(owner).__name__
    if value.ndim > 1 or (value.ndim == 1 and len(value) < 2):
        got = f"shape {tuple(value.shape)}"
        raise ValueError(message(function, "zoom", "be a number or T >= 2 numbers", got))
    if bool((value <= 0).any()):
        raise ValueError(message(function, "zoom", "be greater than 0", float(value.min())))
    if value.ndim == 0:
        value = torch.stack([value**-0.5, value**0.5])
    object.__setattr__(owner, "zoom", value)


def _resample(poses: Tensor, steps: int) -> Tensor:
    """(T, ...) poses at `steps + 1` equal times, by straight lines."""
    time = torch.linspace(0, len(poses) - 1, steps + 1, dtype=torch.float64)
    before = time.floor().long().clamp_(max=len(poses) - 2)
    share = (time - before).view(-1, *[1] * (poses.ndim - 1))
    return (1 - share) * poses[before] + share * poses[before + 1]


def _rotation_matrix(vector: Tensor) -> Tensor:
    """(T, 3, 3) right-handed rotations about the axes x right, y down, z forward."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.linalg.matrix_exp(torch.stack(rows, dim=-1).view(-1, 3, 3))
