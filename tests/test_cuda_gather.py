# SPDX-License-Identifier: BSD-3-Clause
"""The CUDA kernels of NU-Conv and motion blur, compiled for the host and run in emulation.

A call goes the whole way that one with CUDA tensors goes, but into tests/emulation/.
"""

import pytest
import torch

import blurops
from blurops._check import BOUNDARIES
from blurops.ops import gather_cuda
from blurops.ops.motion_blur import native as motion_native
from blurops.ops.nu_conv import native as conv_native
from blurops.testing import accuracy, dot_gap, relative_error
from tests.emulation.gather import GatherEmulator
from tests.emulation.library import SCHEDULES, compiler
from tests.gather import (
    CASES,
    CONVS,
    MISSING_SHAPES,
    MOTIONS,
    Conv,
    Motion,
    assert_missing_stays,
    shapes,
    small,
)
from tests.test_gather_ops import assert_exact

pytestmark = pytest.mark.skipif(
    compiler() is None, reason="the emulation of the CUDA kernels needs g++ or clang++"
)

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
NATIVE = {"backend": "native", "precision": "high"}


@pytest.fixture(scope="module")
def library():
    return GatherEmulator()


@pytest.fixture
def emulator(library, monkeypatch):
    library.install(monkeypatch)
    library.launches.clear()
    library.schedule = SCHEDULES[0]
    return library


@each_case
@each_boundary
def test_every_member(emulator, case, boundary):
    allowed = [s for s in shapes(case) if s.allows(boundary)]
    for seed, shape in enumerate(allowed):
        assert_exact(case, shape, boundary, torch.float32, seed, "native")
    assert set(emulator.launches) == {case.name}


@pytest.mark.parametrize("case", MOTIONS, ids=str)
@each_boundary
def test_the_other_caps(emulator, case, boundary):
    assert_exact(case, Motion(1, 4, 13, 37, 11.0), boundary, torch.float32, 5, "native", "segment")


@each_boundary
@pytest.mark.parametrize("kind", ["bank", "own", "fspecial", "segment"])
def test_the_adjoint_is_the_transpose(emulator, boundary, kind):
    if kind in ("bank", "own"):
        shape = Conv(2, 3, 10, 12, 7, 5, (5, 7), kind == "own", False, False)
        t = shape.tensors(boundary, torch.float32, 11)
        field, last, rest = (t["bank"], t["index"], t["weight"]), (), {"boundary": boundary}
        magnitude = (t["bank"].abs(), t["index"], t["weight"].abs())
        forward, adjoint = blurops.nu_conv, blurops.nu_conv_adjoint
    else:
        shape = Motion(2, 4, 10, 12, 9.0, False, False)
        t = shape.tensors(boundary, torch.float32, 11)
        field = magnitude = (t["length"], t["angle"])
        last, rest = (t["size"],), {"boundary": boundary, "caps": kind}
        forward, adjoint = blurops.motion_blur, blurops.motion_blur_adjoint
    gap = dot_gap(
        lambda x: forward(x, *field, **rest, **NATIVE),
        lambda y: adjoint(y, *field, *last, **rest, **NATIVE),
        lambda x: forward(x, *magnitude, **rest, backend="reference"),
        t["image"],
        t["grad"],
    )
    assert gap <= accuracy(torch.float32, shape.terms()).dot


# A group of listed filters and several, tiles with too many beside others, several strips and
# bands, channels left over, batches with their own fields, both instances of widths.
ROUNDED = (
    Conv(2, 3, 9, 70, 12, 4, (5, 7), index_shared=False),
    Conv(1, 4, 10, 66, 60, 2, (3, 23), weight_shared=False),
    Conv(2, 2, 11, 21, 40, 5, (61, 5), own=True, weight_shared=False),
    Conv(1, 1, 12, 24, 7, 3, (3, 37)),
    Conv(1, 3, 9, 12, 7, 2, (47, 25)),
)
ALLOWED = [(shape, b) for shape in ROUNDED for b in BOUNDARIES if shape.allows(b)]
# Relative in L2, against the operator that is not rounded: halves carry 11 bits.
DEFAULT = 1e-3


