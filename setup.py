# SPDX-License-Identifier: BSD-3-Clause
"""Runs CMake for the native module. Never imports torch: one build serves every torch."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
COMPILERS = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]


class CMakeBuild(build_ext):
    """``BLUROPS_CUDA`` is auto (default: when nvcc is found), 0 or 1."""

    def build_extension(self, extension: Extension) -> None:
        """Configure, build, and put the module where Python finds it."""
        missing = self._what_is_missing()
        if missing is not None:
            print(f"blurops: no {missing} found; only the slower torch paths are installed")
            return
        build = self._build_folder()
        # Tools installed beside the running interpreter come first.
        tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**os.environ, "PATH": tools}
        subprocess.run(self._configure(build), check=True, env=environment)
        subprocess.run(["cmake", "--build", str(build)], check=True, env=environment)

        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        # A running process may have the old module mapped: replace it, never write into it.
        fresh = target.with_suffix(".new")
        shutil.copyfile(next(build.glob("_C*.so")), fresh)
        os.replace(fresh, target)

    @staticmethod
    def _what_is_missing() -> str | None:
        if not any(map(shutil.which, COMPILERS)):
            return "C++ compiler"
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            return "Python headers (Python.h)"
        return None

    def _build_folder(self) -> Path:
        """Editable builds keep one folder, so that they stay incremental."""
        if getattr(self, "editable_mode", False):
            return ROOT / "build" / "cmake"
        return Path(self.build_temp).resolve() / "cmake"

    @staticmethod
    def _configure(build: Path) -> list[str]:
        import pybind11

        return [
            "cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja",
            f"-DBLUROPS_CUDA={os.environ.get('BLUROPS_CUDA', 'auto')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]  # fmt: skip


# Optional: without a compiler the torch paths are installed. One that fails is still an error.
setup(
    ext_modules=[Extension("blurops._C", sources=[], optional=True)],
    cmdclass={"build_ext": CMakeBuild},
)
