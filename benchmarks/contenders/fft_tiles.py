# SPDX-License-Identifier: BSD-3-Clause
"""Overlap-save in torch.fft: tiles that stay in the processor's cache, several per call.

What a user of torch could do beyond the whole-image transform. Tiles of T x T leave
V = T - K + 1 rows and columns each; a batch of them lies in one buffer, so that torch's threads
take whole tiles.
"""

import math

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from benchmarks.borders import extend_into, fold
from benchmarks.contenders.base import Call, Contender, fastest
from benchmarks.inputs import Inputs

_TILES = (72, 96, 144, 192, 240, 288, 384, 576)
_BATCHES = (4, 8)


class TiledFFT:
    """The blur of one kernel set and mixing by tiles; only ``__init__`` transforms kernels.

    Args:
        kernels: (B, K, K).
        mixing: (B, H, W).
        tile: side T of a tile.
        batch: tiles per call.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, tile: int, batch: int) -> None:
        self._basis, (self._height, self._width) = len(mixing), mixing.shape[-2:]
        self._side, self._tile, self._kept = kernels.shape[-1], tile, tile - kernels.shape[-1] + 1
        self._rows = -(-self._height // self._kept)
        self._columns = -(-self._width // self._kept)
        self._batch = min(batch, self._columns)
        spectra = rfft2(kernels, (tile, tile))
        self._spectra, self._conjugates = spectra, spectra.conj().resolve_conj()
        covered = (self._rows * self._kept, self._columns * self._kept)
        # Tiles of equal size: coefficients beyond the image are zero.
        full = mixing.new_zeros(self._basis, *covered)
        full[:, : self._height, : self._width] = mixing
        self._mixing = self._windows(full, self._kept)
        grown = tuple(n + self._side - 1 for n in covered)
        self._padded = torch.zeros(grown)
        self._plane = torch.zeros(covered)
        self._products = torch.empty(self._batch, *spectra.shape[-2:], dtype=spectra.dtype)
        self._responses = torch.zeros(self._batch, tile, tile)
        self._sums = torch.empty(self._batch, self._kept, self._kept)

    def _windows(self, plane: Tensor, side: int) -> Tensor:
        """(..., P, Q) -> (..., rows, columns, side, side), overlapping views."""
        unfolded = plane.unfold(-2, side, self._kept).unfold(-2, side, self._kept)
        return unfolded[..., : self._rows, : self._columns, :, :]

    def _groups(self) -> list[tuple[int, slice]]:
        steps = range(0, self._columns, self._batch)
        parts = [slice(j, min(j + self._batch, self._columns)) for j in steps]
        return [(i, part) for i in range(self._rows) for part in parts]

    def forward(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        out = torch.empty_like(image)
        tiles, targets = (
            self._windows(self._padded, self._tile),
            self._windows(self._plane, self._kept),
        )
        size, kept = (self._tile, self._tile), self._kept
        for channel, plane in zip(out, image, strict=True):
            extend_into(self._padded, plane, self._side // 2)
            for row, part in self._groups():
                count = part.stop - part.start
                products, responses = self._products[:count], self._responses[:count]
                spectrum, sums = rfft2(tiles[row, part]), self._sums[:count].zero_()
                coefficients = self._mixing[:, row, part]
                for factor, coefficient in zip(self._conjugates, coefficients, strict=True):
                    torch.mul(spectrum, factor, out=products)
                    irfft2(products, size, out=responses)
                    sums.addcmul_(responses[:, :kept, :kept], coefficient)
                targets[row, part] = sums
            channel.copy_(self._plane[: self._height, : self._width])
        return out

    def adjoint(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        edge = self._side - 1
        extended = image.new_empty(len(image), self._height + edge, self._width + edge)
        sources = self._windows(self._plane, self._kept)
        size, kept = (self._tile, self._tile), self._kept
        for channel, plane in zip(extended, image, strict=True):
            self._plane[: self._height, : self._width] = plane
            self._padded.zero_()
            for row, part in self._groups():
                count = part.stop - part.start
                products, weighted = self._products[:count], self._responses[:count].zero_()
                source = sources[row, part]
                total = torch.zeros_like(products)
                coefficients = self._mixing[:, row, part]
                for factor, coefficient in zip(self._spectra, coefficients, strict=True):
                    torch.mul(coefficient, source, out=weighted[:, :kept, :kept])
                    rfft2(weighted, out=products)
                    total.addcmul_(products, factor)
                for column, tile in enumerate(irfft2(total, size), part.start):
                    y, x = row * kept, column * kept
                    self._padded[y : y + self._tile, x : x + self._tile] += tile
            channel.copy_(self._padded[: self._height + edge, : self._width + edge])
        return fold(extended, self._side // 2)


def tiles_for(size: int, kernel: int) -> list[int]:
    """The tile sides with the least arithmetic, the best first."""

    def work(tile: int) -> float:
        count = math.ceil(size / (tile - kernel + 1))
        return (count * tile) ** 2 * math.log2(tile)

    # Below twice the kernel most of a tile is overlap, and above it the count decides.
    usable = [tile for tile in _TILES if tile >= 2 * kernel]
    return sorted(usable, key=work)[:2]


def _candidates(inputs: Inputs, member: str) -> Call:
    image = (inputs.image if member == "forward" else inputs.grad)[0]

    def prepared(tile: int, batch: int) -> Call:
        blur = TiledFFT(inputs.kernels[0], inputs.mixing[0], tile, batch)
        return lambda: [getattr(blur, member)(image)[None]]

    size = inputs.case.size
    choices = [(t, b) for t in tiles_for(size, inputs.case.kernel) for b in _BATCHES]
    if size > 1024:
        choices = [(min(tiles_for(size, inputs.case.kernel), key=lambda t: abs(t - 288)), 4)]
    return fastest(size, [lambda choice=choice: prepared(*choice) for choice in choices])


CONTENDER = Contender(
    name="torch.fft tuned, tiles",
    about="Overlap-save with batches of tiles in cache, the fastest of several tile sizes and "
    "batches; kernel spectra and cut-up mixing prepared.",
    members={
        "forward": lambda inputs: _candidates(inputs, "forward"),
        "adjoint": lambda inputs: _candidates(inputs, "adjoint"),
    },
    planes=lambda case: 4.0 + 1.5 * case.basis / case.channels,
)
