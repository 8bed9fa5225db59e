# SPDX-License-Identifier: BSD-3-Clause
"""blurops, called as its users call it: nothing is prepared, every choice is the default."""

import torch

import blurops
from benchmarks.contenders.base import Call, Contender
from benchmarks.inputs import Inputs, solver_choices


def forward(inputs: Inputs) -> Call:
    return lambda: [blurops.basis_blur(inputs.image, inputs.kernels, inputs.mixing)]


def adjoint(inputs: Inputs) -> Call:
    return lambda: [blurops.basis_blur_adjoint(inputs.grad, inputs.kernels, inputs.mixing)]


def gradients(inputs: Inputs) -> Call:
    leaves = [t.detach().requires_grad_() for t in (inputs.image, inputs.kernels, inputs.mixing)]

    def call() -> list[torch.Tensor]:
        blurred = blurops.basis_blur(*leaves)
        return [blurred.detach(), *torch.autograd.grad(blurred, leaves, inputs.grad)]

    return call


def _solve(inputs: Inputs, member: str) -> Call:
    observed, choices = inputs.observed(), solver_choices(member)

    def call() -> list[torch.Tensor]:
        # A new operator each time: what it keeps between solves is part of the first one.
        operator = blurops.BasisBlur(inputs.kernels, inputs.mixing)
        restored = blurops.richardson_lucy(
            observed, operator, iterations=inputs.iterations, **choices
        )
        return [restored.image]

    return call


CONTENDER = Contender(
    name="blurops",
    about="The public functions with their defaults; nothing is prepared.",
    members={
        "forward": forward,
        "adjoint": adjoint,
        "gradients": gradients,
        "rl": lambda inputs: _solve(inputs, "rl"),
        "rl-saturated": lambda inputs: _solve(inputs, "rl-saturated"),
    },
    kind="ours",
)
