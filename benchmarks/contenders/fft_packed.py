# SPDX-License-Identifier: BSD-3-Clause
"""Whole-image FFT, tuned: two bases in one complex transform, spectra cached, buffers reused.

With spectra X of the image and A, B of two real kernels, the inverse transform of
``X conj(A - iB)`` is ``r_a + i r_b``, both responses. Mirrored, with Z the spectrum of
``m_a y + i m_b y``, the real part of the inverse of ``sum Z (A - iB)`` is the adjoint.
"""

import torch
from torch import Tensor
from torch.fft import fft2, ifft2

from benchmarks.borders import extend_into, fold
from benchmarks.contenders.base import Call, Contender, good_length
from benchmarks.inputs import Inputs


class PackedFFT:
    """As :class:`.fft_real.RealFFT`, in pairs.

    Args:
        kernels: (B, K, K).
        mixing: (B, H, W).
        conjugate: prepare for :meth:`forward`; else for :meth:`adjoint`.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, conjugate: bool) -> None:
        self._mixing, self._radius = mixing, kernels.shape[-1] // 2
        self._size = tuple(mixing.shape[-2:])
        self._extended = tuple(n + kernels.shape[-1] - 1 for n in self._size)
        lengths = tuple(good_length(n) for n in self._extended)
        odd = kernels.shape[0] % 2
        seconds = torch.cat([kernels[1::2], kernels.new_zeros(odd, *kernels.shape[1:])])
        self._spectra = fft2(torch.complex(kernels[::2], -seconds), lengths)
        if conjugate:
            self._spectra = self._spectra.conj().resolve_conj()
        self._plane = torch.zeros(lengths, dtype=self._spectra.dtype)
        self._padded = torch.zeros(lengths)
        self._spectrum = torch.empty_like(self._plane)

    def forward(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        height, width = self._size
        out = torch.zeros_like(image)
        for channel, plane in zip(out, image, strict=True):
            extend_into(self._padded, plane, self._radius)
            self._plane.copy_(self._padded)
            fft2(self._plane, out=self._spectrum)
            for pair, factor in enumerate(self._spectra):
                torch.mul(self._spectrum, factor, out=self._plane)
                ifft2(self._plane, out=self._plane)
                both = self._plane[:height, :width]
                channel.addcmul_(both.real, self._mixing[2 * pair])
                if 2 * pair + 1 < len(self._mixing):
                    channel.addcmul_(both.imag, self._mixing[2 * pair + 1])
        return out

    def adjoint(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        height, width = self._size
        out = image.new_empty(len(image), *self._extended)
        product = torch.empty_like(self._plane)
        for channel, plane in zip(out, image, strict=True):
            self._plane.zero_()
            self._spectrum.zero_()
            both = self._plane[:height, :width]
            for pair, factor in enumerate(self._spectra):
                torch.mul(self._mixing[2 * pair], plane, out=both.real)
                if 2 * pair + 1 < len(self._mixing):
                    torch.mul(self._mixing[2 * pair + 1], plane, out=both.imag)
                else:
                    both.imag.zero_()
                fft2(self._plane, out=product)
                self._spectrum.addcmul_(product, factor)
            ifft2(self._spectrum, out=product)
            channel.copy_(product.real[: self._extended[0], : self._extended[1]])
        return fold(out, self._radius)


def forward(inputs: Inputs) -> Call:
    blur = PackedFFT(inputs.kernels[0], inputs.mixing[0], conjugate=True)
    return lambda: [blur.forward(inputs.image[0])[None]]


def adjoint(inputs: Inputs) -> Call:
    blur = PackedFFT(inputs.kernels[0], inputs.mixing[0], conjugate=False)
    return lambda: [blur.adjoint(inputs.grad[0])[None]]


CONTENDER = Contender(
    name="torch.fft tuned, packed",
    about="Two bases as real and imaginary part of one complex transform; kernel spectra prepared, "
    "one padded buffer reused, in place.",
    members={"forward": forward, "adjoint": adjoint},
    planes=lambda case: 6.0 + case.basis / case.channels,
)
