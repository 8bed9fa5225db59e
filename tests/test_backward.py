# SPDX-License-Identifier: BSD-3-Clause
"""The fused gradients of a blur: equal to the members', in any combination, on any thread count."""

import itertools
from pathlib import Path

import pytest
import torch

import blurops
from benchmarks.memory import measure
from blurops import _native
from blurops._check import BOUNDARIES, DTYPES
from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work
from blurops.testing import Shape, family_tensors, relative_error
from tests.family import as_doubles, assert_exact, call, members

pytestmark = pytest.mark.usefixtures("native")
NAMES = ("image", "kernels", "mixing")
TILES = Tiling(64, 64)
SUBSETS = [n for n in itertools.product((False, True), repeat=3) if sum(n) > 1]
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
each_subset = pytest.mark.parametrize(
    "needs", SUBSETS, ids=lambda n: "".join(map(str, map(int, n)))
)


def fused(tensors, needs=(True, True, True), **options):
    """The gradients, ``None`` for one that is not needed."""
    args = [tensors[name] for name in ("grad", *NAMES)]
    found = torch.ops.blurops.basis_blur_backward(*args, list(needs), **options)
    return [g if needed else None for g, needed in zip(found, needs, strict=True)]


def gradient_members(tensors, shape):
    """The members that the gradients by image, kernels and mixing are."""
    return members(tensors, shape)[1:]


def assert_gradients(
    shape, tiles, boundary="reflect", dtype=torch.float32, seed=0, needs=(True,) * 3, change=None
):
    tensors = family_tensors(shape, boundary, dtype, seed)
    if change is not None:
        change(tensors)
    with tiling.forced(tiles):
        found = fused(tensors, needs, boundary=boundary)
    for result, (case, args) in zip(found, gradient_members(tensors, shape), strict=True):
        if result is not None:
            assert_exact(result, case, args, shape, boundary, "fft", tiles)


@pytest.fixture
def launched(monkeypatch):
    """The names of the launchers that are called."""
    names, original = [], _native.call
    monkeypatch.setattr(_native, "call", lambda *a: names.append(a[0]) or original(*a))
    return names


# Three tiles down and across, the last ones cut short; an odd number of bases.
SEVERAL = Shape(1, 3, 117, 131, 5, 13, 11)


@pytest.mark.parametrize("shared", [True, False])
def test_one_after_the_other_where_that_is_quicker(shared, launched, monkeypatch):
    monkeypatch.setattr(tiling, "is_one_sweep", lambda work, method: False)
    shape = SEVERAL._replace(count=2, kernels_shared=shared, mixing_shared=not shared)
    tensors = family_tensors(shape, "valid", torch.float32, 33)
    found = fused(tensors, boundary="valid")
    gradients = gradient_members(tensors, shape)
    assert launched == [f"{case.name}_cpu" for case, _ in gradients]
    for result, (case, args) in zip(found, gradients, strict=True):
        assert_exact(result, case, args, shape, "valid", "fft", None)


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_one_sweep_or_several(isa):
    def is_one(side, taps):
        work = Work("basis_blur_backward", 1, 3, 25, (side, side), (taps, taps), 4)
        return tiling._is_one_sweep(work, "auto", isa)

    assert is_one(1024, 33)
    assert is_one(256, 33)
    assert not is_one(256, 129)


@each_boundary
@each_subset
def test_equal_the_reference(boundary, needs):
    assert_gradients(SEVERAL, TILES, boundary, seed=1, needs=needs)


@each_boundary
@pytest.mark.parametrize("tiles", [Tiling(96, 64), Tiling(64, 64, 2, 3), DIRECT], ids=str)
def test_other_tiles_and_kernels_in_parts(boundary, tiles):
    for shape in (SEVERAL, Shape(2, 2, 60, 75, 4, 11, 13, kernels_shared=False)):
        assert_gradients(shape, tiles, boundary, seed=3)


@pytest.mark.parametrize("boundary", ["replicate", "circular", "zeros"])
def test_kernels_larger_than_the_image(boundary):
    assert_gradients(Shape(2, 1, 7, 5, 3, 33, 41), TILES, boundary, seed=5)
    assert_gradients(Shape(1, 1, 1, 130, 2, 67, 3), TILES, boundary, seed=6)


