# SPDX-License-Identifier: BSD-3-Clause
"""Output files that appear whole or not at all, for programs that stand on blurops."""

from blurops._atomic import check_output, replacing
from blurops._json import write_report

__all__ = ["check_output", "replacing", "write_report"]
