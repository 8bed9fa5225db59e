# SPDX-License-Identifier: BSD-3-Clause
"""The tile method on CUDA under the host's emulation, and the epilogue of both blurs.

Transforms are of float32, whatever the precision asked for: every member meets the unrounded
operator. The emulation is built with few blocks and chunks, so that each has several tiles.
"""

import pytest
import torch

import blurops
from blurops._native import BOUNDARY_CODES
from blurops.ops.rl_step import Saturation, formula
from blurops.testing import Shape, accuracy, dot_gap, family_tensors, relative_error
from tests.emulation.library import SCHEDULES, Emulator, build, call_of, compiler
from tests.test_cuda_kernels import TAPS, members, sample

pytestmark = pytest.mark.skipif(
    compiler() is None, reason="the emulation of the CUDA kernels needs g++ or clang++"
)

# Both sides, one part and several along either axis, the last of them smaller; an odd basis, one
# pair and several; several tiles down and across; batches with their own and with shared fields;
# kernels larger than the image and larger than a tile.
CASES = (
    (Shape(1, 1, 58, 75, 5, 9, 19), (64, 64, 1, 1)),
    (Shape(2, 3, 15, 66, 4, 5, 17, kernels_shared=False, mixing_shared=False), (64, 64, 1, 1)),
    (Shape(2, 1, 23, 75, 3, 7, 40 + 1, kernels_shared=False), (64, 64, 2, 3)),
    (Shape(2, 2, 9, 130, 3, 3, 33, mixing_shared=False), (128, 128, 1, 1)),
    (Shape(1, 1, 20, 41, 2, 79, 39), (128, 128, 3, 1)),
    (Shape(1, 1, 1, 1, 1, 1, 1), (64, 64, 1, 1)),
)


@pytest.fixture(scope="module")
def emulator():
    return Emulator(build(TAPS, TAPS))


def results(emulator, shape, tiling, tensors, boundary, schedule=SCHEDULES[0]):
    """(name, result, the result in float64) of each member."""
    call = call_of(tensors, boundary, tiling=tiling)
    for name, inputs, size, further in members(tensors, shape, call):
        result, _ = emulator.run(name, call, inputs, size, schedule)
        exact = getattr(blurops, name)(
            *(t.double() for t in inputs), *further, boundary=boundary, backend="reference"
        )
        yield name, result, exact


@pytest.mark.parametrize("boundary", BOUNDARY_CODES)
def test_every_member(emulator, boundary):
    for number, (shape, tiling) in enumerate(CASES):
        if not shape.allows(boundary):
            continue
        tensors = sample(shape, boundary, torch.float32, 10 * number)
        for name, result, exact in results(emulator, shape, tiling, tensors, boundary):
            error = relative_error(result, exact)
            assert error <= accuracy(torch.float32).relative, (name, shape, tiling)


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[3]], ids=["held", "parts", "128"])
def test_every_schedule_gives_the_same_bits(emulator, case):
    shape, tiling = case
    tensors = sample(shape, "reflect", torch.float32, 100)
    found = [
        [result for _, result, _ in results(emulator, shape, tiling, tensors, "reflect", schedule)]
        for schedule in (SCHEDULES[0], SCHEDULES[4], SCHEDULES[5])
    ]
    for others in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], others, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_storage(emulator, dtype):
    shape, tiling = Shape(2, 2, 9, 40, 3, 3, 5), (64, 64, 1, 1)
    tensors = sample(shape, "replicate", dtype, 200)
    for name, result, exact in results(emulator, shape, tiling, tensors, "replicate"):
        assert result.dtype == dtype
        assert relative_error(result, exact) <= accuracy(dtype).relative, name


@pytest.mark.parametrize("boundary", BOUNDARY_CODES)
@pytest.mark.parametrize("tiling", [(64, 64, 2, 1), (128, 128, 1, 1)], ids=["64", "128"])
def test_the_adjoint_is_the_transpose(emulator, tiling, boundary):
    shape = Shape(1, 2, 30, 80, 3, 9, 21)
    tensors = family_tensors(shape, boundary, torch.float32, 300)
    call = call_of(tensors, boundary, tiling=tiling)
    kernels, mixing = tensors["kernels"], tensors["mixing"]
    magnitudes = (kernels.abs().double(), mixing.abs().double())
    how = {"boundary": boundary, "backend": "reference"}
    gap = dot_gap(
        lambda x: emulator.run("basis_blur", call, (x, kernels, mixing), call.blurred)[0],
        lambda y: emulator.run("basis_blur_adjoint", call, (y, kernels, mixing), call.image)[0],
        lambda x: blurops.basis_blur(x.double(), *magnitudes, **how),
        tensors["image"],
        tensors["grad"],
    )
    assert gap <= 1e-6


SENSOR = Saturation(a=9.0, level=0.8, threshold=0.7)


def exact_ratios(tensors, observed, mask, clean, saturation, eps):
    """By the formula, in float64."""
    double = {name: t.double() for name, t in tensors.items()}
    blurred = blurops.basis_blur(
        double["image"], double["kernels"], double["mixing"], backend="reference"
    )
    mask = None if mask is None else mask.double()
    response, weight = formula.data_terms(blurred, mask, saturation)
    every_set = formula.ratio(observed.double(), response, weight, eps)
    if clean is None:
        return every_set
    careful = formula.ratio(observed.double(), response, weight * clean.double(), eps)
    return torch.cat((careful, every_set), dim=1)


@pytest.mark.parametrize("tiling", [(0, 0, 0, 0), (64, 64, 1, 1)], ids=["direct", "tiles"])
@pytest.mark.parametrize("saturation", [None, SENSOR], ids=["linear", "saturated"])
def test_the_ratios_of_a_step_in_the_epilogue(emulator, tiling, saturation):
    """One set and two, masks of every kind; dark, bright and negative light."""
    eps, float32 = 0.1, accuracy(torch.float32).relative
    for channels, masked, two in ((1, None, False), (3, (1, 1), True), (2, (2, 2), True)):
        shape = Shape(2, channels, 11, 70, 3, 5, 17)
        tensors = family_tensors(shape, "reflect", torch.float32, 400 + channels)
        tensors["kernels"] = tensors["kernels"].abs() / tensors["kernels"][0, 0].abs().sum()
        tensors["image"][..., :20] = -tensors["image"][..., :20].abs()
        observed = tensors["grad"].abs()
        generator = torch.Generator().manual_seed(channels)
        mask = None if masked is None else torch.rand(*masked, 11, 70, generator=generator)
        clean = (torch.rand(observed.shape, generator=generator) > 0.4).float() if two else None
        call = call_of(tensors, "reflect", high=True, tiling=tiling)
        inputs = tuple(tensors[name] for name in ("image", "kernels", "mixing"))
        sensor = None if saturation is None else (saturation.a, saturation.level)
        result = emulator.run_ratios(call, inputs, observed, mask, clean, sensor, eps)
        exact = exact_ratios(tensors, observed, mask, clean, saturation, eps)
        # The blur's own error, through the steepest slope that q has.
        light = blurops.basis_blur(*(t.double() for t in inputs), backend="reference")
        bend = 0 if saturation is None else saturation.a / 4
        slope = float(observed.max()) * (1 / eps**2 + bend / eps) + bend
        sets = 2**0.5 if two else 1
        allowed = float32 * (exact.norm() + slope * sets * light.norm())
        assert (result - exact).norm() <= allowed, shape
