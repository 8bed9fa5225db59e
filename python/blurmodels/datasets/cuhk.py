# SPDX-License-Identifier: BSD-3-Clause
"""The blur detection dataset of Shi et al. (CVPR 2014), which the literature calls CUHK."""

import os
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from blurmodels.datasets._files import folder, images_in, missing_twin, read_colours, same_size


class Labelled(NamedTuple):
    """A photograph and where it is blurred.

    Attributes:
        name: such as "motion0001".
        image: the photograph.
        mask: black and white.
        blurred_is_white: what white means in the mask.
    """

    name: str
    image: Path
    mask: Path
    blurred_is_white: bool = True

    def read(self) -> tuple[Tensor, Tensor]:
        """The image, (1, C, H, W) in [0, 1], and where it is blurred, (1, 1, H, W) bool.

        Raises:
            OSError: a file is missing.
            ValueError: a file is damaged, or the two differ in size.
        """
        image, mask = read_colours(self.image), read_colours(self.mask)[:, :1]
        same_size(mask, self.mask, image[:, :1], self.image)
        white = mask > 0.5
        return image, white if self.blurred_is_white else ~white


def cuhk(
    root: str | os.PathLike[str],
    kind: str = "motion",
    *,
    names: str | os.PathLike[str] | None = None,
    blurred_is_white: bool = True,
) -> list[Labelled]:
    """The photographs `image/motion0001.jpg` and their masks `gt/motion0001.png`.

    Args:
        root: the folder that holds `image` and `gt`.
        kind: "motion" or "out_of_focus", what the files' names start with.
        names: a text file with one name a line, the split to evaluate on; everything by default.
        blurred_is_white: what white means in the masks.

    Returns:
        The photographs, by name, or in the order of `names`.

    Raises:
        OSError: a folder, or the file of names, is missing.
        ValueError: an image has no mask, a name is unknown, or there is no image.
    """
    if kind not in ("motion", "out_of_focus"):
        raise ValueError(f"cuhk: kind must be one of motion, out_of_focus, got {kind!r}")
    base = folder(root)
    masks = {path.stem: path for path in images_in(base / "gt")}
    found = {}
    for path in images_in(base / "image"):
        if path.stem.startswith(kind):
            if path.stem not in masks:
                raise missing_twin(path, base / "gt" / f"{path.stem}.png")
            found[path.stem] = Labelled(path.stem, path, masks[path.stem], blurred_is_white)
    if not found:
        raise ValueError(f"cuhk: '{base}' must hold images 'image/{kind}*', got none")
    if names is None:
        return list(found.values())
    wanted = [Path(line).stem for line in Path(names).read_text().split()]
    for name in wanted:
        if name not in found:
            raise ValueError(f"cuhk: '{os.fspath(names)}' must list images of {base}, got '{name}'")
    return [found[name] for name in wanted]
