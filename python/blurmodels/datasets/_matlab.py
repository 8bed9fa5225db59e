# SPDX-License-Identifier: BSD-3-Clause
"""Variables of MATLAB files, or an error that names the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def variables(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Those of the variables that a MATLAB 5 file holds.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no such file, or damaged.
    """
    from scipy.io import loadmat

    try:
        return loadmat(path, variable_names=list(names))
    # A damaged file makes loadmat raise nearly anything, an OSError without a number among it: all
    # of it means the same to the caller.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"dataset: '{path}' must be a whole MATLAB 5 file, got another or a damaged one"
            f" ({type(error).__name__})"
        ) from error
