# SPDX-License-Identifier: BSD-3-Clause
"""All weights of a network, fitted further to one image."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

import blurops
from blurmodels.basis_kernels.estimate import network_input


class Refinement(NamedTuple):
    """Attributes: network, the refined copy; losses, the reblur loss before each step."""

    network: nn.Module
    losses: list[float]


def refine_on_image(
    network: nn.Module,
    blurred: Tensor,
    sharp: Tensor,
    *,
    gamma: float = 2.2,
    steps: int = 100,
    learning_rate: float = 1e-4,
    saturation: bool = True,
) -> Refinement:
    """Fine-tunes a network until it explains one blurred image by an estimate of the sharp one.

    The loss is the plain mean of `(R(H u) - v)^2` in linear light, with H from the network's own
    output for v, reflection at the border, and Adam: the code of Carbajal et al. has it, the papers
    do not. It makes the blur fit that estimate of the sharp image, whatever the estimate is worth.

    Args:
        network: maps network input to kernels and mixing; it stays as it is.
        blurred: (1, C, H, W) v, values of at least 0.
        sharp: (1, C, H, W) u, the estimate, such as a restoration of v.
        gamma: linear light = value ** gamma, of both.
        steps: of Adam.
        learning_rate: of Adam.
        saturation: whether the model has the sensor's response, eq. 4.

    Returns:
        The refined copy, in the mode of `network`, and the losses.

    Raises:
        ValueError: the two images differ in shape.

    Example:
        >>> from blurmodels.basis_kernels import TwoHeadsNetwork
        >>> image = torch.rand(1, 3, 40, 40)
        >>> refined = refine_on_image(TwoHeadsNetwork(2, width=2), image, image, steps=1)
        >>> len(refined.losses)
        1
    """
    if blurred.shape != sharp.shape:
        raise ValueError(
            f"refine_on_image: sharp must have the shape of blurred, {tuple(blurred.shape)},"
            f" got {tuple(sharp.shape)}"
        )
    refined = copy.deepcopy(network)
    optimiser = torch.optim.Adam(refined.parameters(), lr=learning_rate)
    x, light, target = network_input(blurred, gamma), sharp**gamma, blurred**gamma
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        kernels, mixing = refined(x)
        again = blurops.basis_blur(light, kernels, mixing, boundary="reflect")
        if saturation:
            again = blurops.saturate(again)
        loss = (again - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return Refinement(refined, losses)
