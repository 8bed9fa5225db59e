# SPDX-License-Identifier: BSD-3-Clause
"""What fills our rows: encoders of blur, and methods that restore.

An encoder is a pair of callables, G and F of the paper's eq. 3; a method that restores is that of
the tables of `blurmodels.basis_kernels`, whose rows can be had here too.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from blurmodels.basis_kernels.experiments.methods import (
    UNTOUCHED,
    Method,
    by_generator,
    from_files,
)
from blurmodels.kernel_space.experiments.least_squares import apply_kernels, fit_kernels
from blurmodels.kernel_space.synthesis import retrieve

__all__ = [
    "UNTOUCHED",
    "Encoder",
    "Method",
    "Networks",
    "by_blind",
    "by_deblurring",
    "by_generator",
    "by_least_squares",
    "by_networks",
    "from_files",
    "load_networks",
]


class Encoder(NamedTuple):
    """A family of blurs, and how a pair's own is found in it.

    Attributes:
        name: what its rows are called.
        extract: G, (sharp, blurred) to the kernel, of whatever kind.
        apply: F, (sharp, kernel) to the blurred image.
        retrieve: (sharp, blurred) to the kernel by optimisation; None where `extract` is that.
    """

    name: str
    extract: Callable[[Tensor, Tensor], Any]
    apply: Callable[[Tensor, Any], Tensor]
    retrieve: Callable[[Tensor, Tensor], Any] | None = None

    def transfer(self, target: Tensor, sharp: Tensor, blurred: Tensor) -> Tensor:
        """The paper's section 3.4, `F(target, G(sharp, blurred))`, clamped to [0, 1]."""
        return self.apply(target, self.extract(sharp, blurred)).clamp(0, 1)


def by_least_squares(kernel_size: int = 33, grid: int = 1) -> Encoder:
    """Explicit kernels on a grid, fitted by least squares and applied by `blurops.basis_blur`."""

    def extract(sharp: Tensor, blurred: Tensor) -> Tensor:
        # Kernels that hardly fit into an image could explain anything.
        most = (min(sharp.shape[2:]) // 3 - 1) // 2 * 2 + 1
        return fit_kernels(sharp, blurred, kernel_size=min(kernel_size, most), grid=grid)

    many = "" if grid == 1 else f", {grid} x {grid} kernels"
    return Encoder(f"least squares, {kernel_size} x {kernel_size}{many}", extract, apply_kernels)


class Networks(Protocol):
    """F and G."""

    def extract_kernel(self, sharp: Tensor, blurry: Tensor) -> Tensor:
        """G: the latent kernel of a pair."""

    def apply_blur(self, sharp: Tensor, kernel: Tensor) -> Tensor:
        """F: the image under a latent kernel."""


def by_networks(networks: Networks, name: str, *, steps: int = 500) -> Encoder:
    """The encoded kernel space; retrieval is `synthesis.retrieve`.

    Args:
        networks: F and G; their weights stay as they are.
        name: what its rows are called.
        steps: of the retrieval.
    """

    @torch.no_grad()
    def extract(sharp: Tensor, blurred: Tensor) -> Tensor:
        return networks.extract_kernel(sharp, blurred)

    @torch.no_grad()
    def apply(sharp: Tensor, kernel: Tensor) -> Tensor:
        return networks.apply_blur(sharp, kernel)

    def retrieved(sharp: Tensor, blurred: Tensor) -> Tensor:
        return retrieve(networks, sharp, blurred, steps=steps).k

    return Encoder(name, extract, apply, retrieved)


def load_networks(weights: str | os.PathLike[str]) -> Networks:
    """F and G with the weights of a file, frozen."""
    from blurmodels.kernel_space import KernelWizard

    return KernelWizard.from_pretrained(weights).eval().requires_grad_(False)


def by_deblurring(deblur: Callable[[Tensor], Tensor], name: str) -> Method:
    """A blind deblurrer, blurred image to restored image, as a row."""
    return Method(name, lambda blurred, shot, column: deblur(blurred).clamp(0, 1))


def by_blind(operator: str, networks: Networks | None = None) -> Method:
    """Blind deblurring by this package, as `blurops deblur --model kernel_space` does it.

    Args:
        operator: "encoded", F with a latent kernel; "basis" or "uniform", explicit kernels fitted
            to the image, with which Richardson-Lucy then restores it.
        networks: of "encoded".
    """
    from blurmodels.kernel_space import deblur_encoded, fit_operator
    from blurops import BasisBlur, Saturation, richardson_lucy

    def encoded(blurred: Tensor) -> Tensor:
        return deblur_encoded(blurred, networks.apply_blur).image

    def explicit(blurred: Tensor) -> Tensor:
        field = fit_operator(blurred, operator=operator).field
        blur = BasisBlur(field.kernels, field.mixing, boundary=field.boundary)
        return richardson_lucy(blurred, blur, gamma=2.2, saturation=Saturation()).image

    return by_deblurring(encoded if operator == "encoded" else explicit, f"blind, {operator}")
