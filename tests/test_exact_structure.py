# SPDX-License-Identifier: BSD-3-Clause
"""What the native paths leave out: zero taps around the kernels, bases that a tile does not mix.

And what they must not: a single coefficient that is not zero, a NaN.
"""

import functools

import pytest
import torch

from blurops import _native
from blurops._check import BOUNDARIES
from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling
from blurops.testing import Shape, family_tensors
from tests.family import as_doubles, assert_family, call, members

pytestmark = pytest.mark.usefixtures("native")
TILES = Tiling(64, 64)
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
each_method = pytest.mark.parametrize("tiles", [DIRECT, TILES], ids=["direct", "tiles"])

# (rows, columns) that hold all taps that are not zero, of 13 x 11.
BOXES = {
    "even margins": (slice(2, 11), slice(4, 7)),
    "odd margins": (slice(3, 12), slice(1, 4)),
    "left of the centre": (slice(0, 4), slice(0, 2)),
    "right of the centre": (slice(9, 13), slice(8, 11)),
    "first tap": (slice(0, 1), slice(0, 1)),
    "last tap": (slice(12, 13), slice(10, 11)),
    "one row": (slice(8, 9), slice(0, 11)),
    "nothing": (slice(0, 0), slice(0, 0)),
}


def in_tiles(member, tensors):
    args = {case.name: args for case, args in members(tensors, FIELD)}[member]
    with tiling.forced(TILES):
        return call(member, args, boundary="zeros", backend="native")


def boxed(tensors, box):
    """Zeros outside the box, negative taps in it, and one kernel that fills only a corner."""
    kernels = tensors["kernels"].abs_().neg_()
    inside = torch.zeros(kernels.shape[-2:], dtype=torch.bool)
    inside[box] = True
    kernels *= inside
    kernels[:, 0, : box[0].stop - 1] = 0


@each_method
@each_boundary
@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_zero_taps_around_the_kernels(tiles, boundary, box):
    for size in ((30, 70), (13, 14)):
        shape = Shape(2, 2, *size, 3, 13, 11, kernels_shared=False)
        assert_family(shape, tiles, boundary, seed=1, change=lambda t: boxed(t, box))


@pytest.mark.parametrize("member", ["basis_blur", "basis_blur_adjoint", "basis_blur_grad_mixing"])
def test_zero_taps_are_not_paid_for(monkeypatch, member):
    shape = Shape(1, 2, 30, 40, 3, 13, 11)
    tensors = family_tensors(shape, "zeros", torch.float32, 2)
    boxed(tensors, BOXES["odd margins"])
    seen = []
    choose = tiling.choose
    monkeypatch.setattr(
        tiling, "choose", lambda work, method: (seen.append(work.taps), choose(work, method))[1]
    )
    (args,) = (args for case, args in members(tensors, shape) if case.name == member)
    call(member, args, boundary="zeros", backend="native")
    assert seen == [(9, 3)]


# 13 x 11 kernels leave 52 x 54 pixels to a 64-point tile: 2 x 3 tiles, the last ones cut.
FIELD = Shape(1, 2, 90, 130, 5, 13, 11)


@pytest.mark.parametrize(
    "pixel", [(0, 0), (51, 53), (52, 54), (20, 107), (89, 0), (0, 129), (89, 129)], ids=str
)
@pytest.mark.parametrize("basis", [0, 1, 4])
def test_one_pixel_of_mixing_is_enough(pixel, basis):
    def only(tensors):
        value = float(tensors["mixing"][0, basis][pixel])
        tensors["mixing"].zero_().neg_()
        tensors["mixing"][0, basis][pixel] = value

    assert_family(FIELD, TILES, "reflect", seed=3, change=only)


def in_segments(tensors):
    """Each basis is mixed in one vertical strip; the last one nowhere."""
    mixing = tensors["mixing"]
    strips = torch.arange(mixing.shape[-1]) * 4 // mixing.shape[-1]
    for b in range(mixing.shape[1]):
        mixing[:, b] *= strips == b


@pytest.mark.parametrize("mixing_shared", [True, False])
@pytest.mark.parametrize("tiles", [TILES, Tiling(64, 64, 2, 3)], ids=["whole", "parts"])
@each_boundary
def test_segments(tiles, boundary, mixing_shared):
    shape = FIELD._replace(count=2, mixing_shared=mixing_shared)
    assert_family(shape, tiles, boundary, seed=5, change=in_segments)


