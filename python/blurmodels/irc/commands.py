# SPDX-License-Identifier: BSD-3-Clause
"""What this model adds to the command line."""

from blurmodels.irc.motion_commands import register, register_train

__all__ = ["register", "register_train"]
