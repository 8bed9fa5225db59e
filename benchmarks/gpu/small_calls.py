# SPDX-License-Identifier: BSD-3-Clause
"""Every kernel on small inputs, for tools that watch a program.

`python -m benchmarks.gpu.small_calls`. Results are compared with the reference too; the program
ends with 1 when one is wrong.
"""

import sys

import torch

import blurops
from benchmarks.gather import make_field
from benchmarks.gpu import gather
from blurops import _native, _triton
from blurops.testing import CASES, Shape, relative_error

# Both kinds of a block's channels, one and two groups of bases, narrow and wide kernels.
SHAPES = (
    Shape(1, 1, 9, 40, 5, 3, 3),
    Shape(2, 3, 35, 37, 20, 5, 33),
    Shape(1, 4, 10, 20, 40, 3, 9),
)
_LIMIT = 2e-3  # the rounding of the default precision


def on(device: torch.device, args: tuple) -> tuple:
    """The tensors of a call on a device."""
    return tuple(a.to(device) if isinstance(a, torch.Tensor) else a for a in args)


def wrong(device: torch.device, backends: list[str]) -> list[str]:
    """The calls whose results are not the reference's."""
    found = []
    for case in CASES:
        for shape in SHAPES:
            for boundary in ("reflect", "valid"):
                if not shape.allows(boundary):
                    continue
                args, options = case.sample(shape, boundary, torch.float32, 0)
                exact = case.op(*args, **options, backend="reference")
                for backend, method, precision in ways(backends):
                    how = {"backend": backend, "method": method, "precision": precision}
                    result = case.op(*on(device, args), **options, **how)
                    error = relative_error(result.cpu(), exact)
                    if not error <= _LIMIT:
                        found.append(f"{case} {shape} {boundary} {how}: {error}")
    return found


def ways(backends: list[str]) -> list[tuple[str, str, str]]:
    """(backend, method, precision): tiles are of one precision, and the native backend's."""
    found = [
        (backend, "direct", precision) for backend in backends for precision in ("default", "high")
    ]
    return found + [("native", "fft", "default")] * ("native" in backends)


def wrong_steps(device: torch.device) -> list[str]:
    """The Richardson-Lucy steps, with one set and with two, whose results are not the formula's."""
    found = []
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 40, 70, generator=generator) + 0.2
    kernels = torch.rand(1, 5, 7, 7, generator=generator) / 49
    mixing = torch.rand(1, 5, 40, 70, generator=generator) / 2.5
    mask = torch.rand(1, 1, 40, 70, generator=generator)
    tensors = (image, image.flip(-1), kernels, mixing)
    for saturation in (None, blurops.Saturation(a=9.0, threshold=0.9)):
        for method in ("direct", "fft"):
            options = {"saturation": saturation, "tv": 0.01}
            exact = blurops.rl_step(*tensors, mask=mask, **options, backend="reference")
            given, mask_there = on(device, tensors), mask.to(device)
            result = blurops.rl_step(*given, mask=mask_there, **options, method=method)
            error = relative_error(result.cpu(), exact)
            if not error <= _LIMIT:
                found.append(f"rl_step {saturation} {method}: {error}")
    return found


def wrong_gathers(device: torch.device) -> list[str]:
    """The same of NU-Conv and motion blur, whose native kernels are looked at."""
    found = []
    for kind in ("smooth", "random"):
        field = make_field(18, 70, kind == "smooth")
        for op in gather.MEMBERS:
            exact = gather.member(op, field, backend="reference")
            for precision in ("default", "high"):
                options = {"backend": "native", "precision": precision}
                result = gather.member(op, gather.on(device, field), **options)
                error = gather.error_of(result.cpu(), exact)
                if not error <= _LIMIT:
                    found.append(f"{op} {kind} {precision}: {error}")
    return found


def main() -> int:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reasons = blurops.backends()
    backends = [name for name in ("native", "triton") if reasons[name] is None]
    if device.type == "cuda" and _native.cuda_reason() is not None:
        print(f"the CUDA kernels cannot run: {_native.cuda_reason()}")
        return 1
    if device.type == "cpu" and not _triton.interpreting():
        backends = [name for name in backends if name != "triton"]
    found = [*wrong(device, backends), *wrong_steps(device)]
    if "native" in backends:
        found += wrong_gathers(device)
    print("\n".join(found) or f"every call is right on {', '.join(backends)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