# The bases that each of the three columns of tiles mixes.
PLACES = {
    "one": ((0,), (3,), (4,)),
    "two of different pairs": ((1, 2), (0, 4), (0, 3)),
    "three": ((0, 2, 4), (1, 2, 3), (0, 1, 3)),
    "none": ((), (2,), ()),
}


def only_at(places):
    def change(tensors):
        for column, bases in enumerate(places):
            for b in set(range(5)) - set(bases):
                tensors["mixing"][:, b, :, 54 * column : 54 * (column + 1)] = 0

    return change


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_tiles_that_mix_few_bases(places, channels):
    for tiles, boundary, shared in (
        (TILES, "reflect", True),
        (TILES, "valid", False),
        (Tiling(64, 64, 2, 3), "circular", True),
    ):
        shape = FIELD._replace(count=2, channels=channels, kernels_shared=shared)
        assert_family(shape, tiles, boundary, seed=15, change=only_at(places))


@each_boundary
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_one_basis_for_all(boundary, channels):
    def dark(tensors):
        tensors["image"][:, -1] = 0
        tensors["grad"][:, 0, :70] = 0

    shape = FIELD._replace(channels=channels, basis=1)
    assert_family(shape, TILES, boundary, seed=17)
    assert_family(shape, TILES, boundary, seed=17, change=dark)


@pytest.mark.parametrize("tiles", [TILES, Tiling(64, 64, 2, 3)], ids=["whole", "parts"])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_that_share_transforms(tiles, channels):
    """Under a single basis neighbours do; here some mix nothing, and some see nothing."""

    def dark(tensors):
        tensors["mixing"][..., :54, 54:108] = 0
        tensors["image"][..., :50, :] = 0
        tensors["grad"][..., 60:] = 0

    for boundary, size in (("reflect", (120, 170)), ("valid", (150, 70)), ("circular", (54, 54))):
        for shared in (True, False):
            shape = Shape(2, channels, *size, 1, 13, 11, kernels_shared=shared)
            assert_family(shape, tiles, boundary, seed=27)
            assert_family(shape, tiles, boundary, seed=27, change=dark)


@pytest.mark.parametrize("member", ["basis_blur", "basis_blur_adjoint"])
def test_a_tile_that_mixes_nothing_leaves_its_neighbour_alone(member):
    tensors = family_tensors(FIELD._replace(channels=1, basis=1), "zeros", torch.float32, 29)
    tensors["mixing"][..., :54] = 0
    poisoned = dict(tensors, image=tensors["image"].clone(), grad=tensors["grad"].clone())
    poisoned["image"][..., :40] = torch.nan
    poisoned["grad"][..., :54] = torch.nan
    got, expected = (in_tiles(member, given) for given in (poisoned, tensors))
    assert torch.equal(got, expected)
    assert expected.any()


def test_channels_that_are_shared_out_are_as_they_would_be_together():
    """Of one image a group of the adjoint has few tiles, whose channels threads share out."""
    tensors = family_tensors(FIELD._replace(count=1), "reflect", torch.float32, 31)
    args = {case.name: args for case, args in members(tensors, FIELD)}["basis_blur_adjoint"]
    with tiling.forced(TILES):
        alone = call("basis_blur_adjoint", args, backend="native")
        many = (args[0].expand(8, -1, -1, -1), *args[1:])
        together = call("basis_blur_adjoint", many, backend="native")
    assert torch.equal(together, alone.expand_as(together))


@pytest.mark.parametrize("dtype", _native.DTYPE_CODES, ids=lambda dtype: str(dtype)[6:])
def test_the_support_of_kernels(dtype):
    """A negative zero is one; a NaN and the smallest number are not."""
    kernels = torch.full((2, 9, 11), -0.0, dtype=dtype)
    ask = functools.partial(_native.ask, "kernel_support", _native.DTYPE_CODES[dtype], 2, 9, 11)
    assert ask(kernels)[:2] == [9, 0]
    kernels[1, 6, 2] = torch.nan
    assert ask(kernels) == [6, 7, 2, 3]
    kernels[0, 3, 8] = torch.finfo(dtype).smallest_normal
    assert ask(kernels) == [3, 7, 2, 9]
    kernels[0, 4, 10], kernels[1, 8, 0] = 1, -1
    assert ask(kernels) == [3, 9, 0, 11]


