# SPDX-License-Identifier: BSD-3-Clause
"""Estimation and removal of motion that differs at each pixel, by networks.

After Eboli, Sun and Ponce, "Neural Embedding of an Iterative Deconvolution Algorithm for Motion
Blur Estimation and Removal", and "End-to-end Interpretable Learning of Non-blind Image Deblurring".
"""

from blurmodels.irc.cpcr import LCHQS, NULCHQS
from blurmodels.irc.irc_net import IRCNet
from blurmodels.irc.joint import BlindDeblurrer
from blurmodels.irc.motion_net import MotionNet
from blurmodels.irc.motion_picture import plot_motion_field
from blurmodels.irc.shrink import shrink_curve

__all__ = [
    "LCHQS",
    "NULCHQS",
    "BlindDeblurrer",
    "IRCNet",
    "MotionNet",
    "plot_motion_field",
    "shrink_curve",
]
