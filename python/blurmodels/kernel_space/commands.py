# SPDX-License-Identifier: BSD-3-Clause
"""What this model adds to the command line: `blurops evaluate kernel_space`."""

from blurmodels.kernel_space.experiments.commands import register_evaluate

__all__ = ["register_evaluate"]
