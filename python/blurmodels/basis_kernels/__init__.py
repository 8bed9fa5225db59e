# SPDX-License-Identifier: BSD-3-Clause
"""Blind estimation of a non-uniform blur as a few basis kernels that every pixel mixes.

After Carbajal, Vitoria, Delbracio, Musé and Lezama, "Non-uniform Blur Kernel Estimation via
Adaptive Basis Decomposition".
"""

from blurmodels.basis_kernels.blind import estimate_blind
from blurmodels.basis_kernels.denoisers import load_denoiser
from blurmodels.basis_kernels.detect import blur_map
from blurmodels.basis_kernels.estimate import estimate_field, network_input
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.basis_kernels.plug_and_play import plug_and_play

__all__ = [
    "TwoHeadsNetwork",
    "blur_map",
    "estimate_blind",
    "estimate_field",
    "load_denoiser",
    "network_input",
    "plug_and_play",
]
