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
# sizes, kernels larger than the image, kernel rows in two bands.
SHAPES = (
    Shape(1, 1, 20, 70, 5, 9, 11),
    Shape(2, 3, 15, 66, 17, 5, 9, kernels_shared=False, mixing_shared=False),
    Shape(2, 1, 11, 64, 20, 3, 7, mixing_shared=False),
    Shape(2, 4, 9, 130, 35, 3, 13, kernels_shared=False),
    Shape(1, 3, 13, 12, 3, 79, 11),
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
        for (result, workspace), unrounded, index in zip(
            (blur, adjoint), true, (0, 1), strict=True
        ):
            packed = unpack(call, workspace)
            rounded = exact(tensors, *packed, boundary)[index]
            where = f"{('blur', 'adjoint')[index]} {call}"
            assert relative_error(result, rounded) <= float32, where
            assert relative_error(result, unrounded) <= (float32 if high else DEFAULT), where


def test_packed_operands_are_near_and_keep_their_sums(emulator):
    """All but one of a set of numbers are merely rounded; that one makes up for the others."""
    for seed, shape in enumerate(SHAPES[:4]):
        tensors = family_tensors(shape, "zeros", torch.float32, 100 + seed)
        call, (_, workspace), _ = both(emulator, tensors, "zeros")
        packed = unpack(call, workspace)
        for values, rounded, axes in (
            (tensors["mixing"].double(), packed.mixing, (1,)),
            (tensors["kernels"].double(), packed.kernels, (2, 3)),
        ):
            size, largest = values.abs(), values.abs().amax(axes, keepdim=True)
            step = torch.maximum(size, largest * 2.0**-14) * 2.0**-11
            moved = (rounded - values).abs() > step * (1 + 1e-6)
            assert (moved.sum(axes) <= 1).all(), shape
            # The taker is no larger than the smallest and what the others lost; it is rounded too.
            taker = size.amin(axes, keepdim=True) + step.sum(axes, keepdim=True)
            lost = (rounded - values).sum(axes, keepdim=True).abs()
            assert (lost <= torch.maximum(taker, largest * 2.0**-14) * 2.0**-10).all(), shape
            plain = step.sum(axes, keepdim=True)
            assert lost.norm() < 0.1 * plain.norm(), shape


def test_the_adjoint_is_the_transpose(emulator):
    for boundary in BOUNDARY_CODES:
        shape = SHAPES[1]
        tensors = family_tensors(shape, boundary, torch.float32, 200)
        _, (blurred, _), (spread, _) = both(emulator, tensors, boundary)
        image, grad = tensors["image"].double(), tensors["grad"].double()
        gap = (blurred.double() * grad).sum() - (image * spread.double()).sum()
        magnitudes = {name: t.abs() for name, t in tensors.items()}
        size = exact(magnitudes, magnitudes["kernels"], magnitudes["mixing"], boundary)[0]
        assert gap.abs() <= 1e-6 * (size * grad.abs()).sum(), boundary


def test_every_schedule_gives_the_same_bits(emulator):
    tensors = family_tensors(SHAPES[3], "reflect", torch.float32, 300)
    results = [
        (blur[0], adjoint[0])
        for _, blur, adjoint in (
            both(emulator, tensors, "reflect", schedule=schedule) for schedule in SCHEDULES
        )
    ]
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_storage(emulator, dtype):
    """Operands of 11 bits or fewer are packed as they are, so only the result is rounded."""
    for shape in SHAPES[:3]:
        tensors = family_tensors(shape, "replicate", dtype, 400)
        _, *results = both(emulator, tensors, "replicate", high=True)
        true = exact(tensors, tensors["kernels"], tensors["mixing"], "replicate")
        for (result, _), reference in zip(results, true, strict=True):
            assert result.dtype == dtype
            assert relative_error(result, reference) <= accuracy(dtype).relative


def test_scales_keep_any_magnitude(emulator):
    """Powers of two are taken out of each pixel's coefficients and of each sample's kernels."""
    tensors = family_tensors(SHAPES[2], "reflect", torch.float32, 500)
    _, (plain, _), (plain_adjoint, _) = both(emulator, tensors, "reflect")
    tensors["mixing"] = tensors["mixing"] * 2.0**40
    tensors["kernels"] = tensors["kernels"] * 2.0**-90
    _, (scaled, _), (scaled_adjoint, _) = both(emulator, tensors, "reflect")
    assert torch.equal(scaled, plain * 2.0**-50)
    assert torch.equal(scaled_adjoint, plain_adjoint * 2.0**-50)


def test_operands_that_are_all_zero(emulator):
    tensors = family_tensors(SHAPES[0], "circular", torch.float32, 600)
    tensors["mixing"][:, :, :5] = 0
    tensors["kernels"][:, 1] = 0
    _, (blurred, _), _ = both(emulator, tensors, "circular")
    assert not blurred[:, :, :5].any()
    tensors["kernels"].zero_()
    _, (blurred, _), (spread, _) = both(emulator, tensors, "circular")
    assert not blurred.any()
    assert not spread.any()
