# SPDX-License-Identifier: BSD-3-Clause
"""Tables 2 to 5 of Eboli, Sun and Ponce, with our rows below their own.

Their test sets of tables 2 and 3 were never published: photographs of VOC 2012 before a camera that
turns and shifts are taken, or generated scenes.
"""

import os
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from blurmodels.datasets import bahat, kohler
from blurmodels.evaluation import Row, Scores, Table, kohler_scores, mean_scores, plain_scores
from blurmodels.evaluation.tables import MISSING
from blurmodels.irc.motion_data import CameraBlurs, CameraSettings, Example
from blurmodels.irc.motion_score import motion_mse
from blurmodels.scenes import Scenes

LEVELS = {"moderate": 21.0, "severe": 35.0}
TABLES = (2, 3, 4, 5)

_SIZE = (375, 500)
_PSNR = ("PSNR", "SSIM", "seconds")
PAPER = {
    2: Table(
        "Table 2: squared error of the motion, pixels²",
        ("moderate", "severe", "seconds"),
        (
            Row("CNN-Patch", ("20.08", "54.02", "79")),
            Row("FCN", ("7.09", "10.34", "7")),
            Row("Eboli et al.", ("5.91", "8.36", "0.2")),
        ),
    ),
    3: Table(
        "Table 3: known motion",
        _PSNR,
        (
            Row("NU-FFT", ("22.97", "0.776", "47")),
            Row("NU-CG", ("26.77", "0.864", "335")),
            Row("GMM-Patch", ("26.10", "0.843", "415")),
            Row("Eboli et al.", ("26.54", "0.855", "0.8")),
            Row("Eboli et al., fine-tuned", ("26.91", "0.861", "0.8")),
        ),
    ),
    4: Table(
        "Table 4: unknown motion, moderate and severe",
        ("PSNR", "SSIM", "severe PSNR", "severe SSIM", "seconds"),
        (
            Row("GMM-Patch", ("24.14", "0.714", "20.84", "0.56", "497")),
            Row("GMM-FCN", ("24.81", "0.742", "22.38", "0.622", "422")),
            Row("Reblurring", ("24.87", "0.743", "22.39", "0.646", MISSING)),
            Row("DMCNN", ("24.68", "0.760", "22.28", "0.646", "3.4")),
            Row("Eboli et al.", ("24.71", "0.734", "22.50", "0.630", "0.9")),
            Row("Eboli et al., fine-tuned", ("24.80", "0.737", "22.54", "0.632", "0.9")),
        ),
    ),
    5: Table(
        "Table 5: unknown motion, Köhler's set",
        _PSNR,
        (
            Row("GMM-Patch", ("25.22", "0.774", "1200")),
            Row("GMM-FCN", ("24.92", "0.784", "1200")),
            Row("Reblurring", ("26.33", MISSING, MISSING)),
            Row("DMCNN", ("26.48", "0.808", "4.7")),
            Row("Eboli et al.", ("25.01", "0.779", "2.1")),
            Row("Eboli et al., fine-tuned", ("25.42", "0.795", "2.1")),
        ),
    ),
}


class _Timed:
    """A network that counts its calls and their seconds."""

    def __init__(self, network: Callable) -> None:
        self.network, self.calls, self.seconds = network, 0, 0.0

    @torch.no_grad()
    def __call__(self, *args: Tensor) -> Tensor | tuple[Tensor, ...]:
        began = time.perf_counter()
        found = self.network(*args)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        return found

    @property
    def cell(self) -> str:
        return f"{self.seconds / self.calls:.2g}"


def motion_table(
    network: Callable, scenes: Scenes, count: int, size: tuple[int, int] = _SIZE, *, seed: int = 0
) -> Table:
    """Table 2.

    Args:
        network: takes images to lengths and angles, as `MotionNet`.
        scenes: where sharp pictures come from.
        count: images of each level; the paper has 300.
        size: (H, W) of the images.
        seed: which motions.
    """
    timed = _Timed(network)
    scores = [
        motion_mse(timed, CameraBlurs(scenes, size, CameraSettings(most), seed=seed), range(count))
        for most in LEVELS.values()
    ]
    rows = [Row("blurops", (*(f"{s.mse:.2f}" for s in scores), timed.cell), ours=True)]
    for name in ("constant", "still"):
        cells = (f"{getattr(s, name):.2f}" for s in scores)
        text = {"constant": "the best constant motion", "still": "no motion"}[name]
        rows.append(Row(text, (*cells, MISSING), ours=True))
    return PAPER[2].with_rows(rows, [_note(count, size, scenes)])


