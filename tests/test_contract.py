# SPDX-License-Identifier: BSD-3-Clause
"""What every op of the family must do, on every path: driven by the table blurops.testing.CASES."""

import functools

import pytest
import torch

import blurops
from blurops._check import BOUNDARIES, DTYPES
from blurops.testing import (
    CASES,
    Shape,
    accuracy,
    dot_gap,
    family_tensors,
    random_tensor,
    relative_error,
)
from tests.backends import EVERY_PATH, options, shapes, slow

TINY = Shape(2, 2, 4, 5, 2, 3, 3, kernels_shared=False, mixing_shared=True)
TINY_OTHER = Shape(2, 1, 5, 3, 2, 3, 1, kernels_shared=True, mixing_shared=False)

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_path = pytest.mark.parametrize("path", EVERY_PATH)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


DEFINITION = {"backend": "reference", "method": "direct"}


def reference(case, args, keywords):
    """The float64 truth, by the direct sum."""
    exact = tuple(a.double() if isinstance(a, torch.Tensor) else a for a in args)
    return case.op(*exact, **{**keywords, **DEFINITION})


def magnitudes(case, args, keywords):
    """The largest sum of magnitudes that goes into one element of the result."""
    bound = tuple(a.double().abs() if isinstance(a, torch.Tensor) else a for a in args)
    result = case.op(*bound, **{**keywords, **DEFINITION})
    return float(result.max()) if result.numel() else 0.0


@functools.cache
def truth(case, shape, boundary, dtype, seed):
    """The reference of one sample and its largest sum of magnitudes; every path is held to it."""
    args, keywords = case.sample(shape, boundary, dtype, seed)
    return reference(case, args, keywords), magnitudes(case, args, keywords)


@each_case
@each_path
@each_boundary
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_equals_the_float64_reference(case, path, boundary, dtype):
    for seed, shape in enumerate(shapes(path, dtype)):
        if not shape.allows(boundary):
            continue
        args, keywords = case.sample(shape, boundary, dtype, seed)
        result = case.op(*args, **keywords, **options(path))
        exact, largest = truth(case, shape, boundary, dtype, seed)
        tolerance = accuracy(dtype, case.terms(shape))
        assert result.dtype == dtype
        assert result.shape == exact.shape, shape
        assert relative_error(result, exact) <= tolerance.relative, shape
        if result.numel():
            peak = float((result.double() - exact).abs().max())
            assert peak <= tolerance.peak * largest, shape


@each_case
@each_path
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_half_types_err_at_most_twice_what_plain_torch_errs(case, path, dtype):
    shape = Shape(1, 3, 17, 40, 5, 7, 5)
    args, keywords = case.sample(shape, "zeros", dtype, 3)
    exact = reference(case, args, keywords)
    # Plain torch at its best: everything in float32, one rounding at the end.
    wide = tuple(a.float() if isinstance(a, torch.Tensor) else a for a in args)
    plain = case.op(*wide, **keywords, backend="reference", method="direct").to(dtype)
    result = case.op(*args, **keywords, **options(path))
    assert relative_error(result, exact) <= 2 * relative_error(plain, exact)


@each_case
@each_path
def test_is_linear_in_each_tensor(case, path):
    args, keywords = case.sample(TINY, "reflect", torch.float64, 5)
    others, _ = case.sample(TINY, "reflect", torch.float64, 50)
    keywords |= options(path)
    tolerance = accuracy(torch.float64, case.terms(TINY)).peak
    for i in case.linear:
        mixed = [*args[:i], 2 * args[i] - 3 * others[i], *args[i + 1 :]]
        other = [*args[:i], others[i], *args[i + 1 :]]
        first, second = 2 * case.op(*args, **keywords), 3 * case.op(*other, **keywords)
        scale = 2 * magnitudes(case, args, keywords) + 3 * magnitudes(case, other, keywords)
        assert (case.op(*mixed, **keywords) - (first - second)).abs().max() <= tolerance * scale


