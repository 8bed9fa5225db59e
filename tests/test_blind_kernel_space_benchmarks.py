# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks of blind deblurring in a kernel space."""

from pathlib import Path

import pytest

from benchmarks import blind_kernel_space, blind_steps, kernel_space_pictures, kernel_space_steps

PAGE = Path(__file__).parent.parent / "docs" / "blind-kernel-space.md"


def test_the_documentation_has_the_table_of_the_rows():
    rows = blind_kernel_space.read(blind_kernel_space.RESULTS)
    assert [row.scene for row in rows] == list(range(10))
    table, sentence = blind_kernel_space.table(rows).split("\n\n")
    assert table in PAGE.read_text()
    assert sentence in PAGE.read_text()


def test_rows_survive_the_disk(tmp_path):
    rows = blind_kernel_space.read(blind_kernel_space.RESULTS)
    blind_kernel_space.write(tmp_path / "rows.csv", rows)
    assert blind_kernel_space.read(tmp_path / "rows.csv") == rows


def test_scenes_are_what_they_are_called():
    name, sharp, field, observed = blind_kernel_space.scene(6)
    again = blind_kernel_space.scene(6)[3]
    assert (name, field.kernels.shape[1]) == ("camera", 5)
    assert sharp.shape == observed.shape == (1, 1, 144, 144)
    assert (observed == again).all()
    # With the true blur, the score is the bound that rows hold.
    assert abs(blind_kernel_space.overlap(field, field) - 1) < 1e-5


def test_both_sides_take_the_same_steps():
    """It raises where their losses differ."""
    row = blind_steps.compare("basis", 48, 5, 4, rounds=1)
    assert float(row["ratio"]) > 0
    assert float(row["pyramid_steps_per_second"]) > 0


@pytest.mark.parametrize("kind", ["blind", "train"])
def test_steps_of_f_and_g_have_the_same_losses(kind):
    """It raises where they differ."""
    row = kernel_space_steps.compare(kind, 1, width=2, kernel_dim=4)
    assert float(row["ratio"]) > 0
    assert float(row["half_ratio"]) > 0


def test_pictures(tmp_path):
    figures = [
        kernel_space_pictures.transfer(grid=1),
        kernel_space_pictures.blind((5,), steps=1, width=4),
    ]
    titles = [axes.get_title() for figure in figures for axes in figure.axes]
    made, own = (float(title.split(": ")[1].removesuffix(" dB")) for title in titles[3:5])
    assert made > own
    assert titles[5:7] == ["5 astronaut, blurred", "restored by the fit"]
    for figure, (_, name) in zip(figures, kernel_space_pictures.PICTURES.values(), strict=True):
        figure.savefig(tmp_path / name)
        assert (PAGE.parent / "images" / name).exists()
