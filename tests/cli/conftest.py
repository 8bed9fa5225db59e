# SPDX-License-Identifier: BSD-3-Clause
"""Command lines, run in this process, and files for them."""

import pytest

from blurops.cli import main
from blurops.fields import camera_shake_field, save_field
from blurops.images import write_image
from tests.cli.scenes import HEIGHT, WIDTH, scene


@pytest.fixture
def run(capsys):
    """Runs a command line; returns its status, stdout and stderr."""

    def runner(*words):
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return runner


@pytest.fixture
def succeed(run):
    def runner(*words):
        status, out, err = run(*words)
        assert (status, err) == (0, "")
        return out

    return runner


@pytest.fixture
def fail(run):
    """Runs a command line that must fail with one line."""

    def runner(*words, status=1):
        got, out, err = run(*words)
        assert (got, out) == (status, "")
        assert err.startswith("blurops: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    return runner


@pytest.fixture
def files(tmp_path):
    """A photograph and a blur field of its size."""
    write_image(tmp_path / "photo.png", scene())
    field = camera_shake_field(HEIGHT, WIDTH, basis_size=3, kernel_size=9, seed=3)
    save_field(tmp_path / "f.safetensors", field.kernels, field.mixing, **field.meta)
    return tmp_path
