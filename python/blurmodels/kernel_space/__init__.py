# SPDX-License-Identifier: BSD-3-Clause
"""The encoded blur kernel space: blur as a latent feature that networks extract and apply.

After Tran, Tran, Phung and Hoai, "Explore Image Deblurring via Encoded Blur Kernel Space",
CVPR 2021.
"""

from blurmodels.kernel_space.blind import Fitted, fit_operator
from blurmodels.kernel_space.blind_encoded import Deblurred, deblur_encoded
from blurmodels.kernel_space.network import KernelWizard, resize_kernel
from blurmodels.kernel_space.priors import ImageDIP, KernelDIP

__all__ = [
    "Deblurred",
    "Fitted",
    "ImageDIP",
    "KernelDIP",
    "KernelWizard",
    "deblur_encoded",
    "fit_operator",
    "resize_kernel",
]
