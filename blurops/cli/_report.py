# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of a restoration: quality, memory, and what computed it."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from torch import Tensor

import blurops

_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "pillow", "tifffile", "imagecodecs")


def quality(sharp: Tensor, blurred: Tensor, restored: Tensor) -> dict[str, float]:
    """PSNR in dB and SSIM of two images against the sharp one.

    Args:
        sharp: (1, C, H, W) values in [0, 1].
        blurred: likewise.
        restored: likewise.

    Returns:
        `psnr_blurred`, `psnr_restored`, `ssim_blurred` and `ssim_restored`, by scikit-image with
        its default windows and a data range of 1.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    def planes(image: Tensor) -> object:
        return image[0].double().numpy()

    truth = planes(sharp)
    numbers = {}
    for name, image in (("blurred", blurred), ("restored", restored)):
        values = planes(image)
        psnr = peak_signal_noise_ratio(truth, values, data_range=1.0)
        ssim = structural_similarity(truth, values, data_range=1.0, channel_axis=0)
        numbers[f"psnr_{name}"], numbers[f"ssim_{name}"] = float(psnr), float(ssim)
    return numbers


def peak_memory_mb() -> float | None:
    """The largest resident set of this process so far in MB; None where the system keeps none."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in units of 1024 bytes elsewhere.
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def active_backend() -> str:
    """The first backend that is active: the one that serves a call that names none."""
    return next(name for name, reason in blurops.backends().items() if reason is None)


def versions() -> dict[str, str]:
    """Versions of blurops, Python and the packages that took part."""
    found = {"blurops": blurops.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
