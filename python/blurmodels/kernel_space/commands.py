# SPDX-License-Identifier: BSD-3-Clause
"""What this model adds to the command line: `blurops deblur --model kernel_space`."""

from blurmodels.kernel_space.commands_deblur import add_deblur, deblur

__all__ = ["add_deblur", "deblur"]
