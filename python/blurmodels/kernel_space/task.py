# SPDX-License-Identifier: BSD-3-Clause
"""What F and G learn together: to blur a sharp image as its blurry twin is (Tran et al., eq. 3)."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from blurmodels import checkpoints
from blurmodels.kernel_space.losses import charbonnier, divergence
from blurmodels.kernel_space.network import KernelWizard
from blurmodels.kernel_space.pairs import Crops
from blurmodels.training import Settings

# The restarts of the authors' option files.
PERIODS = (50_000, 100_000, 150_000, 150_000, 150_000)


@dataclass(frozen=True)
class LossSettings:
    """What is made small.

    Attributes:
        epsilon, squared, reduction: of the Charbonnier distance; the defaults are the authors'.
        divergence: weight of the VAE's term.
    """

    epsilon: float = 1e-6
    squared: bool = False
    reduction: str = "sum"
    divergence: float = 10.0


class Batch(NamedTuple):
    """Pairs (n, 2, 3, H, W) of one process, and how many all processes have together."""

    pairs: Tensor
    total: int


class PairsTask:
    """A `blurmodels.training.Task`: the distance of F(x, G(x, y)) from y.

    Args:
        network: what learns.
        crops: what it learns from.
        losses: what is made small.
    """

    name = KernelWizard.name

    def __init__(
        self, network: KernelWizard, crops: Crops, losses: LossSettings | None = None
    ) -> None:
        self.network, self.data, self.settings = network, crops, losses or LossSettings()
        self.record = {
            "data": crops.record,
            "losses": asdict(self.settings),
            "network": network.architecture,
        }

    def samples(self, first: int, last: int, part: slice) -> Batch:
        """The crops of a batch, or of one process's part of it."""
        crops = [self.data[index] for index in range(first, last)[part]]
        return Batch(torch.stack(crops), last - first)

    def losses(
        self, network: Callable, samples: Batch, step: int, device: torch.device
    ) -> dict[str, Tensor]:
        """The data term and, with a VAE, its divergence."""
        settings = self.settings
        sharp, blurry = samples.pairs.to(device).unbind(1)
        found, mean, sigma = network(sharp, blurry)
        # The mean over processes of so many times their sums is the sum over all of them.
        share = samples.total / len(sharp)
        data = charbonnier(
            found, blurry, epsilon=settings.epsilon, squared=settings.squared,
            reduction=settings.reduction,
        )  # fmt: skip
        terms = {"data": data * (share if settings.reduction == "sum" else 1)}
        if sigma is not None:
            # The mean of the data term is its sum over so many values; the balance is the same.
            over = share if settings.reduction == "sum" else 1 / blurry.numel()
            weight = settings.divergence * over
            terms["divergence"] = weight * divergence(mean.float(), sigma.float())
        return terms

    @torch.no_grad()
    def pictures(self, network: Callable, step: int, device: torch.device) -> dict[str, Tensor]:
        """A pair, and what F makes of it."""
        sharp, blurry = self.data[0][:, None].to(device)
        found = self.network.apply_blur(sharp, self.network.extract_kernel(sharp, blurry))
        return {"sharp": sharp[0], "blurry": blurry[0], "F(x, G(x, y))": found[0]}

    def export(self, path: Path, **record: Any) -> None:
        """Writes the weights for use."""
        self.network.save_pretrained(path, training=record)


# Parts of He's deviation on the U-Net's way up, for what depends on k and for the skips.
_FROM_K, _FROM_SKIP = 1.4, 0.1
# G's features of a sharp image and its blurry twin differ by so much less than they vary.
_DIFFERENCE = 32.0


