# SPDX-License-Identifier: BSD-3-Clause
"""HIDE (Shen et al., "Human-aware Motion Deblurring", ICCV 2019): blurred photographs of people."""

import os

from blurmodels.datasets._files import Pair, folder, folders_in, images_in, missing_twin, some


def hide(root: str | os.PathLike[str]) -> list[Pair]:
    """The pairs of the test half: `test/test-close-ups/*.png`, `test/test-long-shot/*.png`, `GT/*`.

    Args:
        root: the folder that holds `test` and `GT`.

    Returns:
        The pairs, by the folder of the blurred file and its name. Sharp files of the other half,
        which lie in `GT` too, are left out.

    Raises:
        OSError: a folder is missing.
        ValueError: a blurred file has no twin, or there is none at all.
    """
    base = folder(root)
    twins = {path.stem: path for path in images_in(base / "GT")}
    pairs = []
    for part in folders_in(base / "test"):
        for path in images_in(part):
            if path.stem not in twins:
                raise missing_twin(path, base / "GT" / path.name)
            pairs.append(Pair(f"{part.name}/{path.stem}", path, twins[path.stem]))
    return some(pairs, base, "blurred images such as 'test/test-close-ups/1.png'")
