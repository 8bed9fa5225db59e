# SPDX-License-Identifier: BSD-3-Clause
"""Deconvolution by residual compensation as a network, for motion that differs at each pixel.

After Eboli, Sun and Ponce, "Neural Embedding of an Iterative Deconvolution Algorithm for Motion
Blur Estimation and Removal".
"""

from blurmodels.irc.irc_net import IRCNet
from blurmodels.irc.joint import BlindDeblurrer
from blurmodels.irc.shrink import shrink_curve

__all__ = ["BlindDeblurrer", "IRCNet", "shrink_curve"]
