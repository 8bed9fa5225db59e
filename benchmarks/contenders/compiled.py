# SPDX-License-Identifier: BSD-3-Clause
"""torch.compile of the whole-image FFT with cached spectra."""

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from benchmarks.borders import extend, fold
from benchmarks.contenders.base import Call, Contender, good_length
from benchmarks.inputs import Inputs


def _blur(extended: Tensor, conjugates: Tensor, mixing: Tensor, lengths: list[int]) -> Tensor:
    height, width = mixing.shape[-2:]
    spectrum = rfft2(extended, lengths)
    out = torch.zeros(len(extended), height, width)
    for b in range(len(mixing)):
        response = irfft2(spectrum * conjugates[b], lengths)[..., :height, :width]
        out = out + mixing[b] * response
    return out


def _turn_back(image: Tensor, spectra: Tensor, mixing: Tensor, lengths: list[int]) -> Tensor:
    total = torch.zeros((), dtype=spectra.dtype)
    for b in range(len(mixing)):
        total = total + rfft2(mixing[b] * image, lengths) * spectra[b]
    return irfft2(total, lengths)


def _prepare(inputs: Inputs) -> tuple[list[int], Tensor]:
    torch._dynamo.reset()
    side = inputs.case.kernel
    lengths = [good_length(inputs.case.size + side - 1)] * 2
    return lengths, rfft2(inputs.kernels[0], lengths)


def forward(inputs: Inputs) -> Call:
    lengths, spectra = _prepare(inputs)
    conjugates, radius = spectra.conj().resolve_conj(), inputs.case.kernel // 2
    compiled = torch.compile(_blur)
    return lambda: [
        compiled(extend(inputs.image[0], radius), conjugates, inputs.mixing[0], lengths)[None]
    ]


def adjoint(inputs: Inputs) -> Call:
    lengths, spectra = _prepare(inputs)
    compiled, radius = torch.compile(_turn_back), inputs.case.kernel // 2
    extended = inputs.case.size + 2 * radius

    def call() -> list[Tensor]:
        plane = compiled(inputs.grad[0], spectra, inputs.mixing[0], lengths)
        return [fold(plane[:, :extended, :extended].clone(), radius)[None]]

    return call


CONTENDER = Contender(
    name="torch.compile",
    about="torch.compile of the loop with kernel spectra prepared; compiling is not timed.",
    members={"forward": forward, "adjoint": adjoint},
    planes=lambda case: 8.0 + 2.0 * case.basis / case.channels,
    reference_only=True,
)
