# SPDX-License-Identifier: BSD-3-Clause
"""Readers for the folders of public deblurring datasets, as their archives unpack.

They list files and read nothing until asked to; what is missing or damaged is named by its path.
"""

from blurmodels.datasets._files import Pair, read_colours
from blurmodels.datasets.cuhk import Labelled, cuhk
from blurmodels.datasets.faces import faces
from blurmodels.datasets.hide import hide
from blurmodels.datasets.kohler import LARGE_SHAKES, KohlerShot, kohler
from blurmodels.datasets.levin import levin_kernels
from blurmodels.datasets.lmdb_pairs import LMDBPairs
from blurmodels.datasets.pairs import DVD_TEST, dvd, gopro, lai, realblur, two_folders
from blurmodels.datasets.photographs import bahat, gopro_frames, photographs, voc
from blurmodels.datasets.reds import REDS4, reds, reds4

__all__ = [
    "DVD_TEST",
    "LARGE_SHAKES",
    "REDS4",
    "KohlerShot",
    "LMDBPairs",
    "Labelled",
    "Pair",
    "bahat",
    "cuhk",
    "dvd",
    "faces",
    "gopro",
    "gopro_frames",
    "hide",
    "kohler",
    "lai",
    "levin_kernels",
    "photographs",
    "read_colours",
    "realblur",
    "reds",
    "reds4",
    "two_folders",
    "voc",
]
