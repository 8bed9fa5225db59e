# SPDX-License-Identifier: BSD-3-Clause
"""A copy of the project that a proof may change: sources, one planted change, the native module."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_NOT_COPIED = shutil.ignore_patterns(
    ".*", "build", "dist", "out", "__pycache__", "*.egg-info", "*.so", "*.o"
)


class ProofError(Exception):
    """The proof itself could not be carried out; its message says what went wrong."""


def tail(text: str, lines: int = 30) -> str:
    """The last lines of a log."""
    return "\n".join(text.strip().splitlines()[-lines:])


class Tree:
    """A copy of a project in a folder of its own. The original is never written."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder
        shutil.copytree(root, folder, ignore=_NOT_COPIED)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of every command: the copy's package first, and no stale byte code.

        A planted change may leave size and modification second of a file as they were, and Python
        would then run the byte code of the original. ``CI`` makes hypothesis repeat the same
        examples.
        """
        return {
            **os.environ,
            "PYTHONPATH": f"{self.root}{os.pathsep}{self.root / 'python'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CI": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **(extra or {}),
        }

    def run(
        self, command: list[str], *, limit: float, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the copy; ``TimeoutExpired`` after ``limit`` seconds."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(extra),
            timeout=limit,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def build(
        self, flags: str = "-O0", *, every_isa: bool = False, limit: float = 600
    ) -> str | None:
        """Build the native module with these compiler flags alone; ``None``, or a failure's log.

        The build folder stays, so that a second call compiles only what has changed. One source
        serves every instruction set, so a bug planted in it is built and sought in one of them.
        """
        done = self.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            limit=limit,
            # A build type that CMake does not know adds no flags of its own after ours.
            extra={
                "BLUROPS_CUDA": "0",
                "CMAKE_ARGS": "-DCMAKE_BUILD_TYPE=Proof "
                f"-DBLUROPS_BASELINE_ONLY={'OFF' if every_isa else 'ON'}",
                "CXXFLAGS": flags,
            },
        )
        if done.returncode == 0 and self.native_module() is None:
            return "setup.py made no native module (is there a C++ compiler?)"
        return None if done.returncode == 0 else done.stdout

    def native_module(self) -> Path | None:
        """Where the native module lies, if it is built."""
        return next((self.root / "blurops").glob("_C*.so"), None)

    def import_check(self) -> None:
        """Make sure that tests run here import the copy, and not the checkout it was made from."""
        code = "import blurops, blurops._C; print(blurops.__file__, blurops._C.__file__, sep='\\n')"
        done = self.run([sys.executable, "-c", code], limit=120)
        files = done.stdout.strip().splitlines()[-2:]
        if done.returncode != 0 or {Path(file).parent for file in files} != {self.root / "blurops"}:
            raise ProofError(f"the copy's blurops is not the one imported:\n{tail(done.stdout)}")

    @contextmanager
    def planted(self, file: str, old: str, new: str) -> Iterator[None]:
        """Replace the only occurrence of ``old`` in a file for the duration of the block.

        Leaving the block writes the original text back with a fresh modification time: an object
        file compiled from the changed text would otherwise look newer than its source.
        """
        path = self.root / file
        original = path.read_text()
        check_unique(file, original, old, new)
        path.write_text(original.replace(old, new))
        try:
            yield
        finally:
            path.write_text(original)


def check_unique(file: str, text: str, old: str, new: str) -> None:
    """A change must hit exactly one place, and must be a change."""
    count = text.count(old)
    if count != 1:
        raise ProofError(f"{file}: the text to change occurs {count} times, not once: {old!r}")
    if old == new:
        raise ProofError(f"{file}: the change changes nothing: {old!r}")
