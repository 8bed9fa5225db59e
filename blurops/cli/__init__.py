# SPDX-License-Identifier: BSD-3-Clause
"""The command line: ``blurops demo | deblur | blur | field | info``."""

from blurops.cli._main import main

__all__ = ["main"]
