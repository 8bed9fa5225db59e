# SPDX-License-Identifier: BSD-3-Clause
"""NU-Conv and motion blur on a CUDA device: `python -m benchmarks.gpu.gather [--size 1024]`.

The fields of :mod:`benchmarks.gather`: filters of 31 x 31 out of 361, four per pixel, three
channels; motions of up to 25 pixels. The baseline of NU-Conv is the transform of every filter that
some pixel picks, then the mix; that of motion blur is a loop over the window. Every result is held
to the reference on a small image first. Rows go to benchmarks/results/ under the device's name.
"""

import argparse
import csv
import functools
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import blurops
from benchmarks import gather, machine
from benchmarks.contenders.base import wait
from benchmarks.gather import FILTERS, SIDE, Field, make_field
from benchmarks.gpu import clock
from benchmarks.rows import RESULTS
from blurops.testing import relative_error

# Of the default precision.
_ROUNDED = 2e-3
_SMALL = (33, 37)


def member(op: str, f: Field, **options: str) -> Tensor:
    """A member of one of the two families; the image serves as the gradient too."""
    if op == "nu_conv_grad_bank":
        sizes = (FILTERS, SIDE, SIDE)
        return blurops.nu_conv_grad_bank(f.image, f.image, f.index, f.weight, sizes, **options)
    if op == "nu_conv_grad_weight":
        return blurops.nu_conv_grad_weight(f.image, f.image, f.bank, f.index, True, **options)
    maps = (f.bank, f.index, f.weight) if op.startswith("nu_conv") else (f.length, f.angle)
    images = (f.image, f.image) if "grad" in op else (f.image,)
    return getattr(blurops, op)(*images, *maps, **options)


MEMBERS = (
    "nu_conv", "nu_conv_adjoint", "nu_conv_grad_bank", "nu_conv_grad_weight",
    "motion_blur", "motion_blur_adjoint", "motion_blur_grad_length", "motion_blur_grad_angle",
)  # fmt: skip
# (op, name, call)
CONTENDERS = (
    *((op, f"blurops, {precision}",
       functools.partial(member, op, backend="native", precision=precision))
      for op in MEMBERS for precision in ("default", "high")),
    ("nu_conv", "FFT per filter", gather.conv_fft),
    ("nu_conv", "taps", gather.conv_taps),
    ("motion_blur", "offsets", gather.motion_offsets),
)  # fmt: skip


def on(device: torch.device, field: Field, dtype: torch.dtype = torch.float32) -> Field:
    """The same field on a device."""
    return Field(*(t.to(device, dtype if t.is_floating_point() else t.dtype) for t in field))


def error_of(result: Tensor, exact: Tensor) -> float:
    """Relative, without the first row and column."""
    # The smooth field's first motion ends exactly beside a pixel, where the derivative jumps.
    return relative_error(result[..., 1:, 1:], exact[..., 1:, 1:])


def row(op: str, name: str, call: Callable, kind: str, size: int, device: torch.device) -> dict:
    """Check a contender on a small image, and time it on a large one."""
    with torch.device("cpu"):
        small, large = (make_field(*s, kind == "smooth") for s in (_SMALL, (size, size)))
    exact = member(op, on(torch.device("cpu"), small, torch.float64), backend="reference")
    found = {"op": op, "field": kind, "contender": name, "size": size, "note": ""}
    try:
        found["error"] = error_of(call(on(device, small)).cpu(), exact)
        if not found["error"] <= _ROUNDED:
            return found | {"note": "wrong"}
        field = on(device, large)
        call(field)
        wait()
        found["call_ms"] = 1e3 * clock.call_seconds(lambda: call(field), device)
        kernels = clock.kernel_seconds(lambda: call(field), device)
        found["kernel_ms"] = None if kernels is None else 1e3 * kernels
    except Exception as error:  # a contender's failure is a row, not the end of the run
        found["note"] = f"fails: {type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return found


def rows(size: int, device: torch.device, contenders: tuple = CONTENDERS) -> list[dict]:
    """One row per contender and kind of field."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    place, found = machine.place(), []
    for kind in ("smooth", "random"):
        for op, contender, call in contenders:
            if contender == "FFT per filter" and kind == "random":
                continue  # every filter is picked somewhere: minutes
            line = row(op, contender, call, kind, size, device)
            line |= {"device": name, "commit": place["commit"], "torch": torch.__version__}
            line |= {"cuda": torch.version.cuda or "none", "date": place["date"]}
            print(f"{op:24} {kind:7} {contender:18} {line.get('call_ms') or 0:9.3f} ms, kernels "
                  f"{line.get('kernel_ms') or 0:9.3f} ms  {line['note']}", flush=True)  # fmt: skip
            found.append(line)
    return found


def main() -> None:
    """Check, time, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--out", type=Path, help="CSV file (default: benchmarks/results/...)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    torch.set_default_device(device)
    found = rows(options.size, device)
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(device).lower()).strip("-")
    path = options.out or RESULTS / f"gpu-gather-{name}.csv"
    names = ("op", "field", "contender", "size", "call_ms", "kernel_ms", "error", "note", "device",
             "commit", "torch", "cuda", "date")  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
