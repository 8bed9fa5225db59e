# SPDX-License-Identifier: BSD-3-Clause
"""The CUDA kernels and launchers, compiled for the host and run under its emulation of a GPU.

Two references: the operator with the operands that were packed, which the kernels must meet to
float32 rounding, and the one without any rounding.
"""

import pytest
import torch

import blurops
from blurops._native import BOUNDARY_CODES
from blurops.testing import Shape, accuracy, family_tensors, relative_error
from tests.emulation.library import SCHEDULES, Emulator, build, call_of, compiler, unpack

pytestmark = pytest.mark.skipif(
    compiler() is None, reason="the emulation of the CUDA kernels needs g++ or clang++"
)

# One and two products per group of bases, one and three channels of a block, several groups,
# channels left over, batches with their own and with shared fields, several strips and tiles, odd
# sizes, kernels as large as the image, kernel rows in two bands.
SHAPES = (
    Shape(1, 1, 20, 70, 5, 9, 11),
    Shape(2, 3, 15, 66, 17, 5, 9, kernels_shared=False, mixing_shared=False),
    Shape(2, 1, 11, 64, 20, 3, 7, mixing_shared=False),
    Shape(2, 4, 9, 130, 35, 3, 13, kernels_shared=False),
    Shape(1, 3, 13, 12, 3, 25, 11),
    Shape(1, 2, 1, 1, 1, 1, 7),
)
# Against the unrounded operator, relative in L2: halves carry 11 bits.
DEFAULT = 1e-3


@pytest.fixture(scope="module")
def emulator():
    return Emulator(build(2, 2))


def allowed_shapes(boundary):
    return [shape for shape in SHAPES if shape.allows(boundary)]


def both(emulator, tensors, boundary, high=False, schedule=SCHEDULES[0]):
    """(result, workspace) of the blur and of the adjoint."""
    call = call_of(tensors, boundary, high)
    kernels, mixing = tensors["kernels"], tensors["mixing"]
    blur = emulator.run(
        "basis_blur", call, (tensors["image"], kernels, mixing), call.blurred, schedule
    )
    adjoint = emulator.run(
        "basis_blur_adjoint", call, (tensors["grad"], kernels, mixing), call.image, schedule
    )
    return call, blur, adjoint


def exact(tensors, kernels, mixing, boundary):
    """The blur and the adjoint in float64."""
    how = {"boundary": boundary, "backend": "reference"}
    kernels, mixing = kernels.double(), mixing.double()
    return (
        blurops.basis_blur(tensors["image"].double(), kernels, mixing, **how),
        blurops.basis_blur_adjoint(tensors["grad"].double(), kernels, mixing, **how),
    )


@pytest.mark.parametrize("high", [False, True], ids=["default", "high"])
@pytest.mark.parametrize("boundary", BOUNDARY_CODES)
def test_blur_and_adjoint(emulator, boundary, high):
    float32 = accuracy(torch.float32).relative
    for seed, shape in enumerate(allowed_shapes(boundary)):
        tensors = family_tensors(shape, boundary, torch.float32, 10 * seed)
        call, blur, adjoint = both(emulator, tensors, boundary, high)
        true = exact(tensors, tensors["kernels"], tensors["mixing"], boundary)
        for (result, workspace), unrounded, index in zip((blur, adjoint), true, (0, 1), strict=True):
            packed = unpack(call, workspace)
            rounded = exact(tensors, *packed, boundary)[index]
            where = f"{('blur', 'adjoint')[index]} {call}"
            assert relative_error(result, rounded) <= float32, where
            assert relative_error(result, unrounded) <= (float32 if high else DEFAULT), where
