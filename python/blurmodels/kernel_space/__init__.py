# SPDX-License-Identifier: BSD-3-Clause
"""The encoded blur kernel space of Tran, Tran, Phung and Hoai, CVPR 2021."""

from blurmodels.kernel_space.network import KernelWizard, resize_kernel

__all__ = ["KernelWizard", "resize_kernel"]
