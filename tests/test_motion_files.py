# SPDX-License-Identifier: BSD-3-Clause
"""Motion fields in the authors' MATLAB files."""

import math
import os

import numpy as np
import pytest
import scipy.io
import torch

from blurops import load_motion_field, save_motion_field


def test_the_angle_of_the_file_is_counted_from_the_upright(tmp_path):
    """(90 - file + 360) mod 180: what makes the authors' field fit the authors' photograph."""
    values = np.array([[[1, 0], [5, 30], [9, 90]], [[17.5, 120.9], [3, -10], [4, 400]]], float)
    scipy.io.savemat(tmp_path / "f.mat", {"mfmap": values})
    field = load_motion_field(tmp_path / "f.mat")
    assert (field.length.dtype, field.angle.dtype) == (torch.float32, torch.float32)
    assert field.length.tolist() == [[[1, 5, 9], [17.5, 3, 4]]]
    degrees = torch.rad2deg(field.angle.double())
    expected = torch.tensor([[[90, 60, 0], [149.1, 100, 50]]], dtype=torch.float64)
    torch.testing.assert_close(degrees, expected, rtol=0, atol=2e-5)


def test_written_and_read_again(tmp_path):
    generator = torch.Generator().manual_seed(0)
    length = 1 + 30 * torch.rand(1, 5, 7, generator=generator)
    angle = math.pi * torch.rand(1, 5, 7, generator=generator)
    save_motion_field(tmp_path / "f.mat", length, angle - 3 * math.pi)
    stored = scipy.io.loadmat(tmp_path / "f.mat")["mfmap"]
    assert (stored.shape, stored.dtype) == ((5, 7, 2), np.float64)
    field = load_motion_field(tmp_path / "f.mat")
    assert torch.equal(field.length, length)
    turned = torch.remainder(field.angle - angle + 1, math.pi) - 1
    assert float(turned.abs().max()) < 1e-5
    assert os.listdir(tmp_path) == ["f.mat"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    save_motion_field(tmp_path / "f.mat", torch.ones(1, 2, 3), torch.zeros(1, 2, 3))
    before = (tmp_path / "f.mat").read_bytes()

    def full(file, *args, **options):
        file.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scipy.io, "savemat", full)
    with pytest.raises(OSError, match="No space left"):
        save_motion_field(tmp_path / "f.mat", torch.ones(1, 9, 9), torch.zeros(1, 9, 9))
    assert (tmp_path / "f.mat").read_bytes() == before
    assert os.listdir(tmp_path) == ["f.mat"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"other": np.ones((2, 2, 2))}, "hold the variable mfmap, got none of that name"),
        ({"mfmap": np.ones((2, 2))}, r"hold mfmap of \(H, W, 2\) numbers, got float64 of shape"),
        ({"mfmap": np.ones((2, 2, 3))}, r"hold mfmap of \(H, W, 2\) numbers"),
        ({"mfmap": np.ones((0, 2, 2))}, r"hold mfmap of \(H, W, 2\) numbers"),
        ({"mfmap": np.ones((2, 2, 2), complex)}, ".*numbers, got complex128"),
        ({"mfmap": {"a": 1}}, r"hold mfmap of \(H, W, 2\) numbers"),
        ({"mfmap": np.full((2, 2, 2), 0.5)}, "hold lengths of at least 1, got a minimum of 0.5"),
        ({"mfmap": np.full((2, 2, 2), math.nan)}, "hold finite lengths"),
    ],
)
def test_refuses_other_content(tmp_path, content, reason):
    scipy.io.savemat(tmp_path / "f.mat", content)
    with pytest.raises(ValueError, match=f"load_motion_field: '.*f.mat' must {reason}"):
        load_motion_field(tmp_path / "f.mat")


def test_refuses_damaged_files(tmp_path):
    save_motion_field(tmp_path / "f.mat", torch.ones(1, 20, 30), torch.zeros(1, 20, 30))
    whole = (tmp_path / "f.mat").read_bytes()
    for damaged in (b"", b"MATLAB", whole[:150], whole[:-20], b"\x00" * 500, b"PNG" + whole[3:200]):
        (tmp_path / "f.mat").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"must (be a MATLAB file|hold the variable)"):
            load_motion_field(tmp_path / "f.mat")
    with pytest.raises(FileNotFoundError):
        load_motion_field(tmp_path / "missing.mat")


@pytest.mark.parametrize(
    ("length", "angle", "reason"),
    [
        (torch.ones(2, 3, 3), torch.zeros(2, 3, 3), r"length must be \(1, H, W\), got \(2, 3, 3\)"),
        (torch.ones(1, 3, 3), torch.zeros(1, 3, 4), "angle must have the shape of length"),
        (torch.zeros(1, 3, 3), torch.zeros(1, 3, 3), "length must be at least 1"),
        (torch.ones(1, 3, 3), torch.full((1, 3, 3), math.nan), "angle must be finite"),
    ],
)
def test_refuses_to_write(tmp_path, length, angle, reason):
    with pytest.raises(ValueError, match=f"save_motion_field: {reason}"):
        save_motion_field(tmp_path / "f.mat", length, angle)
    assert os.listdir(tmp_path) == []
