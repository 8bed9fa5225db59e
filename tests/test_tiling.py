# SPDX-License-Identifier: BSD-3-Clause
"""Which method and which tiles are chosen, and that every choice can be run."""

import json
from importlib import resources

import pytest
import torch

import blurops
from blurops import _native
from blurops.ops.basis_blur import native as native_backend
from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work
from blurops.testing import Shape, family_tensors
from tests.family import assert_family

pytestmark = pytest.mark.usefixtures("native")

MEMBERS = (
    "basis_blur",
    "basis_blur_adjoint",
    "basis_blur_grad_kernels",
    "basis_blur_grad_mixing",
    "basis_blur_backward",
)
ISAS = ("baseline", "avx2", "avx512")
each_member = pytest.mark.parametrize("member", MEMBERS)


def work(member, side, size=(720, 1280), basis=25, element=4):
    return Work(member, 1, 3, basis, size, (side, side), element)


@each_member
@pytest.mark.parametrize("isa", ISAS)
def test_small_kernels_go_direct_and_large_ones_to_tiles(native, member, isa):
    if isa not in native.available_isas():
        pytest.skip(f"this processor or this build has no {isa}")
    native.force_isa(isa)
    assert tiling.choose(work(member, 3), "auto") == DIRECT
    assert tiling.choose(work(member, 33), "auto").height > 0
    assert tiling.choose(work(member, 129), "auto").height > 0


@each_member
def test_the_method_asked_for_is_used(member):
    assert tiling.choose(work(member, 65), "direct") == DIRECT
    assert tiling.choose(work(member, 1), "fft").height > 0


@each_member
def test_the_choice_does_not_depend_on_threads(member, threads):
    chosen = set()
    for count in (1, 2, 5):
        threads(count)
        tiling._choose.cache_clear()
        chosen.add(tuple(tiling.choose(work(member, side), "auto") for side in (3, 9, 33, 65)))
    assert len(chosen) == 1


def test_a_benchmark_sees_the_choice():
    chosen = native_backend.tile_of("basis_blur", (1, 3, 720, 1280), (1, 25, 33, 33))
    assert chosen == tiling.choose(work("basis_blur", 33), "auto")


@pytest.mark.parametrize("taps", [(1, 1), (2, 5), (33, 33), (129, 7), (200, 301)], ids=str)
def test_candidates_fit(taps):
    found = tiling.candidates(taps)
    assert {(t.height, t.width) for t in found} == {
        (h, w) for h in _native.module().tile_lengths() for w in _native.module().tile_lengths()
    }
    for tiles in found:
        for taps_along, length, parts in zip(taps, tiles[:2], tiles[2:], strict=True):
            part = -(-taps_along // parts)
            assert 1 <= part <= length * 3 // 4
            # The last part has a tap of its own.
            assert 0 < taps_along - (parts - 1) * part <= part


@pytest.mark.parametrize("kernel", [(1, 1), (3, 31), (65, 9)], ids=str)
def test_every_candidate_can_be_run(kernel):
    for tiles in tiling.candidates(kernel):
        assert_family(Shape(1, 1, 20, 24, 1, *kernel), tiles, "circular", truth="fft")


def test_more_parts_than_taps_become_one_each():
    with tiling.forced(Tiling(64, 64, 9, 9)):
        assert tiling.choose(work("basis_blur", 5), "auto") == Tiling(64, 64, 5, 5)
    with tiling.forced(Tiling(64, 64, 4, 4)):  # three parts of three taps leave none for a fourth
        assert tiling.choose(work("basis_blur", 9), "auto") == Tiling(64, 64, 3, 3)
    with tiling.forced(Tiling(64, 96)):
        assert tiling.choose(work("basis_blur", 101), "auto") == Tiling(64, 96, 3, 2)


def test_tile_counts():
    # 64 - 9 + 1 = 56 rows; parts of 5 taps leave 60 columns.
    assert tiling.tile_counts((112, 120), (9, 9), Tiling(64, 64, 1, 2)) == (2, 2)
    assert tiling.tile_counts((113, 121), (9, 9), Tiling(64, 64, 1, 2)) == (3, 3)


def test_costs_hold_every_constant_of_every_instruction_set(native):
    costs = json.loads(resources.files("blurops.ops.basis_blur").joinpath("costs.json").read_text())
    assert set(native.available_isas()) <= set(costs)
    needed = set()
    for member in MEMBERS:
        needed |= set(tiling.direct_features(work(member, 9)))
        for tiles in tiling.candidates((9, 9)):
            needed |= set(tiling.tiled_features(work(member, 9), tiles))
    for isa, constants in costs.items():
        assert set(constants) >= needed, isa
        assert all(value >= 0 for value in constants.values())
        assert all(constants[f"transform{n}"] > 0 for n in native.tile_lengths())


def test_the_model_grows_with_the_work():
    costs = tiling.costs_of("baseline")
    tiles = Tiling(128, 128)
    for larger in (
        work("basis_blur", 33, size=(1440, 1280)),
        work("basis_blur", 65),
        work("basis_blur", 33, basis=50),
        work("basis_blur", 33, element=8),
    ):
        once = work("basis_blur", 33)
        assert tiling.tiled_time(larger, tiles, costs) > tiling.tiled_time(once, tiles, costs)
        assert tiling.direct_time(larger, costs) > tiling.direct_time(once, costs)


def test_forced_tiles_end_with_their_block():
    sample = work("basis_blur", 33)
    free = tiling.choose(sample, "auto")
    with tiling.forced(Tiling(64, 256)):
        with tiling.forced(DIRECT):
            assert tiling.choose(sample, "fft") == DIRECT
        assert tiling.choose(sample, "direct") == Tiling(64, 256)
    assert tiling.choose(sample, "auto") == free
    with pytest.raises(RuntimeError, match="inside"), tiling.forced(DIRECT):
        raise RuntimeError("inside")
    assert tiling.choose(sample, "auto") == free


def test_auto_runs_what_was_chosen(monkeypatch):
    tensors = family_tensors(Shape(1, 2, 50, 60, 4, 15, 15), "zeros", torch.float32, 1)
    args = [tensors[name] for name in ("image", "kernels", "mixing")]
    calls = []
    original = _native.call
    monkeypatch.setattr(
        _native, "call", lambda name, *a: (calls.append(a[2][-4:]), original(name, *a))
    )
    for method in ("direct", "fft", "auto"):
        blurops.basis_blur(*args, boundary="zeros", backend="native", method=method)
    sample = Work("basis_blur", 1, 2, 4, (50, 60), (15, 15), 4)
    assert calls == [tuple(tiling.choose(sample, m)) for m in ("direct", "fft", "auto")]
    assert calls[0] == tuple(DIRECT)
    assert calls[1][0] > 0
