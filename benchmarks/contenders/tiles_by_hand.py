# SPDX-License-Identifier: BSD-3-Clause
"""Forward and backward by hand-written FFT in tiles: the kernels' transforms become small.

As :mod:`.fft_by_hand`, with the tiles of :mod:`.fft_tiles`.
"""

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from benchmarks.borders import extend_into, fold
from benchmarks.contenders.base import Call, Contender, fastest
from benchmarks.contenders.fft_loop import through_autograd
from benchmarks.contenders.fft_tiles import tiles_for
from benchmarks.inputs import Inputs


class Workspace:
    """Buffers of one problem, reused by every step."""

    def __init__(self, inputs: Inputs, tile: int, batch: int) -> None:
        case = inputs.case
        self.side, self.size, self.tile = case.kernel, case.size, tile
        self.kept = tile - self.side + 1
        self.count = -(-self.size // self.kept)  # tiles along either axis
        self.batch = min(batch, self.count)
        steps = range(0, self.count, self.batch)
        parts = [slice(j, min(j + self.batch, self.count)) for j in steps]
        self.groups = [(row, part) for row in range(self.count) for part in parts]
        half, complex64 = (tile, tile // 2 + 1), {"dtype": torch.complex64}
        covered = self.count * self.kept
        planes = (case.channels, self.count, self.count)
        self.image_spectra = torch.empty(*planes, *half, **complex64)
        self.responses = torch.empty(*planes[:2], case.basis, self.count, tile, tile)
        self.padded = torch.zeros(case.channels, covered + self.side - 1, covered + self.side - 1)
        self.grad = torch.zeros(case.channels, covered, covered)
        self.mixing, self.grad_mixing = (
            torch.zeros(case.basis, covered, covered) for _ in range(2)
        )
        self.weighted = torch.zeros(self.batch, tile, tile)
        self.product = torch.empty(self.batch, *half, **complex64)
        self.totals = torch.empty(case.channels, self.batch, *half, **complex64)
        self.taps = torch.empty(case.basis, self.batch, *half, **complex64)

    def windows(self, planes: Tensor, side: int) -> Tensor:
        """(..., P, P) -> (..., count, count, side, side), overlapping views."""
        return planes.unfold(-2, side, self.kept).unfold(-2, side, self.kept)


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, kernels, mixing, space):
        size, kept, tile = space.size, space.kept, (space.tile, space.tile)
        space.mixing[:, :size, :size] = mixing
        extend_into(space.padded, image, space.side // 2)
        conjugates = rfft2(kernels, tile).conj_physical_()
        tiles = space.windows(space.padded, space.tile)
        coefficients = space.windows(space.mixing, kept)
        out = torch.zeros_like(space.grad)
        targets = space.windows(out, kept)
        for row, part in space.groups:
            count = part.stop - part.start
            for c in range(len(image)):
                spectrum = space.image_spectra[c, row, part]
                rfft2(tiles[c, row, part], out=spectrum)
                total = torch.zeros(count, kept, kept)
                for b, conjugate in enumerate(conjugates):
                    product = torch.mul(spectrum, conjugate, out=space.product[:count])
                    response = space.responses[c, row, b, part]
                    irfft2(product, tile, out=response)
                    total.addcmul_(response[:, :kept, :kept], coefficients[b, row, part])
                targets[c, row, part] = total
        ctx.space, ctx.conjugates = space, conjugates
        return out[:, :size, :size].contiguous()

    @staticmethod
    def backward(ctx, grad):
        space, conjugates = ctx.space, ctx.conjugates
        size, kept, tile = space.size, space.kept, (space.tile, space.tile)
        space.grad[:, :size, :size] = grad
        extended = torch.zeros_like(space.padded)
        space.grad_mixing.zero_()
        space.taps.zero_()
        grads = space.windows(space.grad, kept)
        coefficients, targets = (space.windows(t, kept) for t in (space.mixing, space.grad_mixing))
        for row, part in space.groups:
            count = part.stop - part.start
            product, weighted = space.product[:count], space.weighted[:count]
            totals = space.totals[:, :count].zero_()
            for b, conjugate in enumerate(conjugates):
                for c in range(len(grad)):
                    response = space.responses[c, row, b, part, :kept, :kept]
                    targets[b, row, part].addcmul_(response, grads[c, row, part])
                    torch.mul(
                        coefficients[b, row, part],
                        grads[c, row, part],
                        out=weighted[:, :kept, :kept],
                    )
                    # Everything is kept conjugate: then one spectrum serves both gradients.
                    rfft2(weighted, out=product).conj_physical_()
                    totals[c].addcmul_(product, conjugate)
                    space.taps[b, :count].addcmul_(space.image_spectra[c, row, part], product)
            planes = irfft2(totals.conj_physical(), tile)
            for j in range(count):
                y, x = row * kept, (part.start + j) * kept
                extended[:, y : y + space.tile, x : x + space.tile] += planes[:, j]
        grad_kernels = irfft2(space.taps.sum(1), tile)[:, : space.side, : space.side]
        edge = size + space.side - 1
        image = fold(extended[:, :edge, :edge], space.side // 2)
        return image, grad_kernels.contiguous(), space.grad_mixing[:, :size, :size].clone(), None


def gradients(inputs: Inputs) -> Call:
    def prepared(tile: int, batch: int) -> Call:
        space = Workspace(inputs, tile, batch)
        return through_autograd(inputs, lambda *tensors: _Blur.apply(*tensors, space))

    tiles = tiles_for(inputs.case.size, inputs.case.kernel)
    choices = [(tile, batch) for tile in tiles for batch in (4,)]
    return fastest(
        inputs.case.size, [lambda choice=choice: prepared(*choice) for choice in choices]
    )


CONTENDER = Contender(
    name="torch.fft tiles by hand",
    about="A hand-written autograd.Function in batches of tiles: responses kept, spectra shared, "
    "buffers reused, the fastest of several tile sizes.",
    members={"gradients": gradients},
    planes=lambda case: 3.5 * case.basis + 10.0,
)
