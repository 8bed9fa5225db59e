# SPDX-License-Identifier: BSD-3-Clause
"""The documentation's examples run, its commands exist and its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from blurops.cli._main import build_parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "python").glob("*.md")])


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands() -> list[str]:
    """Every whole command line, in a code block or between backticks."""
    found = set()
    for page in PAGES:
        text = page.read_text()
        found.update(
            re.findall(r"^ *(blurops (?:demo|field|blur|deblur|detect|info)\b.*)$", text, re.M)
        )
        found.update(re.findall(r"`(blurops [a-z]+ [^`]*-o [^`]*)`", text))
    return sorted(found)


def test_the_readme_example_runs(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_commands_are_found():
    kinds = {line.split()[1] for line in commands()}
    assert {"demo", "field", "blur", "deblur"} <= kinds


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_documentation_is_understood(line):
    build_parser().parse_args(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", page.read_text()):
        assert re.search(rf"^{target}:", makefile, re.M), target
