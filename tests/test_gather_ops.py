# SPDX-License-Identifier: BSD-3-Clause
"""The contract of tests/test_contract.py, for NU-Conv and motion blur."""

import functools
import itertools
import math

import pytest
import torch

import blurops
from blurops._check import BOUNDARIES
from blurops.ops.motion_blur.reference import _prepare
from blurops.testing import accuracy, dot_gap, relative_error
from tests.gather import (
    CASES,
    EVERY_PATH,
    PATHS,
    Case,
    Conv,
    Motion,
    doubles,
    require,
    shapes,
    small,
)

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_path = pytest.mark.parametrize("path", PATHS)
every_path = pytest.mark.parametrize("path", EVERY_PATH)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
each_caps = pytest.mark.parametrize("caps", ["fspecial", "segment"])


def magnitudes(case: Case, args: tuple, boundary: str, caps: str) -> torch.Tensor:
    """What a result sums, by magnitude."""
    named = dict(zip(case.arguments, doubles(args), strict=True))
    for name in case.linear:
        named[name] = named[name].abs()
    if "grad_" in case.name and case.kind is Motion:
        return slopes(case.name.rsplit("_", 1)[1], named, boundary, caps)
    keywords = {"caps": caps} if case.kind is Motion else {}
    return case.op(*named.values(), boundary=boundary, backend="reference", **keywords)


def slopes(by: str, named: dict, boundary: str, caps: str) -> torch.Tensor:
    """The gradient by length or angle, with the magnitudes of the weights' derivatives."""
    length, angle, image = (named[n] for n in ("length", "angle", "image"))
    lines, reader = _prepare(length, angle, image.shape[-2:], caps, boundary, derivative=True)
    extended = reader.extend(image)
    parts = [(lines.slope(*o, by), reader.at(extended, *o)) for o in lines.offsets()]
    total, change = sum(a for (a, _), _ in parts), sum(b.abs() for (_, b), _ in parts)
    out = sum(
        ((b.abs() + a * change / total) / total).unsqueeze(1) * x * named["grad"]
        for (a, b), x in parts
    ).sum(1)
    shape = named[by].shape
    return out.sum(0, keepdim=True) if shape[0] == 1 else out


@functools.cache
def truth(case, shape, boundary, dtype, seed, caps):
    """The arguments of one sample, its result in float64, and what that sums, by magnitude."""
    args = case.args(shape, boundary, dtype, seed)
    keywords = {"caps": caps} if case.kind is Motion else {}
    exact = case.op(*doubles(args), boundary=boundary, backend="reference", **keywords)
    return args, exact, magnitudes(case, args, boundary, caps)


def assert_exact(case, shape, boundary, dtype, seed, backend, caps="fspecial"):
    """A backend equals the reference in float64, up to rounding."""
    args, exact, bound = truth(case, shape, boundary, dtype, seed, caps)
    keywords = {"caps": caps} if case.kind is Motion else {}
    result = case.op(*args, boundary=boundary, backend=backend, precision="high", **keywords)
    assert result.dtype == dtype
    assert result.shape == exact.shape
    if not result.numel():
        return
    allowed = accuracy(dtype, shape.terms())
    difference = (result.double() - exact).abs()
    # A sum of random signs is as large as its terms' magnitudes over the root of their number.
    typical = bound.norm() / math.sqrt(shape.terms())
    assert difference.norm() <= allowed.relative * max(exact.norm(), typical), shape
    assert difference.max() <= allowed.peak * bound.max(), shape


@each_case
@pytest.mark.parametrize(
    ("path", "dtype"),
    [
        ("native", torch.float32),
        ("native", torch.float64),
        ("reference", torch.float32),
        ("triton", torch.float32),
        ("triton", torch.float64),
    ],
    ids=lambda p: str(p).removeprefix("torch."),
)
@each_boundary
def test_equals_the_float64_reference(case, path, boundary, dtype):
    for seed, shape in enumerate(shapes(case, path, dtype)):
        if shape.allows(boundary):
            assert_exact(case, shape, boundary, dtype, seed, require(path))


