# SPDX-License-Identifier: BSD-3-Clause
"""Restoration: from a blurred image and its blur to the sharp one."""

from blurops.ops.rl_step import Saturation
from blurops.solvers.admm import admm_irc
from blurops.solvers.conjugate_gradients import cg_deblur
from blurops.solvers.fft_deblur import fft_deblur
from blurops.solvers.inverse_blur import inverse_blur
from blurops.solvers.inverse_filters import difference_filters, inverse_filters
from blurops.solvers.irc import irc, spectral_radius
from blurops.solvers.patches import fft_deblur_patches, irc_patches
from blurops.solvers.problem import Deconvolution
from blurops.solvers.richardson_lucy import Restoration, richardson_lucy

__all__ = [
    "Deconvolution",
    "Restoration",
    "Saturation",
    "admm_irc",
    "cg_deblur",
    "difference_filters",
    "fft_deblur",
    "fft_deblur_patches",
    "inverse_blur",
    "inverse_filters",
    "irc",
    "irc_patches",
    "richardson_lucy",
    "spectral_radius",
]