def magnified(t):
    """Filters and pixels that differ in size; a filter that is picked twice, weights of zero."""
    t["bank"] *= 2.0 ** (torch.arange(len(t["bank"])) % 7).reshape(-1, *[1] * (t["bank"].ndim - 1))
    t["weight"] *= 2.0 ** (torch.arange(t["weight"].shape[-1]) % 5)
    t["index"][:, 1, ::2, ::3] = t["index"][:, 0, ::2, ::3]
    t["weight"][:, 0, 1::2, ::2] = 0
    # One corner picks few filters, whatever the others do.
    t["index"][..., :8, :64] %= max(2, t["index"].shape[1])
    return t


@pytest.mark.parametrize(("shape", "boundary"), ALLOWED, ids=lambda p: str(p)[:20])
def test_rounded_operands_on_tensor_cores(emulator, shape, boundary):
    """Near the exact operator; forward and adjoint are each other's transposes to float32."""
    t = magnified(shape.tensors(boundary, torch.float32, 50))
    field = (t["bank"], t["index"], t["weight"])
    rest = {"boundary": boundary, "backend": "native"}
    forward = blurops.nu_conv(t["image"], *field, **rest)
    adjoint = blurops.nu_conv_adjoint(t["grad"], *field, **rest)
    double = (t["bank"].double(), t["index"], t["weight"].double())
    exact = {"boundary": boundary, "backend": "reference"}
    for found, true in (
        (forward, blurops.nu_conv(t["image"].double(), *double, **exact)),
        (adjoint, blurops.nu_conv_adjoint(t["grad"].double(), *double, **exact)),
    ):
        error = relative_error(found, true)
        assert 1e-6 < error <= DEFAULT  # it is the rounded one that was computed
    size = blurops.nu_conv(
        t["image"].abs().double(), double[0].abs(), t["index"], double[2].abs(), **exact
    )
    gap = (forward.double() * t["grad"]).sum() - (adjoint.double() * t["image"]).sum()
    assert gap.abs() <= 1e-6 * (size * t["grad"].abs()).sum()


def test_rounding_keeps_sums(emulator):
    """A flat image stays flat: filters and weights that sum to 1 still do."""
    shape = Conv(1, 1, 9, 70, 40, 4, (5, 7))
    t = shape.tensors("replicate", torch.float32, 51)
    bank, weight = t["bank"].abs(), t["weight"].abs() + 0.1
    bank /= bank.sum((1, 2), keepdim=True)
    weight /= weight.sum(1, keepdim=True)
    flat = torch.full((1, 1, 9, 70), 0.7)
    found = blurops.nu_conv(flat, bank, t["index"], weight, boundary="replicate", backend="native")
    assert (found - flat).abs().max() <= 0.7 * 2e-5  # 2^-11 without


def test_tiles_that_pick_too_many_filters_are_gathered(emulator):
    """Beside tiles of tensor cores, with the same operands, in both directions."""
    t = Conv(1, 2, 9, 70, 300, 4, (3, 5)).tensors("reflect", torch.float32, 52)
    t["index"][..., 64:] %= 5
    field, exact = (t["bank"], t["index"], t["weight"]), {"backend": "reference"}
    double = [a.double() if a.is_floating_point() else a for a in field]
    for op, given in ((blurops.nu_conv, t["image"]), (blurops.nu_conv_adjoint, t["grad"])):
        emulator.schedule = SCHEDULES[0]
        found = op(given, *field, backend="native")
        assert relative_error(found, op(given.double(), *double, **exact)) <= DEFAULT
        emulator.schedule = SCHEDULES[-1]
        assert torch.equal(op(given, *field, backend="native"), found)


def test_banks_that_take_several_blocks(emulator):
    """More filters and taps than a block has; chunks of several tiles of pixels."""
    by_bank = CONVS[2]
    for shape in (
        Conv(1, 2, 17, 19, 70, 3, (9, 31)),
        Conv(2, 1, 40, 70, 4000, 2, (1, 3), weight_shared=False),
    ):
        assert_exact(by_bank, shape, "replicate", torch.float32, 3, "native")


