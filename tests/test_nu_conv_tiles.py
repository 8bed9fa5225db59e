# SPDX-License-Identifier: BSD-3-Clause
"""NU-Conv by the tiles of the basis-mixed blur: every length, border, type and kind of picks."""

import math
from dataclasses import replace

import pytest
import torch

import blurops
from blurops import _native
from blurops._check import BOUNDARIES, DTYPES
from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work
from blurops.ops.nu_conv import tiling as choices
from blurops.testing import accuracy, dot_gap, random_tensor, relative_error
from tests.gather import Conv

pytestmark = pytest.mark.usefixtures("native")


def assert_tiles(shape, tile, boundary="reflect", dtype=torch.float32, seed=0, index=None):
    """Filtering, its adjoint and the gradient by the weights, against the reference in float64."""
    t = shape.tensors(boundary, dtype, seed)
    if index is not None:
        t["index"] = index(t["index"])
    field = (t["bank"], t["index"], t["weight"])
    wide = (t["bank"].double(), t["index"], t["weight"].double())
    allowed = accuracy(dtype, shape.terms()).relative
    for op, first in ((blurops.nu_conv, t["image"]), (blurops.nu_conv_adjoint, t["grad"])):
        wanted = op(first.double(), *wide, boundary=boundary, backend="reference")
        with tiling.forced(tile):
            found = op(first, *field, boundary=boundary, backend="native")
        assert relative_error(found, wanted) <= allowed, op
    args = (t["grad"], t["image"], t["bank"])
    options = (t["index"], shape.weight_shared)
    wanted = blurops.nu_conv_grad_weight(
        *(a.double() for a in args), *options, boundary=boundary, backend="reference"
    )
    with tiling.forced(tile):
        found = blurops.nu_conv_grad_weight(*args, *options, boundary=boundary, backend="native")
    assert relative_error(found, wanted) <= allowed


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_every_boundary_and_type(boundary, dtype):
    shape = Conv(2, 3, 61, 68, 7, 3, (9, 7), index_shared=False, weight_shared=False)
    assert_tiles(shape, Tiling(64, 64), boundary, dtype, seed=1)


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(native, isa):
    if isa not in native.available_isas():
        pytest.skip(f"this processor or this build has no {isa}")
    native.force_isa(isa)
    assert_tiles(Conv(1, 2, 70, 59, 5, 2, (7, 11)), Tiling(64, 96), seed=2)


@pytest.mark.parametrize("index_shared", [True, False])
@pytest.mark.parametrize("weight_shared", [True, False])
@pytest.mark.parametrize("picked", [1, 4])
def test_what_the_batch_shares(index_shared, weight_shared, picked):
    shape = Conv(3, 1, 33, 60, 6, picked, (5, 5), False, index_shared, weight_shared)
    assert_tiles(shape, Tiling(64, 64, 1, 2), "circular", seed=3)


@pytest.mark.parametrize("filters", [1, 2, 3])
def test_tiles_with_one_filter_or_an_odd_number(filters):
    # Of nine filters the last alone, the fourth and the last, or three of them.
    chosen = {1: [8], 2: [3, 8], 3: [1, 2, 6]}[filters]

    def few(index):
        index = torch.tensor(chosen, dtype=torch.int32)[index.long() % filters]
        index[..., 60:] = 5
        return index

    for channels in (1, 2, 3):
        shape = Conv(1, channels, 40, 90, 9, 2, (5, 5))
        assert_tiles(shape, Tiling(64, 64), "zeros", seed=4, index=few)


def test_a_filter_picked_twice_has_both_weights():
    assert_tiles(
        Conv(1, 1, 30, 30, 4, 3, (3, 3)), Tiling(64, 64), index=lambda i: i[:, :1].expand_as(i)
    )


def test_channels_in_groups_and_shared_weights_are_summed_over_the_taps():
    # Five channels' spectra of 256 x 256 doubles are more than are held at a time.
    assert_tiles(Conv(1, 5, 30, 30, 4, 2, (3, 3)), Tiling(256, 256), dtype=torch.float64, seed=19)


def test_the_gradient_of_a_zero_image_is_zero():
    shape = Conv(1, 1, 64, 64, 3, 2, (5, 5))
    t = shape.tensors("reflect", torch.float32, 20)
    with tiling.forced(Tiling(64, 64)):
        found = blurops.nu_conv_grad_weight(t["grad"], 0 * t["image"], t["bank"], t["index"])
    assert not found.any()


def test_weights_of_zero_pick_nothing():
    t = Conv(1, 2, 64, 64, 3, 2, (5, 5)).tensors("reflect", torch.float32, 5)
    t["weight"][:] = 0
    with tiling.forced(Tiling(64, 64)):
        out = blurops.nu_conv(t["image"], t["bank"], t["index"], t["weight"])
        spread = blurops.nu_conv_adjoint(t["grad"], t["bank"], t["index"], t["weight"])
    assert not out.any()
    assert not spread.any()


