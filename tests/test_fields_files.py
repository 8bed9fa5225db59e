# SPDX-License-Identifier: BSD-3-Clause
"""Field files: what comes back, what is refused, and what a failed write leaves behind."""

import errno
import json
import os
import struct

import pytest
import torch
from safetensors.torch import save_file

from blurops.fields import camera_shake_field, load_field, save_field

PLAIN = {
    "format": "blurops-field",
    "version": "1",
    "boundary": "reflect",
    "gamma": "1.0",
    "orientation": "correlation",
    "extra": "{}",
}


def tensors(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    kernels = torch.rand(1, 3, 5, 7, generator=generator).to(dtype)
    return {"kernels": kernels, "mixing": torch.rand(1, 3, 8, 9, generator=generator).to(dtype)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "field.safetensors"


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    def test_tensors(self, path, dtype):
        saved = tensors(dtype)
        save_field(path, **saved)
        field = load_field(path)
        assert torch.equal(field.kernels, saved["kernels"])
        assert torch.equal(field.mixing, saved["mixing"])
        assert field.kernels.dtype == dtype
        assert field.meta == {"boundary": "reflect", "gamma": 1.0, "orientation": "correlation"}

    def test_meta(self, path):
        meta = {
            "boundary": "valid",
            "gamma": 2.2,
            "orientation": "correlation",
            "note": 'Straße \n "x"',
            "seed": 12345678901234567890,
            "tags": ["a", {"b": None}],
            "exposure": 0.1,
            "format": "mine",
        }
        save_field(path, **tensors(), **meta)
        assert load_field(path).meta == meta

    def test_a_generated_field(self, path):
        field = camera_shake_field(20, 30, basis_size=3, kernel_size=9, gamma=2.2, seed=4)
        save_field(str(path), field.kernels, field.mixing, **field.meta)
        back = load_field(str(path))
        assert torch.equal(back.kernels, field.kernels)
        assert torch.equal(back.mixing, field.mixing)
        assert back.meta == field.meta
        assert back.boundary == "reflect"

    def test_views_and_gradients(self, path):
        saved = tensors()
        kernels = saved["kernels"].transpose(2, 3).requires_grad_()
        mixing = saved["mixing"].expand(1, 3, 8, 9)
        save_field(path, kernels, mixing)
        assert torch.equal(load_field(path).kernels, kernels.detach())

    def test_the_file_is_plain_safetensors(self, path):
        save_field(path, **tensors(), gamma=2.2, seed=1)
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
        assert header["__metadata__"] == PLAIN | {"gamma": "2.2", "extra": '{"seed": 1}'}
        assert header["kernels"]["shape"] == [1, 3, 5, 7]

    def test_a_loaded_field_outlives_its_file(self, path):
        save_field(path, **tensors())
        field = load_field(path)
        path.unlink()
        assert torch.equal(field.mixing, tensors()["mixing"])


class TestSaveErrors:
    @pytest.mark.parametrize(
        ("changes", "error", "text"),
        [
            ({"kernels": [1]}, TypeError, r"kernels must be a tensor of shape \(1, B, Kh, Kw\)"),
            ({"kernels": torch.ones(1, 3, 5, 7).int()}, TypeError, "kernels must have dtype"),
            ({"kernels": torch.ones(3, 5, 7)}, ValueError, r"kernels must be \(1, B, Kh, Kw\)"),
            ({"kernels": torch.ones(1, 3, 4, 7)}, ValueError, "kernels must have odd sides"),
            ({"kernels": torch.ones(2, 3, 5, 7)}, ValueError, "kernels must have a leading size"),
            ({"kernels": torch.ones(1, 0, 5, 7)}, ValueError, "kernels must hold at least one"),
            (
                {"kernels": torch.full((1, 3, 5, 7), torch.nan)},
                ValueError,
                "kernels must be finite",
            ),
            ({"mixing": torch.ones(1, 4, 8, 9)}, ValueError, r"mixing must be \(1, 3, H, W\)"),
            ({"mixing": torch.ones(1, 3, 0, 9)}, ValueError, "mixing must hold at least one pixel"),
            ({"mixing": torch.ones(1, 3, 8, 9).double()}, TypeError, "mixing must have the dtype"),
            ({"mixing": torch.full((1, 3, 8, 9), torch.inf)}, ValueError, "mixing must be finite"),
            ({"boundary": "mirror"}, ValueError, "boundary must be one of .*, got 'mirror'"),
            ({"gamma": 0}, ValueError, "gamma must be greater than 0, got 0"),
            ({"gamma": "2.2"}, TypeError, "gamma must be a number, got '2.2'"),
            ({"orientation": "convolution"}, ValueError, "orientation must be 'correlation'"),
            ({"note": {1, 2}}, TypeError, "meta must be JSON values, got .*set"),
            ({"note": float("nan")}, TypeError, "meta must be JSON values"),
        ],
    )
    def test_refused(self, path, changes, error, text):
        with pytest.raises(error, match=f"^save_field: {text}"):
            save_field(path, **(tensors() | changes))
        assert not path.exists()


class TestAtomicWrite:
    """An older field must survive whatever stops the new one, and nothing else may be left."""

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_full_disk(self, path, monkeypatch, step):
        save_field(path, **tensors(), note="old")
        before = path.read_bytes()

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, step, full)
        with pytest.raises(OSError, match=r"No space left on device.*field\.safetensors"):
            save_field(path, **tensors(), note="new")
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    def test_the_old_file_stands_until_the_new_one_is_on_the_disk(self, path, monkeypatch):
        save_field(path, **tensors(), note="old")
        seen, fsync = [], os.fsync
        monkeypatch.setattr(
            os, "fsync", lambda handle: seen.append(load_field(path).meta["note"]) or fsync(handle)
        )
        save_field(path, **tensors(), note="new")
        assert seen[0] == "old"
        assert load_field(path).meta["note"] == "new"

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"absent"):
            save_field(tmp_path / "absent" / "field.safetensors", **tensors())

    def test_a_folder_is_not_overwritten(self, tmp_path):
        with pytest.raises(IsADirectoryError):
            save_field(tmp_path, **tensors())


