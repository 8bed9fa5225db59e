# SPDX-License-Identifier: BSD-3-Clause
"""The four members of the basis-mixed family on one set of inputs, held to the reference."""

import math

import torch

import blurops
from blurops.ops.basis_blur import tiling
from blurops.testing import CASES, Shape, accuracy, family_tensors


def members(tensors, shape):
    """(case, arguments) of each member."""
    image, kernels, mixing, grad = (tensors[n] for n in ("image", "kernels", "mixing", "grad"))
    size = kernels.shape[-2:]
    arguments = {
        "basis_blur": (image, kernels, mixing),
        "basis_blur_adjoint": (grad, kernels, mixing),
        "basis_blur_grad_kernels": (grad, image, mixing, size, shape.kernels_shared),
        "basis_blur_grad_mixing": (grad, image, kernels, shape.mixing_shared),
    }
    return [(case, arguments[case.name]) for case in CASES]


def call(name, args, **options):
    """A member of the family by its name."""
    return getattr(blurops, name)(*args, **options)


def as_doubles(args):
    return tuple(a.double() if isinstance(a, torch.Tensor) else a for a in args)


def magnitudes(args):
    return tuple(a.double().abs() if isinstance(a, torch.Tensor) else a for a in args)


def assert_family(
    shape: Shape, tiles, boundary="reflect", dtype=torch.float32, seed=0, change=None, truth="fft"
):
    """Every member with forced tiles equals the reference; ``change`` edits the inputs first."""
    tensors = family_tensors(shape, boundary, dtype, seed)
    if change is not None:
        change(tensors)
    for case, args in members(tensors, shape):
        with tiling.forced(tiles):
            result = call(case.name, args, boundary=boundary, backend="native")
        assert_exact(result, case, args, shape, boundary, truth, tiles)


def assert_exact(result, case, args, shape: Shape, boundary, truth, tiles):
    """What a member's arguments gave equals the reference, up to rounding."""
    reference = {"boundary": boundary, "backend": "reference", "method": truth}
    exact = call(case.name, as_doubles(args), **reference)
    magnitude = call(case.name, magnitudes(args), **reference)
    terms, dtype = case.terms(shape), args[0].dtype
    allowed = accuracy(dtype, terms)
    where = f"{case.name} {boundary} {dtype} {shape} {tiles}"
    assert result.dtype == dtype, where
    assert result.shape == exact.shape, where
    difference = (result.double() - exact).abs()
    # A sum of random signs is about as large as its terms' magnitudes over the root of their
    # number; where it happens to be smaller, as a gradient of one number can be, its rounding
    # is not.
    typical = magnitude.norm() / math.sqrt(terms)
    assert difference.norm() <= allowed.relative * max(exact.norm(), typical), where
    # Nothing but rounding: where nothing is summed the result is exactly zero.
    assert difference.max() <= allowed.peak * magnitude.max(), where