@pytest.mark.parametrize("case", CASES[4:], ids=str)
@every_path
@each_boundary
def test_the_other_caps_equal_the_float64_reference(case, path, boundary):
    shape = Motion(1, 1, 4, 5, 3.0) if path == "triton" else Motion(1, 2, 13, 37, 11.0)
    assert_exact(case, shape, boundary, torch.float32, 5, require(path), "segment")


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=lambda d: str(d)[6:])
@each_case
def test_every_instruction_set_of_this_machine(native, isa, dtype, case):
    if isa not in native.available_isas():
        pytest.skip(f"this processor has no {isa}")
    native.force_isa(isa)
    for boundary in ("reflect", "valid"):
        for seed in (1, 4) if case.kind is Conv else (0, 3):
            assert_exact(case, shapes(case)[seed], boundary, dtype, seed, "native")


@pytest.mark.parametrize(
    ("path", "dtype"),
    [*itertools.product(PATHS, (torch.float64, torch.float32)), ("triton", torch.float32)],
    ids=lambda p: str(p).removeprefix("torch."),
)
@each_boundary
@pytest.mark.parametrize("kind", ["bank", "own", "fspecial", "segment"])
def test_the_adjoint_passes_the_dot_test(path, boundary, dtype, kind):
    backend, few = require(path), path == "triton"
    if kind in ("bank", "own"):
        size = (6, 7, 4, 2, (3, 5)) if few else (14, 17, 7, 4, (9, 7))
        shape = Conv(2, 3, *size, kind == "own", False, False)
        t = shape.tensors(boundary, dtype, 11)
        index, rest = t["index"], {"boundary": boundary, "backend": backend}
        field = (t["bank"], index, t["weight"])
        magnitude = (t["bank"].abs(), index, t["weight"].abs())
        forward, adjoint = blurops.nu_conv, blurops.nu_conv_adjoint
        last = ()
    else:
        shape = Motion(2, 3, 14, 17, 12.0, False, False)
        shape = Motion(1, 3, 4, 5, 3.0, False, False) if few else shape
        t = shape.tensors(boundary, dtype, 11)
        field = magnitude = (t["length"], t["angle"])
        rest = {"boundary": boundary, "backend": backend, "caps": kind}
        forward, adjoint, last = blurops.motion_blur, blurops.motion_blur_adjoint, (t["size"],)
    gap = dot_gap(
        lambda x: forward(x, *field, **rest),
        lambda y: adjoint(y, *field, *last, **rest),
        lambda x: forward(x, *magnitude, **rest),
        t["image"],
        t["grad"],
    )
    assert gap <= accuracy(dtype, shape.terms()).dot


@each_case
@each_path
@each_boundary
def test_gradients(case, path, boundary):
    kind = case.kind
    shape = Conv(2, 1, 3, 4, 3, 2, (3, 3)) if kind is Conv else Motion(2, 1, 3, 4, 3.0)
    args = case.args(shape, boundary, torch.float64, 7)
    keywords = {"boundary": boundary, "backend": require(path)}
    wanted = list(case.positions())
    if kind is Motion:
        keywords["caps"] = "segment"
        args = away_from_kinks(case, args)
    tensors = [args[i].requires_grad_() for i in wanted]

    def call(*inputs):
        full = list(args)
        for i, value in zip(wanted, inputs, strict=True):
            full[i] = value
        return case.op(*full, **keywords)

    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)
    if case.name in ("motion_blur", "motion_blur_adjoint"):
        wanted += [1, 2]
        tensors = [args[i].requires_grad_() for i in wanted]
        assert torch.autograd.gradcheck(call, tensors, fast_mode=boundary != "reflect")


def away_from_kinks(case, args):
    """Motions whose weights are smooth: no length 1, nothing level or upright."""
    generator = torch.Generator().manual_seed(3)
    args = list(args)
    for name, low, high in (("length", 1.3, 2.9), ("angle", 0.1, 1.4)):
        i = case.arguments.index(name)
        spread = torch.rand(args[i].shape, generator=generator, dtype=torch.float64)
        args[i] = low + (high - low) * spread
    return args


