# SPDX-License-Identifier: BSD-3-Clause
"""Reports are JSON for every reader, whatever they tell of."""

import argparse
import json
import math

import numpy as np
import pytest

from blurmodels import evaluate_command
from blurmodels.evaluation import Row, Table
from blurops.files import write_report


def strict(path):
    """What a reader finds that knows JSON's own values alone."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_numbers_that_json_lacks_are_null(tmp_path):
    path = tmp_path / "r.json"
    report = {"psnr": math.inf, "rows": [(1, -math.inf), {"ap": np.float64("nan")}], "done": True}
    write_report(path, report)
    assert strict(path) == {"psnr": None, "rows": [[1, None], {"ap": None}], "done": True}
    assert report["psnr"] == math.inf


def test_what_is_no_report_leaves_the_old_one(tmp_path):
    path = tmp_path / "r.json"
    write_report(path, {"psnr": 30.5})
    with pytest.raises(TypeError):
        write_report(path, {"psnr": object()})
    assert strict(path) == {"psnr": 30.5}
    assert [each.name for each in tmp_path.iterdir()] == ["r.json"]


def test_scores_of_equal_images(tmp_path, capsys):
    path = tmp_path / "s.json"
    table = Table("equal", ("PSNR",), (Row("a", ("inf",)),))
    args = argparse.Namespace(output=str(path))
    evaluate_command.run(args, lambda args: ([table], {"a": {"psnr": [math.inf, 20.0]}}))
    assert "equal" in capsys.readouterr().out
    assert strict(path) == {"a": {"psnr": [None, 20.0]}}