def test_the_adjoint_is_the_transpose():
    shape = Conv(1, 3, 90, 101, 12, 4, (11, 9))
    for boundary in BOUNDARIES:
        t = shape.tensors(boundary, torch.float64, 6)
        field = (t["bank"], t["index"], t["weight"])
        sizes = (t["bank"].abs(), t["index"], t["weight"].abs())
        with tiling.forced(Tiling(64, 96)):
            gap = dot_gap(
                lambda x: blurops.nu_conv(x, *field, boundary=boundary),  # noqa: B023
                lambda y: blurops.nu_conv_adjoint(y, *field, boundary=boundary),  # noqa: B023
                lambda x: blurops.nu_conv(x, *sizes, boundary=boundary),  # noqa: B023
                t["image"], t["grad"],
            )  # fmt: skip
        assert gap <= accuracy(torch.float64, shape.terms()).dot


def real(*shape, seed):
    return random_tensor(shape, torch.float32, seed)


def smooth(size, filters):
    """Neighbouring pixels pick the same filters: five stripes, the weights between two of them."""
    place = torch.linspace(0, 4 - 1e-3, size).expand(size, size)
    first = place.int()
    weight = (place - first)[None, None]
    index = torch.stack([first, first + 1])[None] * (filters // 5)
    return index.int().contiguous(), torch.cat([1 - weight, weight], 1).contiguous()


def by(method, image, bank, index, weight):
    return blurops.nu_conv(image, bank, index, weight, method=method, backend="native")


def test_smooth_picks_take_tiles_and_random_ones_do_not():
    image, bank = (
        real(1, 3, 256, 256, seed=7),
        real(400, 31, 31, seed=8),
    )
    index, weight = smooth(256, 400)
    tiles, direct = (by(m, image, bank, index, weight) for m in ("fft", "direct"))
    assert relative_error(tiles, direct) <= 2 * accuracy(torch.float32, 2 * 31 * 31).relative
    assert not torch.equal(tiles, direct)
    assert torch.equal(by("auto", image, bank, index, weight), tiles)
    index = torch.randint(400, index.shape, generator=torch.manual_seed(9), dtype=torch.int32)
    direct = by("direct", image, bank, index, weight)
    assert torch.equal(by("auto", image, bank, index, weight), direct)


def test_few_taps_are_summed():
    image, bank = (
        real(1, 1, 200, 200, seed=10),
        real(10, 3, 3, seed=11),
    )
    index, weight = smooth(200, 10)
    direct = by("direct", image, bank, index, weight)
    assert torch.equal(by("auto", image, bank, index, weight), direct)


def test_a_bank_whose_spectra_are_large_is_summed_over():
    # 2,500 spectra of 64 x 64 complex numbers would take 82 MB, those of half of them 41.
    image, weight = real(1, 1, 64, 64, seed=12), torch.ones(1, 1, 64, 64)
    bank = real(2500, 3, 3, seed=13)
    index = (torch.arange(64 * 64, dtype=torch.int32) % 2500).view(1, 1, 64, 64)
    direct = by("direct", image, bank, index, weight)
    with tiling.forced(Tiling(64, 64)):
        assert torch.equal(by("auto", image, bank, index, weight), direct)
        assert not torch.equal(by("auto", image, bank, index // 2, weight), direct)


def test_any_number_of_threads_gives_the_same_bits():
    image, bank = (
        real(2, 3, 200, 180, seed=14),
        real(20, 9, 9, seed=15),
    )
    index = torch.randint(20, (1, 2, 200, 180), generator=torch.manual_seed(1), dtype=torch.int32)
    weight = real(1, 2, 200, 180, seed=16)
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with tiling.forced(Tiling(64, 64)):
                found.append((
                    blurops.nu_conv(image, bank, index, weight),
                    blurops.nu_conv_adjoint(image, bank, index, weight),
                    blurops.nu_conv_grad_weight(image, image, bank, index),
                ))  # fmt: skip
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_gradients_go_through_tiles():
    shape = Conv(1, 1, 12, 11, 3, 2, (3, 3))
    t = shape.tensors("replicate", torch.float64, 17)
    tensors = [t[name].requires_grad_() for name in ("image", "bank", "weight")]

    def filtered(image, bank, weight):
        return blurops.nu_conv(image, bank, t["index"], weight, boundary="replicate", method="fft")

    assert torch.autograd.gradcheck(filtered, tensors)
    own = Conv(1, 2, 12, 11, 3, 2, (3, 3), own=True).tensors("zeros", torch.float32, 18)
    with pytest.raises(NotImplementedError, match="has no spectra"):
        blurops.nu_conv(own["image"], own["bank"], own["index"], own["weight"], method="fft")


def test_the_budget_is_what_the_taps_would_cost():
    work = Work("basis_blur", 1, 3, 300, (1024, 1024), (31, 31), 4)
    tiles, budget = choices.choose(work, 4, "auto")
    assert tiles.height > 0
    more, less = (choices.choose(work, picked, "auto").budget for picked in (8, 1))
    assert less < budget < more
    # A blur with so many bases takes the direct method's time, but for finding the weights.
    filters = (
        2 * budget / work.channels / math.prod(tiling.tile_counts((1024, 1024), (31, 31), tiles))
    )
    isa = _native.module().isa()
    mixed = tiling.tiled_time(
        replace(work, basis=2 * round(filters / 2)), tiles, tiling.costs_of(isa)
    )
    direct = choices.direct_time(work, 4, isa)
    assert direct / 3 < mixed < direct
    assert choices.choose(work, 4, "direct") == (DIRECT, 0)
