# SPDX-License-Identifier: BSD-3-Clause
"""Motion blur's gradients by length and angle in one sweep: those of the members, bit for bit."""

import pytest
import torch

import blurops
from blurops import _native
from blurops._check import BOUNDARIES, DTYPES
from tests.gather import Motion

pytestmark = pytest.mark.usefixtures("native")
LAUNCHER = "motion_blur_backward_cpu"


def sample(shape, boundary="reflect", dtype=torch.float32, seed=0):
    t = shape.tensors(boundary, dtype, seed)
    return tuple(t[name] for name in ("grad", "image", "length", "angle"))


def assert_members(args, **options):
    sweep = torch.ops.blurops.motion_blur_backward
    found = sweep(*args, **options, method="auto", precision="default")
    for result, by in zip(found, ("length", "angle"), strict=True):
        member = getattr(blurops, f"motion_blur_grad_{by}")
        assert torch.equal(result, member(*args, **options, backend="native"))
        assert result.abs().max() > 0


@pytest.mark.parametrize("caps", ["fspecial", "segment"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_equals_the_members(boundary, caps):
    for i, dtype in enumerate(DTYPES):
        shape = Motion(2, 3, 13, 37, 11.0, i % 2 == 0, i % 2 == 0)
        assert_members(sample(shape, boundary, dtype, i), boundary=boundary, caps=caps)


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_of_this_machine(native, isa):
    if isa not in native.available_isas():
        pytest.skip(f"this processor has no {isa}")
    native.force_isa(isa)
    for dtype in (torch.float32, torch.float64):
        args = sample(Motion(2, 2, 9, 21, 8.0, False, False), "circular", dtype)
        assert_members(args, boundary="circular", caps="fspecial")


def test_an_empty_batch_has_none():
    args = sample(Motion(0, 2, 5, 6, 3.0))
    options = {"caps": "segment", "boundary": "reflect", "method": "auto", "precision": "default"}
    for result in torch.ops.blurops.motion_blur_backward(*args, **options):
        assert result.shape == (1, 5, 6)
        assert not result.any()


class TestAutograd:
    @pytest.fixture
    def launched(self, monkeypatch):
        names, original = [], _native.call
        monkeypatch.setattr(_native, "call", lambda *a: names.append(a[0]) or original(*a))
        return names

    def leaves(self, *shared):
        grad, image, length, angle = sample(Motion(2, 2, 9, 8, 5.0, *shared), dtype=torch.float64)
        return grad, [t.requires_grad_() for t in (image, length, angle)]

    @pytest.mark.parametrize("op", [blurops.motion_blur, blurops.motion_blur_adjoint])
    @pytest.mark.parametrize("shared", [True, False])
    def test_uses_it_where_both_are_wanted(self, launched, op, shared):
        grad, leaves = self.leaves(shared, shared)
        found = torch.autograd.grad(op(*leaves), leaves, grad)
        assert launched.count(LAUNCHER) == 1
        assert not any("grad_" in name for name in launched)
        composed = torch.autograd.grad(op(*leaves), leaves, grad, create_graph=True)
        assert launched.count(LAUNCHER) == 1
        expected = torch.autograd.grad(op(*leaves, backend="reference"), leaves, grad)
        for a, b, c in zip(found, composed, expected, strict=True):
            assert torch.equal(a, b)
            torch.testing.assert_close(a, c)

    def test_not_for_one_nor_for_maps_batched_differently(self, launched):
        grad, (image, length, angle) = self.leaves(True, True)
        torch.autograd.grad(blurops.motion_blur(image, length, angle), (image, angle), grad)
        torch.autograd.grad(blurops.motion_blur(image, length, angle.detach()), length, grad)
        grad, leaves = self.leaves(True, False)
        torch.autograd.grad(blurops.motion_blur(*leaves), leaves, grad)
        names = ["motion_blur_grad_length_cpu", "motion_blur_grad_angle_cpu"]
        assert launched[-2:] == names
        grad, leaves = self.leaves(True, True)
        launched.clear()
        torch.autograd.grad(blurops.motion_blur(*leaves, backend="reference"), leaves, grad)
        assert launched == []

    def test_compiles(self):
        torch.compiler.reset()
        compiled = torch.compile(blurops.motion_blur, fullgraph=True, backend="aot_eager")
        grad, leaves = self.leaves(True, True)
        expected = torch.autograd.grad(blurops.motion_blur(*leaves), leaves, grad)
        found = torch.autograd.grad(compiled(*leaves), leaves, grad)
        assert all(map(torch.equal, found, expected))
