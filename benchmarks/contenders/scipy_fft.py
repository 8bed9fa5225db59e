# SPDX-License-Identifier: BSD-3-Clause
"""scipy.fft with as many workers as there are threads; torch multiplies and mixes."""

import scipy.fft
import torch
from torch import Tensor

from benchmarks.borders import extend, fold
from benchmarks.contenders.base import Call, Contender
from benchmarks.inputs import Inputs


class ScipyFFT:
    """The blur of one kernel set and mixing; only ``__init__`` transforms kernels."""

    def __init__(self, kernels: Tensor, mixing: Tensor, workers: int) -> None:
        self._mixing, self._side, self._workers = mixing, kernels.shape[-1], workers
        self._size = tuple(mixing.shape[-2:])
        self._extended = tuple(n + self._side - 1 for n in self._size)
        self._lengths = tuple(scipy.fft.next_fast_len(n, real=True) for n in self._extended)
        self._spectra = self._transform(kernels)
        self._conjugates = self._spectra.conj().resolve_conj()

    def _transform(self, planes: Tensor) -> Tensor:
        done = scipy.fft.rfft2(planes.numpy(), self._lengths, workers=self._workers)
        return torch.from_numpy(done)

    def _invert(self, spectra: Tensor) -> Tensor:
        done = scipy.fft.irfft2(
            spectra.numpy(), self._lengths, overwrite_x=True, workers=self._workers
        )
        return torch.from_numpy(done)

    def forward(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        height, width = self._size
        spectrum, out = self._transform(extend(image, self._side // 2)), torch.zeros_like(image)
        for factor, coefficient in zip(self._conjugates, self._mixing, strict=True):
            out.addcmul_(self._invert(spectrum * factor)[:, :height, :width], coefficient)
        return out

    def adjoint(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        total = torch.zeros(len(image), *self._spectra.shape[-2:], dtype=self._spectra.dtype)
        for factor, coefficient in zip(self._spectra, self._mixing, strict=True):
            total.addcmul_(self._transform(coefficient * image), factor)
        rows, columns = self._extended
        return fold(self._invert(total)[:, :rows, :columns], self._side // 2)


def forward(inputs: Inputs) -> Call:
    blur = ScipyFFT(inputs.kernels[0], inputs.mixing[0], inputs.case.threads)
    return lambda: [blur.forward(inputs.image[0])[None]]


def adjoint(inputs: Inputs) -> Call:
    blur = ScipyFFT(inputs.kernels[0], inputs.mixing[0], inputs.case.threads)
    return lambda: [blur.adjoint(inputs.grad[0])[None]]


CONTENDER = Contender(
    name="scipy.fft",
    about="scipy.fft with workers = threads, kernel spectra prepared; products and mix by torch.",
    members={"forward": forward, "adjoint": adjoint},
    planes=lambda case: 8.0 + 2.0 * case.basis / case.channels,
)
