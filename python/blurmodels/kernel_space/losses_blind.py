# SPDX-License-Identifier: BSD-3-Clause
"""What blind deblurring minimises: the losses of Tran et al. in their paper and in their code.

The paper's (eq. 6) needs nothing but the images. The code's has VGG19's features in place of a
distance between images; their weights are read from a file that the user names.
"""

import os
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels import checkpoints

# Added to squared differences (the code's), and the exponent alpha of the hyper-Laplacian, which
# the paper leaves open.
_EPSILON, ALPHA = 1e-6, 0.66
# Weights of the paper's eq. 6, from its supplement: the norm's lambda, the gradients' gamma.
NORM, GRADIENTS = 6e-4, 2e-2


class BlindLoss(Protocol):
    """What is minimised; `done` is the part of all steps that lies behind, in [0, 1)."""

    name: str

    def __call__(
        self, blurred: Tensor, observed: Tensor, sharp: Tensor, kernel: Tensor, done: float
    ) -> Tensor:
        """A scalar."""


def charbonnier(difference: Tensor) -> Tensor:
    """`mean sqrt(d^2 + 1e-6)`; the authors' code takes the sum.

    Example:
        >>> round(float(charbonnier(torch.zeros(2, 2))), 6)
        0.001
    """
    return (difference.square() + _EPSILON).sqrt().mean()


def hyper_laplacian(image: Tensor) -> Tensor:
    """`mean (g_u^2 + g_v^2 + 1e-6)^(0.33)` of each channel's forward differences.

    Args:
        image: (N, C, H, W).

    Example:
        >>> round(float(hyper_laplacian(torch.full((1, 3, 16, 16), 0.5))), 4)
        0.0105
    """
    across = image[..., :-1, 1:] - image[..., :-1, :-1]
    down = image[..., 1:, :-1] - image[..., :-1, :-1]
    return (across.square() + down.square() + _EPSILON).pow(ALPHA / 2).mean()


def hyper_laplacian_sobel(image: Tensor) -> Tensor:
    """The same as the authors code it: Sobel filters, summed over the channels, zeros outside.

    Args:
        image: (N, 3, H, W); at its border the zeros outside count as edges.

    Example:
        >>> round(float(hyper_laplacian_sobel(torch.full((1, 3, 16, 16), 0.5))), 3)
        0.775
    """
    sobel = image.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    filters = torch.stack([sobel, sobel.T])[:, None].expand(-1, image.shape[1], -1, -1)
    gradients = functional.conv2d(image, filters, padding=1)
    return (gradients.square().sum(1) + _EPSILON).sqrt().pow(ALPHA).mean()


def structural_similarity(image: Tensor, truth: Tensor) -> Tensor:
    """Mean SSIM, differentiable: 11 x 11 Gaussian of sigma 1.5, zeros outside, as the authors use.

    Args:
        image, truth: (N, C, H, W) in [0, 1].

    Example:
        >>> image = torch.rand(1, 3, 20, 20)
        >>> round(float(structural_similarity(image, image)), 6)
        1.0
    """
    places = torch.arange(11, dtype=image.dtype, device=image.device) - 5
    line = torch.exp(-places.square() / (2 * 1.5**2))
    line = line / line.sum()

    def mean(x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)[:, None]
        planes = functional.conv2d(planes, line[None, None, None], padding=(0, 5))
        return functional.conv2d(planes, line[None, None, :, None], padding=(5, 0))

    first, second = mean(image), mean(truth)
    variances = mean(image.square() + truth.square()) - first.square() - second.square()
    covariance = mean(image * truth) - first * second
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * first * second + c1) * (2 * covariance + c2)
    return (similarity / ((first.square() + second.square() + c1) * (variances + c2))).mean()