@pytest.mark.parametrize("case", CASES[4:], ids=str)
def test_mixed_second_derivatives_exist_and_pure_ones_raise(case):
    args = away_from_kinks(case, case.args(small(case), "reflect", torch.float64, 9))
    images = [args[i].requires_grad_() for i in case.positions()]
    maps = [args[case.arguments.index(n)].requires_grad_() for n in ("length", "angle")]
    result = getattr(blurops, case.name)(*args, caps="segment").square().sum()
    if "grad_" in case.name:  # a first derivative already
        firsts = (result,)
    else:
        firsts = torch.autograd.grad(result, maps, create_graph=True)
    for first in firsts:
        mixed = torch.autograd.grad(first.sum(), images, retain_graph=True)
        assert all(m.abs().sum() > 0 for m in mixed)
        for m in maps:
            with pytest.raises(NotImplementedError, match="must be of first order in length and"):
                torch.autograd.grad(first.sum(), m, retain_graph=True)
        with pytest.raises(NotImplementedError, match="must be of first order in length and"):
            first.sum().backward(retain_graph=True)


@pytest.mark.parametrize("by", ["length", "angle"])
def test_mixed_second_derivatives_by_differences(by):
    """The derivative by the image of the derivative by a map: d2 s / dL dx along random steps."""
    shape = Motion(1, 2, 5, 6, 4.0)
    t = shape.tensors("reflect", torch.float64, 2)
    _, length, angle = away_from_kinks(CASES[4], (0, t["length"], t["angle"]))
    maps = {"length": length.requires_grad_(), "angle": angle.requires_grad_()}

    def slope(image):
        blurred = blurops.motion_blur(image, **maps, caps="segment")
        return torch.autograd.grad((blurred * t["grad"]).sum(), maps[by], create_graph=True)[0]

    step = torch.randn_like(t["image"])
    image = t["image"].requires_grad_()
    weight = torch.randn_like(length)
    mixed = torch.autograd.grad((slope(image) * weight).sum(), image)[0]
    # Linear in the image: the difference is exact but for rounding.
    difference = ((slope(image + step) - slope(image)) * weight).sum()
    gap = (difference - (mixed * step).sum()).detach()
    assert abs(float(gap)) <= 1e-12 * float(step.norm())


@each_case
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(case, requires_grad):
    args = case.args(small(case), "replicate", torch.float64, 9)
    for i in case.positions():
        args[i].requires_grad_(requires_grad)
    torch.library.opcheck(case.op.default, args, {"boundary": "replicate"})


