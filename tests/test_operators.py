# SPDX-License-Identifier: BSD-3-Clause
"""The operator protocol, its two blurs, and the public adjoint test."""

import math

import pytest
import torch
import torch.nn.functional as F

import blurops
from blurops import BasisBlur, Saturation, UniformBlur, check_adjoint
from blurops.operators import Operator
from blurops.testing import accuracy
from tests.literal import BOUNDARIES, dense

DOUBLE = torch.float64


def basis_blur(boundary="reflect", *, dtype=DOUBLE, count=2, size=(7, 8), **options):
    torch.manual_seed(0)
    shape = (size[0] - 2, size[1] - 4) if boundary == "valid" else size
    kernels, mixing = torch.randn(1, 3, 3, 5, dtype=DOUBLE), torch.randn(count, 3, *shape)
    return BasisBlur(kernels.to(dtype), mixing.to(dtype), boundary=boundary, **options)


class AuthorsAdjoint(Operator):
    """A blur whose adjoint is wrong: mixed after the turned kernels."""

    def __init__(self, blur):
        self.blur = blur

    @property
    def dtype(self):
        return self.blur.dtype

    def forward(self, x):
        return self.blur.forward(x)

    def adjoint(self, y):
        kernels = blurops.flip(self.blur.kernels)
        return blurops.basis_blur(y, kernels, self.blur.mixing, boundary=self.blur.boundary)

    def to(self, *args, **options):
        return AuthorsAdjoint(self.blur.to(*args, **options))


class Halving(Operator):
    """The least that the protocol asks for."""

    def forward(self, x):
        return x / 2

    def adjoint(self, y):
        return y / 2

    def to(self, *args, **options):
        return self


@pytest.mark.parametrize("boundary", BOUNDARIES)
class TestEveryBoundary:
    def test_forward_and_adjoint_are_the_ops(self, boundary):
        blur = basis_blur(boundary)
        x = torch.randn(2, 3, 7, 8, dtype=DOUBLE)
        fields = (blur.kernels, blur.mixing)
        y = blurops.basis_blur(x, *fields, boundary=boundary)
        assert torch.equal(blur.forward(x), y)
        assert torch.equal(blur @ x, y)
        back = blurops.basis_blur_adjoint(y, *fields, boundary=boundary)
        assert torch.equal(blur.adjoint(y), back)
        assert torch.equal(blur.T @ y, back)
        assert torch.equal(blur.T.adjoint(x), y)
        assert blur.T.T is blur

    def test_column_sums_are_those_of_the_matrix(self, boundary):
        blur = basis_blur(boundary)
        observed = blur @ torch.zeros(2, 3, 7, 8, dtype=DOUBLE)
        matrix = dense(blur.kernels, blur.mixing, (7, 8), boundary)
        expected = matrix.sum(1).reshape(2, 1, 7, 8)
        torch.testing.assert_close(blur.column_sums(observed), expected, rtol=0, atol=1e-13)
        rows = matrix.sum(2).reshape(2, 1, *observed.shape[-2:])
        sums = blur.T.column_sums(torch.zeros(2, 3, 7, 8, dtype=DOUBLE))
        torch.testing.assert_close(sums, rows, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("dtype", [DOUBLE, torch.float32])
    def test_the_adjoint_passes(self, boundary, dtype):
        blur = basis_blur(boundary, dtype=dtype)
        assert check_adjoint(blur, (2, 3, 7, 8)) <= accuracy(dtype).dot
        assert check_adjoint(blur.T, (2, 3, *blur.mixing.shape[-2:])) <= accuracy(dtype).dot
        uniform = UniformBlur(blur.kernels[0, 0], boundary=boundary)
        assert check_adjoint(uniform, (2, 3, 7, 8)) <= accuracy(dtype).dot


def test_a_wrong_adjoint_fails():
    wrong = AuthorsAdjoint(basis_blur())
    assert check_adjoint(wrong, (2, 3, 7, 8)) > 1e-3
    # It is right where the mixing does not vary: the test tells them apart.
    blur = basis_blur("circular")
    constant = BasisBlur(blur.kernels, torch.full_like(blur.mixing, 0.3), boundary="circular")
    assert check_adjoint(AuthorsAdjoint(constant), (2, 3, 7, 8)) <= accuracy(DOUBLE).dot


def test_the_gap_is_scaled_by_the_magnitudes():
    """|<Hx, y> - <x, H^T y>| / <|H| |x|, |y|> by hand, for an adjoint that is off by a factor."""

    class Off(Halving):
        def adjoint(self, y):
            return y

    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 1, 4, 4, generator=generator, dtype=DOUBLE).float().double()
    y = torch.randn(1, 1, 4, 4, generator=generator, dtype=DOUBLE).float().double()
    expected = abs((x / 2 * y).sum() - (x * y).sum()) / (x.abs() / 2 * y.abs()).sum()
    assert check_adjoint(Off(), (1, 1, 4, 4), seed=3) == pytest.approx(float(expected), rel=1e-6)
    assert check_adjoint(Halving(), (1, 1, 4, 4)) == 0


