# SPDX-License-Identifier: BSD-3-Clause
"""Denoisers of Gaussian noise, for `plug_and_play`: functions of an image and of a noise level."""

import os
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]

NAMES = ("tv", "wavelet")

# The weight for which total variation errs least on photographs with noise of that level.
_TV_WEIGHT = 0.8


def total_variation(image: Tensor, sigma: float) -> Tensor:
    """Total variation by Chambolle's method, from scikit-image, its weight 0.8 sigma.

    Args:
        image: (N, C, H, W); channels are denoised together.
        sigma: standard deviation of the noise, in the image's units.
    """
    from skimage.restoration import denoise_tv_chambolle

    return _by_image(
        image, lambda planes: denoise_tv_chambolle(planes, _TV_WEIGHT * sigma, channel_axis=0)
    )


def wavelet(image: Tensor, sigma: float) -> Tensor:
    """Wavelet shrinkage with BayesShrink's thresholds, from scikit-image and PyWavelets.

    Args:
        image: (N, C, H, W).
        sigma: standard deviation of the noise, in the image's units.
    """
    from skimage.restoration import denoise_wavelet

    return _by_image(
        image,
        lambda planes: denoise_wavelet(
            planes, sigma, channel_axis=0, wavelet="db2", rescale_sigma=False
        ),
    )


def load_denoiser(name: str | os.PathLike[str]) -> Denoiser:
    """A denoiser by its name, or a network's from a file.

    Args:
        name: "tv", "wavelet", or a file that `torch.export.save` wrote, of a program that maps an
            image (N, C, H, W) and a noise level, a tensor of one number, to the denoised image. A
            denoiser of deepinv can be given to `plug_and_play` as it is. Load such files from
            sources that you trust only.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is none; or "wavelet", and PyWavelets is not installed.
    """
    if name == "tv":
        return total_variation
    if name == "wavelet":
        try:
            import pywt  # noqa: F401
        except ImportError as error:
            raise ValueError(
                "load_denoiser: 'wavelet' must have PyWavelets: pip install PyWavelets"
            ) from error
        return wavelet
    with open(name, "rb"):
        pass
    try:
        program = torch.export.load(os.fspath(name)).module()
    except Exception as error:
        raise ValueError(
            f"load_denoiser: '{os.fspath(name)}' must be one of {', '.join(NAMES)}, or a program as"
            f" torch.export.save writes it, got {type(error).__name__}"
        ) from error

    def denoise(image: Tensor, sigma: float) -> Tensor:
        with torch.no_grad():
            return program(image, torch.tensor(sigma, dtype=image.dtype, device=image.device))

    return denoise


def _by_image(image: Tensor, denoise: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    planes = [denoise(one.numpy(force=True)) for one in image]
    return torch.from_numpy(np.stack(planes)).to(image)
