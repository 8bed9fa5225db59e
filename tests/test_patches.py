# SPDX-License-Identifier: BSD-3-Clause
"""Non-uniform restoration patch by patch, against the forms that treat all pixels at once."""

import math

import pytest
import torch

from blurops import (
    BasisBlur,
    MotionBlur,
    UniformBlur,
    fft_deblur,
    fft_deblur_patches,
    inverse_blur,
    irc,
    irc_patches,
)
from blurops.solvers.patches import _Grid, local_kernels
from tests.deconvolution import kernel, noisy, picture, psnr, random_blur


def motions(height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    length = 1 + 6 * (x / width).double()
    return length[None], (0.2 + 0.8 * y / height).double()[None]


def test_kernels_are_read_off_the_adjoint():
    """Of any operator: those of a basis-mixed blur are known at each pixel."""
    generator = torch.Generator().manual_seed(0)
    kernels = torch.rand(2, 3, 5, 3, generator=generator, dtype=torch.float64)
    mixing = torch.rand(2, 3, 9, 10, generator=generator, dtype=torch.float64)
    blur, pixels = BasisBlur(kernels, mixing, boundary="zeros"), [(4, 5), (0, 1), (8, 9)]
    found = local_kernels(blur, torch.zeros(2, 1, 9, 10, dtype=torch.float64), pixels, 5)
    assert found.shape == (2, 3, 5, 5)
    for i, (row, column) in enumerate(pixels):
        own = torch.einsum("nb,nbij->nij", mixing[:, :, row, column], kernels)
        # Where a tap would lie outside, zeros have no column of H.
        down = torch.arange(-2, 3) + row
        right = torch.arange(-1, 2) + column
        seen = ((down >= 0) & (down < 9))[:, None] & ((right >= 0) & (right < 10))
        torch.testing.assert_close(found[:, i, :, 1:4], own * seen)
        assert not found[:, i, :, [0, 4]].any()


@pytest.mark.parametrize(("size", "patch", "stride"), [((13, 17), 6, 4), ((5, 30), 8, 8)])
def test_grids_cover_the_image(size, patch, stride):
    image = picture(2, 3, *size)
    grid = _Grid(image, patch, stride, "test")
    windows = torch.rand(len(grid.corners), *grid.sides, dtype=torch.float64) + 0.1
    torch.testing.assert_close(grid.join(grid.cut(image), windows), image)
    margin = (patch - stride) // 2
    inner = grid.inner(margin, image)
    torch.testing.assert_close(grid.join(grid.cut(image), inner), image)
    assert (float(inner.min()) == 0) == (margin > 0)


def test_one_patch_is_the_whole():
    blur = random_blur("zeros", (5, 5))
    y = noisy(blur @ picture(2, 2, 20, 24), 0.02)
    whole = fft_deblur(y, blur, stages=3)
    result = fft_deblur_patches(y, blur, kernel_size=5, patch=50, stages=3)
    torch.testing.assert_close(result.image, whole.image)
    left = (y - blur @ whole.image).norm() / y.norm()
    assert result.residuals[1] == pytest.approx(float(left))


def test_restores_a_moving_picture_by_fft():
    length, angle = motions(64, 60)
    blur, sharp = MotionBlur(length, angle, boundary="replicate"), picture(1, 1, 64, 60)
    y = noisy(blur @ sharp, 0.003)
    # One kernel for a patch is not quite its blur, so the prior has to be strong.
    result = fft_deblur_patches(y, blur, kernel_size=9, patch=20, weight=1e-3)
    assert psnr(result.image, sharp) > psnr(y, sharp) + 6


def test_a_patch_for_each_pixel_is_nu_conv():
    """Eq. 17 at every pixel is one iteration from 0."""
    length, angle = motions(24, 26)
    y = noisy(picture(2, 2, 24, 26), 0.1)
    patches = irc_patches(
        y, length, angle, size=9, iterations=1, patch=23, stride=1, margin=11, max_length=9,
        initial=torch.zeros_like(y),
    )  # fmt: skip
    blur = MotionBlur(length, angle, boundary="replicate")
    (inverse,) = inverse_blur(blur, size=9, max_length=9)
    # Pixels that are the middle of a patch.
    inner = (..., slice(11, 13), slice(11, 15))
    torch.testing.assert_close(patches.image[inner], (inverse @ y)[inner], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("combine", ["filters", "outputs"])
def test_a_uniform_motion_is_one_for_all(combine):
    """With a margin as wide as what reaches in, patches and whole image are the same."""
    length, angle = torch.full((1, 40, 44), 4.4).double(), torch.full((1, 40, 44), 0.7).double()
    y = noisy(picture(1, 2, 40, 44), 0.1)
    patches = irc_patches(
        y, length, angle, size=7, iterations=2, patch=27, stride=3, margin=12, max_length=9,
        combine=combine,
    )  # fmt: skip
    blur = MotionBlur(length, angle, boundary="replicate")
    inverse = inverse_blur(blur, size=7, max_length=9)
    together = irc(y, blur, inverse, iterations=2, combine=combine)
    torch.testing.assert_close(patches.image, together.image, rtol=1e-5, atol=1e-6)
    assert patches.iterations == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patch": 3}, r"patch must be at least kernel_size \(5\), got 3"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"operator": random_blur("valid")}, "operator must keep the size of images"),
        ({"stride": -2}, "stride must be at least 1"),
    ],
)
def test_fft_patches_reject(change, reason):
    given = {"operator": random_blur(), "kernel_size": 5} | change
    with pytest.raises(ValueError, match=f"fft_deblur_patches: {reason}"):
        fft_deblur_patches(picture(1, 1, 12, 12), given.pop("operator"), **given)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"margin": 32, "stride": 1}, r"margin must be less than half of patch \(63\), got 32"),
        ({"combine": "mean"}, "combine must be one of filters, outputs"),
        ({"length": torch.ones(1, 12, 13).double(), "angle": torch.ones(1, 12, 13).double()},
         "length must have the size of observed"),
        ({"observed": torch.full((1, 1, 12, 12), math.nan)}, "observed must be finite"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"margin": 30, "stride": 4}, r"stride must be at most patch - 2 margin \(3\)"),
    ],
)  # fmt: skip
def test_irc_patches_reject(change, reason):
    maps = torch.ones(1, 12, 12).double()
    given = {"observed": picture(1, 1, 12, 12), "length": maps, "angle": maps} | change
    with pytest.raises(ValueError, match=f"irc_patches: {reason}"):
        irc_patches(**given)


def test_uniform_blur_is_imported_for_patches():
    """Each patch has a kernel of its own."""
    kernels = torch.stack([kernel(3, 3, seed=s) for s in (0, 1)])[:, None]
    y = noisy(picture(2, 1, 20, 20), 0.05)
    both = fft_deblur(y, UniformBlur(kernels), stages=2).image
    for i in range(2):
        alone = fft_deblur(y[i : i + 1], UniformBlur(kernels[i : i + 1]), stages=2).image
        torch.testing.assert_close(both[i : i + 1], alone)
