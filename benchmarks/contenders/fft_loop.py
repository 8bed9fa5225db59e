# SPDX-License-Identifier: BSD-3-Clause
"""The usual FFT loop: the image is transformed once, then one basis after the other."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from benchmarks.borders import extend, fold
from benchmarks.contenders.base import Call, Contender, good_length
from benchmarks.inputs import Inputs


def blur(image: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """(C, H, W), (B, K, K), (B, H, W) -> (C, H, W)."""
    return blur_extended(extend(image, kernels.shape[-1] // 2), kernels, mixing)


def blur_extended(extended: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """The same on the image with its border."""
    height, width = mixing.shape[-2:]
    lengths = [good_length(n) for n in extended.shape[-2:]]
    spectrum = rfft2(extended, lengths)
    out = extended.new_zeros(len(extended), height, width)
    for kernel, coefficient in zip(kernels, mixing, strict=True):
        response = irfft2(spectrum * rfft2(kernel, lengths).conj(), lengths)
        out += coefficient * response[..., :height, :width]
    return out


def turn_back(image: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """The adjoint: products are summed as spectra, one inverse per channel."""
    size = [n + kernels.shape[-1] - 1 for n in image.shape[-2:]]
    lengths = [good_length(n) for n in size]
    total = torch.zeros(())
    for kernel, coefficient in zip(kernels, mixing, strict=True):
        total = total + rfft2(coefficient * image, lengths) * rfft2(kernel, lengths)
    return fold(irfft2(total, lengths)[..., : size[0], : size[1]], kernels.shape[-1] // 2)


def forward(inputs: Inputs) -> Call:
    return lambda: [blur(inputs.image[0], inputs.kernels[0], inputs.mixing[0])[None]]


def adjoint(inputs: Inputs) -> Call:
    return lambda: [turn_back(inputs.grad[0], inputs.kernels[0], inputs.mixing[0])[None]]


def gradients(inputs: Inputs) -> Call:
    return through_autograd(inputs, blur)


def through_autograd(inputs: Inputs, function: Callable[..., Tensor]) -> Call:
    """Forward and backward of a function of (C, H, W), (B, K, K) and (B, H, W)."""
    leaves = [t.detach().requires_grad_() for t in (inputs.image, inputs.kernels, inputs.mixing)]

    def call() -> list[Tensor]:
        blurred = function(*(leaf[0] for leaf in leaves))[None]
        return [blurred.detach(), *torch.autograd.grad(blurred, leaves, inputs.grad)]

    return call


CONTENDER = Contender(
    name="torch.fft loop",
    about="The usual loop: image transformed once, each basis multiplied, inverted and mixed.",
    members={"forward": forward, "adjoint": adjoint, "gradients": gradients},
    kind="usual",
)
