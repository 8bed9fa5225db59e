# SPDX-License-Identifier: BSD-3-Clause
"""Run the tests of the native module under AddressSanitizer and UndefinedBehaviorSanitizer.

The module is built in a copy of the project with both sanitizers, for every instruction set; the
tests run with the sanitizer's library loaded first (Python itself is not instrumented), and then
accesses out of bounds and an overflow are planted: unless each is reported, the run proves nothing
and fails.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from proof.tree import ROOT, ProofError, Tree, tail

FLAGS = (
    "-O0 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"
)
TESTS = (
    "tests/test_backward.py",
    "tests/test_basis_blur.py",
    "tests/test_contract.py",
    "tests/test_gather_ops.py",
    "tests/test_rl_native.py",
    "tests/test_tiles.py",
)
# What never enters the native module shows nothing here; gradient checks enter it a thousand times
# with the same sizes. Of the tiles, what decides which memory they touch.
KEYWORD = (
    "(native or every_instruction_set or kernels_in_parts or batches "
    "or channels_in_groups or images_around or lines_and or valid_down) and not gradients"
)
LIMIT = 900
BUILD_LIMIT = 1200


@dataclass(frozen=True)
class Plant:
    """An error, the words a sanitizer must report it with, and the tests that run into it."""

    name: str
    file: str
    old: str
    new: str
    report: str
    keyword: str


# All in files that are compiled once and quickly; the kernels, compiled long before, run into them.
PLANTS = (
    Plant(
        name="a source row past the image, read by the direct method",
        file="csrc/basis_blur/launch.h",
        old="map[u] = map_index(u - anchor, size, boundary);",
        new="map[u] = map_index(u - anchor, size, boundary) + (u + 1 == length ? size : 0);",
        report="AddressSanitizer: heap-buffer-overflow",
        keyword="native and replicate and equals and not gradients",
    ),
    Plant(
        name="an overflowing signed sum",
        file="csrc/basis_blur/launch.h",
        old="map[u] = map_index(u - anchor, size, boundary);",
        new="map[u] = map_index(u - anchor, size, boundary) + "
        "(INT64_MAX - length + u + 2) / INT64_MAX;",
        report="runtime error: signed integer overflow",
        keyword="native and circular and equals and not gradients",
    ),
    Plant(
        name="a window one row longer than the extended image",
        file="csrc/basis_blur/tile_launch.cpp",
        old="plan.extended_rows = static_cast<int64_t>(maps.rows.size());",
        new="plan.extended_rows = static_cast<int64_t>(maps.rows.size()) + 1;\n"
        "    plan.row_map = maps.rows.data() + 1;",
        report="AddressSanitizer: heap-buffer-overflow",
        keyword="kernels_in_parts",
    ),
    Plant(
        name="a tile's working memory one page too short",
        file="csrc/basis_blur/tile_launch.cpp",
        old="threads), kernels.scratch_bytes(plan));",
        new="threads), kernels.scratch_bytes(plan) - 4096);",
        report="AddressSanitizer: heap-buffer-overflow",
        keyword="kernels_in_parts",
    ),
    Plant(
        name="an extended image without its last row",
        file="csrc/common/extended.h",
        old="memory_ = allocate(planes * plane * sizeof(A));",
        new="memory_ = allocate((planes * plane - pitch) * sizeof(A));",
        report="AddressSanitizer: heap-buffer-overflow",
        keyword="test_gather_ops and every_instruction_set",
    ),
)


def compiler() -> str:
    """GCC's C++ compiler: the name and place of the sanitizer library are its own."""
    found = shutil.which("g++")
    if found is None:
        raise ProofError("g++ is not installed")
    return found


def library(name: str) -> str:
    """The file of one of the compiler's own shared libraries."""
    command = [compiler(), f"-print-file-name={name}"]
    path = subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()
    if not os.path.isabs(path):
        raise ProofError(f"g++ has no {name}; install the sanitizer runtime of GCC")
    return path


def environment() -> dict[str, str]:
    """How an uninstrumented Python runs instrumented code."""
    return {
        "CXX": compiler(),
        # libstdc++ too: the sanitizer must find its exceptions when it starts, before torch brings
        # them.
        "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so')}",
        # CPython and torch keep memory until the process ends, by design; leaks are not looked for.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
    }


def run_tests(tree: Tree, keyword: str) -> subprocess.CompletedProcess[str]:
    """The native tests that a keyword picks, in the sanitized copy, up to the first failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    # -s: a sanitizer writes its report to the real standard error and ends the process.
    return tree.run([*command, "-s", "-x", "-k", keyword, *TESTS], limit=LIMIT, extra=environment())


def build(tree: Tree) -> None:
    """Build the copy with the sanitizers."""
    log = tree.build(FLAGS, every_isa=True, limit=BUILD_LIMIT)
    if log is not None:
        raise ProofError(f"the sanitized module does not build:\n{tail(log)}")


def prove(tree: Tree) -> None:
    """The tests are clean as they are, and not clean with each error planted."""
    build(tree)
    start = time.perf_counter()
    clean = run_tests(tree, KEYWORD)
    if clean.returncode != 0:
        raise ProofError(f"the native tests fail under the sanitizers:\n{tail(clean.stdout, 60)}")
    print(f"sanitizers: clean in {time.perf_counter() - start:.0f} s; {tail(clean.stdout, 1)}")
    for plant in PLANTS:
        start = time.perf_counter()
        with tree.planted(plant.file, plant.old, plant.new):
            build(tree)
            caught = run_tests(tree, plant.keyword)
        if plant.report not in caught.stdout:
            raise ProofError(f"{plant.name} was planted and not reported:\n{tail(caught.stdout)}")
        print(f"sanitizers: {plant.name} is reported ({time.perf_counter() - start:.0f} s)")


def main() -> int:
    """Run the proof; 0 when the module is clean and the planted errors are reported."""
    try:
        with tempfile.TemporaryDirectory(prefix="blurops-sanitizers-") as folder:
            prove(Tree(ROOT, Path(folder) / "copy"))
    except ProofError as error:
        print(f"sanitizers: {error}", file=sys.stderr)
        return 1
    except subprocess.TimeoutExpired as error:
        print(f"sanitizers: no result within {error.timeout:.0f} s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