@each_subset
@pytest.mark.parametrize("kernels_shared", [True, False])
@pytest.mark.parametrize("mixing_shared", [True, False])
def test_batches_share_or_do_not(needs, kernels_shared, mixing_shared):
    # A mixing shared by the batch takes sweeps of its own.
    shape = Shape(3, 2, 78, 63, 3, 7, 9, kernels_shared, mixing_shared)
    assert_gradients(shape, TILES, "circular", seed=7, needs=needs)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 8])
def test_batches_of_many_channels(channels):
    # Four of these channels are held at a time; more take sweeps of their own.
    shape = Shape(2, channels, 37, 275, 3, 5, 5, mixing_shared=False)
    assert_gradients(shape, Tiling(256, 256), "replicate", torch.float64, seed=9)


@pytest.mark.parametrize("basis", [16, 17])
def test_as_many_pairs_as_are_held_and_one_more(basis):
    # A pair's products take 1 MB, and 8 MB are held.
    shape = Shape(1, 1, 31, 260, basis, 5, 5)
    assert_gradients(shape, Tiling(256, 256), "zeros", torch.float64, seed=11)


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_every_instruction_set_and_type(native, isa, dtype):
    if isa not in native.available_isas():
        pytest.skip(f"this processor or this build has no {isa}")
    native.force_isa(isa)
    shape = Shape(2, 3, 66, 71, 3, 9, 7, kernels_shared=False, mixing_shared=False)
    for boundary, tiles in (("reflect", TILES), ("valid", Tiling(64, 64, 2, 1))):
        assert_gradients(shape, tiles, boundary, dtype, seed=13)


def test_chunks_of_more_tiles_than_are_summed_in_one_go():
    assert_gradients(Shape(1, 1, 500, 520, 3, 47, 47), TILES, "zeros", seed=15)


@each_subset
@pytest.mark.parametrize("basis", [3, 4])
@pytest.mark.parametrize("tiles", [TILES, Tiling(64, 64, 2, 3)], ids=["whole", "parts"])
def test_zeros_are_left_out(needs, basis, tiles):
    """Of mixing, image and gradient over some tiles: neither too many nor too few."""

    def zeros(tensors):
        mixing, strips = tensors["mixing"], torch.arange(130) * 3 // 130
        for b in range(basis - 1):
            mixing[:, b] *= strips == b
        mixing[:, basis - 1] = 0
        tensors["image"][:, 0, :, :70] = 0
        tensors["image"][:, 1, 40:] = 0
        tensors["image"][1, 1] = 0
        tensors["grad"][:, 1, :, :60] = 0
        tensors["grad"][:, 2] = 0
        tensors["grad"][:, 2, 89, 129] = 1

    shape = Shape(2, 3, 90, 130, basis, 13, 11, mixing_shared=False)
    assert_gradients(shape, tiles, "circular", seed=17, needs=needs, change=zeros)


@pytest.mark.parametrize("name", ["image", "grad", "mixing"])
def test_nothing_but_zeros_gives_zeros(name):
    tensors = family_tensors(SEVERAL, "reflect", torch.float32, 19)
    tensors[name].zero_()
    with tiling.forced(TILES):
        for position, result in enumerate(fused(tensors)):
            # A gradient does not depend on what it is the gradient by.
            own = NAMES[position] == name
            assert bool(result.any()) == own, NAMES[position]


@pytest.mark.parametrize("what", ["image", "kernels", "mixing", "grad"])
def test_nan_reaches_all_that_depends_on_it(what):
    reference = {"backend": "reference", "method": "direct"}
    # The first pixel, one in the middle of vectors, and the last.
    for position in ((0, 0), (40, 61), (-1, -1)):
        tensors = family_tensors(SEVERAL, "reflect", torch.float32, 20)
        values = tensors[what]
        if what == "mixing":  # the only thing in its tile that is not zero
            values.zero_()
        index = tuple(i % n for i, n in zip(position, values.shape[-2:], strict=True))
        values[0, -1][index] = torch.nan
        one = torch.zeros_like(values)
        one[0, -1][index] = 1
        with tiling.forced(TILES):
            found = fused(tensors)
        for result, (case, args) in zip(found, gradient_members(tensors, SEVERAL), strict=True):
            if any(a is values for a in args):
                # Every member is linear: what a unit in its place changes is what depends on it.
                unit = tuple(one if a is values else a for a in args)
                reached = call(case.name, as_doubles(unit), **reference) != 0
                assert reached.any(), case.name
                assert result.isnan()[reached].all(), case.name