@each_path
@each_boundary
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("size", [(24, 31), (31, 24), (20, 20)])
def test_the_adjoint_passes_the_dot_test(path, boundary, dtype, size):
    kernel = (9, 7)
    if slow(path):
        size, kernel = (size[0] // 3, size[1] // 3), (5, 3)
    shape = Shape(2, 3, *size, 4, *kernel, kernels_shared=False, mixing_shared=False)
    tensors = family_tensors(shape, boundary, dtype, 11)
    kernels, mixing = tensors["kernels"], tensors["mixing"]
    keywords = {"boundary": boundary, **options(path)}
    gap = dot_gap(
        lambda x: blurops.basis_blur(x, kernels, mixing, **keywords),
        lambda y: blurops.basis_blur_adjoint(y, kernels, mixing, **keywords),
        lambda x: blurops.basis_blur(x, kernels.abs(), mixing.abs(), **keywords),
        tensors["image"],
        tensors["grad"],
    )
    assert gap <= accuracy(dtype, 4 * kernel[0] * kernel[1]).dot


@each_case
@each_path
@each_boundary
def test_gradients_to_second_order(case, path, boundary):
    shape = TINY if boundary != "circular" else TINY_OTHER
    args, keywords = case.sample(shape, boundary, torch.float64, 7)
    keywords = {**keywords, **options(path)}
    tensors = [a.requires_grad_() for a in args if isinstance(a, torch.Tensor)]
    rest = [a for a in args if not isinstance(a, torch.Tensor)]

    def call(*inputs):
        return case.op(*inputs, *rest, **keywords)

    if slow(path):  # the gradients are made of the members, so theirs say little new about it
        assert torch.autograd.gradcheck(call, tensors, fast_mode=True, check_undefined_grad=False)
    else:
        assert torch.autograd.gradcheck(call, tensors)
        assert torch.autograd.gradgradcheck(call, tensors)


@each_case
@each_boundary
def test_first_gradients_with_every_kind_of_sharing(case, boundary):
    for kernels_shared in (True, False):
        for mixing_shared in (True, False):
            shape = Shape(2, 1, 4, 3, 2, 3, 3, kernels_shared, mixing_shared)
            args, keywords = case.sample(shape, boundary, torch.float64, 8)
            tensors = [a.requires_grad_() for a in args if isinstance(a, torch.Tensor)]
            rest = [a for a in args if not isinstance(a, torch.Tensor)]
            assert torch.autograd.gradcheck(
                lambda *t, rest=rest, keywords=keywords: case.op(*t, *rest, **keywords), tensors
            )


@each_case
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(case, requires_grad):
    for dtype in (torch.float32, torch.float64):
        args, keywords = case.sample(TINY, "replicate", dtype, 9)
        for a in args:
            if isinstance(a, torch.Tensor):
                a.requires_grad_(requires_grad)
        torch.library.opcheck(case.op.default, args, keywords)


@each_case
@pytest.mark.parametrize("boundary", ["reflect", "valid"])
def test_compiles_whole_with_dynamic_shapes(case, boundary):
    public = getattr(blurops, case.name)
    torch.compiler.reset()
    compiled = torch.compile(
        lambda *a, **k: public(*a, **k), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for seed, shape in enumerate((TINY, Shape(3, 2, 7, 9, 4, 3, 3, False, False))):
        args, keywords = case.sample(shape, boundary, torch.float64, seed)
        eager = [a.clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in args]
        traced = [a.clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in args]
        expected, result = public(*eager, **keywords), compiled(*traced, **keywords)
        assert torch.equal(result, expected)
        expected.square().sum().backward()
        result.square().sum().backward()
        for a, b in zip(eager, traced, strict=True):
            if isinstance(a, torch.Tensor):
                assert torch.equal(a.grad, b.grad)


@each_case
@each_path
def test_compiled_and_eager_values_are_the_same(case, path):
    """A compiled program resolves no lazy conjugation: the spectra must not rely on it."""
    public = getattr(blurops, case.name)
    args, keywords = case.sample(TINY, "reflect", torch.float64, 3)
    keywords |= options(path)
    torch.compiler.reset()
    compiled = torch.compile(lambda *a: public(*a, **keywords), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*args), public(*args, **keywords))


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_native_results_repeat_bit_for_bit_on_any_thread_count(case, dtype, native, threads):
    # Large enough to be shared out among five threads.
    shape = Shape(2, 3, 53, 67, 5, 9, 7, kernels_shared=True, mixing_shared=True)
    args, keywords = case.sample(shape, "reflect", dtype, 13)
    results = []
    for count in (1, 1, 2, 3, 5):
        threads(count)
        results.append(case.op(*args, **keywords, backend="native"))
    assert all(torch.equal(result, results[0]) for result in results)


def _layouts(tensor):
    """The same values in other memory layouts."""
    spread = torch.full((*tensor.shape, 2), torch.nan, dtype=tensor.dtype)
    spread[..., 0] = tensor
    yield spread[..., 0]
    yield tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    yield tensor.contiguous(memory_format=torch.channels_last)


@each_case
@each_path
def test_layouts_do_not_matter_and_inputs_are_left_alone(case, path):
    shape = Shape(2, 3, 6, 5, 2, 3, 5, kernels_shared=False, mixing_shared=False)
    args, keywords = case.sample(shape, "circular", torch.float32, 15)
    keywords = {**keywords, **options(path)}
    expected = case.op(*args, **keywords)
    before = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
    for i in case.linear:
        for other in _layouts(args[i]):
            result = case.op(*args[:i], other, *args[i + 1 :], **keywords)
            assert relative_error(result, expected) <= accuracy(torch.float32).relative
            assert result.is_contiguous()
            assert torch.equal(other, args[i])
    assert all(
        torch.equal(a, b) for a, b in zip(args, before, strict=True) if isinstance(a, torch.Tensor)
    )


@each_case
@each_path
def test_expanded_inputs_and_gradients(case, path):
    args, keywords = case.sample(TINY, "zeros", torch.float64, 17)
    keywords = {**keywords, **options(path)}
    constant = [
        torch.full((1, 1, 1, 1), 0.5 + i, dtype=torch.float64).expand(a.shape)
        if isinstance(a, torch.Tensor) else a
        for i, a in enumerate(args)
    ]  # fmt: skip
    dense = [a.clone().contiguous() if isinstance(a, torch.Tensor) else a for a in constant]
    assert torch.equal(case.op(*constant, **keywords), case.op(*dense, **keywords))
    # The gradient of a plain sum is an expanded scalar.
    leaf = args[0].clone().requires_grad_()
    case.op(leaf, *args[1:], **keywords).sum().backward()
    twin = args[0].clone().requires_grad_()
    result = case.op(twin, *args[1:], **keywords)
    result.backward(torch.ones_like(result))
    assert torch.equal(leaf.grad, twin.grad)


@each_case
@each_path
def test_samples_of_a_batch_do_not_mix(case, path):
    shape = Shape(3, 2, 6, 5, 2, 3, 3, kernels_shared=False, mixing_shared=False)
    args, keywords = case.sample(shape, "reflect", torch.float64, 19)
    keywords = {**keywords, **options(path)}
    order = torch.tensor([2, 0, 1])
    moved = [a[order] if isinstance(a, torch.Tensor) else a for a in args]
    expected = case.op(*args, **keywords)[order]
    assert relative_error(case.op(*moved, **keywords), expected) <= accuracy(torch.float64).relative


@each_case
@each_path
def test_an_empty_batch_gives_an_empty_or_zero_result(case, path):
    shape = Shape(0, 2, 5, 6, 2, 3, 3)
    args, keywords = case.sample(shape, "reflect", torch.float32, 21)
    result = case.op(*args, **keywords, **options(path))
    assert result.numel() == 0 or not result.any()


@each_case
@each_path
def test_nan_propagates(case, path):
    args, keywords = case.sample(TINY, "replicate", torch.float32, 23)
    for i in case.linear:
        poisoned = args[i].clone()
        poisoned[..., 1, 0] = torch.nan
        result = case.op(*args[:i], poisoned, *args[i + 1 :], **keywords, **options(path))
        assert result.isnan().any()


@each_case
def test_a_forward_tangent_is_refused_not_dropped(case):
    args, keywords = case.sample(TINY, "reflect", torch.float32, 25)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(args[0], torch.ones_like(args[0]))
        with pytest.raises(NotImplementedError, match=rf"blurops.func.{case.name}"):
            getattr(blurops, case.name)(dual, *args[1:], **keywords)


@each_case
def test_autocast_brings_mixed_dtypes_to_the_widest(case):
    args, keywords = case.sample(TINY, "reflect", torch.float32, 27)
    mixed = [args[0].bfloat16(), *args[1:]]
    with pytest.raises(TypeError, match="dtype"):
        case.op(*mixed, **keywords)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = case.op(*mixed, **keywords)
    assert result.dtype == torch.float32
    assert torch.equal(result, case.op(mixed[0].float(), *args[1:], **keywords))


def test_random_tensors_are_the_same_in_every_dtype():
    assert torch.equal(
        random_tensor((5,), torch.float32, 1), random_tensor((5,), torch.float64, 1).float()
    )
