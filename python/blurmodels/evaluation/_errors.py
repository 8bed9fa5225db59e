# SPDX-License-Identifier: BSD-3-Clause
"""The one way that errors are phrased here, as in blurops."""


def message(function: str, argument: str, requirement: str, got: object) -> str:
    """``<function>: <argument> must <requirement>, got <what was seen>``."""
    return f"{function}: {argument} must {requirement}, got {got}"
