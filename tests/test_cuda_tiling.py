# SPDX-License-Identifier: BSD-3-Clause
"""The rule by which ``method="auto"`` picks a method on CUDA, by numbers worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from blurops.ops.basis_blur import cuda_tiling, tiling
from blurops.ops.basis_blur.tiling import DIRECT, Tiling, Work

WORK = Work("basis_blur_grad_mixing", 1, 3, 25, (1024, 1024), (33, 33), 4)
ROOM = 227 << 10  # of shared memory, sm_90
MEMBERS = ("basis_blur", "basis_blur_adjoint", "basis_blur_grad_kernels", "basis_blur_grad_mixing")


def choose(work=WORK, method="auto", high=False, widest=77, room=ROOM):
    return cuda_tiling.choose(work, method, high, widest, room)


def test_direct_features_by_hand():
    # Five groups of eight taps, two products of 16 bases, one group of channels.
    found = cuda_tiling.direct_features(WORK, high=False)
    assert found == {
        "basis_blur_grad_mixing_synthesis": 1024 * 1024 * 33 * 5 * 2,
        "basis_blur_grad_mixing_use": 1024 * 1024 * 33 * 40 * 3,
        "packing": 1024 * 1024 * 25,
        "direct_call": 1,
    }
    # 75 listed bases are five products, in groups of two; a strip is 64 wide.
    found = cuda_tiling.direct_features(replace(WORK, size=(10, 65), channels=4), high=True)
    assert found["basis_blur_grad_mixing_synthesis"] == 10 * 128 * 33 * 2 * 5 * 6
    assert found["basis_blur_grad_mixing_use"] == 10 * 128 * 33 * 2 * 40 * 3


def test_tiled_features_by_hand():
    # 32 pixels a tile: 32 x 32 tiles of three channels, 13 pairs.
    found = cuda_tiling.tiled_features(WORK, Tiling(64, 64))
    assert found == {
        "basis_blur_grad_mixing_points64": 3072 * 13 * 4096,
        "product": 3072 * 13 * 4096 / 2,
        "mixing": 1024 * 1024 * 25 * 3,
        "window": (3072 + 13) * 4096,
        "tiled_call": 1,
    }
    # 112 pixels a tile: 10 x 10 of them; four parts.
    found = cuda_tiling.tiled_features(WORK, Tiling(128, 128, 2, 2))
    assert found["basis_blur_grad_mixing_points128"] == 300 * 13 * 128**2
    assert found["product"] == 4 * 300 * 13 * 128**2
    assert found["window"] == 4 * (300 + 13) * 128**2


def test_the_cheaper_one_is_taken(monkeypatch):
    nothing = dict.fromkeys(cuda_tiling.costs_now(), 0.0)
    for dear, wanted in (
        ("basis_blur_grad_mixing_points64", 128),
        ("basis_blur_grad_mixing_points128", 64),
    ):
        costs = {**nothing, dear: 1.0, "direct_call": 1.0}
        monkeypatch.setattr(cuda_tiling, "costs_now", lambda costs=costs: costs)
        cuda_tiling._choose.cache_clear()
        assert choose().height == wanted
        costs["tiled_call"] = 2.0
        cuda_tiling._choose.cache_clear()
        assert choose() == DIRECT
        assert choose(method="fft").height == wanted
    cuda_tiling._choose.cache_clear()


def test_a_blur_and_its_adjoint_decide_alike():
    """Or they would round differently. So would an image and two of its kind in one call."""
    for kernel in range(1, 101, 4):
        for basis in (4, 25):
            for few, many in ((1, 2), (3, 6)):
                work = replace(WORK, taps=(kernel, kernel), basis=basis)
                found = {
                    choose(replace(work, member=member, channels=channels, count=count))
                    for member in MEMBERS[:2]
                    for channels in (few, many)
                    for count in (1, 5)
                }
                assert len(found) == 1, (kernel, basis, few)


def test_what_is_possible_bounds_the_choice():
    wide = replace(WORK, taps=(3, 79))
    assert choose(method="direct") == DIRECT
    assert choose(wide).height > 0
    assert choose(replace(wide, taps=(3, 77)), method="direct") == DIRECT
    for kernel in (1, 33, 65, 201):
        found = choose(replace(WORK, taps=(kernel, kernel)), "fft", room=99 << 10)
        assert found.height == 64
    # No tile is smaller than its part of the kernels.
    for taps in ((1, 1), (33, 65), (129, 3), (401, 401)):
        for tiles in cuda_tiling.candidates(taps, ROOM):
            assert -(-taps[0] // tiles.parts_down) < tiles.height
            assert -(-taps[1] // tiles.parts_across) < tiles.width


def test_the_rule_has_both_sides():
    """By the constants that ship: small kernels of many channels are synthesised, large are not."""
    for member in MEMBERS:
        small = replace(WORK, member=member, taps=(9, 9))
        assert choose(small) == DIRECT
        assert choose(replace(small, taps=(65, 65))).height == 128
        assert choose(replace(small, taps=(33, 33), channels=1)).height > 0


def test_forced_tiles_are_taken():
    with tiling.forced(Tiling(64, 64, 1, 9)):
        assert choose(replace(WORK, taps=(65, 5))) == Tiling(64, 64, 2, 5)
    with tiling.forced(DIRECT):
        assert choose(replace(WORK, taps=(65, 65)), "fft") == DIRECT


def test_the_file_has_every_constant_and_says_where_they_come_from():
    path = Path(cuda_tiling.__file__).with_name(cuda_tiling.FILE)
    found = json.loads(path.read_text())
    assert found["origin"].split()[0] in ("predicted", "measured")
    works = [replace(WORK, member=member) for member in MEMBERS]
    needed = {name for work in works for name in cuda_tiling.direct_features(work, False)}
    for tiles in cuda_tiling.candidates((33, 33), ROOM):
        needed |= {name for work in works for name in cuda_tiling.tiled_features(work, tiles)}
    assert set(found["nanoseconds"]) == needed
    assert all(value >= 0 for value in found["nanoseconds"].values())


@pytest.mark.parametrize("given", [{"shared_memory_per_block_optin": 5}, {}])
def test_the_devices_shared_memory_is_asked_for(given, monkeypatch):
    class Properties:
        pass

    properties = Properties()
    for name, value in given.items():
        setattr(properties, name, value)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: properties)
    # An older torch does not tell: the smaller tiles fit every device.
    assert cuda_tiling.shared_bytes(None) == (5 if given else 64 * 66 * 8)
