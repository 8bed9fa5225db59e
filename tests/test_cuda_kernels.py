# SPDX-License-Identifier: BSD-3-Clause
"""The CUDA kernels and launchers, compiled for the host and run under its emulation of a GPU.

Two references: the operator with the operands that were packed, which the kernels must meet to
float32 rounding, and the one without any rounding.
"""

import pytest
import torch

import blurops
from blurops._boundary import pad
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
    Shape(1, 1, 20, 70, 5, 9, 19),
    Shape(2, 3, 15, 66, 17, 5, 17, kernels_shared=False, mixing_shared=False),
    Shape(2, 1, 11, 64, 20, 3, 15, mixing_shared=False),
    Shape(2, 4, 9, 130, 35, 3, 21, kernels_shared=False),
    Shape(1, 3, 13, 12, 3, 79, 19),
    Shape(1, 2, 1, 1, 1, 1, 15),
)
# The class of their widths.
TAPS = 3
# Against the unrounded operator, relative in L2: halves carry 11 bits.
DEFAULT = 1e-3


@pytest.fixture(scope="module")
def emulator():
    return Emulator(build(TAPS, TAPS))


def allowed_shapes(boundary):
    return [shape for shape in SHAPES if shape.allows(boundary)]


def sample(shape, boundary, dtype, seed):
    """Random tensors; kernels of samples, coefficients and single pixels differ in size."""
    tensors = family_tensors(shape, boundary, dtype, seed)
    kernels, mixing = tensors["kernels"], tensors["mixing"]
    kernels *= 2.0 ** torch.arange(len(kernels)).reshape(-1, 1, 1, 1)
    mixing *= 2.0 ** (
        torch.arange(mixing.shape[-1]) % 5 + torch.arange(len(mixing))[:, None, None, None]
    )
    tensors["grad"][..., :1, 1:2] *= 30
    tensors["image"][..., -1, -1] *= 30
    return tensors


def members(tensors, shape, call):
    """(name, tensors that its launcher takes, shape of its result, further arguments)."""
    image, kernels, mixing, grad = (tensors[n] for n in ("image", "kernels", "mixing", "grad"))
    size = list(kernels.shape[-2:])
    return (
        ("basis_blur", (image, kernels, mixing), call.blurred, ()),
        ("basis_blur_adjoint", (grad, kernels, mixing), call.image, ()),
        (
            "basis_blur_grad_kernels",
            (grad, image, mixing),
            call.kernels,
            (size, shape.kernels_shared),
        ),
        ("basis_blur_grad_mixing", (grad, image, kernels), call.mixing, (shape.mixing_shared,)),
    )


def every(emulator, shape, tensors, boundary, high=False, schedule=SCHEDULES[0]):
    """Of each member: its name, its result, its workspace, and the result in float64."""
    call = call_of(tensors, boundary, high)
    for name, inputs, size, further in members(tensors, shape, call):
        result, workspace = emulator.run(name, call, inputs, size, schedule)
        reference = getattr(blurops, name)(
            *(t.double() for t in inputs), *further, boundary=boundary, backend="reference"
        )
        yield name, result, workspace, reference


def both(emulator, tensors, boundary, high=False):
    """(result, workspace) of the blur and of the adjoint."""
    call = call_of(tensors, boundary, high)
    kernels, mixing = tensors["kernels"], tensors["mixing"]
    blur = emulator.run("basis_blur", call, (tensors["image"], kernels, mixing), call.blurred)
    adjoint = emulator.run(
        "basis_blur_adjoint", call, (tensors["grad"], kernels, mixing), call.image
    )
    return call, blur, adjoint


def exact(tensors, kernels, mixing, boundary):
    """The blur and the adjoint in float64."""
    how = {"boundary": boundary, "backend": "reference"}
    kernels, mixing = kernels.double(), mixing.double()
    return {
        "basis_blur": blurops.basis_blur(tensors["image"].double(), kernels, mixing, **how),
        "basis_blur_adjoint": blurops.basis_blur_adjoint(
            tensors["grad"].double(), kernels, mixing, **how
        ),
    }


@pytest.mark.parametrize("high", [False, True], ids=["default", "high"])
@pytest.mark.parametrize("boundary", BOUNDARY_CODES)
def test_every_member(emulator, boundary, high):
    float32 = accuracy(torch.float32).relative
    for seed, shape in enumerate(allowed_shapes(boundary)):
        tensors = sample(shape, boundary, torch.float32, 10 * seed)
        call = call_of(tensors, boundary, high)
        rounded = None
        for name, result, workspace, true in every(emulator, shape, tensors, boundary, high):
            where = f"{name} {call}"
            assert relative_error(result, true) <= (float32 if high else DEFAULT), where
            if name.startswith("basis_blur_grad"):
                continue
            rounded = rounded or exact(tensors, *unpack(call, workspace)[:2], boundary)
            assert relative_error(result, rounded[name]) <= float32, where