def test_check_adjoint_wants_an_operator():
    with pytest.raises(TypeError, match=r"^check_adjoint: operator must be .*Operator.*, got int"):
        check_adjoint(3, (1, 1, 4, 4))


class TestKeptColumnSums:
    like = torch.zeros(2, 3, 7, 8, dtype=DOUBLE)

    def test_are_computed_once(self):
        blur = basis_blur()
        assert blur.column_sums(self.like) is blur.column_sums(self.like)

    @pytest.mark.parametrize("name", ["kernels", "mixing"])
    def test_follow_a_tensor_written_in_place(self, name):
        blur = basis_blur()
        before = blur.column_sums(self.like)
        getattr(blur, name).mul_(2)
        torch.testing.assert_close(blur.column_sums(self.like), 2 * before)

    def test_follow_a_tensor_replaced(self):
        blur = basis_blur()
        before = blur.column_sums(self.like)
        blur.kernels = 2 * blur.kernels
        torch.testing.assert_close(blur.column_sums(self.like), 2 * before)

    def test_survive_a_caller_who_writes_into_them(self):
        blur = basis_blur()
        before = blur.column_sums(self.like).clone()
        blur.column_sums(self.like).zero_()
        assert torch.equal(blur.column_sums(self.like), before)

    def test_depend_on_the_size(self):
        blur = UniformBlur(torch.rand(3, 3), boundary="zeros")
        for size in [(5, 6), (6, 5), (5, 6)]:
            assert blur.column_sums(torch.zeros(1, 1, *size)).shape == (1, 1, *size)

    def test_carry_a_graph_when_a_gradient_is_wanted(self):
        blur = basis_blur()
        blur.column_sums(self.like)
        blur.mixing.requires_grad_()
        sums = blur.column_sums(self.like)
        (gradient,) = torch.autograd.grad(sums.sum(), blur.mixing)
        row_sums = blur.kernels.sum((-1, -2))[..., None, None]
        torch.testing.assert_close(gradient, row_sums.expand_as(blur.mixing))
        with torch.no_grad():
            assert blur.column_sums(self.like) is blur.column_sums(self.like)

    def test_of_inference_mode_are_not_kept(self):
        blur = UniformBlur(torch.rand(3, 3))
        like = torch.zeros(1, 1, 5, 5)
        with torch.inference_mode():
            blur.column_sums(like)
            blur.forward(like)
        x = torch.rand(1, 1, 5, 5, requires_grad=True)
        (blur.forward(x) * blur.column_sums(like)).sum().backward()
        assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("name", ["kernels", "mixing"])
def test_gradients_reach_the_field(name):
    blur = basis_blur()
    tensor = getattr(blur, name).requires_grad_()
    x = torch.randn(2, 1, 7, 8, dtype=DOUBLE)
    (gradient,) = torch.autograd.grad((blur @ x).sum(), tensor)
    # The blur is linear in its field, so the derivative along it is the value itself.
    torch.testing.assert_close((gradient * tensor).sum(), (blur @ x).sum())


def test_uniform_blur_is_a_convolution():
    kernel = torch.randn(3, 5, dtype=DOUBLE)
    x = torch.randn(2, 3, 9, 8, dtype=DOUBLE)
    blur = UniformBlur(kernel, boundary="valid")
    expected = F.conv2d(x, kernel.expand(3, 1, 3, 5), groups=3)
    torch.testing.assert_close(blur @ x, expected)
    each = torch.randn(2, 1, 3, 3, dtype=DOUBLE)
    result = UniformBlur(each, boundary="zeros") @ x
    for n in range(2):
        own = F.conv2d(x[n], each[n].expand(3, 1, 3, 3), groups=3, padding=1)
        torch.testing.assert_close(result[n], own)


