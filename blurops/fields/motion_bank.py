# SPDX-License-Identifier: BSD-3-Clause
"""The bank of straight motions, and how a continuous motion picks from it.

Eboli, Sun and Ponce, "Neural Embedding of an Iterative Deconvolution Algorithm for Motion Blur
Estimation and Removal", section 2.2: lengths 1, 3, ..., max_length pixels, angles 0, 6, ..., 174
degrees. Entry 0 is length 1, no motion, whatever the angle. With M = (max_length - 1) / 2, length
1 + 2 m (m = 1, ..., M) at angle 6 q degrees is entry `M q + m`.
"""

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields.linear_motion import rasterise

ANGLES, ANGLE_STEP, LENGTH_STEP = 30, 6.0, 2.0
MODES = ("softmax", "softmax_plus", "bilinear", "nearest")

# An angle that the rounding of float32 radians leaves just below a multiple of 6 degrees counts as
# that multiple: 4 units in the last place at pi, in steps of 6 degrees.
_ROUNDING = 4 * 180 * 2.0**-23 / ANGLE_STEP


def bank_motions(max_length: int = 35) -> tuple[Tensor, Tensor]:
    """The motions of the bank's entries, in their order.

    Args:
        max_length: of the longest motions, in pixels; odd, at least 3.

    Returns:
        `(length, angle)`, (F,) float64 each, in pixels and radians; entry 0 is (1, 0).

    Example:
        >>> import math
        >>> length, angle = bank_motions(25)
        >>> len(length), float(length[13]), round(math.degrees(float(angle[13])))
        (361, 3.0, 6)
    """
    steps = _length_steps("bank_motions", max_length)
    lengths = 1 + LENGTH_STEP * torch.arange(1, steps + 1, dtype=torch.float64)
    angles = torch.deg2rad(ANGLE_STEP * torch.arange(ANGLES, dtype=torch.float64))
    length = torch.cat([lengths.new_ones(1), lengths.repeat(ANGLES)])
    angle = torch.cat([angles.new_zeros(1), angles.repeat_interleave(steps)])
    return length, angle


def linear_motion_bank(max_length: int = 35) -> Tensor:
    """The blur kernels of a bank of straight motions.

    Lengths 1, 3, ..., `max_length`, angles 0, 6, ..., 174 degrees (Eboli et al., section 2.2),
    length 1 once: 511 kernels for 35, the paper's, and 361 for 25, those of the authors' released
    inverse filters. Each is :func:`linear_motion_kernel`'s, in the middle of a window as wide as
    the longest.

    Args:
        max_length: in pixels; odd, at least 3.

    Returns:
        (F, K, K) float32, K = `max_length`, F = 1 + 15 (K - 1). Entry `M q + m`, M = (K - 1) / 2,
        has length 1 + 2 m and angle 6 q degrees; entry 0 is the delta.

    Raises:
        TypeError, ValueError: `max_length` is not an odd number of at least 3.

    Example:
        >>> linear_motion_bank(25).shape
        torch.Size([361, 25, 25])
    """
    steps = _length_steps("linear_motion_bank", max_length)
    return rasterise(*bank_motions(max_length), radius=steps).to(torch.float32)


def motion_labels(length: Tensor, angle: Tensor, *, max_length: int = 35) -> Tensor:
    """The bank entry nearest to each motion.

    `M q + m` with q = round(angle / 6 degrees), m = round((length - 1) / 2), halves to the even
    number; 0 where m = 0. Lengths beyond `max_length` count as `max_length`; of the angles, those
    from 174 to 177 degrees belong to 174, those above to 0 (the rule of the authors' released
    labels).

    Args:
        length: (N or 1, H, W) pixels, at least 1.
        angle: (N or 1, H, W) radians, counter-clockwise with y upwards, of any size.
        max_length: of the bank.

    Returns:
        (N, H, W) int32.

    Raises:
        TypeError, ValueError: as :func:`interpolate_motion`.

    Example:
        >>> import math, torch
        >>> length, angle = torch.full((1, 1, 1), 25.0), torch.full((1, 1, 1), math.radians(174))
        >>> motion_labels(length, angle, max_length=25)
        tensor([[[360]]], dtype=torch.int32)
    """
    steps = _length_steps("motion_labels", max_length)
    length, degrees = _checked("motion_labels", length, angle)
    m, q = _nearest(_length_position(length, steps), degrees / ANGLE_STEP)
    return _entry(m, q, steps)


