# SPDX-License-Identifier: BSD-3-Clause
"""What is special to the basis-mixed blur: by hand, dense matrices, identities, shapes, errors."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import blurops
from blurops import _native, _triton
from blurops._check import BOUNDARIES
from blurops.testing import (
    Shape,
    accuracy,
    dot_gap,
    family_tensors,
    random_tensor,
    relative_error,
)
from tests.backends import PATHS, options

each_path = pytest.mark.parametrize("path", PATHS)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def source(position, size, boundary):
    """Where NumPy's own padding puts a position outside the image; None where there is nothing."""
    if boundary in ("zeros", "valid"):
        return position if 0 <= position < size else None
    mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[boundary]
    reach = 4 * size + 8
    if size == 1 and boundary == "reflect":
        return 0
    return int(np.pad(np.arange(size), reach, mode=mode)[position + reach])


def dense_matrix(kernels, mixing, size, boundary):
    """H of one sample and channel, entry by entry from the formula: (Ho*Wo, H*W)."""
    (height, width), (kh, kw) = size, kernels.shape[-2:]
    rows, columns = mixing.shape[-2:]
    offset = (0, 0) if boundary == "valid" else (kh // 2, kw // 2)
    matrix = torch.zeros(rows, columns, height, width, dtype=torch.float64)
    for y, x, dy, dx in itertools.product(*map(range, (rows, columns, kh, kw))):
        v = source(y + dy - offset[0], height, boundary)
        u = source(x + dx - offset[1], width, boundary)
        if v is not None and u is not None:
            matrix[y, x, v, u] += (mixing[:, y, x] * kernels[:, dy, dx]).sum()
    return matrix.reshape(rows * columns, height * width)


FITTING = [
    (boundary, size, kernel)
    for boundary in BOUNDARIES
    for size in [(4, 5), (5, 3), (1, 4)]
    for kernel in [(3, 3), (1, 3), (3, 5), (7, 9)]
    if Shape(1, 1, *size, 3, *kernel).allows(boundary)
]


@each_path
@pytest.mark.parametrize(("boundary", "size", "kernel"), FITTING)
def test_blur_and_adjoint_are_a_dense_matrix_and_its_transpose(path, boundary, size, kernel):
    shape = Shape(1, 1, *size, 3, *kernel)
    tensors = family_tensors(shape, boundary, torch.float64, 31)
    kernels, mixing = tensors["kernels"], tensors["mixing"]
    matrix = dense_matrix(kernels[0], mixing[0], size, boundary)
    keywords = {"boundary": boundary, **options(path)}
    blurred = blurops.basis_blur(tensors["image"], kernels, mixing, **keywords)
    spread = blurops.basis_blur_adjoint(tensors["grad"], kernels, mixing, **keywords)
    tolerance = accuracy(torch.float64, 1000).relative
    assert relative_error(blurred.flatten(), matrix @ tensors["image"].flatten()) <= tolerance
    assert relative_error(spread.flatten(), matrix.T @ tensors["grad"].flatten()) <= tolerance


@each_path
@each_boundary
def test_gradients_are_those_of_the_dense_matrix(path, boundary):
    shape = Shape(1, 1, 4, 5, 2, 3, 3)
    tensors = family_tensors(shape, boundary, torch.float64, 33)
    image, kernels, mixing, grad = (tensors[n] for n in ("image", "kernels", "mixing", "grad"))
    keywords = {"boundary": boundary, **options(path)}
    by_kernels = blurops.basis_blur_grad_kernels(grad, image, mixing, (3, 3), **keywords)
    by_mixing = blurops.basis_blur_grad_mixing(grad, image, kernels, **keywords)

    def form(k, m):
        matrix = dense_matrix(k, m, (4, 5), boundary)
        return grad.flatten() @ (matrix @ image.flatten())

    # The form is linear in each argument: its derivative by an entry is its value at a unit entry.
    for got, base, call in (
        (by_kernels[0], kernels[0], lambda unit: form(unit, mixing[0])),
        (by_mixing[0], mixing[0], lambda unit: form(kernels[0], unit)),
    ):
        expected = torch.empty_like(base)
        for i in range(base.numel()):
            unit = torch.zeros(base.numel(), dtype=torch.float64)
            unit[i] = 1
            expected.view(-1)[i] = call(unit.view_as(base))
        assert relative_error(got, expected) <= accuracy(torch.float64, 1000).relative


@each_path
def test_by_hand(path):
    """A step edge, two kernels that look left and right, mixing that changes at one pixel."""
    image = torch.tensor([0.0, 0.0, 8.0, 8.0]).reshape(1, 1, 1, 4)
    left, right = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    kernels = torch.stack((left, right)).unsqueeze(0)
    mixing = torch.tensor([[1.0, 1.0, 0.25, 0.0], [0.0, 0.0, 0.75, 1.0]]).reshape(1, 2, 1, 4)
    keywords = {"boundary": "replicate", **options(path)}
    # Pixels see their left neighbour, their left, 1/4 left and 3/4 right, and their right.
    blurred = blurops.basis_blur(image, kernels, mixing, **keywords)
    assert torch.allclose(blurred.flatten(), torch.tensor([0.0, 0.0, 6.0, 8.0]), atol=1e-5)
    # Column sums: pixel 0 is read twice, pixel 1 by a quarter, pixel 2 never, pixel 3 by 3/4 and 1.
    sums = blurops.basis_blur_adjoint(torch.ones(1, 1, 1, 4), kernels, mixing, **keywords)
    assert torch.allclose(sums.flatten(), torch.tensor([2.0, 0.25, 0.0, 1.75]), atol=1e-5)


@each_path
@each_boundary
def test_a_delta_kernel_is_the_identity(path, boundary):
    image = random_tensor((2, 3, 7, 8), torch.float64, 35)
    kernels = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    kernels[..., 1, 2] = 1
    size = (5, 4) if boundary == "valid" else (7, 8)
    mixing = torch.ones(1, 1, *size, dtype=torch.float64)
    expected = image[..., 1:6, 2:6] if boundary == "valid" else image
    result = blurops.basis_blur(image, kernels, mixing, boundary=boundary, **options(path))
    assert relative_error(result, expected) <= accuracy(torch.float64).relative


@each_path
def test_one_kernel_for_all_pixels_is_conv2d(path):
    image, kernel = (
        random_tensor((2, 3, 9, 8), torch.float64, 37),
        random_tensor((3, 5), torch.float64, 38),
    )
    mixing = torch.ones(1, 1, 9, 8, dtype=torch.float64)
    padded = F.pad(image, (2, 2, 1, 1), mode="reflect")
    expected = F.conv2d(padded.flatten(0, 1).unsqueeze(1), kernel[None, None]).view(2, 3, 9, 8)
    result = blurops.basis_blur(image, kernel[None, None], mixing, **options(path))
    assert relative_error(result, expected) <= accuracy(torch.float64).relative


@each_path
@pytest.mark.parametrize("boundary", ["reflect", "replicate", "circular", "valid"])
def test_unit_sums_keep_a_constant_image(path, boundary):
    tensors = family_tensors(Shape(1, 2, 11, 10, 4, 5, 7), boundary, torch.float64, 39)
    kernels = tensors["kernels"].flatten(2).softmax(2).view(1, 4, 5, 7)
    mixing = tensors["mixing"].softmax(1)
    image = torch.full((1, 2, 11, 10), 0.7, dtype=torch.float64)
    result = blurops.basis_blur(image, kernels, mixing, boundary=boundary, **options(path))
    assert (result - 0.7).abs().max() <= accuracy(torch.float64).peak


def test_flip_turns_a_point_spread_function_into_a_correlation_kernel():
    image, psf = (
        random_tensor((1, 1, 6, 7), torch.float64, 41),
        random_tensor((3, 3), torch.float64, 42),
    )
    mixing = torch.ones(1, 1, 6, 7, dtype=torch.float64)
    result = blurops.basis_blur(image, blurops.flip(psf)[None, None], mixing, boundary="zeros")
    expected = np.zeros((8, 9))
    for y, x in itertools.product(range(6), range(7)):  # every pixel spreads the function
        expected[y : y + 3, x : x + 3] += float(image[0, 0, y, x]) * psf.numpy()
    assert np.allclose(result[0, 0], expected[1:-1, 1:-1], rtol=0, atol=1e-13)


shapes = st.builds(
    Shape,
    count=st.integers(0, 3),
    channels=st.sampled_from([1, 2, 3, 4, 5, 8, 17]),
    height=st.integers(1, 20),
    width=st.integers(1, 90),
    basis=st.integers(1, 10),
    kernel_height=st.integers(0, 6).map(lambda r: 2 * r + 1),
    kernel_width=st.integers(0, 9).map(lambda r: 2 * r + 1),
    kernels_shared=st.booleans(),
    mixing_shared=st.booleans(),
)


@given(
    shape=shapes,
    boundary=st.sampled_from(BOUNDARIES),
    path=st.sampled_from(list(PATHS)),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_shape_on_any_path(shape, boundary, path, seed):
    if not shape.allows(boundary):
        return
    tensors = family_tensors(shape, boundary, torch.float32, seed)
    image, kernels, mixing, grad = (tensors[n] for n in ("image", "kernels", "mixing", "grad"))
    keywords = {"boundary": boundary, **options(path)}
    truth = {"boundary": boundary, "backend": "reference", "method": "direct"}
    size = kernels.shape[-2:]
    for name, args in (
        ("basis_blur", (image, kernels, mixing)),
        ("basis_blur_adjoint", (grad, kernels, mixing)),
        ("basis_blur_grad_kernels", (grad, image, mixing, size, shape.kernels_shared)),
        ("basis_blur_grad_mixing", (grad, image, kernels, shape.mixing_shared)),
    ):
        op = getattr(blurops, name)
        exact = op(*(a.double() if isinstance(a, torch.Tensor) else a for a in args), **truth)
        bound = op(*(a.double().abs() if isinstance(a, torch.Tensor) else a for a in args), **truth)
        result = op(*args, **keywords)
        assert result.shape == exact.shape
        if result.numel():
            # Cancellation can make a lone value small: hold the error against what was summed.
            tolerance = accuracy(torch.float32, 10 * exact.numel()).peak * float(bound.max())
            assert float((result - exact).abs().max()) <= tolerance, name


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=lambda d: str(d)[6:])
@each_boundary
def test_every_instruction_set_of_this_machine(native, isa, dtype, boundary):
    if isa not in native.available_isas():
        pytest.skip(f"this processor has no {isa}")
    native.force_isa(isa)
    assert native.isa() == isa
    shape = Shape(2, 5, 19, 70, 9, 9, 17, kernels_shared=False, mixing_shared=True)
    tensors = family_tensors(shape, boundary, dtype, 43)
    image, kernels, mixing, grad = (tensors[n] for n in ("image", "kernels", "mixing", "grad"))
    for name, args in (
        ("basis_blur", (image, kernels, mixing)),
        ("basis_blur_adjoint", (grad, kernels, mixing)),
        ("basis_blur_grad_kernels", (grad, image, mixing, (9, 17))),
        ("basis_blur_grad_mixing", (grad, image, kernels, True)),
    ):
        op = getattr(blurops, name)
        exact = op(
            *(a.double() if isinstance(a, torch.Tensor) else a for a in args),
            boundary=boundary, backend="reference", method="fft",
        )  # fmt: skip
        result = op(*args, boundary=boundary, backend="native")
        assert relative_error(result, exact) <= accuracy(dtype, 30_000).relative, name


def test_an_unknown_instruction_set_is_refused(native):
    with pytest.raises(ValueError, match="mmx"):
        native.force_isa("mmx")


@pytest.mark.parametrize("size", [(64, 64), (65, 63)])
@each_boundary
def test_the_full_size_problem_meets_the_bar(boundary, size):
    """B = 25, K = 33 in float32: relative error and dot gap at most 2e-6."""
    tensors = family_tensors(Shape(1, 3, *size, 25, 33, 33), boundary, torch.float32, 45)
    image, kernels, mixing, grad = (tensors[n] for n in ("image", "kernels", "mixing", "grad"))
    exact = blurops.basis_blur(
        image.double(), kernels.double(), mixing.double(), boundary=boundary, method="fft"
    )
    result = blurops.basis_blur(image, kernels, mixing, boundary=boundary)
    assert relative_error(result, exact) <= 2e-6
    gap = dot_gap(
        lambda x: blurops.basis_blur(x, kernels, mixing, boundary=boundary),
        lambda y: blurops.basis_blur_adjoint(y, kernels, mixing, boundary=boundary),
        lambda x: blurops.basis_blur(x, kernels.abs(), mixing.abs(), boundary=boundary),
        image,
        grad,
    )
    assert gap <= 2e-6


def test_half_types_round_once_through_subnormals_and_infinities(native):
    """Every float16 goes in and comes out unchanged; bfloat16 rounds to nearest, ties to even."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    image = every.reshape(1, 1, 256, 256)
    one = torch.ones(1, 1, 1, 1)
    mixing = torch.ones(1, 1, 256, 256)
    result = blurops.basis_blur(image, one.half(), mixing.half(), backend="native", method="direct")
    assert torch.equal(result.isnan(), image.isnan())
    assert torch.equal(result[~image.isnan()], image[~image.isnan()])
    scaled = random_tensor((1, 1, 256, 256), torch.float32, 47)
    for dtype in (torch.float16, torch.bfloat16):
        for factor in (1.0, 2.0**-13, 2.0**13):
            third = torch.full((1, 1, 1, 1), 1 / 3 * factor).to(dtype)
            expected = (scaled.to(dtype).float() * third.float()).to(dtype)
            product = blurops.basis_blur(
                scaled.to(dtype), third, mixing.to(dtype), backend="native", method="direct"
            )
            assert torch.equal(product, expected)


def zeros(*shape, **options):
    return torch.zeros(shape, **options)


# (argument, bad value, error, the sentence after the op's name)
BAD_INPUT = [
    (
        "kernels",
        zeros(1, 4, 4, 5),
        ValueError,
        r"must have odd sides Kh and Kw, got \(1, 4, 4, 5\)",
    ),
    ("kernels", zeros(4, 3, 5), ValueError, r"must be \(N or 1, B, Kh, Kw\), got \(4, 3, 5\)"),
    ("kernels", zeros(3, 4, 3, 5), ValueError, "must have a leading size of 1 or 2, got"),
    ("kernels", zeros(1, 0, 3, 5), ValueError, "must hold at least one basis kernel, got"),
    ("kernels", zeros(1, 4, 17, 5), ValueError, "must have .* for boundary 'reflect' .*, got 17x5"),
    ("kernels", zeros(1, 4, 3, 5).double(), TypeError, r"must have the dtype of image .*float64"),
    (
        "kernels",
        zeros(1, 4, 3, 5, device="meta"),
        ValueError,
        r"must be on the device .*, got meta",
    ),
    ("image", zeros(3, 8, 9), ValueError, r"must be \(N, C, H, W\), got \(3, 8, 9\)"),
    ("image", zeros(2, 3, 0, 9), ValueError, "must have at least one pixel, got"),
    ("image", zeros(2, 3, 8, 9, dtype=torch.int32), TypeError, "must have dtype .*, got int32"),
    (
        "image",
        zeros(2, 3, 8, 9, dtype=torch.cfloat),
        TypeError,
        "must have dtype .*, got complex64",
    ),
    ("image", [[1.0]], TypeError, "must be a tensor, got list"),
    (
        "mixing",
        zeros(1, 4, 8, 8),
        ValueError,
        r"must have the blurred size 8x9, got \(1, 4, 8, 8\)",
    ),
    ("mixing", zeros(1, 3, 8, 9), ValueError, r"must hold one map per basis kernel \(4\), got"),
    ("mixing", zeros(5, 4, 8, 9), ValueError, "must have a leading size of 1 or 2, got"),
    ("boundary", "mirror", ValueError, "must be one of reflect, .*, valid, got 'mirror'"),
    ("method", "winograd", ValueError, "must be one of auto, direct, fft, got 'winograd'"),
    ("precision", "low", ValueError, "must be one of default, high, got 'low'"),
    ("backend", "cuda", ValueError, "must be one of native, triton, reference, got 'cuda'"),
]


class TestErrors:
    """Each kind of bad input, with the sentence that describes it."""

    image = torch.zeros(2, 3, 8, 9)
    kernels = torch.zeros(1, 4, 3, 5)
    mixing = torch.zeros(2, 4, 8, 9)

    @pytest.mark.parametrize(("argument", "value", "error", "sentence"), BAD_INPUT)
    def test_blur_and_adjoint(self, argument, value, error, sentence):
        good = {"image": self.image, "kernels": self.kernels, "mixing": self.mixing}
        for op in (blurops.basis_blur, blurops.basis_blur_adjoint):
            with pytest.raises(error, match=f"^{op.__name__}: {argument} {sentence}"):
                op(**{**good, argument: value})

    def test_a_kernel_too_large_for_valid(self):
        with pytest.raises(
            ValueError,
            match="kernels must be no larger than the 8x9 image for boundary 'valid', got 9x5",
        ):
            blurops.basis_blur(self.image, torch.zeros(1, 4, 9, 5), self.mixing, boundary="valid")

    def test_gradients(self):
        with pytest.raises(ValueError, match="grad must have the blurred image's shape"):
            blurops.basis_blur_grad_mixing(self.image[..., 1:], self.image, self.kernels)
        with pytest.raises(ValueError, match="grad must have the blurred image's shape"):
            blurops.basis_blur_grad_kernels(self.image[:1], self.image, self.mixing, (3, 3))
        with pytest.raises(
            ValueError, match=r"kernel_size must have odd sides Kh and Kw, got \(3, 4\)"
        ):
            blurops.basis_blur_grad_kernels(self.image, self.image, self.mixing, (3, 4))
        with pytest.raises(TypeError, match=r"image must have the dtype of grad \(float32\)"):
            blurops.basis_blur_grad_mixing(self.image, self.image.double(), self.kernels.double())

    def test_the_registered_op_is_as_safe_as_the_function(self):
        with pytest.raises(ValueError, match="boundary must be one of"):
            torch.ops.blurops.basis_blur(self.image, self.kernels, self.mixing, boundary="mirror")


def test_backends_name_their_reasons():
    reasons = blurops.backends()
    assert list(reasons) == ["native", "triton", "reference"]
    assert reasons["reference"] is None
    assert reasons["native"] == _native.missing_reason()
    assert reasons["triton"] == _triton.unavailable_reason()


def test_auto_takes_the_first_backend_that_can(monkeypatch, native):
    tensors = family_tensors(Shape(1, 1, 20, 20, 2, 3, 3), "zeros", torch.float32, 51)
    args = [tensors[name] for name in ("image", "kernels", "mixing")]
    calls = []
    original = _native.call
    monkeypatch.setattr(_native, "call", lambda name, *a: (calls.append(name), original(name, *a)))
    blurops.basis_blur(*args, boundary="zeros")
    assert calls == ["basis_blur_cpu"]
    blurops.basis_blur(*args, boundary="zeros", backend="reference")
    assert calls == ["basis_blur_cpu"]
