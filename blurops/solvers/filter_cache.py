# SPDX-License-Identifier: BSD-3-Clause
"""Inverse filters on disk, found again by the content that they were computed from."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from blurops._atomic import replacing

# Part of every key: a change of what is computed must change it.
_VERSION = "blurops-inverse-filters-1"


def user_folder() -> Path:
    """`$BLUROPS_CACHE`, or `inverse-filters` in the user's cache folder for blurops."""
    if "BLUROPS_CACHE" in os.environ:
        return Path(os.environ["BLUROPS_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "blurops" / "inverse-filters"


class FilterCache:
    """One small file per kernel, written whole or not at all, so that processes can share them.

    Args:
        folder: made if it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def key(self, filters: Sequence[Tensor], **settings: object) -> str:
        """The name of a result: a hash of all that it follows from."""
        digest = hashlib.sha256(json.dumps([_VERSION, settings], sort_keys=True).encode())
        for each in filters:
            digest.update(repr(tuple(each.shape)).encode())
            digest.update(each.double().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def load(self, key: str) -> Tensor | None:
        """A stored result; None where there is none, or only a damaged one."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            content = (self._folder / f"{key}.safetensors").read_bytes()
        except FileNotFoundError:
            return None
        checksum, content = content[:32], content[32:]
        if hashlib.sha256(content).digest() != checksum:
            return None
        with contextlib.suppress(SafetensorError, KeyError):
            return load(content)["filters"]
        return None

    def store(self, key: str, filters: Tensor) -> None:
        """Keep a result."""
        from safetensors.torch import save

        content = save({"filters": filters.to(torch.float64).contiguous()})
        with replacing(self._folder / f"{key}.safetensors") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
