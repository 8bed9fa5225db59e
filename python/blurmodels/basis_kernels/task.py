# SPDX-License-Identifier: BSD-3-Clause
"""What the two-headed network learns: the blur of generated images, as Carbajal et al. train it."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blurmodels.basis_kernels.data import Samples, blur_batch
from blurmodels.basis_kernels.data.samples import Batch, Sample
from blurmodels.basis_kernels.estimate import network_input
from blurmodels.basis_kernels.losses import kernel_loss, reblur_loss
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.scenes import random_stream


@dataclass(frozen=True)
class LossSettings:
    """What is made small.

    Attributes:
        l1_from: the step from which the kernel loss is "l1"; before it is `first_norm`. None never
            changes.
        first_norm: "l2" (squared, as the paper's code) or "l2-norm".
        form: of the reblur loss, "linear" or "values".
        saturation: whether the reblur loss has the sensor's response.
        grid: the kernel loss looks at so many random rows and columns only, as the paper's code
            can; None looks at all pixels.
    """

    l1_from: int | None = None
    first_norm: str = "l2"
    form: str = "linear"
    saturation: bool = True
    grid: int | None = None


class FieldTask:
    """A `blurmodels.training.Task`: reblur loss and kernel loss, with equal weights.

    Args:
        network: what learns. Its input layer for gray images, which sees none in training, is left
            alone; `export` makes it from that for colours.
        samples: what it learns from.
        losses: what is made small.
    """

    name = TwoHeadsNetwork.name

    def __init__(
        self, network: TwoHeadsNetwork, samples: Samples, losses: LossSettings | None = None
    ) -> None:
        if network.architecture["kernel_size"] != samples.bank.kernel_size:
            raise ValueError(
                "FieldTask: network must predict kernels of the size of the samples',"
                f" {samples.bank.kernel_size}, got {network.architecture['kernel_size']}"
            )
        self.network, self.data = network, samples
        self.settings = losses or LossSettings()
        network.inc_gray.requires_grad_(False)
        self.record = {
            "patch": list(samples.patch),
            "seed": samples.seed,
            "losses": asdict(self.settings),
            "blur": json.loads(json.dumps(asdict(samples.settings))),
            "kernels": samples.bank.record,
            "scenes": type(samples.scenes).__name__,
            "network": network.architecture,
        }

    def samples(self, first: int, last: int, part: slice) -> list[Sample]:
        """What the samples of a batch are made of."""
        return [self.data[index] for index in range(first, last)[part]]

    def losses(
        self, network: Callable, samples: list[Sample], step: int, device: torch.device
    ) -> dict[str, Tensor]:
        """The reblur loss (eq. 5) and the kernel loss (eq. 6) of a batch."""
        settings = self.settings
        batch = blur_batch(samples, self.data.settings, device)
        kernels, mixing = network(network_input(batch.observed, self.data.settings.gamma))
        late = settings.l1_from is not None and step >= settings.l1_from
        return {
            "reblur": reblur_loss(
                kernels, mixing, batch.sharp, batch.observed, batch.weights,
                gamma=self.data.settings.gamma, saturation=settings.saturation, form=settings.form,
            ),
            "kernel": kernel_loss(
                kernels, *self._seen(batch, mixing, step),
                norm="l1" if late else settings.first_norm,
            ),
        }  # fmt: skip

    def _seen(self, batch: Batch, mixing: Tensor, step: int) -> tuple[Tensor, ...]:
        """The arguments of the kernel loss, at all pixels or on this step's grid."""
        maps = (mixing, batch.mixing, batch.weights)
        if self.settings.grid is not None:
            random = random_stream(self.data.seed, "grid", step)
            axes = [
                torch.from_numpy(random.permutation(n)[: self.settings.grid]).to(mixing.device)
                for n in mixing.shape[2:]
            ]
            share = math.prod(len(a) for a in axes) / math.prod(mixing.shape[2:])
            maps = tuple(m[:, :, axes[0]][..., axes[1]] for m in maps)
            maps = (*maps[:2], maps[2] / share)
        return maps[0], batch.kernels, maps[1], maps[2]

    @torch.no_grad()
    def pictures(self, network: Callable, step: int, device: torch.device) -> dict[str, Tensor]:
        """A blurred image, the kernels at its middle, and the most used estimated ones."""
        batch = blur_batch([self.data[0]], self.data.settings, device)
        kernels, mixing = network(network_input(batch.observed, self.data.settings.gamma))
        middle = tuple(side // 2 for side in mixing.shape[2:])
        pair = [
            (m[0, :, middle[0], middle[1], None, None] * k[0]).sum(0)
            for m, k in ((mixing, kernels), (batch.mixing, batch.kernels))
        ]
        most = mixing[0].mean((1, 2)).argsort(descending=True)[:8]
        return {
            "observed": batch.observed[0],
            "estimated and true kernel": _tiles([pair[0], pair[1]]),
            "most used kernels": _tiles(list(kernels[0, most])),
        }

    def export(self, path: Path, **record: Any) -> None:
        """Writes the weights for use."""
        with torch.no_grad():
            # A gray image is one whose three colours are alike.
            gray, colour = self.network.inc_gray[0], self.network.inc_rgb[0]
            gray.weight.copy_(colour.weight.sum(1, keepdim=True))
            gray.bias.copy_(colour.bias)
        self.network.save_pretrained(path, training=record)


def initialise(network: nn.Module, seed: int) -> None:
    """Random weights under which signals neither fade nor grow from layer to layer.

    He et al., "Delving deep into rectifiers" (ICCV 2015), for the slope of the network's units.
    With torch's own, the signal fades through some twenty layers without normalisation.

    Args:
        network: its convolutions are set, biases to 0.
        seed: which weights; torch's global generator is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.01, generator=generator)
        elif isinstance(layer, nn.ConvTranspose2d):
            # Stride and size are 2: each output sees every input channel once.
            nn.init.normal_(layer.weight, std=layer.in_channels**-0.5, generator=generator)
        else:
            continue
        nn.init.zeros_(layer.bias)


def _tiles(kernels: list[Tensor]) -> Tensor:
    """Kernels side by side, four times larger, each brightened to its largest value."""
    row = torch.cat([kernel / kernel.max().clamp(min=1e-12) for kernel in kernels], dim=1)
    large = row.repeat_interleave(4, 0).repeat_interleave(4, 1)
    return large.expand(3, -1, -1)