def interpolate_motion(
    length: Tensor, angle: Tensor, *, max_length: int = 35, mode: str = "softmax"
) -> tuple[Tensor, Tensor]:
    """The four bank entries around each motion, and their weights.

    The neighbours of (l, theta) are (l-, th-), (l-, th+), (l+, th-), (l+, th+), in this order,
    with l- <= l < l+ and th- <= theta < th+ on the bank's grid; with D the Euclidean distance in
    pixels and **degrees**, `softmax` weights them by exp(-D^2) / sum exp(-D^2) (Eboli et al.,
    eq. 17, with the sign that its text means).

    At th- = 174 degrees th+ is 180, the same entry as 0. At l- = 1 both angles share entry 0.
    A length beyond `max_length` counts as `max_length`, whose cell is the last one.

    Args:
        length: (N or 1, H, W) pixels, at least 1 (no motion).
        angle: (N or 1, H, W) radians, counter-clockwise with y upwards, of any size (period pi).
        max_length: of the bank, :func:`linear_motion_bank`'s.
        mode: `"softmax"`; `"softmax_plus"`, eq. 17 as printed, by which the farthest neighbour
            wins; `"bilinear"`, exact on the bank's motions; `"nearest"`, one weight of 1, by the
            rule of :func:`motion_labels`.

    Returns:
        `(index, weight)`, both (N, 4, H, W): int32 entries of the bank, and weights that sum to 1
        in the dtype of `length`.

    Raises:
        TypeError: `length` or `angle` is not a floating-point tensor, or their dtypes differ.
        ValueError: shapes do not fit, a length is below 1 or a value is not finite (both looked at
            on the CPU only; elsewhere a length below 1 counts as 1), or the mode is unknown.

    Note:
        Gradients reach `length` and `angle` through the weights only; the entries are constants.

    Example:
        >>> import math, torch
        >>> one = torch.ones(1, 1, 1)
        >>> index, weight = interpolate_motion(4 * one, math.radians(6) * one, max_length=25)
        >>> index.flatten().tolist(), weight.flatten().round(decimals=3).tolist()
        ([13, 25, 14, 26], [0.5, 0.0, 0.5, 0.0])
    """
    name = "interpolate_motion"
    _check.choice(name, "mode", mode, MODES)
    steps = _length_steps(name, max_length)
    dtype = length.dtype if isinstance(length, Tensor) else None
    length, degrees = _checked(name, length, angle)
    position, turn = _length_position(length, steps), degrees / ANGLE_STEP
    m = position.detach().floor().clamp(max=steps - 1)
    q = (turn.detach() + _ROUNDING).floor()
    corners = [(m + up, q + on) for up in (0, 1) for on in (0, 1)]
    index = torch.stack([_entry(up, on, steps) for up, on in corners], dim=1)
    if mode == "nearest":
        best = _nearest(position.detach(), turn.detach())
        weights = [((up == best[0]) & (on == best[1])) for up, on in corners]
        return index, torch.stack(weights, dim=1).to(dtype)
    if mode == "bilinear":
        shares = [(1 - (position - up).abs()) * (1 - (turn - on).abs()) for up, on in corners]
        return index, torch.stack(shares, dim=1).to(dtype)
    squares = [
        (LENGTH_STEP * (position - up)) ** 2 + (ANGLE_STEP * (turn - on)) ** 2 for up, on in corners
    ]
    sign = 1 if mode == "softmax_plus" else -1
    return index, torch.softmax(sign * torch.stack(squares, dim=1), dim=1).to(dtype)


def _length_steps(function: str, max_length: int) -> int:
    """M of the bank: the lengths beside 1."""
    if arguments.odd(function, "max_length", max_length) < 3:
        raise ValueError(message(function, "max_length", "be at least 3", max_length))
    return (max_length - 1) // 2


def _checked(function: str, length: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """(N, H, W) float64 lengths and degrees in [0, 180]."""
    _check.tensor(function, "length", length, "(N or 1, H, W)")
    _check.tensor(function, "angle", angle, "(N or 1, H, W)")
    _check.same_kind(function, "angle", angle, "length", length)
    if length.shape[0] != 1:
        _check.batch(function, "angle", angle, length.shape[0])
    if angle.shape[1:] != length.shape[1:]:
        wanted = f"have the shape of length {tuple(length.shape)}"
        raise ValueError(message(function, "angle", wanted, tuple(angle.shape)))
    if length.device.type == "cpu":
        _check.finite(function, "length", length)
        _check.finite(function, "angle", angle)
        least = float(length.detach().min()) if length.numel() else 1.0
        if least < 1:
            got = f"a minimum of {least:g}"
            raise ValueError(message(function, "length", "be at least 1", got))
    length, angle = torch.broadcast_tensors(length.double(), angle.double())
    return length, torch.remainder(torch.rad2deg(angle), 180.0)


def _length_position(length: Tensor, steps: int) -> Tensor:
    """Lengths as positions between entries 0 and M."""
    return ((length - 1) / LENGTH_STEP).clamp(0, steps)


def _nearest(position: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """(m, q) nearest to positions; q = 30 means 180 degrees."""
    # 177 degrees, halfway to 180, belongs to 174.
    near = torch.where(turn > ANGLES - 0.5 + _ROUNDING, ANGLES, turn.round().clamp(max=ANGLES - 1))
    return position.round(), near


def _entry(m: Tensor, q: Tensor, steps: int) -> Tensor:
    """int32 entries of the bank from whole m and q."""
    entry = steps * torch.remainder(q, ANGLES) + m
    return torch.where(m > 0, entry, 0).to(torch.int32)
