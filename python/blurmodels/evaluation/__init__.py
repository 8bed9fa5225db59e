# SPDX-License-Identifier: BSD-3-Clause
"""How restored images and blur maps are scored, with the settings of each protocol written down."""

from blurmodels.evaluation.alignment import Alignment, ecc_homography, inside, warp
from blurmodels.evaluation.metrics import (
    average_precision,
    mean_average_precision,
    psnr,
    ssim,
)
from blurmodels.evaluation.protocols import (
    Scores,
    aligned_scores,
    kohler_scores,
    mean_scores,
    plain_scores,
    shifted_scores,
)
from blurmodels.evaluation.tables import Row, Table, show

__all__ = [
    "Alignment",
    "Row",
    "Scores",
    "Table",
    "aligned_scores",
    "average_precision",
    "ecc_homography",
    "inside",
    "kohler_scores",
    "mean_average_precision",
    "mean_scores",
    "plain_scores",
    "psnr",
    "shifted_scores",
    "show",
    "ssim",
    "warp",
]