def half_products(grad, image, size):
    """S[p, d] = sum_c grad_c[p] image_c[p + d] as halves, of up to three channels at a time.

    Sums are formed as the kernels form them, by multiply-adds of float32, after powers of two that
    bring the largest magnitudes into [2^6, 2^7). Yields (dy, dx, S in units of 2^power), the power.
    """
    shifts = [6 - int(torch.frexp(t.abs().max()).exponent) + 1 for t in (grad, image)]
    grad, image = grad * 2.0 ** shifts[0], image * 2.0 ** shifts[1]
    height, width = grad.shape[-2:]
    for first in range(0, grad.shape[1], 3):
        for dy in range(size[0]):
            for dx in range(size[1]):
                products = torch.zeros_like(grad[:, 0])
                for c in range(first, min(first + 3, grad.shape[1])):
                    window = image[:, c, dy : dy + height, dx : dx + width]
                    products = (grad[:, c].double() * window.double() + products.double()).float()
                yield dy, dx, products.half().double() * 2.0 ** -sum(shifts)


def test_gradients_err_by_the_rounding_of_products_alone(emulator):
    """Beside float32 rounding: operands as they were packed, products as halves."""
    float32 = accuracy(torch.float32).relative
    shape = Shape(2, 4, 9, 70, 5, 3, 19, kernels_shared=False, mixing_shared=False)
    tensors = sample(shape, "reflect", torch.float32, 700)
    call = call_of(tensors, "reflect")
    results = {n: (r, w) for n, r, w, _ in every(emulator, shape, tensors, "reflect")}
    kernels, mixing, scale = unpack(call, results["basis_blur"][1])
    image, size = pad(tensors["image"], (1, 9), "reflect"), call.kernels[-2:]

    by_mixing = torch.zeros(call.mixing, dtype=torch.float64)
    for dy, dx, products in half_products(tensors["grad"], image, size):
        by_mixing += products[:, None] * kernels[:, :, dy, dx, None, None]
    assert relative_error(results["basis_blur_grad_mixing"][0], by_mixing) <= float32

    by_kernels = torch.zeros(call.kernels, dtype=torch.float64)
    for dy, dx, products in half_products(tensors["grad"] / scale.float(), image, size):
        by_kernels[:, :, dy, dx] += ((mixing * scale) * products[:, None]).sum((2, 3))
    assert relative_error(results["basis_blur_grad_kernels"][0], by_kernels) <= float32


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
        size = exact(magnitudes, magnitudes["kernels"], magnitudes["mixing"], boundary)[
            "basis_blur"
        ]
        assert gap.abs() <= 1e-6 * (size * grad.abs()).sum(), boundary


def test_every_schedule_gives_the_same_bits(emulator):
    shape = SHAPES[3]
    tensors = sample(shape, "reflect", torch.float32, 300)
    call = call_of(tensors, "reflect")
    for name, inputs, size, _ in members(tensors, shape, call):
        first, *others = (
            emulator.run(name, call, inputs, size, schedule)[0] for schedule in SCHEDULES
        )
        assert all(torch.equal(first, other) for other in others), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_storage(emulator, dtype):
    """Sums are float32 at high precision, so only the result is rounded."""
    for shape in SHAPES[:3]:
        tensors = sample(shape, "replicate", dtype, 400)
        for name, result, _, true in every(emulator, shape, tensors, "replicate", high=True):
            assert result.dtype == dtype
            assert relative_error(result, true) <= accuracy(dtype).relative, (name, shape)


def test_scales_keep_any_magnitude(emulator):
    """Powers of two are taken out of every operand that becomes a half."""
    shape = SHAPES[2]
    tensors = family_tensors(shape, "reflect", torch.float32, 500)
    powers = {"image": 30, "kernels": -70, "mixing": 40, "grad": 25}
    scaled = {name: t * 2.0 ** powers[name] for name, t in tensors.items()}
    plain_call, scaled_call = call_of(tensors, "reflect"), call_of(scaled, "reflect")
    for (name, inputs, size, _), (_, scaled_inputs, *_), of in zip(
        members(tensors, shape, plain_call),
        members(scaled, shape, scaled_call),
        (("image", "kernels", "mixing"), ("grad", "kernels", "mixing"),
         ("grad", "image", "mixing"), ("grad", "image", "kernels")),
        strict=True,
    ):  # fmt: skip
        plain, _ = emulator.run(name, plain_call, inputs, size)
        result, _ = emulator.run(name, scaled_call, scaled_inputs, size)
        assert torch.equal(result, plain * 2.0 ** sum(powers[n] for n in of)), name


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
