# SPDX-License-Identifier: BSD-3-Clause
"""Restoration: from a blurred image and its blur to the sharp one."""

from blurops.ops.rl_step import Saturation
from blurops.solvers.inverse_filters import difference_filters, inverse_filters
from blurops.solvers.inverse_blur import inverse_blur
from blurops.solvers.irc import irc, spectral_radius
from blurops.solvers.problem import Deconvolution
from blurops.solvers.richardson_lucy import Restoration, richardson_lucy

__all__ = [
    "Restoration",
    "Saturation",
    "difference_filters",
    "inverse_filters",
    "richardson_lucy",
]