@pytest.mark.parametrize("boundary", ["reflect", "valid"])
def test_zero_taps_have_gradients_and_the_others_are_trimmed(boundary, monkeypatch):
    taps = []
    choose = tiling.choose
    monkeypatch.setattr(
        tiling, "choose", lambda work, method: (taps.append(work.taps), choose(work, method))[1]
    )

    def margins(tensors):
        tensors["kernels"][..., :3, :] = 0
        tensors["kernels"][..., 7:] = 0

    for needs in SUBSETS:
        assert_gradients(SEVERAL, TILES, boundary, seed=21, needs=needs, change=margins)
    assert taps == [(13, 11) if needs[1] else (10, 7) for needs in SUBSETS]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize(("boundary", "kernels_shared"), [("circular", True), ("reflect", False)])
def test_repeat_bit_for_bit_on_any_thread_count(dtype, boundary, kernels_shared, threads):
    # Groups of several tiles, whose windows overlap from one group to the next.
    shape = Shape(2, 2, 150, 170, 3, 27, 25, kernels_shared, mixing_shared=False)
    tensors = family_tensors(shape, boundary, dtype, 23)
    for needs in SUBSETS:
        results = []
        for count in (1, 2, 3, 5, 1):
            threads(count)
            with tiling.forced(TILES):
                results.append(fused(tensors, needs, boundary=boundary))
        for other in results[1:]:
            for a, b, needed in zip(results[0], other, needs, strict=True):
                assert not needed or torch.equal(a, b)


def test_equal_the_separate_members():
    """The same sums, those of the kernels' gradient in another order."""
    tensors = family_tensors(SEVERAL, "reflect", torch.float64, 25)
    with tiling.forced(TILES):
        together = fused(tensors)
        for result, (case, args) in zip(together, gradient_members(tensors, SEVERAL), strict=True):
            alone = call(case.name, args, backend="native")
            assert relative_error(result, alone) <= 4 * torch.finfo(torch.float64).eps, case.name


def test_inputs_are_left_alone_and_may_have_any_strides():
    tensors = family_tensors(SEVERAL, "circular", torch.float32, 27)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    with tiling.forced(TILES):
        expected = fused(tensors, boundary="circular")
        strided = {name: t.mT.contiguous().mT for name, t in tensors.items()}
        found = fused(strided, boundary="circular")
    assert all(torch.equal(tensors[name], before[name]) for name in before)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(g.is_contiguous() for g in found)


@pytest.mark.parametrize("shape", [Shape(0, 2, 5, 6, 2, 3, 3), Shape(2, 0, 5, 6, 2, 3, 3)])
def test_empty_images_have_gradients_of_zero(shape):
    tensors = family_tensors(shape, "reflect", torch.float32, 29)
    for name, result in zip(NAMES, fused(tensors), strict=True):
        assert result.shape == tensors[name].shape
        assert not result.any()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_image():
    """The goal is 32 MB per thread; one image of each basis would be 75 MB here."""
    for size in (64, 1536):  # the first call loads code, which is not the op's memory
        shape = Shape(1, 3, size, size, 8, 33, 33)
        tensors = family_tensors(shape, "circular", torch.float32, 31)
        extra, _ = measure(
            lambda tensors=tensors: fused(tensors, boundary="circular", method="fft")
        )
    assert extra <= 32


