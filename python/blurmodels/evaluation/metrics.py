# SPDX-License-Identifier: BSD-3-Clause
"""PSNR and SSIM with the settings that a protocol names, and average precision."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from blurmodels.evaluation._errors import message

# scikit-image's Gaussian window with sigma 1.5 reaches int(3.5 sigma + 0.5) pixels.
_REACH = 5


def psnr(image: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio, `-10 log10(mean (image - truth)^2)` for values in [0, 1].

    Args:
        image: (1, C, H, W).
        truth: of the same shape.
        mask: (1, 1, H, W) bool, the pixels that count; all by default.

    Returns:
        In dB; infinity for equal images.

    Raises:
        TypeError, ValueError: an argument is of another kind, or no pixel counts.

    Example:
        >>> round(psnr(torch.full((1, 3, 8, 8), 0.6), torch.full((1, 3, 8, 8), 0.5)), 3)
        20.0
    """
    _check_pair("psnr", image, truth, mask)
    squares = (image.double() - truth.double()).square()
    if mask is not None:
        squares = squares[mask.expand_as(squares)]
    mean = float(squares.mean())
    return math.inf if mean == 0 else -10 * math.log10(mean)


def ssim(
    image: Tensor, truth: Tensor, mask: Tensor | None = None, *, gaussian: bool = True
) -> float:
    """Structural similarity by scikit-image, for values in [0, 1], averaged over the channels.

    Args:
        image: (1, C, H, W), sides of at least 11.
        truth: of the same shape.
        mask: (1, 1, H, W) bool. The images are set to 0 elsewhere and the map is averaged over the
            mask alone, as the evaluation code of RealBlur does.
        gaussian: the window of Wang et al. 2004, Gaussian with sigma 1.5 and no sample covariance;
            else scikit-image's default, 7 x 7 and uniform. A border of 5 (of 3) pixels is left out.

    Returns:
        In [-1, 1].

    Raises:
        TypeError, ValueError: an argument is of another kind, the image is smaller than the
            window, or no pixel counts.

    Example:
        >>> ssim(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)) < 0.5
        True
    """
    from skimage.metrics import structural_similarity

    _check_pair("ssim", image, truth, mask)
    if min(image.shape[2:]) <= 2 * _REACH:
        wanted = f"have sides of at least {2 * _REACH + 1} pixels"
        raise ValueError(message("ssim", "image", wanted, tuple(image.shape[2:])))
    window = {"gaussian_weights": True, "use_sample_covariance": False} if gaussian else {}
    kept = torch.ones_like(image[:, :1], dtype=torch.bool) if mask is None else mask
    planes = [(plane * kept)[0].double().cpu().numpy() for plane in (truth, image)]
    _, similarity = structural_similarity(
        *planes, data_range=1.0, channel_axis=0, full=True, **window
    )
    border = _REACH if gaussian else 3
    inner = slice(border, -border)
    counted = kept[0, 0, inner, inner].cpu().numpy()
    if not counted.any():
        raise ValueError(message("ssim", "mask", "keep pixels off the border", "none"))
    return float(similarity[:, inner, inner][:, counted].mean())


def average_precision(scores: Tensor, labels: Tensor) -> float:
    """Area under the steps of precision over recall, `sum_n (R_n - R_(n-1)) P_n`.

    P_n and R_n are precision and recall when the pixels of the n highest distinct scores are called
    positive; equal scores are called together, so their order does not matter.

    Args:
        scores: any shape, finite; higher means more likely positive.
        labels: bool, of the same shape.

    Returns:
        In (0, 1]; NaN if no label is true.

    Raises:
        TypeError, ValueError: an argument is of another kind.

    Example:
        >>> labels = torch.tensor([True, False, True, False])
        >>> average_precision(torch.tensor([0.9, 0.8, 0.7, 0.1]), labels)  # 1/2 * 1 + 1/2 * 2/3
        0.8333...
    """
    name = "average_precision"
    if not isinstance(labels, Tensor) or labels.dtype != torch.bool:
        raise TypeError(message(name, "labels", "be a tensor of bool", _kind(labels)))
    if not isinstance(scores, Tensor) or scores.shape != labels.shape:
        wanted = f"be a tensor of the labels' shape {tuple(labels.shape)}"
        raise ValueError(message(name, "scores", wanted, _kind(scores)))
    values, truth = scores.flatten().cpu().numpy(), labels.flatten().cpu().numpy()
    if not np.isfinite(values).all():
        raise ValueError(message(name, "scores", "be finite", "NaN or infinity"))
    if not truth.any():
        return math.nan
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last_of_equals = np.append(values[1:] != values[:-1], True)
    positive = np.cumsum(truth, dtype=np.int64)[last_of_equals]
    called = np.flatnonzero(last_of_equals) + 1
    recall = np.concatenate([[0], positive]) / positive[-1]
    return float(np.sum(np.diff(recall) * positive / called))


def mean_average_precision(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The mean over images of `average_precision`.

    An image without a positive pixel has none and does not count.

    Args:
        pairs: scores and labels of each image.

    Raises:
        ValueError: no image has a positive pixel.
    """
    found = [average_precision(scores, labels) for scores, labels in pairs]
    found = [value for value in found if not math.isnan(value)]
    if not found:
        wanted = "hold an image with a positive pixel"
        raise ValueError(message("mean_average_precision", "pairs", wanted, "none"))
    return float(np.mean(found))


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def _check_pair(function: str, image: Tensor, truth: Tensor, mask: Tensor | None) -> None:
    for argument, value in (("image", image), ("truth", truth)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise TypeError(message(function, argument, "be a floating tensor", _kind(value)))
        if value.ndim != 4 or value.shape[0] != 1 or value.numel() == 0:
            raise ValueError(message(function, argument, "be (1, C, H, W)", tuple(value.shape)))
    if image.shape != truth.shape:
        wanted = f"have the truth's shape {tuple(truth.shape)}"
        raise ValueError(message(function, "image", wanted, tuple(image.shape)))
    if mask is None:
        return
    size = (1, 1, *image.shape[2:])
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != size:
        raise ValueError(message(function, "mask", f"be bool {size}", _kind(mask)))
    if not bool(mask.any()):
        raise ValueError(message(function, "mask", "keep a pixel", "none"))
