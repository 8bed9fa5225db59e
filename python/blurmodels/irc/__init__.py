# SPDX-License-Identifier: BSD-3-Clause
"""Estimation and removal of motion that differs at each pixel, by networks.

After Eboli, Sun and Ponce, "Neural Embedding of an Iterative Deconvolution Algorithm for Motion
Blur Estimation and Removal", and "End-to-end Interpretable Learning of Non-blind Image Deblurring".
"""

from blurmodels.irc.cpcr import LCHQS, NULCHQS
from blurmodels.irc.motion_net import MotionNet
from blurmodels.irc.motion_picture import plot_motion_field

__all__ = ["LCHQS", "NULCHQS", "MotionNet", "plot_motion_field"]
