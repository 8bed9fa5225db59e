# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark of the search for faces, in small. Nothing here looks at a time."""

from pathlib import Path

import pytest

from benchmarks import faces

PAGE = Path(__file__).parent.parent / "docs" / "faces.md"
TINY = faces.Case("StyleGAN2", 256, faces.F, 8, (4, 4, 4, 2, 2, 2, 2), (2, 4))


def test_the_page_has_the_table_of_the_rows():
    found = faces.read(faces.RESULTS)
    assert len(found) == len(faces.CASES)
    for row, case in zip(found, faces.CASES, strict=True):
        assert (row["generator"], row["size"], row["operator"]) == (
            case.generator, str(case.size), case.operator,
        )  # fmt: skip
    assert faces.table(found) in PAGE.read_text()


def test_a_row_is_of_its_own_process(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(faces, "CASES", [TINY])
    # What this process holds is not the row's.
    monkeypatch.setattr(faces, "resident", None)
    output = tmp_path / "rows.csv"
    faces.main(["--table", "--output", str(output)])
    (row,) = faces.read(output)
    assert (row["generator"], row["size"], row["operator"]) == ("StyleGAN2", "256", faces.F)
    assert float(row["peak_gb"]) > 0.05
    assert f"| StyleGAN2, 256 | {faces.F} | " in capsys.readouterr().out


def test_steps_are_counted_block_by_block(monkeypatch):
    """The clock ticks once a run of the blur, which the kernel's steps share with the face's."""
    ticks = iter([0, 1, 3, 6, 100, 110, 130, 160])
    monkeypatch.setattr(faces.time, "process_time", lambda: next(ticks))
    row = faces.measure(TINY._replace(operator=faces.CONVOLUTION))
    assert (row["face_seconds"], row["kernel_seconds"]) == ("2", "20")
    assert next(ticks, None) is None


def test_the_picture(tmp_path, monkeypatch, capsys):
    small = faces.SIZES._replace(
        size=16, latent=8, channels=(4, 4, 4), samples=100, motion=3.0, kernel=5,
        settings=faces.SIZES.settings._replace(epochs=1, image_steps=2, kernel_steps=1),
    )  # fmt: skip
    monkeypatch.setattr(faces, "SIZES", small)
    sharp, photograph, found = faces.search()
    titles = [axes.get_title() for axes in faces.draw(sharp, photograph, found).axes]
    assert titles[0] == f"photograph\n{faces.psnr(photograph, sharp):.2f} dB"
    assert titles[-1] == "sharp"
    for title, each in zip(titles[2::2], found.values(), strict=False):
        assert title == f"found\n{faces.psnr(each.image, sharp):.2f} dB"
    path = tmp_path / "faces.png"
    faces.main(["--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--table or --picture PATH is needed"),
        (["--picture", "faces.txt"], "'faces.txt' must end in one of .png, .pdf, .svg, got .txt"),
        (["--table", "--output", "/nowhere/rows.csv"], "the folder '/nowhere' does not exist"),
    ],
)
def test_errors_come_before_the_work_in_one_line(arguments, expected, monkeypatch, capsys):
    monkeypatch.setattr(faces, "CASES", [])
    with pytest.raises(SystemExit) as stopped:
        faces.main(arguments)
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]
