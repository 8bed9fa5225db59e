# SPDX-License-Identifier: BSD-3-Clause
"""Compile what the Triton backends launch for a GPU that is not there, and say what came out.

``python -m tests.compile_triton 90 float32`` prints one JSON object per kernel and kind of call. A
process of its own, because Triton decides when it is imported whether it interprets or compiles.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

import blurops
from blurops import Saturation, _triton
from blurops._check import BOUNDARIES
from blurops.testing import CASES, Shape
from tests.gather import CONVS, MOTIONS, Conv, Motion
from tests.rl_problems import problem

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
# As many bases and channels as one block has, and one of everything: arguments that are 1 become
# constants, and so do those that are not given.
LARGE = Shape(2, 3, 40, 50, 25, 33, 33, kernels_shared=False, mixing_shared=False)
NARROW = Shape(1, 1, 20, 20, 40, 3, 3)
ONES = Shape(1, 1, 1, 1, 1, 1, 1)
# The two forms of a bank; motions with every broadcast.
CONV_SHAPES = (
    Conv(2, 3, 40, 50, 7, 4, (31, 31), index_shared=False),
    Conv(2, 3, 9, 8, 5, 4, (3, 5), True),
)
CONV_ONES = Conv(1, 1, 1, 1, 1, 1, (1, 1))
MOTION_SHAPES = (Motion(2, 3, 40, 50, 25.0, length_shared=False), Motion(1, 1, 9, 9, 3.0))


def main(capability: int, dtypes: list[torch.dtype]) -> None:
    """Compile for a compute capability such as 90."""
    target = GPUTarget("cuda", capability, 32)
    seen = set()

    def compile_instead(kernel, programs, *args, like, **sizes):
        keywords = {**sizes, "num_warps": 4, "num_stages": 1}
        source, options = specialised(kernel, target, args, keywords)
        compiled = source.hash() not in seen and triton.compile(
            source, target=target, options=options.__dict__
        )
        seen.add(source.hash())
        if compiled:
            report(kernel, like, compiled)

    _triton.launch = compile_instead
    _triton.interpreting = lambda: True  # so that CPU tensors are accepted
    for dtype in dtypes:
        for precision in ("tf32", "ieee") if dtype == torch.float32 else (None,):
            exact = "ieee" if dtype == torch.float64 else "tf32"
            _triton.precision = lambda *_, chosen=precision or exact: chosen
            family(dtype, precision)
        response(dtype)
        gather(dtype)


def specialised(kernel, target, args, keywords):
    """The source and options that a launch with these arguments compiles: as JITFunction.run()."""
    backend = make_backend(target)
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, specialization, options = bind(*args, **keywords)
    options, signature, constants, attributes = kernel._pack_args(
        backend, keywords, bound, specialization, options
    )
    return ASTSource(kernel, signature, constants, attributes), options


def family(dtype, precision):
    """Every member."""
    shapes = (LARGE, NARROW, ONES) if precision == "tf32" else (LARGE,)
    for shape in shapes:
        for case in CASES:
            args, options = case.sample(shape, "zeros", dtype, 0)
            case.op(*args, **options, backend="triton")


def gather(dtype):
    """A kernel per pixel, with either bank, every boundary and either kind of caps."""
    for shape in (*CONV_SHAPES, *((CONV_ONES,) if dtype == torch.float32 else ())):
        for case in CONVS:
            case.op(*case.args(shape, "zeros", dtype, 0), boundary="zeros", backend="triton")
    boundaries = BOUNDARIES if dtype == torch.float32 else BOUNDARIES[:1]
    for i, boundary in enumerate(boundaries):
        for case in MOTIONS:
            args = case.args(MOTION_SHAPES[i % 2], boundary, dtype, 0)
            caps = ("fspecial", "segment")[i % 2]
            case.op(*args, boundary=boundary, caps=caps, backend="triton")


def response(dtype):
    """The pointwise kernels; the step itself has none for half types."""
    for op in (blurops.saturate, blurops.saturate_derivative):
        op(torch.ones(5, dtype=dtype), backend="triton")
    if dtype == torch.bfloat16:
        return
    mask = torch.ones(1, 1, 4, 5, dtype=dtype)
    two_sets = {"saturation": Saturation(), "tv": 0.1}
    for channels, chosen in ((1, {}), (3, {**two_sets, "mask": mask}), (1, two_sets)):
        tensors = [t.requires_grad_() for t in problem(channels=channels, dtype=dtype)]
        blurops.rl_step(*tensors, **chosen, backend="triton").sum().backward()


def report(kernel, like, compiled):
    """One line of JSON."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    numbers = {name.lower(): int(n) for name, n in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    # What matrix units add to: the third operand.
    added = re.findall(r"tt\.dot %[\w#]+, %[\w#]+, %(\w+)", compiled.asm["ttir"])
    kind = str(like.dtype).removeprefix("torch.")
    line = {
        "op": kernel.fn.__module__.split(".")[-2],
        "kernel": kernel.fn.__name__,
        "dtype": kind,
        "shared": compiled.metadata.shared,
        "added": added,
        **numbers,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), [getattr(torch, name) for name in sys.argv[2:]])
