# SPDX-License-Identifier: BSD-3-Clause
"""Whole-image FFT, tuned: kernel spectra cached, buffers reused, a few planes at a time."""

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from benchmarks.borders import extend_into, fold
from benchmarks.contenders.base import Call, Contender, fastest, good_length
from benchmarks.inputs import Inputs


class RealFFT:
    """The blur of one kernel set and mixing; only ``__init__`` transforms kernels.

    Args:
        kernels: (B, K, K).
        mixing: (B, H, W).
        chunk: bases transformed together. 1 keeps a large image's planes in cache; more amortise
            the calls of a small one.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, chunk: int = 1) -> None:
        self._mixing, self._chunk, self._radius = mixing, chunk, kernels.shape[-1] // 2
        self._size = tuple(mixing.shape[-2:])
        self._extended = tuple(n + kernels.shape[-1] - 1 for n in self._size)
        self._lengths = tuple(good_length(n) for n in self._extended)
        spectra = rfft2(kernels, self._lengths)
        self._spectra, self._conjugates = spectra, spectra.conj().resolve_conj()
        self._planes = torch.zeros(chunk, *self._lengths)
        self._spectrum = torch.empty_like(spectra[0])
        self._products = torch.empty_like(spectra[:chunk])

    def _chunks(self) -> list[slice]:
        count = len(self._mixing)
        return [slice(b, min(b + self._chunk, count)) for b in range(0, count, self._chunk)]

    def forward(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        height, width = self._size
        out = torch.zeros_like(image)
        for channel, plane in zip(out, image, strict=True):
            extend_into(self._planes[0], plane, self._radius)
            rfft2(self._planes[0], out=self._spectrum)
            for part in self._chunks():
                count = part.stop - part.start
                products, planes = self._products[:count], self._planes[:count]
                torch.mul(self._spectrum, self._conjugates[part], out=products)
                irfft2(products, self._lengths, out=planes)
                for response, coefficient in zip(planes, self._mixing[part], strict=True):
                    channel.addcmul_(response[:height, :width], coefficient)
        return out

    def adjoint(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        height, width = self._size
        out = image.new_empty(len(image), *self._extended)
        for channel, plane in zip(out, image, strict=True):
            self._planes.zero_()
            self._spectrum.zero_()
            for part in self._chunks():
                count = part.stop - part.start
                products, planes = self._products[:count], self._planes[:count]
                torch.mul(self._mixing[part], plane, out=planes[:, :height, :width])
                rfft2(planes, out=products)
                for product, factor in zip(products, self._spectra[part], strict=True):
                    self._spectrum.addcmul_(product, factor)
            irfft2(self._spectrum, self._lengths, out=self._planes[0])
            channel.copy_(self._planes[0, : self._extended[0], : self._extended[1]])
        return fold(out, self._radius)


def _candidates(inputs: Inputs, member: str) -> Call:
    image = (inputs.image if member == "forward" else inputs.grad)[0]

    def prepared(chunk: int) -> Call:
        blur = getattr(RealFFT(inputs.kernels[0], inputs.mixing[0], chunk), member)
        return lambda: [blur(image)[None]]

    chunks = [1] if inputs.case.size > 512 else [1, 4, 12]
    return fastest(inputs.case.size, [lambda chunk=chunk: prepared(chunk) for chunk in chunks])


CONTENDER = Contender(
    name="torch.fft tuned, real",
    about="Real transforms; kernel spectra prepared, one padded buffer reused, results written in "
    "place, one plane at a time (several for small images).",
    members={
        "forward": lambda inputs: _candidates(inputs, "forward"),
        "adjoint": lambda inputs: _candidates(inputs, "adjoint"),
    },
    planes=lambda case: 4.0 + 2.0 * case.basis / case.channels,
)
