# SPDX-License-Identifier: BSD-3-Clause
"""How the papers score a restored image: RealBlur's alignment, and Köhler's many ground truths.

The settings are those of the public evaluation code of RealBlur (Rim et al., ECCV 2020), which
Carbajal et al. say they follow, and of Köhler's set (Köhler et al., ECCV 2012).
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from blurmodels.evaluation._errors import message
from blurmodels.evaluation.alignment import ecc_homography, inside, warp
from blurmodels.evaluation.metrics import psnr, ssim

# Above this a frame is the image itself, which the evaluation code of Köhler's set leaves out.
_TOO_GOOD = 60.0


class Scores(NamedTuple):
    """PSNR in dB and SSIM."""

    psnr: float
    ssim: float


def plain_scores(restored: Tensor, sharp: Tensor) -> Scores:
    """Without any alignment; SSIM with its Gaussian window."""
    return Scores(psnr(restored, sharp), ssim(restored, sharp))


def aligned_scores(restored: Tensor, sharp: Tensor, *, iterations: int = 100) -> Scores:
    """The RealBlur protocol: gain and homography first, then PSNR and SSIM where both images are.

    1. The restored image z is scaled by `<x, z> / <z, z>`, x being the sharp one.
    2. `ecc_homography` aligns it (gray images, 5-tap smoothing, 100 updates); where that finds
       nothing, the identity does.
    3. z is warped bicubically; what the warp reads from outside z, by the nearest pixel, is masked.
    4. PSNR over the mask. SSIM with the Gaussian window of both images, 0 outside the mask, its map
       averaged over the mask without a border of 5 pixels.

    Args:
        restored: (1, C, H, W) in [0, 1], C = 1 or 3.
        sharp: of the same shape.
        iterations: see `ecc_homography`.

    Returns:
        The scores.

    Raises:
        TypeError, ValueError: an argument is of another kind.

    Example:
        >>> y, x = torch.meshgrid(torch.arange(40.0), torch.arange(48.0), indexing="ij")
        >>> sharp = (torch.sin(x / 3) * torch.cos(y / 4) / 2 + 0.5)[None, None]
        >>> darker = 0.8 * sharp
        >>> plain_scores(darker, sharp).psnr < 20 < 60 < aligned_scores(darker, sharp).psnr
        True
    """
    return _Aligned.by_homography(restored, sharp, iterations).scores()


def kohler_scores(restored: Tensor, frames: Iterable[Tensor], *, homography: bool = True) -> Scores:
    """Köhler's protocol: the best PSNR over the sharp frames of the trajectory, and its SSIM.

    Args:
        restored: (1, C, H, W) in [0, 1].
        frames: sharp images of that shape, about 200; they are looked at one after the other.
        homography: align each frame by the RealBlur protocol, as the paper's tables with neural
            networks do; without, by a shift of whole pixels, as Köhler's own evaluation does
            (table 2 of the paper's first version).

    Returns:
        The scores of the best frame; one of more than 60 dB is left out, as in the public code.

    Raises:
        ValueError: there is no frame, or none below 60 dB.

    Example:
        >>> sharp = torch.rand(1, 3, 16, 16)
        >>> frames = [torch.rand(1, 3, 16, 16), sharp + 0.1 * torch.rand(1, 3, 16, 16)]
        >>> best = kohler_scores(sharp, iter(frames), homography=False)
        >>> best == shifted_scores(sharp, frames[1])
        True
    """
    align = _Aligned.by_homography if homography else _Aligned.by_shift
    best: tuple[float, _Aligned] | None = None
    for frame in frames:
        aligned = align(restored, frame)
        quality = aligned.psnr()
        if quality < _TOO_GOOD and (best is None or quality > best[0]):
            best = quality, aligned
    if best is None:
        wanted = f"hold one that scores below {_TOO_GOOD:g} dB"
        raise ValueError(message("kohler_scores", "frames", wanted, "none"))
    return best[1].scores()


def shifted_scores(restored: Tensor, sharp: Tensor) -> Scores:
    """Köhler's own alignment: gain, then the shift by whole pixels that correlates best.

    The restored image z is scaled as in `aligned_scores`. The shift is the peak of the circular
    cross-correlation of the mean over the channels of both images; what it brings in from outside
    is masked.

    Args:
        restored: (1, C, H, W) in [0, 1].
        sharp: of the same shape.

    Returns:
        The scores.

    Raises:
        TypeError, ValueError: an argument is of another kind.

    Example:
        >>> sharp = torch.sin(torch.arange(40.0) / 3).expand(1, 1, 24, 40) / 2 + 0.5
        >>> moved = sharp.roll(2, dims=3)
        >>> plain_scores(moved, sharp).psnr < 15 < 20 < shifted_scores(moved, sharp).psnr
        True
    """
    return _Aligned.by_shift(restored, sharp).scores()


class _Aligned(NamedTuple):
    """A restored image moved onto the sharp one, and where both are."""

    image: Tensor
    sharp: Tensor
    mask: Tensor

    @classmethod
    def by_homography(cls, restored: Tensor, sharp: Tensor, iterations: int = 100) -> "_Aligned":
        restored, sharp = _with_gain(restored, sharp)
        found = ecc_homography(sharp, restored, iterations=iterations)
        return cls.under(found.homography, restored, sharp)

    @classmethod
    def by_shift(cls, restored: Tensor, sharp: Tensor) -> "_Aligned":
        from skimage.registration import phase_cross_correlation

        restored, sharp = _with_gain(restored, sharp)
        planes = [image.mean(dim=(0, 1)).numpy() for image in (sharp, restored)]
        (down, right), *_ = phase_cross_correlation(*planes, normalization=None)
        homography = torch.eye(3, dtype=torch.float64)
        homography[0, 2], homography[1, 2] = -float(right), -float(down)
        return cls.under(homography, restored, sharp)

    @classmethod
    def under(cls, homography: Tensor, restored: Tensor, sharp: Tensor) -> "_Aligned":
        mask = inside(homography, tuple(sharp.shape[2:]))
        return cls(warp(restored, homography), sharp, mask)

    def psnr(self) -> float:
        return psnr(self.image, self.sharp, self.mask)

    def scores(self) -> Scores:
        return Scores(self.psnr(), ssim(self.image, self.sharp, self.mask))


def _with_gain(restored: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, the restored one scaled by `<x, z> / <z, z>`."""
    psnr(restored, sharp)  # checks the two
    restored, sharp = restored.double(), sharp.double()
    energy = float(restored.square().sum())
    gain = float((sharp * restored).sum()) / energy if energy > 0 else 1.0
    return gain * restored, sharp


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """The mean of each number."""
    table = torch.tensor([tuple(each) for each in scores], dtype=torch.float64)
    if table.numel() == 0:
        raise ValueError(message("mean_scores", "scores", "hold at least one", "none"))
    return Scores(*table.mean(dim=0).tolist())
