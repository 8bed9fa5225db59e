# SPDX-License-Identifier: BSD-3-Clause
"""One Richardson-Lucy update."""

from blurops.ops.rl_step.op import rl_step
from blurops.ops.rl_step.saturation import Saturation

__all__ = ["Saturation", "rl_step"]
