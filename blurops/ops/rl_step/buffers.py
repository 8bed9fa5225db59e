# SPDX-License-Identifier: BSD-3-Clause
"""Memory for intermediate images, kept from one update of a solve to the next.

The system hands out fresh memory page by page, on first touch; for images of megabytes that takes
as long as the arithmetic of a whole pass.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor


class _Kept(threading.local):
    free: list[Tensor] | None = None


_kept = _Kept()


@contextmanager
def kept() -> Iterator[None]:
    """Within this block, what this thread gives back serves its next calls."""
    outer, _kept.free = _kept.free, []
    try:
        yield
    finally:
        _kept.free = outer


def take(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of this shape and of the dtype of ``like``, its values undefined."""
    size = 1
    for side in shape:
        size *= side
    for index, tensor in enumerate(_kept.free or ()):
        if tensor.numel() == size and tensor.dtype == like.dtype:
            return _kept.free.pop(index).view(shape)
    return like.new_empty(shape)


def give_back(*tensors: Tensor | None) -> None:
    """Return what :func:`take` gave. Nobody may look at it afterwards."""
    if _kept.free is not None:
        _kept.free += [t for t in tensors if t is not None]
