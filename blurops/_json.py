# SPDX-License-Identifier: BSD-3-Clause
"""Reports of what was done, as JSON files."""

import json
import math
import os
from typing import Any

from blurops._atomic import replacing


def write_report(path: str | os.PathLike[str], report: Any) -> None:
    """Writes numbers and texts to a JSON file, whole or not at all.

    JSON has no numbers that are infinite or not a number (RFC 8259, section 6), such as the PSNR of
    two equal images: they are written as null.

    Args:
        path: the file to be written.
        report: a JSON value: dicts, lists and tuples of numbers, texts, truths and None.

    Raises:
        TypeError: the report holds something else; the file is as it was.
        OSError: the file could not be written.

    Example:
        >>> import tempfile
        >>> name = os.path.join(tempfile.mkdtemp(), "report.json")
        >>> write_report(name, {"psnr": math.inf, "steps": [1, 2.5]})
        >>> with open(name, encoding="utf-8") as file:
        ...     json.load(file)
        {'psnr': None, 'steps': [1, 2.5]}
    """
    text = json.dumps(_finite(report), indent=2, allow_nan=False) + "\n"
    with replacing(path) as file:
        file.write(text.encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
