# SPDX-License-Identifier: BSD-3-Clause
"""Blind estimation of a non-uniform blur as a few basis kernels that every pixel mixes.

After Carbajal, Vitoria, Delbracio, Musé and Lezama, "Non-uniform Blur Kernel Estimation via
Adaptive Basis Decomposition".
"""

from blurmodels.basis_kernels.network import TwoHeadsNetwork

__all__ = ["TwoHeadsNetwork"]
