# SPDX-License-Identifier: BSD-3-Clause
"""Who takes part on a device: ours on each backend, the baselines of the CPU, and more of them.

The baselines of :mod:`benchmarks.contenders` name no device: they run where torch makes its
tensors by default.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from unittest import mock

import torch
from torch import Tensor

import blurops
from benchmarks.contenders import (
    authors,
    compiled,
    direct,
    fft_batched,
    fft_by_hand,
    fft_loop,
    fft_packed,
    fft_real,
    fft_tiles,
    solver_fft,
)
from benchmarks.contenders.base import Call, Contender
from benchmarks.gpu import fft_chunked
from benchmarks.inputs import Inputs, solver_choices
from blurops.solvers import replay


@dataclass(frozen=True)
class Entrant:
    """A contender, and its class of accuracy: "exact", "rounded" (as TF32 is) or "half"."""

    contender: Contender
    accuracy: str = "exact"


# Relative errors up to which a result counts as the same, beside the exact ones' own.
TOLERANCE = {"rounded": 2e-3, "half": 2e-2}


def _ours(backend: str | None, precision: str, method: str = "auto") -> Entrant:
    options = {"backend": backend, "precision": precision, "method": method}

    def gradients(inputs: Inputs) -> Call:
        leaves = [
            t.detach().requires_grad_() for t in (inputs.image, inputs.kernels, inputs.mixing)
        ]

        def call() -> list[Tensor]:
            blurred = blurops.basis_blur(*leaves, **options)
            return [blurred.detach(), *torch.autograd.grad(blurred, leaves, inputs.grad)]

        return call

    def solve(member: str, inputs: Inputs) -> Call:
        observed, choices = inputs.observed(), solver_choices(member)

        def call() -> list[Tensor]:
            operator = blurops.BasisBlur(inputs.kernels, inputs.mixing, **options)
            restored = blurops.richardson_lucy(
                observed, operator, iterations=inputs.iterations, **choices
            )
            return [restored.image]

        return call

    members = {
        "forward": lambda i: lambda: [blurops.basis_blur(i.image, i.kernels, i.mixing, **options)],
        "adjoint": lambda i: (
            lambda: [blurops.basis_blur_adjoint(i.grad, i.kernels, i.mixing, **options)]
        ),
        "gradients": gradients,
        "rl": partial(solve, "rl"),
        "rl-saturated": partial(solve, "rl-saturated"),
    }
    if backend == "native":  # its solver's step is another backend's
        del members["rl"], members["rl-saturated"]
    shown = {"auto": "", "direct": ", synthesis", "fft": ", tiles"}[method]
    accuracy = ", high" if precision == "high" else ""
    name = f"blurops {backend or 'as it chooses'}{shown}{accuracy}"
    contender = Contender(name, "The public functions.", members, kind="ours")
    exact = precision == "high" or (backend == "native" and method == "fft")
    return Entrant(contender, "exact" if exact else "rounded")


def _without_graphs() -> Entrant:
    """The solver as it chooses, each of its kernels launched by the host."""
    entrant = _ours(None, "default")

    def prepare(member: str, inputs: Inputs) -> Call:
        solve = entrant.contender.members[member](inputs)

        def call() -> list[Tensor]:
            with mock.patch.object(replay, "serves", return_value=False):
                return solve()

        return call

    members = {member: partial(prepare, member) for member in ("rl", "rl-saturated")}
    contender = replace(entrant.contender, name="blurops without graphs", members=members)
    return replace(entrant, contender=contender)


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let cuDNN round what it convolves to 11 bits, or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _convolution(name: str, allowed: bool, dtype: torch.dtype) -> Contender:
    """Convolution of the whole image by cuDNN, then the mix."""

    def prepare(member: str, inputs: Inputs) -> Call:
        size = inputs.case.size
        image = (inputs.image if member == "forward" else inputs.grad)[0].to(dtype)
        kernels, mixing = inputs.kernels[0].to(dtype), inputs.mixing[0].to(dtype)
        function = direct.blur if member == "forward" else direct.turn_back

        def call() -> list[Tensor]:
            with tf32(allowed):
                return [function(image, kernels, mixing, size)[None].float()]

        return call

    members = {member: partial(prepare, member) for member in ("forward", "adjoint")}
    return Contender(name, "cuDNN's convolution, then the mix.", members, growth="direct")


ALL: tuple[Entrant, ...] = (
    _ours(None, "default"),
    _without_graphs(),
    _ours("native", "default", "direct"),
    _ours("native", "high", "direct"),
    _ours("native", "default", "fft"),
    _ours("triton", "default"),
    _ours("triton", "high"),
    *(
        Entrant(module.CONTENDER)
        for module in (
            fft_chunked, fft_packed, fft_real, fft_tiles, fft_by_hand, fft_loop, fft_batched,
            solver_fft,
        )
    ),
    Entrant(replace(compiled.CONTENDER, name="torch.compile of the loop")),
    Entrant(_convolution("cuDNN float32", False, torch.float32)),
    Entrant(_convolution("cuDNN TF32", True, torch.float32), "rounded"),
    Entrant(_convolution("cuDNN half", True, torch.float16), "half"),
    Entrant(replace(authors.CONTENDER, sampled_iterations=None)),
)  # fmt: skip