def initialise(network: KernelWizard, seed: int) -> None:
    """Random weights under which k matters from the start, and F begins near the identity.

    He et al. (ICCV 2015) for the layers without normalisation of G and of the U-Net, the last layer
    at a thousandth of it, and changes for each way in which k is lost otherwise:

    - G's first layer sees the difference of both images' features alone, magnified. k then depends
      on what blur changes, and is 0 where nothing is changed.
    - On the U-Net's way up, what comes from below, where k enters, weighs more than the skips.
    - Half of the channels that the trunk gets hold the image's details without their mean, the
      others what depends on k, and weights in pairs of opposite signs make everything that follows
      odd in the details. So k acts as a gate: by itself it adds nothing to an image. If it does,
      training begins by taking that away, and k with it.

    Args:
        network: its weights are set, biases to 0. With a width of 1 there are no gates.
        seed: which; torch's global generator is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, layer in network.named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        part = 0.1 if name.endswith(("conv1", "conv2", "conv_block.5")) else 1.0
        part = 1e-3 if name == "recon_trunk.28" else part
        fan = layer.in_channels * layer.weight[0, 0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            fan //= 4  # of stride 2 in both directions
        nn.init.normal_(layer.weight, std=part * (2 / fan) ** 0.5, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    _let_k_matter(network)
    if network.architecture["width"] > 1:
        _let_k_gate(network)


@torch.no_grad()
def _let_k_matter(network: KernelWizard) -> None:
    first = network.kernel_extractor.model[1].weight
    of_sharp, of_blurry = first.chunk(2, dim=1)
    of_sharp *= _DIFFERENCE
    of_blurry.copy_(-of_sharp)
    level = network.adapter.model
    while (below := getattr(level, "submodule", None)) is not None:
        if not level.outermost:
            from_k, from_skip = level.up[1].weight.chunk(2, dim=0)
            from_k *= _FROM_K
            from_skip *= _FROM_SKIP
        level = below
    # In the deepest level k follows what it is joined to; above, it comes first.
    from_skip, from_k = level.up[1].weight.chunk(2, dim=0)
    from_k *= _FROM_K
    from_skip *= _FROM_SKIP


@torch.no_grad()
def _let_k_gate(network: KernelWizard) -> None:
    """Half of the trunk's channels begin with the image's details, the others with k as a gate."""
    width = network.architecture["width"]
    details = width // 2
    outermost, trunk = network.adapter.model, network.recon_trunk
    down, up = outermost.down[0].weight, outermost.up[1].weight
    down -= down.mean((2, 3), keepdim=True)
    _opposite(down, 0)
    from_k, from_image = up.chunk(2, dim=0)
    from_k[:, :details] = 0
    from_image[:, details:] = 0
    _opposite(from_image, 0)
    up *= 2**0.5
    for block in trunk:
        if hasattr(block, "conv1"):
            # relu(g + d) - relu(g - d) is odd in the details d, and the gate g decides how much.
            block.conv1.weight *= 10
            _opposite(block.conv1.weight[:, :details], 0)
            _same(block.conv1.weight[:, details:], 0)
            _opposite(block.conv2.weight, 1)
            block.conv2.weight[details:] = 0
    layers = [layer for layer in trunk if isinstance(layer, nn.Conv2d)]
    layers[0].weight[:, details:] = 0
    layers[0].weight *= 2**0.5
    for layer in layers[1:]:
        _opposite(layer.weight, 1)
    for layer in layers[:-1]:
        _opposite(layer.weight, 0)


def _opposite(weight: Tensor, dim: int) -> None:
    half = weight.shape[dim] // 2
    weight.narrow(dim, half, half).copy_(-weight.narrow(dim, 0, half))


def _same(weight: Tensor, dim: int) -> None:
    half = weight.shape[dim] // 2
    weight.narrow(dim, half, half).copy_(weight.narrow(dim, 0, half))


def start_from(network: KernelWizard, path: str | os.PathLike[str]) -> None:
    """Gives a network those weights of a file that fit it, as a VAE's training begins.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no weights file, or nothing in it fits.
    """
    own = network.state_dict()
    found = checkpoints.load(path, model=KernelWizard.name).tensors
    fitting = {
        name: tensor for name, tensor in found.items()
        if name in own and own[name].shape == tensor.shape
    }  # fmt: skip
    if not fitting:
        raise ValueError(f"train: '{os.fspath(path)}' must hold weights that fit, got none")
    network.load_state_dict({**own, **fitting})


# The authors' option files: what differs between them.
RECIPES: dict[str, dict[str, Any]] = {
    "reds": {"batch_size": 13, "least_rate": 1e-6},
    "gopro": {"batch_size": 16, "least_rate": 1e-8},
    "gopro-vae": {"batch_size": 8, "least_rate": 1e-8},
    "mix": {"batch_size": 16, "least_rate": 1e-8},
}


def settings_of(recipe: str, **changes: Any) -> Settings:
    """The schedule of one of the authors' option files.

    Args:
        recipe: a name in RECIPES.
        **changes: fields of `Settings` that shall differ.

    Example:
        >>> settings = settings_of("reds")
        >>> settings.steps, settings.rate(0), settings.rate(50_000), round(settings.rate(25_000), 7)
        (600000, 0.0001, 0.0001, 5.05e-05)
    """
    usual = {
        "steps": 600_000, "learning_rate": 1e-4, "betas": (0.9, 0.99), "decay": "restarts",
        "periods": PERIODS, "checkpoint_every": 5000, "channels_last": True,
    }  # fmt: skip
    return Settings(**{**usual, **RECIPES[recipe], **changes})
