# SPDX-License-Identifier: BSD-3-Clause
"""The algorithm of Carbajal et al., transcribed from a description of what their code computes.

Every basis convolved with one channel after the other, all responses kept, then mixed. Their
"adjoint" is the same with turned kernels: blurred first and mixed after, not the transpose.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

import blurops
from benchmarks.contenders.base import Call, Contender
from benchmarks.inputs import AUTHORS_TV, GAMMA, Inputs
from tests.authors import authors_restore


def blur(image: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """(N, C, H, W), (N or 1, B, K, K), (N or 1, B, H, W) -> (N, C, H, W)."""
    count, channels, height, width = image.shape
    kernels, mixing = (t.expand(count, -1, -1, -1) for t in (kernels, mixing))
    padded = F.pad(image, (kernels.shape[-1] // 2,) * 4, mode="reflect")
    responses = image.new_empty(count, kernels.shape[1], channels, height, width)
    for n in range(count):
        for c in range(channels):
            responses[n, :, c] = F.conv2d(padded[n : n + 1, c : c + 1], kernels[n][:, None])[0]
    return (responses * mixing[:, :, None]).sum(1)


def forward(inputs: Inputs) -> Call:
    return lambda: [blur(inputs.image, inputs.kernels, inputs.mixing)]


def adjoint(inputs: Inputs) -> Call:
    return lambda: [blur(inputs.grad, blurops.flip(inputs.kernels), inputs.mixing)]


def gradients(inputs: Inputs) -> Call:
    leaves = [t.detach().requires_grad_() for t in (inputs.image, inputs.kernels, inputs.mixing)]

    def call() -> list[Tensor]:
        blurred = blur(*leaves)
        return [blurred.detach(), *torch.autograd.grad(blurred, leaves, inputs.grad)]

    return call


def _solve(inputs: Inputs, variant: str) -> Call:
    observed, field = inputs.observed(), blurops.BasisBlur(inputs.kernels, inputs.mixing)

    def call() -> list[Tensor]:
        image, _ = authors_restore(
            observed, field, gamma=GAMMA, iterations=inputs.iterations, variant=variant,
            tv=AUTHORS_TV, stop=False, apply=blur,
        )  # fmt: skip
        return [image]

    return call


CONTENDER = Contender(
    name="Carbajal et al.",
    about="The authors' algorithm, transcribed: every basis convolved with each channel, responses "
    "kept, then mixed; its adjoint is approximate (mixed after the turned kernels).",
    members={
        "forward": forward,
        "adjoint": adjoint,
        "gradients": gradients,
        "rl": lambda inputs: _solve(inputs, "basic"),
        "rl-saturated": lambda inputs: _solve(inputs, "combined"),
    },
    kind="peer",
    algorithm="authors",
    growth="direct",
    planes=lambda case: 2.0 * case.basis,
    sampled_iterations=3,
)
