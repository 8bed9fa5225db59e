# SPDX-License-Identifier: BSD-3-Clause
"""Sharp and blurry images in pairs to train F and G with: files, mixes, generated.

A source is anything with `len` and `read(index) -> (sharp, blurry)`, both (3, H, W) in [0, 1]; the
authors' databases are one, `blurmodels.datasets.LMDBPairs`.
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

import blurops
from blurmodels.datasets import Pair
from blurmodels.scenes import DeadLeaves, random_stream


class Pairs(Protocol):
    """A source of pairs."""

    record: Any

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """The sharp and the blurry image of that number, (3, H, W) in [0, 1]."""


class FilePairs:
    """Pairs of image files.

    Args:
        pairs: the files, as the readers of `blurmodels.datasets` list them.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = list(pairs)
        self.record = {"files": len(self.pairs)}

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """The images of a pair; gray ones get three equal channels."""
        blurry, sharp = self.pairs[index].read()
        return tuple(image.expand(-1, 3, -1, -1)[0] for image in (sharp, blurry))


class Mixed:
    """Several sources as one, each repeated so many times.

    Args:
        sources: at least one.
        weights: whole numbers, such as the authors' 1 : 10 for REDS and GoPro.
    """

    def __init__(self, sources: Sequence[Pairs], weights: Sequence[int]) -> None:
        if not sources or len(sources) != len(weights) or min(weights) < 1:
            raise ValueError(
                f"Mixed: weights must be a positive whole number for each of {len(sources)}"
                f" sources, got {list(weights)}"
            )
        self.sources = list(sources)
        lengths = (len(source) * n for source, n in zip(sources, weights, strict=True))
        self._ends = list(itertools.accumulate(lengths))
        self.record = {"mix": [source.record for source in sources], "weights": list(weights)}

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """The pair of that number; the first source's come first."""
        which = bisect_right(self._ends, index)
        first = self._ends[which - 1] if which else 0
        return self.sources[which].read((index - first) % len(self.sources[which]))


class GeneratedPairs:
    """Scenes of dead leaves, each blurred by one kernel out of a few: what F and G must tell apart.

    Pair i has kernel i modulo their number; the blur is that of `blurops.basis_blur` on the values
    as they are, with reflected borders.

    Args:
        kernels: (B, K, K), correlation orientation.
        side: of the images.
        count: how many pairs.
        seed: of the scenes.
    """

    def __init__(self, kernels: Tensor, side: int, count: int, *, seed: int = 0) -> None:
        self.kernels, self.side, self.count = kernels, side, count
        self.scenes = DeadLeaves(seed=seed)
        self.record = {
            "kernels": round(float(kernels.square().sum()), 6), "side": side, "count": count,
            "seed": seed,
        }  # fmt: skip

    def __len__(self) -> int:
        return self.count

    def sharp(self, index: int) -> Tensor:
        """The sharp image of that number, (3, side, side)."""
        scene = self.scenes.scene(index, self.side, self.side)
        return scene.image.float() ** (1 / 2.2)

    def under(self, sharp: Tensor, kernel: Tensor) -> Tensor:
        """An image (3, H, W) under a kernel (K, K)."""
        mixing = torch.ones(1, 1, *sharp.shape[1:])
        return blurops.basis_blur(sharp[None], kernel[None, None], mixing)[0]

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """The pair of that number."""
        sharp = self.sharp(index)
        return sharp, self.under(sharp, self.kernels[index % len(self.kernels)])


class Crops:
    """Random crops of a source's pairs, mirrored and transposed, addressed by number.

    Each epoch goes through the source once in an order of its own. Both mirrorings and the
    transposition have probability 1/2, the same for both images of a pair.

    Args:
        source: the pairs.
        side: of the square crops.
        turn: whether to mirror and transpose.
        seed: of everything random.
    """

    def __init__(self, source: Pairs, side: int = 256, *, turn: bool = True, seed: int = 0) -> None:
        self.source, self.side, self.turn, self.seed = source, side, turn, seed
        self._order: tuple[int, Any] = (-1, None)
        self.record = {"source": source.record, "side": side, "turn": turn, "seed": seed}

    def __getitem__(self, index: int) -> Tensor:
        """The pair of that number, (2, 3, side, side), sharp first."""
        epoch, position = divmod(index, len(self.source))
        if self._order[0] != epoch:
            random = random_stream(self.seed, "order", epoch)
            self._order = epoch, random.permutation(len(self.source))
        which = int(self._order[1][position])
        both = torch.stack(self.source.read(which))
        height, width = both.shape[2:]
        if min(height, width) < self.side:
            raise ValueError(
                f"Crops: side must be at most that of the images, got {self.side} for pair {which}"
                f" of {width} x {height}"
            )
        random = random_stream(self.seed, "crops", index)
        top, left = (int(random.integers(n - self.side + 1)) for n in (height, width))
        crop = both[..., top : top + self.side, left : left + self.side]
        across, down, swap = random.random(3) < 0.5
        if self.turn:
            crop = crop.flip(-1) if across else crop
            crop = crop.flip(-2) if down else crop
            crop = crop.transpose(-1, -2) if swap else crop
        return crop.contiguous()