@each_case
@pytest.mark.parametrize("boundary", ["reflect", "valid"])
def test_compiles_whole_with_dynamic_shapes(case, boundary):
    public = getattr(blurops, case.name)
    torch.compiler.reset()
    compiled = torch.compile(
        lambda *a, **k: public(*a, **k), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    others = {Conv: Conv(3, 2, 7, 9, 4, 2, (3, 3)), Motion: Motion(3, 2, 7, 9, 5.0)}
    for seed, shape in enumerate((small(case), others[case.kind])):
        args = case.args(shape, boundary, torch.float64, seed)
        eager, traced = list(args), list(args)
        for i in case.positions():
            eager[i], traced[i] = (args[i].clone().requires_grad_() for _ in range(2))
        expected, result = public(*eager, boundary=boundary), compiled(*traced, boundary=boundary)
        assert torch.equal(result, expected)
        expected.square().sum().backward()
        result.square().sum().backward()
        assert all(torch.equal(eager[i].grad, traced[i].grad) for i in case.positions())


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_native_results_repeat_bit_for_bit_on_any_thread_count(case, dtype, native, threads):
    shape = Conv(2, 3, 43, 67, 5, 4, (9, 7)) if case.kind is Conv else Motion(2, 3, 43, 67, 12.0)
    args = case.args(shape, "reflect", dtype, 13)
    results = []
    for count in (1, 1, 2, 3, 5):
        threads(count)
        results.append(case.op(*args, backend="native"))
    assert all(torch.equal(result, results[0]) for result in results)


@each_case
@every_path
def test_layouts_do_not_matter_and_inputs_are_left_alone(case, path):
    args = case.args(small(case), "circular", torch.float32, 15)
    keywords = {"boundary": "circular", "backend": require(path)}
    expected = case.op(*args, **keywords)
    before = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
    for i, tensor in enumerate(args):
        if not isinstance(tensor, torch.Tensor):
            continue
        spread = torch.full((*tensor.shape, 2), 99, dtype=tensor.dtype)
        spread[..., 0] = tensor
        for other in (spread[..., 0], tensor.mT.contiguous().mT):
            result = case.op(*args[:i], other, *args[i + 1 :], **keywords)
            assert relative_error(result, expected) <= accuracy(torch.float32).relative
            assert result.is_contiguous()
    assert all(
        torch.equal(a, b) for a, b in zip(args, before, strict=True) if isinstance(a, torch.Tensor)
    )


@each_case
@every_path
def test_samples_of_a_batch_do_not_mix(case, path):
    shape = (
        Conv(3, 2, 6, 5, 3, 2, (3, 3), False, False, False)
        if case.kind is Conv
        else Motion(3, 2, 6, 5, 3.0 if path == "triton" else 4.0, False, False)
    )
    if case.name == "nu_conv_grad_bank":  # which sums over the batch
        return
    args = case.args(shape, "reflect", torch.float64, 19)
    order = torch.tensor([2, 0, 1])
    per_sample = set(case.arguments) - {"bank"}
    moved = [
        a[order] if isinstance(a, torch.Tensor) and name in per_sample else a
        for name, a in zip(case.arguments, args, strict=True)
    ]
    backend = require(path)
    expected = case.op(*args, backend=backend)[order]
    result = case.op(*moved, backend=backend)
    assert relative_error(result, expected) <= accuracy(torch.float64).relative


@each_case
@every_path
def test_nan_propagates(case, path):
    args = case.args(small(case), "replicate", torch.float32, 23)
    for i in case.positions():
        poisoned = args[i].clone()
        poisoned[..., 1, 0] = torch.nan
        result = case.op(
            *args[:i], poisoned, *args[i + 1 :], boundary="replicate", backend=require(path)
        )
        assert result.isnan().any()


@each_case
def test_a_forward_tangent_is_refused_not_dropped(case):
    args = case.args(small(case), "reflect", torch.float32, 25)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(args[0], torch.ones_like(args[0]))
        with pytest.raises(NotImplementedError, match=f"must go to blurops.func.{case.name},"):
            getattr(blurops, case.name)(dual, *args[1:])


@each_case
def test_autocast_brings_mixed_dtypes_to_the_widest(case):
    args = case.args(small(case), "reflect", torch.float32, 27)
    mixed = [args[0].bfloat16(), *args[1:]]
    with pytest.raises(TypeError, match="dtype"):
        case.op(*mixed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = case.op(*mixed)
    assert torch.equal(result, case.op(mixed[0].float(), *args[1:]))


@each_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=lambda d: str(d)[6:])
@every_path
def test_half_types_are_storage(case, path, dtype):
    """Everything in float32, one rounding at the end."""
    shape = shapes(case, path)[0 if path == "triton" else 4 if case.kind is Conv else 3]
    args = case.args(shape, "zeros", dtype, 29)
    wide = tuple(
        a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args
    )
    backend = require(path)
    expected = case.op(*wide, boundary="zeros", backend=backend).to(dtype)
    assert torch.equal(case.op(*args, boundary="zeros", backend=backend), expected)


@each_case
def test_spectra_are_refused(case):
    args = case.args(small(case), "reflect", torch.float32, 31)
    with pytest.raises(NotImplementedError, match=f"{case.name}: .* has no spectra"):
        case.op(*args, method="fft", backend="reference")
