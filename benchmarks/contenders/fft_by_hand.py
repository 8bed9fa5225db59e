# SPDX-License-Identifier: BSD-3-Clause
"""Forward and backward by hand-written FFT, for an optimiser that changes kernels and mixing.

The responses are kept from the forward for the mixing's gradient (B images, but a transform less
per basis and channel), each spectrum of ``m_b g`` serves the gradients of image and kernel, and the
kernels' own transforms skip the rows that are zero or not wanted.
"""

import torch
from torch import Tensor
from torch.fft import fft, ifft, irfft, irfft2, rfft, rfft2

from benchmarks.borders import extend_into, fold
from benchmarks.contenders.base import Call, Contender, good_length
from benchmarks.contenders.fft_loop import through_autograd
from benchmarks.inputs import Inputs


class Workspace:
    """Buffers of one problem, reused by every step."""

    def __init__(self, kernels: Tensor, mixing: Tensor, channels: int) -> None:
        basis, side = kernels.shape[0], kernels.shape[-1]
        self.radius, self.size = side // 2, tuple(mixing.shape[-2:])
        self.extended = tuple(n + side - 1 for n in self.size)
        self.lengths = tuple(good_length(n) for n in self.extended)
        half = (self.lengths[0], self.lengths[1] // 2 + 1)
        self.padded = torch.zeros(self.lengths)
        self.weighted = torch.zeros(self.lengths)
        self.image_spectra = torch.empty(channels, *half, dtype=torch.complex64)
        self.product, self.spectrum = (torch.empty(half, dtype=torch.complex64) for _ in "ab")
        self.totals = torch.empty(channels, *half, dtype=torch.complex64)
        self.responses = torch.empty(channels, basis, *self.lengths)


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, kernels, mixing, space):
        height, width = space.size
        spectra = fft(rfft(kernels, space.lengths[1]), space.lengths[0], dim=-2)
        conjugates = spectra.conj().resolve_conj()
        out = torch.zeros_like(image)
        for c in range(len(image)):
            extend_into(space.padded, image[c], space.radius)
            rfft2(space.padded, out=space.image_spectra[c])
            for b in range(len(kernels)):
                torch.mul(space.image_spectra[c], conjugates[b], out=space.product)
                response = space.responses[c, b]
                irfft2(space.product, space.lengths, out=response)
                out[c].addcmul_(response[:height, :width], mixing[b])
        ctx.space, ctx.side = space, kernels.shape[-1]
        ctx.save_for_backward(spectra, mixing)
        return out

    @staticmethod
    def backward(ctx, grad):
        spectra, mixing = ctx.saved_tensors
        space, side, (height, width) = ctx.space, ctx.side, ctx.space.size
        grad_mixing = torch.zeros_like(mixing)
        grad_kernels = mixing.new_empty(len(mixing), side, side)
        space.totals.zero_()
        weighted = space.weighted[:height, :width]
        for b in range(len(mixing)):
            space.spectrum.zero_()
            for c in range(len(grad)):
                grad_mixing[b].addcmul_(space.responses[c, b, :height, :width], grad[c])
                torch.mul(mixing[b], grad[c], out=weighted)
                rfft2(space.weighted, out=space.product)
                space.totals[c].addcmul_(space.product, spectra[b])
                space.spectrum.addcmul_(space.image_spectra[c], space.product.conj_physical_())
            columns = ifft(space.spectrum, dim=-2)[:side]
            grad_kernels[b] = irfft(columns, space.lengths[1])[:, :side]
        extended = irfft2(space.totals, space.lengths)
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
