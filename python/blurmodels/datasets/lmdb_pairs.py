# SPDX-License-Identifier: BSD-3-Clause
"""Frames of REDS and GoPro in LMDB databases, as restoration programs keep them."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blurmodels.datasets._files import folder, some

_META = "meta_info.pkl"


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
