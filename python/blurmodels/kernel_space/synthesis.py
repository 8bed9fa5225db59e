# SPDX-License-Identifier: BSD-3-Clause
"""Blur made by F: carried over from another pair, drawn, or found for a pair by its own k."""

from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from blurmodels.evaluation import psnr
from blurmodels.kernel_space.network import MULTIPLE, KernelWizard, resize_kernel

# Of the authors' program for samples.
SAMPLE_SCALE = 1.2


class Retrieved(NamedTuple):
    """What `retrieve` found.

    Attributes:
        k: (1, kernel_dim, h, w).
        image: F(x, k), clamped to [0, 1].
        psnr: of it to the blurry image in decibels, the score of the paper's table 3.
    """

    k: Tensor
    image: Tensor
    psnr: float


@torch.inference_mode()
def transfer(
    network: KernelWizard,
    sharp: Tensor,
    blurry: Tensor,
    target: Tensor,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The blur between two images on a third, `F(target, G(sharp, blurry))` (section 3.4).

    Args:
        network: F and G.
        sharp, blurry: (1, 3, H, W) in [0, 1], sides at least 129.
        target: (N, 3, H', W') in [0, 1]; where its size asks for another size of k,
            `resize_kernel` makes it.
        generator: with it, k is drawn from the mean and deviation of a network with `vae`, as the
            authors' augmentation does; without it, k is the mean.

    Returns:
        (N, 3, H', W'), clamped to [0, 1].

    Raises:
        TypeError, ValueError: an image is not as above.
    """
    k, sigma = network.encode(sharp, blurry)
    if generator is not None and sigma is not None:
        k = k + sigma * torch.randn(k.shape, generator=generator).to(k)
    return network.apply_blur(target, resize_kernel(k, target.shape[2:])).clamp(0, 1)


@torch.inference_mode()
def sample(network: KernelWizard, sharp: Tensor, *, seed: int = 0) -> Tensor:
    """A random blur on an image: F(x, k) with `k = 1.2 n`, n normal, as the authors draw it.

    Args:
        network: F; trained with `vae`, without which k has no such distribution.
        sharp: (N, 3, H, W) in [0, 1].
        seed: which blur.

    Returns:
        (N, 3, H, W), clamped to [0, 1].

    Raises:
        TypeError, ValueError: the image is not as above, or the network has no `vae`.
    """
    if not network.architecture["vae"]:
        raise ValueError("sample: network must be one with a VAE, got one without")
    generator = torch.Generator().manual_seed(seed)
    size = [-(-side // MULTIPLE) for side in sharp.shape[2:]]
    k = torch.randn(1, network.architecture["kernel_dim"], *size, generator=generator)
    return network.apply_blur(sharp, (SAMPLE_SCALE * k).to(sharp)).clamp(0, 1)


def retrieve(
    network: KernelWizard,
    sharp: Tensor,
    blurry: Tensor,
    *,
    steps: int = 500,
    learning_rate: float = 1e-2,
    progress: bool = False,
) -> Retrieved:
    """The k that makes F(x, k) most like y, for a pair whose blur was not trained on (4.2.2).

    Step (B) of the paper's section 3.2 on k itself: Adam on the mean squared error of F(x, k), from
    G(x, y) on; the k of the least error is kept. The paper states neither steps nor rate, and has
    a network of its own make k.

    Args:
        network: F and G; their weights stay.
        sharp, blurry: (1, 3, H, W) in [0, 1], sides at least 129.
        steps: of Adam; 0 scores G's own k.
        learning_rate: of Adam, as a share of the root mean square of G's k.
        progress: show a progress bar on stderr.

    Raises:
        TypeError, ValueError: an image is not as above.
    """
    with torch.no_grad():
        k = network.extract_kernel(sharp, blurry)
    k = k.clone().requires_grad_()
    size = float(k.detach().square().mean().sqrt())
    optimiser = torch.optim.Adam([k], lr=learning_rate * max(size, 1e-6))
    best, least = k.detach().clone(), float("inf")
    for step in tqdm(range(steps + 1), unit="step", disable=not progress):
        error = (network.apply_blur(sharp, k) - blurry).square().mean()
        if float(error.detach()) < least:
            best, least = k.detach().clone(), float(error.detach())
        if step < steps:
            (k.grad,) = torch.autograd.grad(error, [k])
            optimiser.step()
    with torch.no_grad():
        image = network.apply_blur(sharp, best).clamp(0, 1)
    return Retrieved(best, image, psnr(image, blurry))
