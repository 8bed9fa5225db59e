# SPDX-License-Identifier: BSD-3-Clause
"""What this model adds to the command line: `blurops deblur` and `evaluate`."""

from blurmodels.kernel_space.commands_deblur import add_deblur, deblur
from blurmodels.kernel_space.experiments.commands import register_evaluate

__all__ = ["add_deblur", "deblur", "register_evaluate"]
