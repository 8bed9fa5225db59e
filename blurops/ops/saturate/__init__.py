# SPDX-License-Identifier: BSD-3-Clause
"""The sensor's response R and its derivative R'."""

from blurops.ops.saturate.op import saturate, saturate_derivative

__all__ = ["saturate", "saturate_derivative"]
