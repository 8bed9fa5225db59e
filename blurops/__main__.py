# SPDX-License-Identifier: BSD-3-Clause
"""``python -m blurops``."""

import sys

from blurops.cli import main

sys.exit(main())