class TestAutograd:
    @staticmethod
    def leaves(shape, needs, seed=33, dtype=torch.float64):
        tensors = family_tensors(shape, "reflect", dtype, seed)
        return [
            tensors[n].requires_grad_(needed) for n, needed in zip(NAMES, needs, strict=True)
        ], tensors["grad"]

    @each_subset
    def test_uses_it_where_several_gradients_are_wanted(self, launched, needs):
        leaves, grad = self.leaves(Shape(1, 1, 9, 8, 2, 3, 5), needs)
        blurops.basis_blur(*leaves).backward(grad)
        assert launched == ["basis_blur_cpu", "basis_blur_backward_cpu"]
        expected = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        blurops.basis_blur(*leaves, backend="reference").backward(grad)
        for leaf, found, needed in zip(leaves, expected, needs, strict=True):
            assert (found is not None) == needed
            if needed:
                torch.testing.assert_close(found, leaf.grad)

    @pytest.mark.parametrize("position", range(3))
    def test_not_for_one(self, launched, position):
        leaves, grad = self.leaves(SEVERAL, [i == position for i in range(3)])
        blurops.basis_blur(*leaves, method="direct").backward(grad)
        assert "basis_blur_backward_cpu" not in launched

    def test_not_for_another_backend(self, launched):
        leaves, grad = self.leaves(Shape(1, 1, 9, 8, 2, 3, 5), (True, True, True))
        blurops.basis_blur(*leaves, backend="reference").backward(grad)
        assert launched == []

    @each_subset
    def test_the_adjoint_uses_it_for_kernels_and_mixing(self, launched, needs):
        leaves, _ = self.leaves(Shape(2, 1, 9, 8, 2, 3, 5), needs)
        blurops.basis_blur_adjoint(*leaves).square().sum().backward()
        assert launched.count("basis_blur_backward_cpu") == (needs[1] and needs[2])
        found = [leaf.grad for leaf in leaves if leaf.grad is not None]
        with torch.enable_grad():
            result = blurops.basis_blur_adjoint(*leaves, backend="reference").square().sum()
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        for a, b in zip(found, torch.autograd.grad(result, wanted), strict=True):
            torch.testing.assert_close(a, b)

    @each_boundary
    def test_gradients_to_second_order(self, boundary):
        shape = Shape(2, 1, 4, 5, 3, 3, 3, kernels_shared=False, mixing_shared=True)
        tensors = family_tensors(shape, boundary, torch.float64, 35)
        leaves = [tensors[n].requires_grad_() for n in NAMES]
        for op in (blurops.basis_blur, blurops.basis_blur_adjoint):
            if op is blurops.basis_blur_adjoint:
                leaves = [tensors[n].requires_grad_() for n in ("grad", *NAMES[1:])]

            def blur(*args, op=op):
                return op(*args, boundary=boundary, backend="native")

            with tiling.forced(TILES):
                assert torch.autograd.gradcheck(blur, leaves)
                assert torch.autograd.gradgradcheck(blur, leaves)

    def test_a_graph_of_the_gradient_is_that_gradient(self, launched):
        leaves, grad = self.leaves(Shape(1, 1, 67, 8, 2, 3, 5), (True, True, True))
        with tiling.forced(TILES):
            together = torch.autograd.grad(blurops.basis_blur(*leaves), leaves, grad)
            launched.clear()
            composed = torch.autograd.grad(
                blurops.basis_blur(*leaves), leaves, grad, create_graph=True
            )
        assert "basis_blur_backward_cpu" not in launched
        for a, b in zip(together, composed, strict=True):
            torch.testing.assert_close(a, b.detach())

    @pytest.mark.parametrize("dynamic", [False, True])
    def test_compiles_whole(self, dynamic):
        torch.compiler.reset()
        compiled = torch.compile(
            lambda *a: blurops.basis_blur(*a), fullgraph=True, dynamic=dynamic, backend="aot_eager"
        )
        for shape in (
            Shape(2, 2, 14, 15, 2, 3, 3, mixing_shared=False),
            Shape(3, 2, 7, 9, 4, 3, 3),
        ):
            results = []
            for op in (blurops.basis_blur, compiled):
                leaves, grad = self.leaves(shape, (True, True, True))
                op(*leaves).backward(grad)
                results.append([leaf.grad for leaf in leaves])
            assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

    def test_compiled_code_calls_it(self, launched):
        torch.compiler.reset()
        leaves, grad = self.leaves(Shape(1, 1, 9, 8, 2, 3, 5), (True, True, True))
        compiled = torch.compile(
            lambda *a: blurops.basis_blur(*a), fullgraph=True, backend="aot_eager"
        )
        compiled(*leaves).backward(grad)
        assert launched == ["basis_blur_cpu", "basis_blur_backward_cpu"]


@pytest.mark.parametrize("needs", [(True, True, True), (False, True, True)])
def test_opcheck(needs):
    shape = Shape(2, 2, 4, 5, 2, 3, 3, kernels_shared=False)
    for boundary in ("replicate", "valid"):
        tensors = family_tensors(shape, boundary, torch.float64, 37)
        args = [tensors[name] for name in ("grad", *NAMES)]
        torch.library.opcheck(
            torch.ops.blurops.basis_blur_backward, (*args, list(needs)), {"boundary": boundary}
        )
