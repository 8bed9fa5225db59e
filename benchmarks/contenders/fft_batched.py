# SPDX-License-Identifier: BSD-3-Clause
"""All bases at once: short to write, and B images large."""

from torch import Tensor
from torch.fft import irfft2, rfft2

from benchmarks.borders import extend, fold
from benchmarks.contenders.base import Call, Contender, good_length
from benchmarks.contenders.fft_loop import through_autograd
from benchmarks.inputs import Inputs


def blur(image: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """(C, H, W), (B, K, K), (B, H, W) -> (C, H, W)."""
    height, width = image.shape[-2:]
    extended = extend(image, kernels.shape[-1] // 2)
    lengths = [good_length(n) for n in extended.shape[-2:]]
    products = rfft2(extended, lengths)[:, None] * rfft2(kernels, lengths).conj()
    return (mixing * irfft2(products, lengths)[..., :height, :width]).sum(1)


def turn_back(image: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
    """The adjoint."""
    size = [n + kernels.shape[-1] - 1 for n in image.shape[-2:]]
    lengths = [good_length(n) for n in size]
    total = (rfft2(mixing * image[:, None], lengths) * rfft2(kernels, lengths)).sum(1)
    return fold(irfft2(total, lengths)[..., : size[0], : size[1]], kernels.shape[-1] // 2)


def forward(inputs: Inputs) -> Call:
    return lambda: [blur(inputs.image[0], inputs.kernels[0], inputs.mixing[0])[None]]


def adjoint(inputs: Inputs) -> Call:
    return lambda: [turn_back(inputs.grad[0], inputs.kernels[0], inputs.mixing[0])[None]]


CONTENDER = Contender(
    name="torch.fft batched",
    about="All bases in one batch of transforms.",
    members={
        "forward": forward,
        "adjoint": adjoint,
        "gradients": lambda inputs: through_autograd(inputs, blur),
    },
    kind="usual",
    planes=lambda case: 4.0 * case.basis,
)
