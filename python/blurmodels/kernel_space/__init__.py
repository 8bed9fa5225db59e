# SPDX-License-Identifier: BSD-3-Clause
"""The encoded blur kernel space: blur as a latent feature that networks extract and apply.

After Tran, Tran, Phung and Hoai, "Explore Image Deblurring via Encoded Blur Kernel Space",
CVPR 2021.
"""
