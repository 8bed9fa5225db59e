# SPDX-License-Identifier: BSD-3-Clause
"""The end of a fused backward, which is the same wherever it runs."""

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor


def by_field(
    family: ModuleType,
    pairs: list[tuple[Tensor, Tensor]],
    kernels: Tensor,
    mixing: Tensor,
    needs: Sequence[bool],
    how: dict,
) -> tuple[Tensor | None, Tensor | None]:
    """By kernels and mixing, each in one sweep over the channels of all pairs.

    A pair is a blurred and a sharp image between which H stands.
    """
    if not any(needs):
        return None, None
    blurred, sharp = (torch.cat(images, dim=1) for images in zip(*pairs, strict=True))
    by_kernels = by_mixing = None
    if needs[0]:
        shared = kernels.shape[0] == 1
        by_kernels = family.basis_blur_grad_kernels(
            blurred, sharp, mixing, kernels.shape[-2:], shared, **how
        )
    if needs[1]:
        shared = mixing.shape[0] == 1
        by_mixing = family.basis_blur_grad_mixing(blurred, sharp, kernels, shared, **how)
    return by_kernels, by_mixing


def wanted(
    found: Sequence[Tensor | None], tensors: Sequence[Tensor | None], needs: Sequence[bool]
) -> list[Tensor]:
    """The gradients that are needed, summed over the axes along which a tensor was broadcast."""
    return [
        (g if g.shape == t.shape else g.sum_to_size(t.shape)) if needed else found[0].new_empty(0)
        for g, t, needed in zip(found, tensors, needs, strict=True)
    ]


def zeros(tensors: Sequence[Tensor | None], needs: Sequence[bool]) -> list[Tensor]:
    """The gradients of a result without elements."""
    return [
        torch.zeros_like(t) if needed else tensors[0].new_empty(0)
        for t, needed in zip(tensors, needs, strict=True)
    ]
