# SPDX-License-Identifier: BSD-3-Clause
"""The experiment of tables 1 and 3: its problems are what they say, its tables follow from rows."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import torch

from benchmarks import deconvolution as experiment
from benchmarks import deconvolution_data as data
from benchmarks import deconvolution_report as report
from blurops.images import write_image
from tests.deconvolution import picture


@pytest.fixture
def pictures():
    return {"picture": picture(1, 1, 48 + 40, 48 + 36).float()}


def row(**change):
    base = experiment.Row(
        1, "s", "k", 0.01, "IRC, T = 2", 1e-3, 30.0, 0.9, 2.0, 1.0, "iterations", "0.5:29 1.0:30"
    )
    return replace(base, **change)


def test_uniform_problems_have_real_borders(pictures):
    kernels = {"k": data.small_kernels(2)["line 15, 30"]}
    (problem,) = data.uniform(pictures, kernels, (0.0,))
    assert problem.observed.shape == problem.sharp.shape == (1, 1, 40, 36)
    side = kernels["k"].shape[0] // 2
    whole = pictures["picture"]
    inner = whole[..., 24 - side : 64 + side, 24 - side : 60 + side]
    torch.testing.assert_close(problem.observed, problem.blur @ inner)
    assert torch.equal(problem.sharp, whole[..., 24:64, 24:60])


def test_moving_problems_have_a_line_per_pixel(pictures):
    (problem,) = data.moving(pictures, (0.0,))
    assert problem.observed.shape == problem.sharp.shape
    assert problem.blur.length.shape == (1, 40, 36)
    assert float(problem.blur.length.max()) > float(problem.blur.length.min()) + 0.5
    length, angle = data.camera_lines([3, 3], 0.5, np.array([2.0, 0.0]))
    # The middle shifts to the right; below it, a turn that moves down on the right moves left.
    assert float(length[0, 1, 1]) == 3
    assert float(angle[0, 1, 1]) == 0
    assert float(length[0, 2, 1]) == pytest.approx(2.5)
    assert float(angle[0, 1, 2]) == pytest.approx(-np.arctan2(0.5, 2))


def test_both_tables_on_a_folder(tmp_path, capsys, monkeypatch):
    """Every method, once: it restores, or says that it did not; rows, tables and plot are made."""
    write_image(tmp_path / "a.png", picture(1, 3, 96, 92).float())
    taps = np.zeros((8, 9))
    taps[2, 1:7], taps[5, 4] = 1, 2
    scipy.io.savemat(tmp_path / "im05_flit01.mat", {"f": taps / taps.sum(), "x": np.ones((4, 4))})
    monkeypatch.setattr(experiment, "STAGES", 2)
    monkeypatch.setattr(experiment, "LEAST_SIDE", 9)
    monkeypatch.setattr(experiment, "WIDE", experiment.WIDE | {"size": 21})
    monkeypatch.setattr(experiment, "REPEATS", 1)
    monkeypatch.setattr(experiment, "CACHE", tmp_path / "cache")
    rows_at = tmp_path / "rows.csv"
    given = [
        "--folder", str(tmp_path), "--levin", str(tmp_path), "--sigmas", "0.01",
        "--weights", "1e-3", "--csv", str(rows_at),
    ]  # fmt: skip
    experiment.main(given)
    printed = capsys.readouterr().out
    rows = report.read(rows_at)
    assert {r.kernel for r in rows if r.table == 1} == {"kernel 1"}
    assert all(r.cpu and r.threads and r.torch for r in rows)
    wanted = [(t, m.name) for t in (1, 3) for m in experiment.METHODS[t]]
    assert [(r.table, r.method) for r in rows] == wanted
    for _, name in wanted:
        assert f"| {name} |" in printed
    by_name = {r.method: r for r in rows}
    assert by_name["FFT"].psnr > by_name["FFT nopad"].psnr
    assert by_name["IRC, T = 2"].prepared > by_name["FFT"].prepared
    assert len(by_name["IRC, T = 2"].trace.split()) == 2
    experiment.main([*given, "--retime", "--table", "1", "--only", "a"])
    again = report.read(rows_at)
    timeless = {"seconds": 0, "prepared": 0, "trace": ""}
    assert [replace(r, **timeless) for r in again] == [replace(r, **timeless) for r in rows]
    assert all((a == b) == (a.table == 3) for a, b in zip(again, rows, strict=True))
    (tmp_path / "images").mkdir()
    page = tmp_path / "deconvolution.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.main(["--csv", str(rows_at), "--docs", str(tmp_path)])
    text = page.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\nTable 1, 1 problems:")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "old" not in text
    assert (tmp_path / "images" / "deconvolution.png").stat().st_size > 0


def test_each_method_is_reported_at_its_best_weight():
    rows = [row(weight=w, psnr=p, scene=s) for s in "ab" for w, p in ((1e-3, 30.0), (1e-2, 31.0))]
    assert {r.weight for r in report.best(rows)} == {1e-2}
    assert "| IRC, T = 2 | 31.00 | 0.900 | 2.00 + 1.00 |" in report.table(rows, 1)


def test_ends_of_the_grid_are_named():
    grid = (1e-3, 3e-3, 1e-2)
    inside = [row(weight=w, psnr=p) for w, p in zip(grid, (29.0, 30.0, 29.5), strict=True)]
    assert report.edges(inside, 1) == "Every best weight lies inside the grid."
    last = [row(method="FFT", weight=w, psnr=w) for w in grid]
    assert report.edges(inside + last, 1) == "Best at an end of the grid: FFT at noise 0.01."


def test_divergence_is_told():
    rows = [row(), row(status="diverged"), row(method="FFT")]
    assert report.divergence(rows).startswith("Diverged: IRC, T = 2, 1 of 2 runs.")
    assert report.divergence(rows[:1]) == "None of 1 runs diverged."


def test_nearness_is_counted_and_timed():
    """One problem of two comes near; there it is 3 against 9 seconds."""
    rows = [
        row(scene="a", method="CG, 30 iterations", psnr=30.0, trace="3:28 9:29.95 12:30"),
        row(scene="b", method="CG, 30 iterations", psnr=31.0, trace="3:28 9:29.95 12:31"),
        row(scene="a", psnr=29.95, trace="1:29 3:29.92 4:29.95"),
        row(scene="b", psnr=30.0, trace="1:29 3:29.92 4:30"),
    ]
    wanted = "| IRC, T = 2 | -0.53, -1.00, -0.05 | 1 of 2 | 3.000 | 3.0 |"
    assert wanted in report.near(rows, 1).splitlines()


def test_large_pictures_move_no_farther_than_the_bank():
    (problem,) = data.moving({"p": picture(1, 1, 400, 448).float()}, (0.0,))
    assert float(problem.blur.length.max()) <= data.LONGEST + 1e-3
    assert problem.observed.shape == problem.sharp.shape == (1, 1, 352, 400)


def test_speed_is_to_the_same_quality():
    fast = row()
    slow = row(method="CG, 30 iterations", trace="3:28 6:29.5 9:31")
    # Both reach 30 dB: in 1 s and in 9 s.
    assert report.speedups([fast, slow], "IRC, T = 2", "CG, 30 iterations") == [9.0]
    assert report.sooner([fast, slow], 1).splitlines()[-1] == "| IRC, T = 2 | 9.0, 9.0 to 9.0 |"
    assert report.sooner([fast], 1) == ""
    worse = row(trace="0.5:29 1.0:29.2")
    assert report.speedups([worse, slow], "IRC, T = 2", "CG, 30 iterations") == [6.0]
