# SPDX-License-Identifier: BSD-3-Clause
"""Motion fields on disk: one straight motion per pixel, in the .mat files of Eboli et al.

A file holds the variable `mfmap`, (H, W, 2): the length in pixels (1 is no motion) and an angle in
degrees, counted so that the angle of this library is `(90 - file) mod 180` degrees: 0 in the file
is an upright motion.
"""

import os
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from blurops import _check
from blurops._atomic import replacing
from blurops._check import message

VARIABLE = "mfmap"


class MotionField(NamedTuple):
    """A straight motion at every pixel.

    Attributes:
        length: (1, H, W) float32 pixels, at least 1; 1 is no motion.
        angle: (1, H, W) float32 radians in [0, pi), counter-clockwise from the right, y upwards.
    """

    length: Tensor
    angle: Tensor


def load_motion_field(path: str | os.PathLike[str]) -> MotionField:
    """Reads a motion field in the convention of Eboli et al.'s released files.

    Args:
        path: a MATLAB file (version 5; not 7.3) with the variable `mfmap`, (H, W, 2): length in
            pixels, and degrees of which `(90 - degrees) mod 180` is the angle counter-clockwise
            from the right.

    Returns:
        :class:`MotionField`.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no such file, or holds lengths below 1, NaN or infinity.

    Example:
        >>> import os, tempfile, torch
        >>> path = os.path.join(tempfile.mkdtemp(), "field.mat")
        >>> save_motion_field(path, torch.full((1, 4, 6), 9.0), torch.full((1, 4, 6), 0.5))
        >>> field = load_motion_field(path)
        >>> field.length.shape, round(float(field.angle[0, 0, 0]), 6)
        (torch.Size([1, 4, 6]), 0.5)
    """
    # Imported where it is used, to keep `import blurops` light.
    import scipy.io

    with open(path, "rb") as file:
        try:
            content = scipy.io.loadmat(file, variable_names=[VARIABLE])
        # What SciPy raises for a damaged file has a dozen types.
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise _refused(path, "be a MATLAB file of version 5", text) from error
    if VARIABLE not in content:
        raise _refused(path, f"hold the variable {VARIABLE}", "none of that name")
    values = content[VARIABLE]
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.ndim != 3:
        raise _refused(path, f"hold {VARIABLE} of (H, W, 2) numbers", _shape_text(values))
    if values.shape[2] != 2 or values.size == 0:
        raise _refused(path, f"hold {VARIABLE} of (H, W, 2) numbers", _shape_text(values))
    length, degrees = torch.from_numpy(values.astype(np.float64)).permute(2, 0, 1)[:, None]
    for name, part in (("lengths", length), ("angles", degrees)):
        if not bool(torch.isfinite(part).all()):
            raise _refused(path, f"hold finite {name}", "NaN or infinity")
    if float(length.min()) < 1:
        got = f"a minimum of {float(length.min()):g}"
        raise _refused(path, "hold lengths of at least 1", got)
    angle = torch.deg2rad(torch.remainder(90 - degrees, 180.0))
    return MotionField(length.float().contiguous(), angle.float().contiguous())


def save_motion_field(path: str | os.PathLike[str], length: Tensor, angle: Tensor) -> None:
    """Writes a motion field in the convention of Eboli et al.'s released files.

    The file appears whole or not at all, as with :func:`save_field`.

    Args:
        path: the .mat file to be written.
        length: (1, H, W) pixels, finite, at least 1.
        angle: (1, H, W) radians, finite, counter-clockwise from the right, y upwards.

    Raises:
        TypeError, ValueError: the tensors are not as above.
        OSError: the file could not be written.

    Example:
        >>> import os, tempfile, torch
        >>> path = os.path.join(tempfile.mkdtemp(), "still.mat")
        >>> save_motion_field(path, torch.ones(1, 4, 6), torch.zeros(1, 4, 6))
    """
    import scipy.io

    name = "save_motion_field"
    for argument, value in (("length", length), ("angle", angle)):
        _check.tensor(name, argument, value, "(1, H, W)")
        if value.shape[0] != 1 or value.numel() == 0:
            raise ValueError(message(name, argument, "be (1, H, W)", tuple(value.shape)))
        _check.finite(name, argument, value)
    length, angle = length.detach().cpu().double(), angle.detach().cpu().double()
    if length.shape != angle.shape:
        wanted = f"have the shape of length {tuple(length.shape)}"
        raise ValueError(message(name, "angle", wanted, tuple(angle.shape)))
    if float(length.min()) < 1:
        got = f"a minimum of {float(length.min()):g}"
        raise ValueError(message(name, "length", "be at least 1", got))
    degrees = torch.remainder(90 - torch.rad2deg(angle), 180.0)
    values = torch.stack([length[0], degrees[0]], dim=-1)
    with replacing(path) as file:
        scipy.io.savemat(file, {VARIABLE: values.numpy()}, do_compression=True)


def _shape_text(values: object) -> str:
    if isinstance(values, np.ndarray):
        return f"{values.dtype} of shape {values.shape}"
    return type(values).__name__


def _refused(path: str | os.PathLike[str], requirement: str, got: str) -> ValueError:
    return ValueError(message("load_motion_field", f"'{os.fspath(path)}'", requirement, got))