class PaperLoss:
    """`rho(y, F(x, k)) + lambda ||k||_2 + gamma mean (g_u(x)^2 + g_v(x)^2)^(alpha / 2)`, eq. 6.

    rho is the Charbonnier loss, as a mean. The paper's lambda is 6e-4, its gamma 2e-2; gamma falls
    geometrically to its last value, so that the image may first have few edges, and then details.

    Args:
        norm: lambda.
        gradients: gamma at the first and at the last step.

    Example:
        >>> x, k = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 2, 2)
        >>> round(float(PaperLoss()(x, x, x, k, 0.0)), 5)  # 0.001 + 6e-4 * 2 + 2e-2 * 1e-6^0.33
        0.00241
    """

    name = "paper"

    def __init__(
        self, norm: float = NORM, gradients: tuple[float, float] = (GRADIENTS, GRADIENTS)
    ) -> None:
        self.norm, self.gradients = norm, gradients

    def __call__(
        self, blurred: Tensor, observed: Tensor, sharp: Tensor, kernel: Tensor, done: float
    ) -> Tensor:
        """The loss, see `BlindLoss`."""
        first, last = self.gradients
        weight = first * (last / first) ** done
        loss = charbonnier(blurred - observed) + weight * hyper_laplacian(sharp)
        return loss + self.norm * kernel.norm()


# Where VGG19's 16 convolutions stand among torchvision's `features`; pooling stands between them.
_CONVOLUTIONS = {
    0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256),
    14: (256, 256), 16: (256, 256), 19: (256, 512), 21: (512, 512), 23: (512, 512),
    25: (512, 512), 28: (512, 512),
}  # fmt: skip
_POOLED = (4, 9, 18, 27)
# relu1_1, relu2_1, ... and their weights.
_COMPARED = {1: 0.2, 6: 0.4, 11: 0.8, 20: 1.0, 29: 3.0}


class Perceptual(nn.Module):
    """Weighted mean absolute differences of VGG19's features at relu1_1 to relu5_1.

    Images are taken in [0, 1] without ImageNet's normalisation, as the authors' code does.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(max(_COMPARED) + 1):
            if index in _CONVOLUTIONS:
                layers.append(nn.Conv2d(*_CONVOLUTIONS[index], 3, padding=1))
            else:
                layers.append(nn.MaxPool2d(2) if index in _POOLED else nn.ReLU())
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Perceptual":
        """Reads torchvision's VGG19 state dict (`features.0.weight`, ...); other parts are ignored.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is no weights file, or not of VGG19.
        """
        found = checkpoints.load(path).tensors
        own = cls()
        wanted = own.state_dict()
        checkpoints.assign(own, {name: found[name] for name in wanted if name in found}, path)
        return own.requires_grad_(False)

    def forward(self, image: Tensor, truth: Tensor) -> Tensor:
        """(N, 3, H, W) each, sides of at least 16, to a scalar."""
        total = image.new_zeros(())
        for index, layer in enumerate(self.features):
            image, truth = layer(image), layer(truth)
            if index in _COMPARED:
                total = total + _COMPARED[index] * (image - truth).abs().mean()
        return total


class AuthorsLoss:
    """What the authors' code minimises; it has no Charbonnier term.

    In the first half of the steps `0.6 P + (1 - SSIM) + 5e-5 ||k|| + 2e-2 HL(x)`, then `P +
    5e-2 HL(x) + 5e-4 ||k||`, with P of `Perceptual` and HL of `hyper_laplacian_sobel`.

    Args:
        perceptual: from `Perceptual.from_file`.
    """

    name = "authors"

    def __init__(self, perceptual: Perceptual) -> None:
        self.perceptual = perceptual

    def __call__(
        self, blurred: Tensor, observed: Tensor, sharp: Tensor, kernel: Tensor, done: float
    ) -> Tensor:
        """The loss, see `BlindLoss`."""
        rgb = [x.expand(-1, 3, -1, -1) for x in (blurred, observed)]
        distance, edges = self.perceptual(*rgb), hyper_laplacian_sobel(sharp)
        if done < 0.5:
            dissimilar = 1 - structural_similarity(blurred, observed)
            return 0.6 * distance + dissimilar + 5e-5 * kernel.norm() + 2e-2 * edges
        return distance + 5e-2 * edges + 5e-4 * kernel.norm()