def known_motion_table(
    network: Callable, scenes: Scenes, count: int, size: tuple[int, int] = _SIZE, *,
    max_length: float = 35.0, seed: int = 0,
) -> Table:  # fmt: skip
    """Table 3.

    Args:
        network: takes images, lengths and angles to restored images, as `IRCNet`.
        scenes, count, size, seed: as in `motion_table`; the paper has 60 images.
        max_length: longest motion, which the paper does not state.
    """
    timed = _Timed(network)

    def restore(example: Example) -> Tensor:
        return timed(example.observed[None], example.length[None], example.angle[None])

    pairs = _generated(scenes, count, size, max_length, seed)
    scores = mean_scores(
        plain_scores(restore(each).clamp(0, 1), each.sharp[None]) for each in pairs
    )
    note = _note(count, size, scenes)
    before = mean_scores(
        plain_scores(each.observed[None].clamp(0, 1), each.sharp[None])
        for each in _generated(scenes, count, size, max_length, seed)
    )
    rows = [
        Row("blurops", (*_cells(scores), timed.cell), ours=True),
        Row("blurred", (*_cells(before), MISSING), ours=True),
    ]
    return PAPER[3].with_rows(rows, [note])


def blind_table(
    pipeline: Callable,
    root: str | os.PathLike[str] | None,
    scenes: Scenes,
    count: int | None,
    size: tuple[int, int] = _SIZE,
    *,
    seed: int = 0,
) -> Table:
    """Table 4.

    Args:
        pipeline: takes blurred images to restored ones, as `BlindDeblurrer`.
        root: Bahat et al.'s images; None takes scenes before a camera.
        scenes, size, seed: as in `motion_table`, without a root.
        count: images of each level, the first; None takes all of a root's.
    """
    timed = _Timed(pipeline)
    cells: list[str] = []
    for level, most in LEVELS.items():
        if root is None:
            examples = _generated(scenes, count or 1, size, most, seed)
            pairs = ((each.observed[None], each.sharp[None]) for each in examples)
        else:
            pairs = (pair.read() for pair in bahat(root, level)[:count])
        cells += _cells(
            mean_scores(plain_scores(timed(blurred).clamp(0, 1), sharp) for blurred, sharp in pairs)
        )
    note = _note(count or 1, size, scenes) if root is None else f"{timed.calls} images in all."
    return PAPER[4].with_rows([Row("blurops", (*cells, timed.cell), ours=True)], [note])


def kohler_table(
    pipeline: Callable, root: str | os.PathLike[str], count: int | None = None
) -> Table:
    """Table 5: plain Köhler protocol, a shift by whole pixels.

    Args:
        pipeline: as in `blind_table`.
        root: Köhler's set.
        count: the first images only.
    """
    timed = _Timed(pipeline)
    scores = mean_scores(
        kohler_scores(timed(shot.read()).clamp(0, 1), shot.frames(), homography=False)
        for shot in kohler(root)[:count]
    )
    row = Row("blurops", (*_cells(scores), timed.cell), ours=True)
    return PAPER[5].with_rows([row], [f"{timed.calls} images, aligned by whole pixels."])


def _generated(
    scenes: Scenes, count: int, size: tuple[int, int], max_length: float, seed: int
) -> Iterator[Example]:
    blurs = CameraBlurs(scenes, size, CameraSettings(max_length), seed=seed)
    return (blurs[index] for index in range(count))


def _cells(scores: Scores) -> tuple[str, str]:
    return f"{scores.psnr:.2f}", f"{scores.ssim:.3f}"


def _note(count: int, size: tuple[int, int], scenes: Scenes) -> str:
    return (
        f"Rows with *: {count} images of {size[1]} x {size[0]} pixels of each level, not the"
        f" paper's, out of {type(scenes).__name__}."
    )
