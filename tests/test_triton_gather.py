# SPDX-License-Identifier: BSD-3-Clause
"""NU-Conv and motion blur in Triton beyond the contract, which they meet as one of its paths."""

import pytest
import torch

import blurops
from blurops.ops.motion_blur import native as native_motion
from blurops.ops.motion_blur import triton as motion
from blurops.ops.nu_conv import native as native_conv
from blurops.ops.nu_conv import triton as conv
from blurops.testing import accuracy, random_tensor, relative_error
from tests.backends import options
from tests.gather import CASES, CONVS, MOTIONS, Conv, Motion, assert_missing_stays
from tests.test_triton import Largest

OPTIONS = {"boundary": "replicate", "method": "auto", "precision": "default"}
CAPS = {**OPTIONS, "caps": "fspecial"}


@pytest.fixture(autouse=True)
def _triton_is_there():
    options("triton")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_choice_and_refusals(case, monkeypatch):
    shape = Conv(1, 1, 3, 3, 2, 1, (3, 3)) if case.kind is Conv else Motion(1, 1, 3, 3, 2.0)
    args = case.args(shape, "zeros", torch.float32, 1)
    family, native = (conv, native_conv) if case.kind is Conv else (motion, native_motion)
    chosen = {"method": "auto", "backend": "triton"}
    assert family.supports(args, chosen) is None
    assert "no spectra" in family.supports(args, {**chosen, "method": "fft"})
    assert "GPUs only" in family.supports(args, {**chosen, "backend": None})
    vast = torch.zeros(1).expand(1, 1, 46341, 46341)
    assert "32 bits" in family.supports((vast, *args[1:]), chosen)
    # After the native backend, before the reference.
    taken = []
    for module, name in ((native, "native"), (family, "triton")):
        monkeypatch.setattr(module, "supports", lambda args, options: None)
        monkeypatch.setattr(
            module, case.name, lambda *a, name=name, **k: taken.append(name) or a[0].clone()
        )
    case.op(*args, boundary="zeros")
    monkeypatch.setattr(native, "supports", lambda args, options: "no")
    case.op(*args, boundary="zeros")
    assert taken == ["native", "triton"]


class TestValuesNobodyLookedAt:
    """On a GPU values are clamped on the device; here the functions are called without checks."""

    @pytest.mark.parametrize("case", CONVS, ids=str)
    def test_an_index_outside_the_bank_is_clamped(self, case):
        shape = Conv(2, 2, 4, 5, 3, 2, (3, 3), index_shared=False)
        args = list(case.args(shape, "replicate", torch.float32, 2))
        place = case.arguments.index("index")
        index = args[place]
        function, results = getattr(conv, case.name), []
        for wild in (index, torch.where(index == 2, 1000, torch.where(index == 0, -1000, index))):
            args[place] = wild.int()
            results.append(function(*args, **OPTIONS))
        assert torch.equal(*results)

    @pytest.mark.parametrize("case", MOTIONS, ids=str)
    def test_lengths_are_clamped_to_what_is_allowed(self, case):
        args = list(case.args(Motion(1, 1, 3, 3, 3.0), "reflect", torch.float32, 3))
        place = case.arguments.index("length")
        keywords, results = {**CAPS, "boundary": "reflect"}, []
        for shortest, longest in ((1.0, 5.0), (-5.0, 1e6)):  # room for two pixels each way
            args[place][0, :2], args[place][0, 2:] = shortest, longest
            results.append(getattr(motion, case.name)(*args, **keywords))
        assert torch.equal(*results)
        assert results[0].isfinite().all()

    @pytest.mark.parametrize("case", MOTIONS, ids=str)
    def test_what_is_no_motion_makes_nan_at_its_own_place(self, case):
        batch, channels = Motion(2, 1, 4, 5, 1.5, angle_shared=False), Motion(1, 4, 4, 5, 1.5)
        assert_missing_stays(motion, case, batch, "replicate", "fspecial")
        assert_missing_stays(motion, case, channels, "valid", "segment")


@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_the_transpose_unfolds_borders_of_many_tiles(boundary, monkeypatch):
    """Tiles of 2 x 2 pixels: some have no border, and motions reach over several."""
    monkeypatch.setattr(motion, "tile_for", lambda *a: {"ROWS": 2, "COLUMNS": 2})
    shape = Motion(1, 1, 3, 5, 3.0) if boundary == "reflect" else Motion(1, 1, 3, 2, 6.0)
    t = shape.tensors(boundary, torch.float64, 5)
    args, keywords = (t["grad"], t["length"], t["angle"]), {"boundary": boundary}
    result = blurops.motion_blur_adjoint(*args, **keywords, backend="triton")
    exact = blurops.motion_blur_adjoint(*args, **keywords, backend="reference")
    assert relative_error(result, exact) <= accuracy(torch.float64).relative


@pytest.mark.parametrize("segments", [1, 3, 256])
def test_the_banks_gradient_does_not_depend_on_how_it_is_shared_out(segments, monkeypatch):
    monkeypatch.setattr(conv, "_SEGMENTS", segments)
    monkeypatch.setattr(conv, "_PICKS", 4)
    for own in (False, True):
        t = Conv(2, 2, 5, 6, 6, 2, (3, 3), own, True, False).tensors("circular", torch.float64, 6)
        index = torch.where(t["index"] == 3, 2, t["index"])  # one filter that nobody picks
        args = (t["grad"], t["image"], index, t["weight"], t["bank_shape"])
        result = blurops.nu_conv_grad_bank(*args, boundary="circular", backend="triton")
        exact = blurops.nu_conv_grad_bank(*args, boundary="circular", backend="reference")
        assert relative_error(result, exact) <= accuracy(torch.float64).relative
        assert not result[3].any()


def test_a_long_line_is_as_exact_as_a_short_one():
    """In float, what nearly cancels across a line is summed in two parts."""
    length, angle = torch.full((1, 1, 1), 101.0), torch.full((1, 1, 1), 0.7853)
    image = random_tensor((1, 1, 101, 101), torch.float32, 7).abs()
    keywords = {"boundary": "valid", "caps": "segment"}
    result = blurops.motion_blur(image, length, angle, **keywords, backend="triton")
    maps = (length.double(), angle.double())
    exact = blurops.motion_blur(image.double(), *maps, **keywords, backend="reference")
    assert relative_error(result, exact) <= accuracy(torch.float32).relative


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_memory_grows_with_the_taps(case):
    if case.kind is Conv:
        shape, extra = Conv(1, 2, 12, 14, 3, 2, (7, 7)), OPTIONS
        largest = max(2 * 18 * 20, 12 * 14 * 2 * 2)  # extended image; sorted index in 8 bytes
    else:
        shape, extra, largest = Motion(1, 2, 6, 8, 3.0), CAPS, 7 * 6 * 8  # the lines
    args = case.args(shape, "replicate", torch.float32, 8)
    family = conv if case.kind is Conv else motion
    with Largest(args) as made:
        getattr(family, case.name)(*args, **extra)
    parts = (3 + 11) * 49 if case.name == "nu_conv_grad_bank" else 0  # filters and chunks
    assert 0 < made.bytes <= 4 * max(largest, parts)
