# SPDX-License-Identifier: BSD-3-Clause
"""Our solver's update on the tuned whole-image FFT: what the blur alone makes of a solver."""

from typing import Any

import torch
from torch import Tensor

import blurops
from benchmarks.contenders.base import Call, Contender
from benchmarks.contenders.fft_real import RealFFT
from benchmarks.inputs import Inputs, solver_choices
from blurops.operators import Operator


class SpectralBlur(Operator):
    """The tuned FFT as an operator of one image."""

    dtype, device = torch.float32, None

    def __init__(self, kernels: Tensor, mixing: Tensor) -> None:
        self.device = mixing.device
        self._blur = RealFFT(kernels[0], mixing[0])

    def forward(self, x: Tensor) -> Tensor:
        """``H x`` for (1, C, H, W)."""
        return self._blur.forward(x[0])[None]

    def adjoint(self, y: Tensor) -> Tensor:
        """``H^T y`` for (1, C, H, W)."""
        return self._blur.adjoint(y[0])[None]

    def to(self, *args: Any, **options: Any) -> Operator:
        """Not needed here."""
        return self


def _solve(inputs: Inputs, member: str) -> Call:
    operator = SpectralBlur(inputs.kernels, inputs.mixing)
    observed, choices = inputs.observed(), solver_choices(member)
    return lambda: [
        blurops.richardson_lucy(observed, operator, iterations=inputs.iterations, **choices).image
    ]


CONTENDER = Contender(
    name="our update, torch.fft tuned",
    about="blurops.richardson_lucy with an operator that blurs by the tuned whole-image FFT.",
    members={
        "rl": lambda inputs: _solve(inputs, "rl"),
        "rl-saturated": lambda inputs: _solve(inputs, "rl-saturated"),
    },
    planes=lambda case: 16.0 + 2.0 * case.basis / case.channels,
    sampled_iterations=5,
)
