# SPDX-License-Identifier: BSD-3-Clause
"""Compiles CUDA sources to machine code without a device, and reads what the compiler made of them.

nvcc reports registers and spills; cuobjdump, which comes with Triton where the toolkit has none,
shows the instructions.
"""

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Resources(NamedTuple):
    """Of one kernel."""

    registers: int
    stack: int
    spills: int


def nvcc() -> str | None:
    """The CUDA compiler, or ``None``."""
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def cuobjdump() -> str | None:
    """The disassembler, of the toolkit or of Triton, or ``None``."""
    found = shutil.which("cuobjdump")
    triton = importlib.util.find_spec("triton") if found is None else None
    if triton is None or triton.origin is None:
        return found
    return shutil.which(str(Path(triton.origin).parent / "backends/nvidia/bin/cuobjdump"))


def compile_cubin(source: str, arch: str, first: int, last: int, cubin: Path) -> dict:
    """Compile instances ``first .. last`` of a source; mangled kernel name -> Resources."""
    command = [
        nvcc(), "-std=c++17", "-O3", f"-arch={arch}", f"-I{ROOT / 'csrc'}", "-Xptxas", "-v",
        f"-DBLUROPS_CUDA_FIRST={first}", f"-DBLUROPS_CUDA_LAST={last}",
        "--cubin", str(ROOT / source), "-o", str(cubin),
    ]  # fmt: skip
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    entry = re.compile(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        re.DOTALL,
    )
    return {
        name: Resources(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in entry.findall(done.stderr)
    }


def innermost_loop(cubin: Path, kernel: str) -> Counter:
    """Instructions of the shortest loop with tensor-core products; vector widths are kept.

    ``kernel`` is a part of one mangled name.
    """
    listing = subprocess.run(
        [cuobjdump(), "-sass", str(cubin)], text=True, capture_output=True, check=True
    ).stdout
    (body,) = (
        part for part in listing.split("Function : ")[1:] if kernel in part.split("\n", 1)[0]
    )
    lines = [
        (int(address, 16), text)
        for address, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", body)
    ]
    loops = []
    for address, text in lines:
        target = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
        if target is not None and int(target.group(1), 16) <= address:
            inside = [t for a, t in lines if int(target.group(1), 16) <= a <= address]
            if any("HMMA" in t for t in inside):
                loops.append(inside)
    return Counter(map(_name, min(loops, key=len)))


def _name(instruction: str) -> str:
    name = re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0]
    operation, *modifiers = name.split(".")
    wide = [m for m in modifiers if m in ("64", "128") and operation in ("LDS", "STS", "LDG")]
    return ".".join([operation, *wide])
