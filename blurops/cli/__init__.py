# SPDX-License-Identifier: BSD-3-Clause
"""The command line, and in `options` what the commands of model packages share with the others."""

from blurops.cli import _options as options
from blurops.cli._main import main

__all__ = ["main", "options"]
