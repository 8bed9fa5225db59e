# SPDX-License-Identifier: BSD-3-Clause
"""Deconvolution of one blur by FFT: its periodic solution, and its care for borders."""

import pytest
import torch

from blurops import UniformBlur, fft_deblur
from blurops.solvers.fft_deblur import tapered, transfer
from tests.deconvolution import kernel, matrix, noisy, picture, psnr, random_blur


class TestFourier:
    def test_laplacian_is_the_regularised_solution(self):
        blur = random_blur("circular", (3, 5))
        y = noisy(blur @ picture(1, 1, 6, 8), 0.05)
        taps = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
        dense = matrix(blur, (6, 8))
        rough = matrix(UniformBlur(taps, boundary="circular"), (6, 8))
        expected = torch.linalg.solve(
            dense.T @ dense + 0.02 * rough.T @ rough, dense.T @ y.flatten()
        )
        result = fft_deblur(y, blur, borders="none", prior="laplacian", weight=0.02)
        torch.testing.assert_close(result.image.flatten(), expected)
        assert result.residuals[1] == pytest.approx(
            float((y - blur @ result.image).norm() / y.norm())
        )

    def test_transfer_is_periodic_correlation(self):
        for sides, size in (((3, 5), (6, 8)), ((7, 7), (7, 9))):
            taps = kernel(*sides)
            x = picture(1, 1, *size)
            spectrum = transfer(taps[None, None], size)
            found = torch.fft.irfft2(spectrum * torch.fft.rfft2(x), s=size)
            expected = UniformBlur(taps, boundary="circular") @ x
            torch.testing.assert_close(found, expected)

    def test_tapered_images_are_periodic_and_keep_their_middle(self):
        image = picture(1, 2, 20, 24)
        image = image + torch.linspace(0, 1, 24)
        taps = torch.full((1, 1, 5, 7), 1 / 35, dtype=torch.float64)
        found = tapered(image, taps)
        assert found.shape == (1, 2, 30, 38)
        assert torch.equal(found[..., 5:25, 7:31], image)
        steps = found.diff(dim=-1).abs().amax(-1)
        jump = (found[..., 0] - found[..., -1]).abs()
        assert float((image[..., 0] - image[..., -1]).abs().min()) > 0.5
        assert float(jump.max()) < 0.2
        assert float(jump.max()) < 2 * float(steps.max())

    def test_care_for_borders_pays(self):
        sharp = picture(1, 1, 72, 76)
        blur = UniformBlur(kernel(9, 9, seed=3) * 0 + 1 / 81, boundary="valid")
        y = noisy(blur @ sharp, 0.002)
        inside = sharp[..., 4:-4, 4:-4]
        with_care = psnr(fft_deblur(y, blur).image, inside)
        assert with_care > psnr(fft_deblur(y, blur, borders="none").image, inside) + 2
        assert with_care > psnr(y, inside) + 2
