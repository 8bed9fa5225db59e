# SPDX-License-Identifier: BSD-3-Clause
"""What is special to motion blur: the line by hand, dense matrices, identities, errors."""

import cmath
import functools
import itertools
import math

import pytest
import torch

import blurops
from blurops._check import BOUNDARIES
from blurops.ops.motion_blur import reference
from blurops.testing import accuracy, random_tensor, relative_error
from tests import test_basis_blur
from tests.gather import MISSING_SHAPES, MOTIONS, PATHS, Motion, assert_missing_stays, require

source = functools.cache(test_basis_blur.source)
each_path = pytest.mark.parametrize("path", PATHS)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
each_caps = pytest.mark.parametrize("caps", ["fspecial", "segment"])
DENSE = accuracy(torch.float64, 1000).relative


def weight_at(right, up, length, angle, caps):
    """The weight of one pixel from the rule, in the complex plane."""
    half = (length - 1) / 2
    turned = complex(right, up) * cmath.exp(-1j * angle)
    if caps == "fspecial":
        ends = abs(complex(right, up)) >= half
    else:
        ends = abs(turned.real) > half
    distance = abs(abs(turned.real) - half + 1j * turned.imag) if ends else abs(turned.imag)
    return max(0.0, 1 - distance)


def kernel_at(length, angle, caps):
    """{(row offset, column offset): weight}, normalised."""
    radius = math.ceil((length - 1) / 2) + 1
    found = {
        (q, p): weight_at(p, -q, length, angle, caps)
        for q in range(-radius, radius + 1)
        for p in range(-radius, radius + 1)
    }
    total = sum(found.values())
    return {offset: weight / total for offset, weight in found.items() if weight > 1e-15}


