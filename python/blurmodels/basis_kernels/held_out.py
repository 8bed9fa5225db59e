# SPDX-License-Identifier: BSD-3-Clause
"""What a network's estimates are worth on images that it has not seen."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from blurmodels.basis_kernels.data import Samples, blur_batch
from blurmodels.basis_kernels.estimate import network_input
from blurmodels.basis_kernels.losses import kernel_loss, reblur_loss


class HeldOut(NamedTuple):
    """Mean losses over some samples; smaller is better.

    Attributes:
        reblur: the reblur loss of the estimates.
        kernel_l2, kernel_l1: the kernel losses of the estimates.
        fixed_l2, fixed_l1: those of the best fixed kernel, the one kernel that has the smallest
            `kernel_l2` of all when it is taken at every pixel of every sample.
        sharp_l2, sharp_l1: those of no blur at all.
    """

    reblur: float
    kernel_l2: float
    kernel_l1: float
    fixed_l2: float
    fixed_l1: float
    sharp_l2: float
    sharp_l1: float


@torch.no_grad()
def held_out(network: Callable, samples: Samples, indices: Iterable[int]) -> HeldOut:
    """Scores a network, and the best that can be done without looking at the image.

    The fixed kernel is fitted to the very samples that it is judged on: the mean of their true
    kernels over all pixels, each weighing as in the loss, which is what makes a sum of squares
    smallest.

    Args:
        network: maps network input to kernels and mixing.
        samples: where the samples come from.
        indices: which samples.

    Returns:
        The mean losses.
    """
    batches = [blur_batch([samples[index]], samples.settings) for index in indices]
    found = [network(network_input(batch.observed, samples.settings.gamma)) for batch in batches]
    reblur = [
        reblur_loss(
            *field, batch.sharp, batch.observed, batch.weights, gamma=samples.settings.gamma,
            saturation=samples.settings.saturation,
        )
        for field, batch in zip(found, batches, strict=True)
    ]  # fmt: skip
    weighed = [
        torch.einsum("njhw,nhw,njkl->kl", batch.mixing, batch.weights[:, 0], batch.kernels)
        for batch in batches
    ]
    fixed = sum(weighed) / sum(batch.weights.sum() for batch in batches)
    sharp = torch.zeros_like(fixed)
    sharp[fixed.shape[0] // 2, fixed.shape[1] // 2] = 1

    def everywhere(kernel: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(kernel[None, None], torch.ones_like(batch.weights)) for batch in batches]

    scores = [
        _mean([
            kernel_loss(*field, batch.kernels, batch.mixing, batch.weights, norm=norm)
            for field, batch in zip(fields, batches, strict=True)
        ])
        for fields in (found, everywhere(fixed), everywhere(sharp))
        for norm in ("l2", "l1")
    ]  # fmt: skip
    return HeldOut(_mean(reblur), *scores)


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).double().mean())