def test_uniform_blur_makes_its_mixing_once_per_size():
    blur = UniformBlur(torch.rand(3, 3))
    ones = blur.mixing_for((5, 6))
    assert torch.equal(ones, torch.ones(1, 1, 5, 6))
    assert blur.mixing_for((5, 6)) is ones
    assert blur.mixing_for((6, 5)).shape == (1, 1, 6, 5)


@pytest.mark.parametrize("make", [basis_blur, lambda **o: UniformBlur(torch.rand(3, 3), **o)])
def test_to_casts_and_keeps_the_options(make):
    blur = make(boundary="circular", method="fft", backend="reference")
    cast = blur.to(torch.float32)
    assert cast.dtype == torch.float32
    assert cast.options == blur.options
    assert cast.options["method"] == "fft"
    assert cast.T.dtype == torch.float32
    assert cast.T.to(DOUBLE).dtype == DOUBLE
    assert cast.device == torch.device("cpu")


@pytest.mark.parametrize("blur", [basis_blur(count=1), UniformBlur(torch.rand(3, 3).double())])
def test_compiles_whole(blur):
    def both_ways(x):
        return blur.adjoint(blur.forward(x)) / blur.column_sums(x)

    x = torch.rand(1, 3, 7, 8, dtype=DOUBLE)
    compiled = torch.compile(both_ways, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), both_ways(x))


def test_absolute_bounds_the_blur():
    blur = basis_blur()
    x = torch.randn(2, 3, 7, 8, dtype=DOUBLE)
    assert bool(((blur @ x).abs() <= blur.absolute() @ x.abs() + 1e-12).all())
    uniform = UniformBlur(-torch.ones(3, 3))
    torch.testing.assert_close(
        uniform.absolute() @ torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 9.0)
    )


@pytest.mark.parametrize("saturation", [None, Saturation(threshold=0.6)])
def test_rl_step_of_any_operator_is_the_op(saturation):
    torch.manual_seed(1)
    kernel = torch.rand(3, 3, dtype=DOUBLE) / 4.5
    blur = UniformBlur(kernel)

    class Plain(Halving):
        forward = staticmethod(blur.forward)
        adjoint = staticmethod(blur.adjoint)

    estimate, observed = torch.rand(2, 1, 2, 6, 6, dtype=DOUBLE)
    for mask in (None, torch.rand(1, 1, 6, 6, dtype=DOUBLE)):
        chosen = {"saturation": saturation, "tv": 0.1, "mask": mask}
        torch.testing.assert_close(
            Plain().rl_step(estimate, observed, **chosen),
            blur.rl_step(estimate, observed, **chosen),
        )


K, M = torch.rand(2, 3, 3, 3), torch.rand(1, 3, 6, 7)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: BasisBlur([1], M), TypeError, "BasisBlur: kernels must be a tensor"),
        (lambda: BasisBlur(K.int(), M), TypeError, "BasisBlur: kernels must have dtype"),
        (lambda: BasisBlur(K[..., :2], M), ValueError, "BasisBlur: kernels must have odd sides"),
        (lambda: BasisBlur(K[0], M), ValueError, "BasisBlur: kernels must be"),
        (lambda: BasisBlur(K, M.double()), TypeError, "BasisBlur: mixing must have the dtype"),
        (lambda: BasisBlur(K, M.to("meta")), ValueError, "BasisBlur: mixing must be on the device"),
        (lambda: BasisBlur(K, M[:, :2]), ValueError, "BasisBlur: mixing must hold one map per"),
        (lambda: BasisBlur(K, M.repeat(3, 1, 1, 1)), ValueError, "BasisBlur: mixing must have a"),
        (lambda: BasisBlur(K, M, boundary="mirror"), ValueError, "BasisBlur: boundary must be one"),
        (lambda: BasisBlur(K, M, method="slow"), ValueError, "BasisBlur: method must be one of"),
        (lambda: BasisBlur(K, M[..., :1]), ValueError, "BasisBlur: kernels must have Kh//2 < H"),
        (lambda: UniformBlur(3), TypeError, "UniformBlur: kernel must be a tensor"),
        (lambda: UniformBlur(K), ValueError, r"UniformBlur: kernel must be \(Kh, Kw\) or"),
        (lambda: UniformBlur(K[0, 0, :2]), ValueError, "UniformBlur: kernel must have odd sides"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=f"^{text}"):
        make()


def test_nan_propagates():
    blur = basis_blur()
    blur.mixing[..., 3, 3] = math.nan
    assert bool(torch.isnan(blur @ torch.ones(2, 1, 7, 8, dtype=DOUBLE))[..., 3, 3].all())
