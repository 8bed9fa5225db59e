# SPDX-License-Identifier: BSD-3-Clause
"""Readers for the folders of public deblurring datasets, as their archives unpack.

They list files and read nothing until asked to; what is missing or damaged is named by its path.
"""

from blurmodels.datasets._files import Pair, read_colours
from blurmodels.datasets.cuhk import Labelled, cuhk
from blurmodels.datasets.kohler import LARGE_SHAKES, KohlerShot, kohler
from blurmodels.datasets.pairs import DVD_TEST, dvd, gopro, lai, realblur
from blurmodels.datasets.photographs import bahat, gopro_frames, voc

__all__ = [
    "DVD_TEST",
    "LARGE_SHAKES",
    "KohlerShot",
    "Labelled",
    "Pair",
    "bahat",
    "cuhk",
    "dvd",
    "gopro",
    "gopro_frames",
    "kohler",
    "lai",
    "read_colours",
    "realblur",
    "voc",
]
