# SPDX-License-Identifier: BSD-3-Clause
"""Checks of plain numbers that the generators share; tensors are checked by `blurops._check`."""

import math
import numbers
from typing import Any

from blurops._check import message


def positive_int(function: str, argument: str, value: Any) -> int:
    """Returns `value` as an int; raises unless it is a whole number of at least 1."""
    return whole(function, argument, value, 1)


def whole(function: str, argument: str, value: Any, least: int) -> int:
    """Returns `value` as an int; raises unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message(function, argument, "be an int", repr(value)))
    if value < least:
        raise ValueError(message(function, argument, f"be at least {least}", int(value)))
    return int(value)


def odd(function: str, argument: str, value: Any) -> int:
    """Returns `value` as an int; raises unless it is an odd number of at least 1."""
    value = positive_int(function, argument, value)
    if value % 2 == 0:
        raise ValueError(message(function, argument, "be odd", value))
    return value


def real(
    function: str,
    argument: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
) -> float:
    """Returns `value` as a float; raises unless it is finite, above `above`, not below `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message(function, argument, "be a number", repr(value)))
    if not math.isfinite(value):
        raise ValueError(message(function, argument, "be finite", value))
    if above is not None and value <= above:
        raise ValueError(message(function, argument, f"be greater than {above:g}", value))
    if least is not None and value < least:
        raise ValueError(message(function, argument, f"be at least {least:g}", value))
    return float(value)


def seed(function: str, value: Any) -> int:
    """Returns `value` as an int; raises unless it can seed a generator (0 to 2**63 - 1)."""
    value = whole(function, "seed", value, 0)
    if value >= 1 << 63:
        raise ValueError(message(function, "seed", "be less than 2**63", value))
    return value