@each_case
def test_every_schedule_gives_the_same_bits(emulator, case):
    args = case.args(small(case), "reflect", torch.float32, 13)
    results = []
    for emulator.schedule in SCHEDULES:
        results.append(case.op(*args, **NATIVE))
    assert all(torch.equal(result, results[0]) for result in results)


@each_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_half_types_are_storage(emulator, case, dtype):
    """Everything in float32, one rounding at the end."""
    shape = shapes(case)[1 if case.kind is Conv else 0]
    args = case.args(shape, "zeros", dtype, 29)
    wide = tuple(
        a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args
    )
    expected = case.op(*wide, boundary="zeros", **NATIVE).to(dtype)
    assert torch.equal(case.op(*args, boundary="zeros", **NATIVE), expected)


def beyond(case, args):
    """The same arguments, with an index or a length that no CPU call may have, and the nearest."""
    given, nearest = list(args), list(args)
    if case.kind is Conv:
        at = case.arguments.index("index")
        given[at] = given[at].clone()
        given[at][..., 0, 0], given[at][..., 0, 1] = -5, 1 << 30
        nearest[at] = given[at].clamp(0, small(case).filters - 1)
    else:
        at = case.arguments.index("length")
        given[at] = given[at].clone()
        given[at][..., 0, 0], given[at][..., 0, 1] = 0.25, 1e30
        nearest[at] = given[at].clamp(1, 2 * (min(small(case)[2:4]) - 1) + 1)
    return given, nearest


@each_case
def test_values_are_clamped_not_looked_at(emulator, case):
    given, nearest = beyond(case, case.args(small(case), "reflect", torch.float32, 17))
    keywords = {"boundary": "reflect", "precision": "high"}
    # As a call with CUDA tensors, whose values nobody looks at.
    native = conv_native if case.kind is Conv else motion_native
    op = getattr(native, case.name)
    extra = {"caps": "fspecial"} if case.kind is Motion else {}
    found = op(*given, **keywords, **extra, method="auto")
    exact = case.op(*nearest, boundary="reflect", backend="reference")
    assert relative_error(found, exact.double()) <= 4 * accuracy(torch.float32).relative


@pytest.mark.parametrize("case", MOTIONS, ids=str)
@each_boundary
@pytest.mark.parametrize("caps", ["fspecial", "segment"])
def test_what_is_no_motion_makes_nan_at_its_own_place(emulator, case, boundary, caps):
    for shape in MISSING_SHAPES:
        assert_missing_stays(motion_native, case, shape, boundary, caps)
    assert set(emulator.launches) == {case.name}


def test_a_motion_of_length_1_changes_nothing(emulator):
    image = torch.randn(1, 3, 9, 11)
    length, angle = torch.ones(1, 9, 11), torch.linspace(-9, 9, 99).reshape(1, 9, 11)
    for op in (blurops.motion_blur, blurops.motion_blur_adjoint):
        assert torch.equal(op(image, length, angle, **NATIVE), image)


@each_case
def test_nothing_of_a_neighbouring_nan(emulator, case):
    """A NaN reaches what depends on it, and stays away from what cannot."""
    shape = Conv(1, 1, 9, 12, 3, 2, (3, 3)) if case.kind is Conv else Motion(1, 1, 9, 12, 3.0)
    args = list(case.args(shape, "replicate", torch.float32, 23))
    args[0] = args[0].clone()
    args[0][..., 4, 1] = torch.nan
    result = case.op(*args, boundary="replicate", **NATIVE)
    assert result.isnan().any()
    if case.name != "nu_conv_grad_bank":
        assert not result[..., 6:].isnan().any()


def test_what_is_refused():
    reasons = {
        "not float64": (torch.float64, None),
        "there is no driver": (torch.float32, "there is no driver"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blurops._native, "missing_reason", lambda: None)
        for part, (dtype, why) in reasons.items():
            patch.setattr(blurops._native, "cuda_reason", lambda why=why: why)
            with torch._subclasses.fake_tensor.FakeTensorMode():
                image = torch.empty(1, 3, 9, 9, dtype=dtype, device="cuda")
            assert part in gather_cuda.reason((image,))
