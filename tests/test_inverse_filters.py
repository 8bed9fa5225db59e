# SPDX-License-Identifier: BSD-3-Clause
"""Inverse filters, against dense matrices of the definition, and their files."""

import multiprocessing
import os
import time

import pytest
import torch
import torch.nn.functional as F

from blurops import inverse_filters, linear_motion_bank
from blurops.solvers import difference_filters
from blurops.solvers import inverse_filters as module_function

GENERATOR = torch.Generator()


def random_kernel(height, width, seed=0):
    GENERATOR.manual_seed(seed)
    kernel = torch.rand(height, width, generator=GENERATOR, dtype=torch.float64)
    return kernel / kernel.sum()


def dense(kernel, size, frame):
    """The full convolution of size x size filters by a kernel, in a frame, as a matrix."""
    height, width = kernel.shape
    top, left = ((n - size - k + 1) // 2 for n, k in zip(frame, kernel.shape, strict=True))
    columns = []
    for row in range(size):
        for column in range(size):
            image = torch.zeros(frame, dtype=torch.float64)
            image[top + row :, left + column :][:height, :width] = kernel
            columns.append(image.flatten())
    return torch.stack(columns, dim=1)


def by_definition(kernel, size, ridge, analysis=(), penalty=0.0):
    """`d_0 = K^T M^-1 delta`, `d_g = penalty G^T M^-1 delta`, with the larger matrix inverted."""
    sides = [max(each.shape[a] for each in (kernel, *analysis)) for a in (0, 1)]
    frame = [size + side - 1 for side in sides]
    blur = dense(kernel, size, frame)
    others = [dense(each, size, frame) for each in analysis]
    matrix = blur @ blur.T + sum(penalty * g @ g.T for g in others)
    matrix += ridge * torch.eye(len(matrix), dtype=torch.float64)
    delta = torch.zeros(len(matrix), dtype=torch.float64)
    delta[len(delta) // 2] = 1
    multipliers = torch.linalg.pinv(matrix, rtol=1e-12, hermitian=True) @ delta
    parts = [blur.T @ multipliers, *(penalty * g.T @ multipliers for g in others)]
    return torch.stack([part.view(size, size) for part in parts])


def close(result, expected, condition):
    """Equal to the rounding of a solution of systems with this condition number."""
    slack = 1e3 * torch.finfo(torch.float64).eps * condition
    torch.testing.assert_close(result, expected, rtol=0, atol=slack * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("sides", "size"), [((3, 5), 7), ((9, 3), 5), ((5, 5), 3), ((1, 1), 5), ((3, 3), 1)]
)
@pytest.mark.parametrize("ridge", [1e-2, 0.0])
def test_is_the_definition(sides, size, ridge):
    kernels = torch.stack([random_kernel(*sides, seed) for seed in range(3)])
    filters = inverse_filters(kernels, size=size, ridge=ridge)
    assert filters.shape == (3, 1, size, size)
    for kernel, found in zip(kernels, filters, strict=True):
        close(found, by_definition(kernel, size, ridge), 1e4)
    torch.testing.assert_close(inverse_filters(kernels[1], size=size, ridge=ridge)[0], filters[1])


@pytest.mark.parametrize("sides", [(3, 1), (1, 3), (5, 5), (7, 9)])
@pytest.mark.parametrize(("ridge", "penalty"), [(1e-2, 0.3), (1e-3, 2.0), (0.0, 0.5)])
def test_joint_is_the_definition(sides, ridge, penalty):
    """Both Gram matrices: few rows for the small kernels, few columns for the large ones."""
    kernel, analysis = random_kernel(*sides, 4), difference_filters(torch.float64)
    if ridge == 0 and max(sides) > 3:  # more equations than unknowns, some of them dependent
        with pytest.raises(ValueError, match="ridge must be larger"):
            inverse_filters(kernel, size=5, ridge=ridge, analysis=analysis, penalty=penalty)
        return
    filters = inverse_filters(kernel, size=5, ridge=ridge, analysis=analysis, penalty=penalty)
    close(filters[0], by_definition(kernel, 5, ridge, analysis, penalty), 1e5)
    stacked = inverse_filters(
        F.pad(kernel, (2, 2, 4, 4)), size=5, ridge=ridge, analysis=torch.stack(analysis),
        penalty=penalty,
    )  # fmt: skip
    close(stacked, filters, 1e5)


def test_without_penalty_analysis_filters_have_no_share():
    """As in the authors' released bank: three channels of which two are zero."""
    bank = linear_motion_bank(5)[[0, 1, 7]]
    joint = inverse_filters(bank, size=9, analysis=difference_filters())
    assert joint.shape == (3, 3, 9, 9)
    assert torch.equal(joint[:, :1], inverse_filters(bank, size=9))
    assert not joint[:, 1:].any()


def test_of_a_delta_is_a_delta():
    """(1 + ridge) d = delta: what the delta of the released bank sums to."""
    kernel = torch.zeros(5, 5)
    kernel[2, 2] = 1
    filters = inverse_filters(kernel)
    expected = torch.zeros(1, 1, 31, 31)
    expected[..., 15, 15] = 1 / 1.01
    torch.testing.assert_close(filters, expected, rtol=0, atol=1e-7)
    exact = inverse_filters(kernel, ridge=0.0, method="fft")
    torch.testing.assert_close(exact, 1.01 * expected, rtol=0, atol=1e-6)


def test_of_symmetric_kernels_are_symmetric():
    bank = linear_motion_bank(9)[1::7].double()
    bank = (bank + bank.flip(1, 2)) / 2
    filters = inverse_filters(bank, size=15)
    assert torch.equal(filters, filters.flip(2, 3))
    other = inverse_filters(random_kernel(5, 5), size=15)
    assert (other - other.flip(2, 3)).abs().max() > 0.1 * other.abs().max()


def test_released_sums():
    """The released bank's filters (side 31, ridge 0.01) sum to 0.742 ... 1.168, the delta 0.990."""
    bank = linear_motion_bank(25)[[0, 1, 12, 40, 133, 360]]
    sums = inverse_filters(bank).sum((1, 2, 3))
    assert float(sums[0]) == pytest.approx(0.990, abs=5e-4)
    assert float(sums.min()) > 0.742 - 5e-4
    assert float(sums.max()) < 1.168 + 5e-4


@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_periodic_variant(penalty):
    """On its own grid: `sum conj(Q_i) Q_i / (...)`, which is a delta where ridge is 0."""
    kernel, analysis = random_kernel(5, 7, 2), difference_filters(torch.float64)
    filters = inverse_filters(
        kernel, size=11, ridge=0.0, analysis=analysis, penalty=penalty, method="fft"
    )[0]
    total = torch.zeros(11, 11, dtype=torch.float64)
    for each, found in zip((kernel, *analysis), filters, strict=True):
        down, right = ((11 - side) // 2 for side in each.shape)
        padded = F.pad(each, (right, right, down, down))
        for tap in padded.nonzero().tolist():
            shift = [tap[0] - 5, tap[1] - 5]
            total += padded[tuple(tap)] * found.roll(shift, (0, 1))
    delta = torch.zeros_like(total)
    delta[5, 5] = 1
    torch.testing.assert_close(total, delta, rtol=0, atol=1e-10)
    damped = inverse_filters(kernel, size=11, ridge=1.0, method="fft")
    assert float(damped.abs().sum()) < float(filters[0].abs().sum())


def test_periodic_variant_on_a_larger_grid_is_cut_off():
    """Not wrapped around: the middle of what the larger grid holds."""
    kernel, analysis = random_kernel(5, 7, 2), difference_filters(torch.float64)
    given = {"ridge": 1e-2, "analysis": analysis, "penalty": 0.3, "method": "fft"}
    whole = inverse_filters(kernel, size=31, **given)
    found = inverse_filters(kernel, size=9, grid=31, **given)
    torch.testing.assert_close(found, whole[..., 11:20, 11:20])
    assert (found - inverse_filters(kernel, size=9, **given)).abs().max() > 1e-4


class TestCache:
    def test_hits_are_equal_and_not_computed(self, tmp_path, monkeypatch):
        bank = linear_motion_bank(5)[:6]
        first = inverse_filters(bank, size=7, cache=tmp_path)
        assert torch.equal(first, inverse_filters(bank, size=7))
        assert len(os.listdir(tmp_path)) == 6
        monkeypatch.setattr("blurops.solvers.inverse_systems.solve_each", None)
        assert torch.equal(first, inverse_filters(bank, size=7, cache=tmp_path))
        # In another precision it is the same content.
        again = inverse_filters(bank.double(), size=7, cache=tmp_path)
        assert torch.equal(first, again.float())

    @pytest.mark.parametrize(
        "change",
        [
            {"size": 9}, {"ridge": 0.02}, {"method": "fft"}, {"method": "fft", "grid": 11},
            {"penalty": 0.4}, {"analysis": [torch.tensor([[1.0, 0, -1]])]}, {"scale": 1.0001},
        ],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_anything_else_is_another_result(self, tmp_path, change):
        kernel = linear_motion_bank(5)[9]
        given = {"size": 7, "analysis": difference_filters(), "penalty": 0.2}
        inverse_filters(kernel, cache=tmp_path, **given)
        kernel = kernel * change.pop("scale", 1)
        found = inverse_filters(kernel, cache=tmp_path, **given | change)
        assert torch.equal(found, inverse_filters(kernel, **given | change))

    def test_an_interrupted_bank_goes_on(self, tmp_path, monkeypatch):
        bank = linear_motion_bank(5)[:40]
        systems = module_function.__globals__["systems"]
        solve, calls = systems.solve_each, []

        def interrupted(kernels, *args):
            calls.append(len(kernels))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return solve(kernels, *args)

        monkeypatch.setattr(systems, "solve_each", interrupted)
        with pytest.raises(KeyboardInterrupt):
            inverse_filters(bank, size=7, cache=tmp_path)
        assert len(os.listdir(tmp_path)) == 32
        found = inverse_filters(bank, size=7, cache=tmp_path)
        assert calls == [16, 16, 8, 8]
        assert torch.equal(found, inverse_filters(bank, size=7))

    @pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
    def test_damaged_files_are_computed_again(self, tmp_path, damage):
        kernel = linear_motion_bank(5)[9]
        expected = inverse_filters(kernel, size=7, cache=tmp_path)
        (file,) = tmp_path.iterdir()
        whole = file.read_bytes()
        changed = {
            "cut": whole[:-9],
            "flip": whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:],
            "empty": b"",
            "other": b"something else",
        }
        file.write_bytes(changed[damage])
        assert torch.equal(inverse_filters(kernel, size=7, cache=tmp_path), expected)
        assert file.read_bytes() == whole

    def test_processes_share_it(self, tmp_path):
        context = multiprocessing.get_context("fork")
        bank = linear_motion_bank(5)[:12]
        workers = [
            context.Process(target=inverse_filters, args=(bank,),
                            kwargs={"size": 7, "cache": tmp_path})
            for _ in range(3)
        ]  # fmt: skip
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        assert all(name.endswith(".safetensors") for name in os.listdir(tmp_path))
        found = inverse_filters(bank, size=7, cache=tmp_path)
        assert torch.equal(found, inverse_filters(bank, size=7))

    def test_the_users_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BLUROPS_CACHE", str(tmp_path / "mine"))
        inverse_filters(torch.ones(1, 1), size=3, cache=True)
        assert len(os.listdir(tmp_path / "mine")) == 1
        monkeypatch.delenv("BLUROPS_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        inverse_filters(torch.ones(1, 1), size=3, cache=True)
        assert len(os.listdir(tmp_path / "blurops" / "inverse-filters")) == 1


def test_progress_is_shown(capsys):
    inverse_filters(linear_motion_bank(3)[:3], size=5, progress=True)
    assert "Inverse filters: 100%" in capsys.readouterr().err
    inverse_filters(linear_motion_bank(3)[:3], size=5)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_the_released_bank_takes_seconds():
    """All 361 filters; the bound leaves a wide margin for a busy machine."""
    start = time.perf_counter()
    filters = inverse_filters(linear_motion_bank(25))
    assert time.perf_counter() - start < 60
    assert filters.shape == (361, 1, 31, 31)
    sums = filters.sum((1, 2, 3))
    assert float(sums.min()) == pytest.approx(0.742, abs=5e-4)
    assert float(sums.max()) == pytest.approx(1.168, abs=5e-4)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"kernels": torch.zeros(0, 3, 3)}, ValueError, "kernels must hold at least one, got"),
        ({"kernels": torch.zeros(1, 4, 3)}, ValueError, "kernels must have odd sides"),
        ({"kernels": torch.full((1, 3, 3), torch.nan)}, ValueError, "kernels must be finite"),
        ({"kernels": [[1.0]]}, TypeError, "kernels must be a tensor"),
        ({"size": 4}, ValueError, "size must be odd, got 4"),
        ({"ridge": -1.0}, ValueError, "ridge must be at least 0"),
        ({"penalty": 0.1}, ValueError, "penalty must be 0 without analysis filters, got 0.1"),
        ({"analysis": [torch.ones(2, 1)]}, ValueError, "analysis must have odd sides"),
        ({"grid": 41}, ValueError, "grid must be at least size .31., and left out unless"),
        ({"grid": 9, "method": "fft"}, ValueError, "grid must be at least size .31., .* got 9"),
        ({"grid": 40, "method": "fft"}, ValueError, "grid must be odd, got 40"),
        ({"method": "svd"}, ValueError, "method must be one of exact, fft, got 'svd'"),
        ({"kernels": torch.zeros(2, 3, 3), "ridge": 0.0}, ValueError,
         "ridge must be larger, because the system of kernels 0 to 1 is singular to working"),
        ({"ridge": 0.0, "analysis": [torch.zeros(3, 3)], "penalty": 1.0}, ValueError,
         "ridge must be larger, because the system of kernel 0 is singular"),
        ({"kernels": torch.ones(1, 1, 3).repeat(1, 1, 1), "size": 3, "ridge": 0.0,
          "method": "fft"}, ValueError, "ridge must be larger"),
    ],
)  # fmt: skip
def test_rejects(change, error, reason):
    given = {"kernels": torch.ones(1, 3, 3)} | change
    with pytest.raises(error, match=f"inverse_filters: {reason}"):
        inverse_filters(given.pop("kernels"), **given)
