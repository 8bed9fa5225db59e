# SPDX-License-Identifier: BSD-3-Clause
"""Sharp and blurry images in pairs to train F and G with: folders, LMDB files, mixes, generated.

A source is anything with `len` and `read(index) -> (sharp, blurry)`, both (3, H, W) in [0, 1].
"""

import itertools
import os
import pickle
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

import blurops
from blurmodels.basis_kernels.data import DeadLeaves
from blurmodels.basis_kernels.data.scene import random_stream
from blurmodels.datasets import Pair, gopro
from blurmodels.datasets._files import folder, folders_in, matched, some

# The clips that are kept for tests.
REDS4 = ("000", "011", "015", "020")
_META = "meta_info.pkl"


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


def two_folders(sharp: str | os.PathLike[str], blurry: str | os.PathLike[str]) -> FilePairs:
    """The files of the same names in two folders, and in the folders right below them.

    Raises:
        OSError: a folder is missing.
        ValueError: a file has no twin, or there is none at all.
    """
    sharp, blurry = folder(sharp), folder(blurry)
    pairs = matched(blurry, sharp)
    for name in sorted({each.name for top in (sharp, blurry) for each in folders_in(top)}):
        pairs += matched(blurry / name, sharp / name, f"{name}/")
    return FilePairs(some(pairs, sharp, f"images with twins in '{blurry}'"))


def reds(root: str | os.PathLike[str]) -> FilePairs:
    """The training half of REDS but for the four clips that are tested on.

    Args:
        root: holds `train_sharp/001/00000000.png` and `train_blur/...`, or `train` with these.

    Raises:
        OSError: a folder is missing.
        ValueError: a frame has no twin, or there is none at all.
    """
    base = folder(root)
    base = base / "train" if (base / "train").is_dir() else base
    pairs = [
        pair
        for clip in folders_in(base / "train_blur")
        if clip.name not in REDS4
        for pair in matched(clip, base / "train_sharp" / clip.name, f"{clip.name}/")
    ]
    return FilePairs(some(pairs, base, "clips besides REDS4 in 'train_blur'"))


def gopro_pairs(root: str | os.PathLike[str]) -> FilePairs:
    """The training half of GoPro, blur without gamma, as the authors' option files have it."""
    return FilePairs(gopro(root, split="train", blur="blur"))


class LMDBPairs:
    """The authors' databases: raw frames, rows of BGR bytes, under the same keys in both.

    Each is a folder of LMDB with `meta_info.pkl`, a dict with `resolution` ("3_720_1280", or a list
    whose first entry counts) and `keys` ("000_00000000"). The pickle is read without running any
    code that it may hold. Needs the package `lmdb` (``pip install blurops[lmdb]``).

    Args:
        sharp, blurry: the folders.
        without: clips, the part of a key before the first underscore, to be left out, such as
            those of REDS4.

    Raises:
        OSError: a folder or file is missing.
        ModuleNotFoundError: lmdb is not installed.
        ValueError: the metadata are damaged, or keys differ.
    """

    def __init__(
        self,
        sharp: str | os.PathLike[str],
        blurry: str | os.PathLike[str],
        *,
        without: Sequence[str] = (),
    ) -> None:
        self.paths = [folder(sharp), folder(blurry)]
        (keys, self.shape), (others, shape) = (_metadata(path / _META) for path in self.paths)
        if keys != others or self.shape != shape:
            raise ValueError(
                f"LMDBPairs: '{self.paths[1]}' must have keys and resolution of '{self.paths[0]}'"
                f" ({len(keys)}, {self.shape}), got {len(others)}, {shape}"
            )
        self.keys = [key for key in keys if key.split("_", maxsplit=1)[0] not in without]
        some(self.keys, self.paths[0], "frames")
        self.record = {"keys": len(self.keys)}
        self._open: tuple[int, list[Any]] | None = None
        _lmdb()

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Both frames of a key."""
        # A database that was open in a parent process must not be used in its child.
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), [_opened(path) for path in self.paths]
        key = self.keys[index]
        return tuple(
            self._frame(path, base, key)
            for path, base in zip(self.paths, self._open[1], strict=True)
        )

    def _frame(self, path: Path, base: Any, key: str) -> Tensor:
        with base.begin() as transaction:
            content = transaction.get(key.encode("ascii"))
        channels, height, width = self.shape
        if content is None or len(content) != channels * height * width:
            got = "none" if content is None else f"{len(content)}"
            raise ValueError(
                f"LMDBPairs: frame '{key}' of '{path}' must have {channels * height * width} bytes,"
                f" got {got}"
            )
        frame = np.frombuffer(content, np.uint8).reshape(height, width, channels)
        return torch.from_numpy(frame[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255)


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


class _Plain(pickle.Unpickler):
    """Reads numbers, texts, lists and dicts; anything that names code is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _metadata(path: Path) -> tuple[list[str], tuple[int, int, int]]:
    try:
        with path.open("rb") as file:
            found = _Plain(file).load()
        resolution = found["resolution"]
        text = resolution if isinstance(resolution, str) else resolution[0]
        channels, height, width = (int(part) for part in text.split("_"))
        if channels != 3 or min(height, width) < 1:
            raise ValueError(f"resolution {text}")
        return sorted(str(key) for key in found["keys"]), (channels, height, width)
    except OSError:
        raise
    # A damaged pickle raises nearly anything.
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"LMDBPairs: '{path}' must be a dict with resolution and keys, got {got}"
        ) from error


def _opened(path: Path) -> Any:
    return _lmdb().open(os.fspath(path), readonly=True, lock=False, readahead=False, meminit=False)


def _lmdb() -> Any:
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "LMDBPairs: the package lmdb must be installed to read LMDB files"
            " (pip install 'blurops[lmdb]'), got none"
        ) from error
    return lmdb