def test_more_single_kernels_than_memory_is_taken_for():
    """33 spectra of 256 x 256 are more than 16 MB: the neighbours' pairs have to serve."""

    def every_other(tensors):
        tensors["mixing"][:, 1::2] = 0

    shape = Shape(1, 1, 20, 30, 66, 3, 3)
    assert_family(shape, Tiling(256, 256), "reflect", seed=21, change=every_other)


@pytest.mark.parametrize("mixed", [(0,), (1,), (4,), (1, 2)], ids=str)
@pytest.mark.parametrize("member", ["basis_blur", "basis_blur_adjoint"])
def test_bases_that_a_tile_does_not_mix_are_not_computed(member, mixed):
    """Their kernels cannot matter there, whatever they hold."""
    tensors = family_tensors(FIELD, "zeros", torch.float32, 19)
    only_at((mixed, range(5), range(5)))(tensors)
    if member == "basis_blur_adjoint":  # tiles overlap: nothing but the first may be spread
        tensors["grad"][..., 54:] = 0
    poisoned = dict(tensors, kernels=tensors["kernels"].clone())
    others = [b for b in range(5) if b not in mixed]
    poisoned["kernels"][:, others] = torch.nan
    got, expected = (in_tiles(member, given) for given in (poisoned, tensors))
    assert torch.equal(got[..., :54], expected[..., :54])


@pytest.mark.parametrize("tiles", [TILES, Tiling(64, 64, 2, 3)], ids=["whole", "parts"])
@pytest.mark.parametrize("basis", [3, 4])
def test_channels_that_are_zero_over_some_tiles(tiles, basis):
    def dark(tensors):
        tensors["image"][:, 0, :, :70] = 0
        tensors["image"][:, 1, 40:] = 0
        tensors["image"][1, 1] = 0
        tensors["grad"][:, 1, :, :60] = 0
        tensors["grad"][:, 2] = 0
        tensors["grad"][:, 2, 89, 129] = 1

    shape = Shape(2, 3, 90, 130, basis, 13, 11)
    assert_family(shape, tiles, "circular", seed=13, change=dark)


def test_no_mixing_at_all_gives_zero():
    tensors = family_tensors(FIELD, "reflect", torch.float32, 7)
    tensors["mixing"].zero_()
    for case, args in members(tensors, FIELD):
        if case.name != "basis_blur_grad_mixing":
            with tiling.forced(TILES):
                assert not call(case.name, args, backend="native").any(), case.name


def test_a_pair_that_a_tile_does_not_mix_is_not_computed():
    """The kernels of such a pair cannot matter there, whatever they hold."""
    tensors = family_tensors(FIELD, "zeros", torch.float32, 9)
    mixing = tensors["mixing"]
    mixing[:, 0, :, :54] = 0.0
    mixing[:, 1, :, :54] = -0.0
    clean = dict(tensors)
    tensors = {**tensors, "kernels": tensors["kernels"].clone()}
    tensors["kernels"][:, :2] = torch.nan
    poisoned, expected = (in_tiles("basis_blur", given) for given in (tensors, clean))
    assert torch.equal(poisoned[..., :54], expected[..., :54])
    assert poisoned[..., 54:].isnan().all()


@each_method
@each_boundary
@pytest.mark.parametrize("what", ["image", "grad", "mixing", "kernels"])
def test_nan_reaches_all_that_depends_on_it(tiles, boundary, what):
    reference = {"boundary": boundary, "backend": "reference", "method": "direct"}
    # The first pixel, one in the middle of vectors, and the last.
    for position in ((0, 0), (40, 61), (-1, -1)):
        tensors = family_tensors(FIELD, boundary, torch.float32, 11)
        values = tensors[what]
        if what == "mixing":  # the only thing in its tile that is not zero
            values.zero_()
        index = tuple(i % n for i, n in zip(position, values.shape[-2:], strict=True))
        values[0, -1][index] = torch.nan
        one = torch.zeros_like(values)
        one[0, -1][index] = 1
        for case, args in members(tensors, FIELD):
            if not any(a is values for a in args):
                continue
            # Every member is linear: what a unit in its place changes is what depends on it.
            unit = tuple(one if a is values else a for a in args)
            reached = call(case.name, as_doubles(unit), **reference) != 0
            with tiling.forced(tiles):
                result = call(case.name, args, boundary=boundary, backend="native")
            assert reached.any(), case.name
            assert result.isnan()[reached].all(), case.name