def written(path, metadata=None, **changes):
    save_file(tensors() | changes, path, metadata=metadata)
    return path


class TestLoadErrors:
    def test_a_missing_file(self, path):
        with pytest.raises(FileNotFoundError):
            load_field(path)

    def test_a_folder(self, tmp_path):
        with pytest.raises(IsADirectoryError):
            load_field(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"P6 1 1 255 abc", b"\x89PNG\r\n\x1a\n" + bytes(99)])
    def test_not_safetensors(self, path, content):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"field\.safetensors' must be a complete safetensors"):
            load_field(path)

    @pytest.mark.parametrize("kept", [4, 100, -1])
    def test_truncated(self, path, kept):
        save_field(path, **tensors())
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(ValueError, match=r"must be a complete safetensors file, got .+"):
            load_field(path)

    @pytest.mark.parametrize(
        ("metadata", "text"),
        [
            (None, "must have the metadata format 'blurops-field', got no format"),
            ({"format": "pt"}, "must have the metadata format 'blurops-field', got 'pt'"),
            (PLAIN | {"version": "2"}, "must be of version 1, got 2"),
            ({"format": "blurops-field"}, "must be of version 1, got none"),
            (PLAIN | {"gamma": "x"}, "must have readable metadata, got ValueError: could not"),
            (PLAIN | {"gamma": "nan"}, "load_field: gamma must be finite"),
            (PLAIN | {"gamma": "-1"}, "load_field: gamma must be greater than 0"),
            (PLAIN | {"boundary": "mirror"}, "load_field: boundary must be one of"),
            (
                PLAIN | {"orientation": "convolution"},
                "load_field: orientation must be 'correlation'",
            ),
            (PLAIN | {"extra": "{"}, "must have readable metadata, got JSONDecodeError"),
            (PLAIN | {"extra": "[1]"}, "must have readable metadata"),
            (PLAIN | {"extra": "[" * 100000}, "must have readable metadata"),
            ({k: v for k, v in PLAIN.items() if k != "gamma"}, "got KeyError: 'gamma'"),
        ],
    )
    def test_metadata(self, path, metadata, text):
        with pytest.raises(ValueError, match=text):
            load_field(written(path, metadata))

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"kernels": torch.ones(1, 3, 4, 7)}, "load_field: kernels must have odd sides"),
            ({"kernels": torch.ones(5, 7)}, r"load_field: kernels must be \(1, B, Kh, Kw\)"),
            ({"kernels": torch.ones(1, 3, 5, 7).int()}, "load_field: kernels must have dtype"),
            ({"mixing": torch.ones(1, 2, 8, 9)}, r"load_field: mixing must be \(1, 3, H, W\)"),
            ({"mixing": torch.ones(1, 3, 8, 9).half()}, "load_field: mixing must have the dtype"),
            (
                {"kernels": torch.full((1, 3, 5, 7), torch.inf)},
                "load_field: kernels must be finite",
            ),
            ({"mixing": torch.full((1, 3, 8, 9), torch.nan)}, "load_field: mixing must be finite"),
            (
                {"bias": torch.ones(1)},
                "must hold the tensors kernels and mixing, got bias, kernels",
            ),
        ],
    )
    def test_tensors(self, path, changes, text):
        with pytest.raises(ValueError, match=text):
            load_field(written(path, PLAIN, **changes))

    def test_every_error_is_one_sentence(self, path):
        save_field(path, **tensors())
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(ValueError) as caught:
            load_field(path)
        assert "\n" not in str(caught.value)

    def test_extra_cannot_override_the_files_own_entries(self, path):
        sly = PLAIN | {"extra": '{"boundary": "zeros", "orientation": "convolution", "gamma": 9}'}
        assert load_field(written(path, sly)).meta == {
            "boundary": "reflect",
            "gamma": 1.0,
            "orientation": "correlation",
        }
