# SPDX-License-Identifier: BSD-3-Clause
"""What each column of the paper's tables measures: images, their truth, and the protocol."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from blurmodels import datasets
from blurmodels.evaluation import Scores, aligned_scores, kohler_scores, plain_scores

# Where a dataset may lie below the data folder: our name for it, then that of its archive.
FOLDERS = {
    "kohler": ("Kohler", "KohlerDataset"),
    "realblur": ("RealBlur",),
    "gopro": ("GoPro", "GOPRO_Large"),
    "dvd": ("DVD", "DeepVideoDeblurring_Dataset"),
    "cuhk": ("CUHK", "BlurDetectionDataset"),
}


class Shot(NamedTuple):
    """One image to restore.

    Attributes:
        name: unique in its dataset.
        blurred: reads the blurred image, (1, C, H, W) in [0, 1].
        score: compares a restored image with the truth.
    """

    name: str
    blurred: Callable[[], Tensor]
    score: Callable[[Tensor], Scores]


class Column(NamedTuple):
    """A dataset under a protocol.

    Attributes:
        dataset: a key of `FOLDERS`.
        folder: what restored images of it are filed under, one for each set of shots.
        shots: lists the shots of the dataset's folder.
        gamma: linear light = value ** gamma, for the network and the restoration.
        saturated: whether the restoration models the sensor's ceiling.
        protocol: how it is scored, in words.
        cell: how scores are printed.
    """

    dataset: str
    folder: str
    shots: Callable[[Path], list[Shot]]
    gamma: float
    saturated: bool
    protocol: str
    cell: str = "{0.psnr:.2f}/{0.ssim:.2f}"


def _pairs(reader: Callable[..., Any], score: Callable[..., Scores], **options: Any) -> Any:
    def shots(root: Path) -> list[Shot]:
        return list(_paired(reader(root, **options), score))

    return shots


def _paired(pairs: Any, score: Callable[..., Scores]) -> Iterator[Shot]:
    for pair in pairs:
        yield Shot(
            pair.name,
            lambda pair=pair: pair.read()[0],
            lambda restored, pair=pair: score(restored, pair.read()[1]),
        )


def _kohler(homography: bool, large: bool) -> Callable[[Path], list[Shot]]:
    def shots(root: Path) -> list[Shot]:
        return [
            Shot(
                shot.name,
                shot.read,
                lambda restored, shot=shot: kohler_scores(
                    restored, shot.frames(), homography=homography
                ),
            )
            for shot in datasets.kohler(root, large=large)
        ]

    return shots


_ALIGNED = "gain and ECC homography, as RealBlur's evaluation"
_THREE = "{0.psnr:.2f}/{0.ssim:.3f}"
_PSNR = "{0.psnr:.2f}"

_KOHLER = Column(
    "kohler", "Kohler", _kohler(True, True), 1.0, False,
    f"best of all sharp frames after {_ALIGNED}",
)  # fmt: skip
_SHIFTED = "best of all sharp frames after gain and a shift by whole pixels"
_KOHLER_ALL = Column(
    "kohler", "Kohler", _kohler(False, True), 1.0, False, _SHIFTED, _PSNR
)  # fmt: skip
_KOHLER_SMALL = Column(
    "kohler", "Kohler", _kohler(False, False), 1.0, False, _SHIFTED, _PSNR
)  # fmt: skip
_GOPRO = Column(
    "gopro", "GoPro", _pairs(datasets.gopro, aligned_scores), 2.2, True, _ALIGNED
)  # fmt: skip
_GOPRO_PLAIN = Column(
    "gopro", "GoPro", _pairs(datasets.gopro, plain_scores), 2.2, True, "no alignment"
)  # fmt: skip
_DVD = Column("dvd", "DVD", _pairs(datasets.dvd, aligned_scores), 2.2, True, _ALIGNED)


def _realblur(kind: str, cell: str) -> Column:
    shots = _pairs(datasets.realblur, aligned_scores, kind=kind)
    return Column("realblur", f"RealBlur-{kind}", shots, 2.2, True, _ALIGNED, cell)


# By version and number of the table, in the order of its columns. Table 4 of the first version is
# no restoration and has its own function.
COLUMNS = {
    "second": {
        "1": (_KOHLER,),
        "2": (_realblur("R", _THREE), _realblur("J", _THREE)),
        "3": (_GOPRO_PLAIN,),
        "4": (_realblur("J", _PSNR),),
    },
    "first": {
        "1": (_KOHLER, _GOPRO, _DVD, _realblur("J", "{0.psnr:.2f}/{0.ssim:.2f}")),
        "2": (_KOHLER_ALL, _KOHLER_SMALL),
        "3": (_GOPRO_PLAIN,),
    },
}


def find(data: Path, dataset: str) -> Path | None:
    """The folder of a dataset below the data folder, or None where the user has none."""
    for name in FOLDERS[dataset]:
        if (data / name).is_dir():
            return data / name
    return None
