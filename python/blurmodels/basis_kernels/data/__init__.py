# SPDX-License-Identifier: BSD-3-Clause
"""Training data made as it is needed: kernels, and what a camera sees of scenes through them.

Everything is addressed by index and seed, nothing is stored: item 7 is the same whether it is asked
for alone, after a restart, or by another process.
"""

from blurmodels.basis_kernels.data.ade20k import ADE20K
from blurmodels.basis_kernels.data.kernel_bank import KernelBank
from blurmodels.basis_kernels.data.samples import Batch, BlurSettings, Samples, blur_batch

__all__ = [
    "ADE20K",
    "Batch",
    "BlurSettings",
    "KernelBank",
    "Samples",
    "blur_batch",
]
