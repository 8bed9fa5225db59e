# SPDX-License-Identifier: BSD-3-Clause
"""Training data made as it is needed: sharp scenes, kernels, and what a camera sees of both.

Everything is addressed by index and seed, nothing is stored: item 7 is the same whether it is asked
for alone, after a restart, or by another process.
"""

from blurmodels.basis_kernels.data.ade20k import ADE20K
from blurmodels.basis_kernels.data.kernel_bank import KernelBank
from blurmodels.basis_kernels.data.leaves import DeadLeaves
from blurmodels.basis_kernels.data.samples import Batch, BlurSettings, Samples, blur_batch
from blurmodels.basis_kernels.data.scene import Repeated, Scene, Scenes

__all__ = [
    "ADE20K",
    "Batch",
    "BlurSettings",
    "DeadLeaves",
    "KernelBank",
    "Repeated",
    "Samples",
    "Scene",
    "Scenes",
    "blur_batch",
]