def dense(t, boundary, caps):
    """H of one sample and channel, entry by entry: (Ho Wo, H W)."""
    length, angle = t["length"][0], t["angle"][0]
    (rows, columns), (height, width) = length.shape, t["image"].shape[-2:]
    margin = ((height - rows) // 2, (width - columns) // 2)
    matrix = torch.zeros(rows, columns, height, width, dtype=torch.float64)
    for y, x in itertools.product(range(rows), range(columns)):
        kernel = kernel_at(float(length[y, x]), float(angle[y, x]), caps)
        for (q, p), weight in kernel.items():
            v = source(y + margin[0] + q, height, boundary)
            u = source(x + margin[1] + p, width, boundary)
            if v is not None and u is not None:
                matrix[y, x, v, u] += weight
    return matrix.flatten(2).flatten(0, 1)


@each_path
@each_boundary
@each_caps
def test_is_the_dense_matrix_and_its_transpose(path, boundary, caps):
    for shape in (Motion(1, 1, 5, 6, 5.5), Motion(1, 1, 6, 4, 4.0), Motion(1, 1, 2, 7, 9.0)):
        if not shape.allows(boundary):
            continue
        t = shape.tensors(boundary, torch.float64, 1)
        matrix = dense(t, boundary, caps)
        keywords = {"boundary": boundary, "caps": caps, "backend": require(path)}
        maps = (t["length"], t["angle"])
        blurred = blurops.motion_blur(t["image"], *maps, **keywords)
        spread = blurops.motion_blur_adjoint(t["grad"], *maps, t["size"], **keywords)
        assert relative_error(blurred.flatten(), matrix @ t["image"].flatten()) <= DENSE
        assert relative_error(spread.flatten(), matrix.T @ t["grad"].flatten()) <= DENSE


@each_path
@each_caps
@pytest.mark.parametrize("by", ["length", "angle"])
def test_derivatives_are_those_of_the_dense_matrix(path, caps, by):
    """By central differences; the caps of "fspecial" jump only where a pixel lies at the radius."""
    t = Motion(1, 1, 5, 6, 5.5).tensors("replicate", torch.float64, 4)
    generator = torch.Generator().manual_seed(8)
    for name, low, high in (("length", 1.3, 5.3), ("angle", 0.1, 1.4)):
        spread = torch.rand(t[name].shape, generator=generator, dtype=torch.float64)
        t[name] = low + (high - low) * spread
    op = getattr(blurops, f"motion_blur_grad_{by}")
    args = (t["grad"], t["image"], t["length"], t["angle"])
    got = op(*args, caps=caps, boundary="replicate", backend=require(path)).flatten()
    step = 1e-6

    def rows(change):  # of s at every pixel: a pixel's map moves its own row alone
        moved = dense({**t, by: t[by] + change}, "replicate", caps)
        return t["grad"].flatten() * (moved @ t["image"].flatten())

    expected = (rows(step) - rows(-step)) / (2 * step)
    # Rounding over the step, and the step squared.
    assert (got - expected).abs().max() <= 1e-8 * float(t["grad"].abs().max())


@each_path
@pytest.mark.parametrize("length", [1.0, 2.0, 5.0, 9.0, 15.0, 25.0, 12.7])
@pytest.mark.parametrize("degrees", [0, 30, 45, 60, 84, 90, 132])
def test_a_spot_becomes_the_kernel_of_linear_motion(path, length, degrees):
    angle = math.radians(degrees)
    kernel = blurops.linear_motion_kernel(length, angle).double()
    side = 2 * (kernel.shape[0] // 2) + 5
    spot = torch.zeros(1, 1, side, side, dtype=torch.float64)
    spot[..., side // 2, side // 2] = 1
    maps = [torch.full((1, side, side), value, dtype=torch.float64) for value in (length, angle)]
    result = blurops.motion_blur(spot, *maps, boundary="zeros", backend=require(path))[0, 0]
    expected = torch.nn.functional.pad(kernel, (side - kernel.shape[0],) * 4)
    expected = expected[(offset := (side - kernel.shape[0]) // 2) :, offset:][:side, :side]
    # That one is rounded to float32.
    assert (result - expected).abs().max() <= torch.finfo(torch.float32).eps


@each_path
def test_the_caps_by_hand(path):
    """Length 5 at 30 degrees: two pixels beside the end, where a wrong sign moves weight."""
    expected = {
        (0, 0): 1.0,
        (0, 1): 0.5,  # half a pixel off the line
        (-1, 1): 1 - (math.cos(math.pi / 6) - 0.5),
        (-1, 2): 1 - math.hypot(math.cos(math.pi / 6) - 1, 2 - (2 * math.cos(math.pi / 6) + 0.5)),
        (0, 2): 1 - math.hypot(1.0, 2 - 2 * math.cos(math.pi / 6)),
    }
    length, angle = 5.0, math.radians(30)
    maps = [torch.full((1, 9, 9), v, dtype=torch.float64) for v in (length, angle)]
    spot = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    spot[..., 4, 4] = 1
    result = blurops.motion_blur(spot, *maps, boundary="zeros", backend=require(path))[0, 0]
    for (q, p), weight in expected.items():
        got = float(result[4 + q, 4 + p] / result[4, 4])
        assert got == pytest.approx(max(0.0, weight), abs=1e-12)


@each_path
@each_boundary
@each_caps
def test_length_1_changes_nothing_at_all(path, boundary, caps):
    # Beside some a million times as large, so that the least of weights would show.
    image = random_tensor((1, 3, 9, 21), torch.float32, 5)
    image *= 10 ** (6 * torch.rand(9, 21, generator=torch.Generator().manual_seed(5)))
    angle = 7 * random_tensor((1, 9, 21), torch.float32, 6)
    still, keywords = torch.ones(1, 9, 21), {"caps": caps, "backend": require(path)}
    if boundary != "valid":
        result = blurops.motion_blur(image, still, angle, boundary=boundary, **keywords)
        assert torch.equal(result, image)
        result = blurops.motion_blur_adjoint(image, still, angle, boundary=boundary, **keywords)
        assert torch.equal(result, image)
    # Every other pixel moves, so that the window is wide.
    inner, moving = (slice(None), slice(2, -2), slice(2, -2)), torch.arange(21) % 2 == 0
    length = torch.where(moving, 5.0, still)
    if boundary == "valid":
        length, angle, image_there = length[inner], angle[inner], image[..., 2:-2, 2:-2]
        moving = moving[2:-2]
    else:
        image_there = image
    result = blurops.motion_blur(image, length, angle, boundary=boundary, **keywords)
    assert torch.equal(result[..., ~moving], image_there[..., ~moving])
    assert not torch.equal(result[..., moving], image_there[..., moving])


@each_path
@each_caps
def test_at_length_1_the_derivative_is_the_one_from_the_right(path, caps):
    """So that a motion can grow out of nothing."""
    t = Motion(1, 2, 7, 8, 1.0).tensors("replicate", torch.float64, 7)
    keywords = {"boundary": "replicate", "caps": caps}
    length, angle, step = t["length"], t["angle"] + 0.3, 1e-7
    got = blurops.motion_blur_grad_length(
        t["grad"], t["image"], length, angle, backend=require(path), **keywords
    )
    change = blurops.motion_blur(t["image"], length + step, angle, **keywords) - t["image"]
    expected = (t["grad"] * change).sum(1) / step
    assert relative_error(got, expected) <= 10 * step
    assert got.abs().min() > 0


@each_path
def test_a_turn_by_pi_changes_nothing(path):
    t = Motion(1, 2, 12, 13, 9.0).tensors("circular", torch.float64, 9)
    keywords = {"boundary": "circular", "backend": require(path), "caps": "segment"}
    one = blurops.motion_blur(t["image"], t["length"], t["angle"], **keywords)
    other = blurops.motion_blur(t["image"], t["length"], t["angle"] - 3 * math.pi, **keywords)
    # The angle itself is rounded, and moves the end of a line by as much times its half.
    assert relative_error(one, other) <= 5 * accuracy(torch.float64).relative


@each_path
@each_caps
def test_a_constant_image_stays_constant(path, caps):
    length = 1 + 60 * torch.rand(1, 40, 70)
    angle = 3 * torch.rand(1, 40, 70)
    image = torch.full((1, 1, 40, 70), 0.7)
    result = blurops.motion_blur(image, length, angle, caps=caps, backend=require(path))
    assert (result - 0.7).abs().max() <= accuracy(torch.float32).peak


@pytest.mark.parametrize("case", MOTIONS, ids=str)
@each_boundary
@each_caps
def test_what_is_no_motion_makes_nan_at_its_own_place(case, boundary, caps):
    """On the CPU it is refused before; on a GPU nobody looks."""
    for shape in MISSING_SHAPES:
        assert_missing_stays(reference, case, shape, boundary, caps)


@pytest.mark.parametrize("by", ["length", "angle"])
@each_boundary
def test_so_do_the_derivatives_of_its_gradients(by, boundary):
    t = Motion(1, 2, 5, 6, 3.0).tensors(boundary, torch.float64, 12)
    t["length"][0, 0, 2] = math.nan
    t["angle"][0, 3, 4] = math.nan
    missing = t["length"].isnan() | t["angle"].isnan()
    maps, rate = (t["length"], t["angle"]), torch.ones_like(t["length"])
    options = {"caps": "segment", "boundary": boundary, "method": "auto", "precision": "high"}
    tangent = reference.motion_blur_tangent(t["image"], *maps, rate, by, **options)
    assert torch.equal(tangent.isnan(), missing.unsqueeze(1).expand_as(tangent))
    spread = reference.motion_blur_tangent_adjoint(t["grad"], *maps, rate, by, t["size"], **options)
    margins = [(s - n) // 2 for s, n in zip(t["size"], missing.shape[-2:], strict=True)]
    inside = spread[..., margins[0] :, margins[1] :][..., :5, :6]
    assert torch.equal(inside.isnan(), missing.unsqueeze(1).expand_as(inside))
    assert spread.isnan().sum() == inside.isnan().sum()


@each_path
def test_on_the_cpu_every_member_refuses_what_is_no_motion(path):
    for name, value in (("length", math.nan), ("angle", math.inf)):
        t = Motion(1, 1, 5, 6, 3.0).tensors("replicate", torch.float32, 13)
        t[name][0, 1, 2] = value
        for case in MOTIONS:
            given = [t[argument] for argument in case.arguments]
            with pytest.raises(ValueError, match=f"{name} must be .*finite, got"):
                case.op(*given, boundary="replicate", backend=require(path))


IMAGE, MAP = torch.zeros(2, 3, 8, 9), torch.ones(1, 8, 9)
BAD = [
    ("length", MAP * 0.5, ValueError, "must be at least 1 and finite, got 0.5"),
    ("length", MAP * math.nan, ValueError, "must be at least 1 and finite, got nan"),
    ("length", MAP * math.inf, ValueError, "must be at least 1 and finite, got inf"),
    ("length", MAP * 16, ValueError, "must be at most 15 for boundary 'reflect' on a 8x9 image"),
    ("length", MAP[0], ValueError, r"must be \(N or 1, H, W\), got \(8, 9\)"),
    ("length", MAP.repeat(3, 1, 1), ValueError, "must have a leading size of 1 or 2, got"),
    (
        "length",
        MAP[..., 1:],
        ValueError,
        r"must have the image's size 8x9|angle must have the size",
    ),
    ("length", MAP.double(), TypeError, r"must have the dtype of image \(float32\), got float64"),
    ("angle", MAP * math.inf, ValueError, "must be finite, got NaN or infinity"),
    ("angle", MAP * math.nan, ValueError, "must be finite, got NaN or infinity"),
    ("angle", MAP[:, 1:], ValueError, r"must have the size of length \(8x9\), got"),
    ("angle", MAP.int(), TypeError, "must have dtype .*, got int32"),
    ("caps", "round", ValueError, "must be one of fspecial, segment, got 'round'"),
    ("image", IMAGE[0], ValueError, r"must be \(N, C, H, W\), got"),
    ("backend", "cuda", ValueError, "must be one of native, triton, reference, got 'cuda'"),
]


@pytest.mark.parametrize(("argument", "value", "error", "text"), BAD)
def test_bad_input(argument, value, error, text):
    given = {"image": IMAGE, "length": MAP, "angle": MAP, argument: value}
    if argument == "length" and value.shape[-1] == 8:
        given["angle"] = value
    with pytest.raises(error, match=f"^motion_blur: {argument} {text}"):
        blurops.motion_blur(**given)


def test_bad_sizes_for_valid():
    with pytest.raises(ValueError, match="by an even number of rows and of columns"):
        blurops.motion_blur(IMAGE, MAP[:, :-1], MAP[:, :-1], boundary="valid")
    small = MAP[:, 1:-1, 1:-1]
    with pytest.raises(ValueError, match="length must be at most 3 for boundary 'valid'"):
        blurops.motion_blur(IMAGE, 3.5 * small, small, boundary="valid")
    with pytest.raises(ValueError, match=r"size must be the \(H, W\) of the sharp image"):
        blurops.motion_blur_adjoint(IMAGE, MAP, MAP, boundary="valid")
    with pytest.raises(ValueError, match="length must have the image's size"):
        blurops.motion_blur_adjoint(IMAGE, MAP, MAP, (9, 9))
    with pytest.raises(ValueError, match="grad must have the blurred image's shape"):
        blurops.motion_blur_grad_angle(IMAGE[:1], IMAGE, MAP, MAP)
