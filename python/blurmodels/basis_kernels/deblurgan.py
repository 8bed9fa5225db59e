# SPDX-License-Identifier: BSD-3-Clause
"""The generator of DeblurGAN, which table 3 of the paper fine-tunes.

Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR
2018: two strided convolutions, nine residual blocks, two transposed ones, and the input added.
"""

import os

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels import checkpoints

MODEL = "basis_kernels.DeblurGANGenerator"

_BLOCKS = 9
_GRID = 4  # two halvings
# Torch before 0.4 kept these for layers that never used them, and the published file has them.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class _Block(nn.Module):
    """Two convolutions with mirrored borders, dropout between them, and the input added."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def _normed(convolution: nn.Module, width: int) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(width), nn.ReLU()


class DeblurGANGenerator(nn.Module):
    """Deblurs an image of values in [0, 1]; `deblurred = clamp(image + network(image))`.

    With the defaults layers, names and shapes are those of the published `latest_net_G.pth`: 48
    tensors, 11,378,179 numbers. The layers see values in [-1, 1], and sides that are multiples of
    4: others are continued by their edge pixels, and cut off afterwards.

    Args:
        width: channels of the first layer, 64 as published; the others follow it.
        blocks: residual blocks, 9 as published.
        dropout: its share while training; the published evaluation, like its training, drops half
            at random, while `eval()` here drops nothing and so repeats.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> network = DeblurGANGenerator(width=4, blocks=1).eval()
        >>> network(torch.rand(1, 3, 30, 41)).shape
        torch.Size([1, 3, 30, 41])
    """

    def __init__(self, width: int = 64, *, blocks: int = _BLOCKS, dropout: float = 0.5) -> None:
        super().__init__()
        for name, value in (("width", width), ("blocks", blocks)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"DeblurGANGenerator: {name} must be a positive integer, got {value!r}"
                )
        self.architecture = {"width": width, "blocks": blocks, "dropout": dropout}
        w1, w2, w4 = width, 2 * width, 4 * width
        up = {"stride": 2, "padding": 1, "output_padding": 1}
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_normed(nn.Conv2d(3, w1, 7), w1),
            *_normed(nn.Conv2d(w1, w2, 3, stride=2, padding=1), w2),
            *_normed(nn.Conv2d(w2, w4, 3, stride=2, padding=1), w4),
            *(_Block(w4, dropout) for _ in range(blocks)),
            *_normed(nn.ConvTranspose2d(w4, w2, 3, **up), w2),
            *_normed(nn.ConvTranspose2d(w2, w1, 3, **up), w1),
            nn.ReflectionPad2d(3),
            nn.Conv2d(w1, 3, 7),
            nn.Tanh(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """The deblurred image, (N, 3, H, W) in [0, 1], of an image of that kind."""
        if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[1] != 3:
            got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise ValueError(f"DeblurGANGenerator: image must be RGB (N, 3, H, W), got {got}")
        height, width = image.shape[2:]
        if min(height, width) < _GRID + 1:
            raise ValueError(
                f"DeblurGANGenerator: image must have sides of at least {_GRID + 1} pixels,"
                f" got {width} x {height}"
            )
        x = 2 * image - 1
        x = functional.pad(x, (0, -width % _GRID, 0, -height % _GRID), mode="replicate")
        x = (x + self.model(x)).clamp(-1, 1)
        return (x[:, :, :height, :width] + 1) / 2

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str]) -> "DeblurGANGenerator":
        """The generator with the weights of a file.

        Args:
            path: the published pickled state dict, or what `save` has written.

        Returns:
            The generator, in evaluation mode.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is no such file, wants to run code, or its names or shapes are others.
        """
        found = checkpoints.load(path, model=MODEL)
        tensors = without_statistics(found.tensors)
        with torch.device("meta"):
            network = cls(**(found.architecture or {}))
        checkpoints.assign(network, tensors, path)
        return network.eval()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights as safetensors.

        Raises:
            OSError: the file could not be written.
        """
        checkpoints.save(path, self.state_dict(), model=MODEL, architecture=self.architecture)


def without_statistics(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the statistics of normalisation layers, which no forward pass reads.

    Example:
        >>> sorted(without_statistics({"model.1.weight": 0, "model.2.running_mean": 1}))
        ['model.1.weight']
    """
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.rpartition(".")[2] not in _STATISTICS
    }
