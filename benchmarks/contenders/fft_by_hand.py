# SPDX-License-Identifier: BSD-3-Clause
"""Forward and backward by hand-written FFT, for an optimiser that changes kernels and mixing.

The responses are kept from the forward for the mixing's gradient (B images, but a transform less
per basis and channel), and each spectrum of ``m_b g`` serves the gradients of image and kernel.
"""

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from benchmarks.borders import extend_into, fold
from benchmarks.contenders.base import Call, Contender, good_length
from benchmarks.contenders.fft_loop import through_autograd
from benchmarks.inputs import Inputs


class Workspace:
    """Buffers of one problem, reused by every step."""

    def __init__(self, kernels: Tensor, mixing: Tensor, channels: int) -> None:
        basis, side = kernels.shape[0], kernels.shape[-1]
        self.radius, self.side, self.size = side // 2, side, tuple(mixing.shape[-2:])
        self.extended = tuple(n + side - 1 for n in self.size)
        self.lengths = tuple(good_length(n) for n in self.extended)
        half = (self.lengths[0], self.lengths[1] // 2 + 1)
        self.padded, self.weighted, self.tap = (torch.zeros(self.lengths) for _ in range(3))
        self.image_spectra = torch.empty(channels, *half, dtype=torch.complex64)
        self.kernel_spectra = torch.empty(basis, *half, dtype=torch.complex64)
        self.product, self.spectrum = (torch.empty(half, dtype=torch.complex64) for _ in range(2))
        self.totals = torch.empty(channels, *half, dtype=torch.complex64)
        self.responses = torch.empty(channels, basis, *self.lengths)


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, kernels, mixing, space):
        (height, width), side = space.size, space.side
        space.tap.zero_()
        for kernel, spectrum in zip(kernels, space.kernel_spectra, strict=True):
            space.tap[:side, :side] = kernel
            rfft2(space.tap, out=spectrum)
        space.kernel_spectra.conj_physical_()
        out = torch.zeros_like(image)
        for c, channel in enumerate(image):
            extend_into(space.padded, channel, space.radius)
            rfft2(space.padded, out=space.image_spectra[c])
            for b, coefficient in enumerate(mixing):
                torch.mul(space.image_spectra[c], space.kernel_spectra[b], out=space.product)
                response = space.responses[c, b]
                irfft2(space.product, space.lengths, out=response)
                out[c].addcmul_(response[:height, :width], coefficient)
        ctx.space = space
        ctx.save_for_backward(mixing)
        return out

    @staticmethod
    def backward(ctx, grad):
        (mixing,), space = ctx.saved_tensors, ctx.space
        side, (height, width) = space.side, space.size
        grad_mixing = torch.zeros_like(mixing)
        grad_kernels = mixing.new_empty(len(mixing), side, side)
        space.totals.zero_()
        weighted = space.weighted[:height, :width]
        for b, coefficient in enumerate(mixing):
            space.spectrum.zero_()
            for c, channel in enumerate(grad):
                grad_mixing[b].addcmul_(space.responses[c, b, :height, :width], channel)
                torch.mul(coefficient, channel, out=weighted)
                # Everything is kept conjugate: then one spectrum serves both gradients.
                rfft2(space.weighted, out=space.product).conj_physical_()
                space.totals[c].addcmul_(space.product, space.kernel_spectra[b])
                space.spectrum.addcmul_(space.image_spectra[c], space.product)
            irfft2(space.spectrum, space.lengths, out=space.tap)
            grad_kernels[b] = space.tap[:side, :side]
        extended = irfft2(space.totals.conj_physical_(), space.lengths)
        rows, columns = space.extended
        return fold(extended[:, :rows, :columns], space.radius), grad_kernels, grad_mixing, None


def gradients(inputs: Inputs) -> Call:
    space = Workspace(inputs.kernels[0], inputs.mixing[0], inputs.case.channels)
    return through_autograd(
        inputs, lambda image, kernels, mixing: _Blur.apply(image, kernels, mixing, space)
    )


CONTENDER = Contender(
    name="torch.fft by hand",
    about="A hand-written autograd.Function: responses kept for the backward, spectra shared by "
    "the gradients, all buffers reused; the kernels' transforms are timed, they change every step.",
    members={"gradients": gradients},
    planes=lambda case: 2.0 * case.basis + 8.0,
)
