# SPDX-License-Identifier: BSD-3-Clause
"""Column sums, kept between the iterations of a solver."""

from collections.abc import Callable

import torch
from torch import Tensor


class KeptSums:
    """The last column sums, and what they were computed from: the very tensors, at their versions.

    They serve until one of these changes, and never where a graph is wanted.
    """

    def __init__(self) -> None:
        self._key: tuple = ()
        self._versions: list[tuple[Tensor, int]] = []
        self._sums: Tensor | None = None

    def get(self, key: tuple, parts: tuple[Tensor, ...], make: Callable[[], Tensor]) -> Tensor:
        """What ``make`` gives for a size, dtype and device, from ``parts``."""
        if not _may_keep(parts):
            return make()
        if self._sums is None or not self._serves(key, parts):
            sums = make()
            self._key, self._sums = key, sums
            self._versions = [(part, part._version) for part in (*parts, sums)]
        return self._sums

    def _serves(self, key: tuple, parts: tuple[Tensor, ...]) -> bool:
        return key == self._key and all(
            kept is now and version == now._version
            for (kept, version), now in zip(self._versions, (*parts, self._sums), strict=True)
        )


def _may_keep(parts: tuple[Tensor, ...]) -> bool:
    """Whether a result of ``parts`` may be used again: no graph is wanted, versions are counted."""
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return False
    if any(part.is_inference() for part in parts):
        return False
    return not (torch.is_grad_enabled() and any(part.requires_grad for part in parts))
