# SPDX-License-Identifier: BSD-3-Clause
"""torch's direct convolution, then the mix, in bands of rows whose responses stay in cache."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.borders import extend, fold
from benchmarks.contenders.base import Call, Contender, fastest
from benchmarks.contenders.fft_loop import through_autograd
from benchmarks.inputs import Inputs

_BANDS = (32, 256)


def blur(image: Tensor, kernels: Tensor, mixing: Tensor, band: int) -> Tensor:
    """(C, H, W), (B, K, K), (B, H, W) -> (C, H, W), ``band`` rows at a time."""
    side, height = kernels.shape[-1], image.shape[-2]
    extended = extend(image, side // 2)[:, None]
    parts = []
    for y in range(0, height, band):
        rows = min(band, height - y)
        responses = F.conv2d(extended[:, :, y : y + rows + side - 1], kernels[:, None])
        parts.append(
            (responses * mixing[:, y : y + rows]).sum(1)
        )  # (C, B, rows, W) -> (C, rows, W)
    return torch.cat(parts, 1)


def turn_back(image: Tensor, kernels: Tensor, mixing: Tensor, band: int) -> Tensor:
    """The adjoint: weighted by the mixing, convolved, overlapping bands added."""
    side, (height, width) = kernels.shape[-1], image.shape[-2:]
    extended = image.new_zeros(len(image), height + side - 1, width + side - 1)
    for y in range(0, height, band):
        rows = slice(y, min(y + band, height))
        # One channel at a time: a batch of them takes another path of torch's, thrice slower.
        for c, plane in enumerate(image):
            weighted = mixing[:, rows] * plane[rows]
            part = F.conv_transpose2d(weighted[None], kernels[:, None])[0, 0]
            extended[c, y : rows.stop + side - 1] += part
    return fold(extended, side // 2)


def _bands(size: int) -> list[int]:
    return [band for band in _BANDS if band < size] or [size]


def forward(inputs: Inputs) -> Call:
    tensors = (inputs.image[0], inputs.kernels[0], inputs.mixing[0])
    return fastest(
        inputs.case.size,
        [
            lambda band=band: lambda: [blur(*tensors, band)[None]]
            for band in _bands(inputs.case.size)
        ],
    )


def adjoint(inputs: Inputs) -> Call:
    tensors = (inputs.grad[0], inputs.kernels[0], inputs.mixing[0])
    # Adding overlaps favours wide bands: the widest is tried first.
    bands = [inputs.case.size, *_bands(inputs.case.size)]
    return fastest(
        inputs.case.size,
        [lambda band=band: lambda: [turn_back(*tensors, band)[None]] for band in bands],
    )


def gradients(inputs: Inputs) -> Call:
    return through_autograd(inputs, lambda *tensors: blur(*tensors, inputs.case.size))


CONTENDER = Contender(
    name="torch conv2d",
    about="Direct convolution, then the mix, in the fastest of several bands of rows.",
    members={"forward": forward, "adjoint": adjoint, "gradients": gradients},
    growth="direct",
    planes=lambda case: 2.0 * case.basis,
)
