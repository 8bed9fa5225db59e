# SPDX-License-Identifier: BSD-3-Clause
"""Runs CMake for the native module and installs blurops. Never imports torch: one build serves every torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
COMPILERS = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]


class CMakeBuild(build_ext):
    """``BLUROPS_CUDA`` is auto (default: when nvcc is found), 0 or 1."""

    def build_extension(self, extension: Extension) -> None:
        if not any(map(shutil.which, COMPILERS)):
            print("blurops: no C++ compiler found; only the slower torch paths are installed", file=sys.stderr)
            return
        import pybind11

        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        build = Path(self.build_temp).resolve() / "cmake"
        configure = [
            "cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja",
            f"-DBLUROPS_CUDA={os.environ.get('BLUROPS_CUDA', 'auto')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *os.environ.get("BLUROPS_CMAKE_ARGS", "").split(),
        ]  # fmt: skip
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build)], check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(next(build.glob("_C*.so")), target)


# Optional, so that a machine without a compiler still installs the torch paths; a compiler that fails is an error.
setup(ext_modules=[Extension("blurops._C", sources=[])], cmdclass={"build_ext": CMakeBuild})
