# SPDX-License-Identifier: BSD-3-Clause
"""Builds the host emulation of the CUDA kernels, runs launchers in it, and reads what they packed.

Every tensor that a launcher sees lies between margins of NaN, which it must not write; a read from
there shows in the result. Memory that a launcher writes starts as NaN.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurops._native import BOUNDARY_CODES, DTYPE_CODES

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests" / "emulation"
# Sums must not be fused where the kernels do not ask for it: results are compared bit for bit.
FLAGS = ("-std=c++17", "-O1", "-march=native", "-ffp-contract=off", "-Wall", "-Wextra")
_MARGIN = 4096


class Schedule(NamedTuple):
    """What a GPU leaves to chance: when asynchronous copies land, and which thread runs first."""

    late: bool
    order: int


SCHEDULES = tuple(Schedule(late, order) for late in (True, False) for order in (0, 1, 2))


def compiler() -> str | None:
    """The compiler of the emulation, or ``None``: its half type is GCC's and Clang's."""
    return shutil.which("g++") or shutil.which("clang++")


def build(first: int, last: int, driver: str = "driver.cpp") -> Path:
    """The library with the instances ``taps_class`` = first .. last; kept below build/."""
    source = HERE / driver
    command = [
        compiler(), *FLAGS, "-fPIC", "-shared", "-DBLUROPS_EMULATE",
        f"-DBLUROPS_CUDA_FIRST={first}", f"-DBLUROPS_CUDA_LAST={last}",
        "-DBLUROPS_TILE_SLOTS=6", "-DBLUROPS_TILE_CHUNKS=2",
        f"-I{ROOT / 'csrc'}", f"-I{HERE}", "-x", "c++", str(source),
    ]  # fmt: skip
    files = [*(ROOT / "csrc").rglob("*"), *HERE.rglob("*.h"), source]
    seen = hashlib.sha256(repr(command).encode())
    for file in sorted(file for file in files if file.is_file()):
        seen.update(file.read_bytes())
    library = ROOT / "build" / "emulation" / f"{seen.hexdigest()[:20]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        fresh = library.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, "-o", str(fresh)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"the emulation does not build:\n{done.stderr[:4000]}")
        os.replace(fresh, library)
    return library


class Guarded:
    """A tensor's memory between two margins."""

    def __init__(self, size: int, like: Tensor | None = None) -> None:
        self.bytes = torch.full((size + 2 * _MARGIN + 256,), 0xFF, dtype=torch.uint8)
        start = _MARGIN + (-self.bytes.data_ptr() - _MARGIN) % 256
        self.inside = self.bytes[start : start + size]
        if like is not None:
            self.inside.copy_(like.contiguous().reshape(-1).view(torch.uint8))
        self.margins = (self.bytes[:start], self.bytes[start + size :])

    def address(self) -> ctypes.c_void_p:
        """Where it starts, 256-byte aligned."""
        return ctypes.c_void_p(self.inside.data_ptr())

    def check(self, what: str) -> None:
        """Nobody wrote outside."""
        assert all((margin == 0xFF).all() for margin in self.margins), f"written beyond {what}"


@dataclass(frozen=True)
class Call:
    """One call of the family: its kind and the sizes that the launchers need."""

    dtype: torch.dtype
    boundary: str
    image: tuple[int, ...]
    kernels: tuple[int, ...]
    mixing: tuple[int, ...]
    high: bool = False
    tiling: tuple[int, ...] = (0, 0, 0, 0)

    def numbers(self) -> ctypes.Array:
        """As driver.cpp reads them."""
        count, channels, height, width = self.image
        size = self.kernels[-2:]
        anchor = (0, 0) if self.boundary == "valid" else (size[0] // 2, size[1] // 2)
        numbers = (
            count, channels, self.kernels[1], height, width, *self.mixing[-2:], *size, *anchor,
            int(self.kernels[0] > 1), int(self.mixing[0] > 1), *self.tiling,
        )  # fmt: skip
        return _numbers(DTYPE_CODES[self.dtype], BOUNDARY_CODES[self.boundary], numbers)

    @property
    def blurred(self) -> tuple[int, ...]:
        """The blurred image's shape."""
        return (*self.image[:2], *self.mixing[-2:])


def call_of(
    tensors: dict[str, Tensor],
    boundary: str,
    high: bool = False,
    tiling: tuple[int, ...] = (0, 0, 0, 0),
) -> Call:
    """The call that these tensors belong to."""
    image, kernels, mixing = (tensors[name] for name in ("image", "kernels", "mixing"))
    shapes = (tuple(t.shape) for t in (image, kernels, mixing))
    return Call(image.dtype, boundary, *shapes, high, tiling)


def _numbers(dtype: int, boundary: int, numbers: tuple) -> ctypes.Array:
    return (ctypes.c_int64 * (2 + len(numbers)))(dtype, boundary, *numbers)


class Emulator:
    """A built library."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.report.restype = ctypes.c_char_p

    def ask(self, function: str, *problem: Any) -> int:
        """Stands in for ``_native.ask``."""
        if function == "widest_kernel_cuda":
            return self._library.widest()
        dtype, boundary, numbers, high = problem
        size = getattr(self._library, function.replace("_cuda", ""))
        size.restype = ctypes.c_int64
        return size(_numbers(dtype, boundary, numbers), int(high))

    def call_on_stream(
        self, launcher: str, device: torch.device, dtype: int, boundary: int, numbers: tuple,
        high: bool, *tensors: Tensor,
    ) -> None:  # fmt: skip
        """Stands in for ``_native.call_on_stream``."""
        memory = [ctypes.c_void_p(t.data_ptr()) for t in tensors]
        launch = getattr(self._library, launcher.replace("_cuda", ""))
        launch(_numbers(dtype, boundary, numbers), int(high), *memory)

    def run(
        self,
        member: str,
        call: Call,
        inputs: tuple[Tensor, ...],
        shape: tuple[int, ...],
        schedule: Schedule = SCHEDULES[0],
    ) -> tuple[Tensor, Tensor]:
        """The result of a launcher, of this shape, and its workspace; fails on any fault."""
        self._library.emulate(int(schedule.late), schedule.order)
        numbers, high = call.numbers(), int(call.high)
        size = getattr(self._library, f"{member}_bytes")
        size.restype = ctypes.c_int64
        element = torch.empty(0, dtype=call.dtype).element_size()
        given = [Guarded(t.numel() * element, t) for t in inputs]
        before = [g.inside.clone() for g in given]
        out = Guarded(element * torch.Size(shape).numel())
        workspace = Guarded(size(numbers, high))
        memory = [g.address() for g in (*given, out, workspace)]
        getattr(self._library, member)(numbers, high, *memory)
        where = f"{member} {call} {schedule}"
        report = self._library.report().decode()
        assert not report, f"{where}: {report}"
        out.check(f"the result of {where}")
        workspace.check(f"the workspace of {where}")
        for g, old in zip(given, before, strict=True):
            assert torch.equal(g.inside, old), f"an input was written by {where}"
        return out.inside.clone().view(call.dtype).reshape(shape), workspace.inside

    def run_ratios(
        self, call: Call, inputs: tuple[Tensor, ...], observed: Tensor, mask: Tensor | None,
        clean: Tensor | None, sensor: tuple[float, float] | None, eps: float,
    ) -> Tensor:  # fmt: skip
        """The ratios of a step, by the epilogue of the blur; ``inputs`` are those of the blur."""
        self._library.emulate(1, 0)
        numbers, high = call.numbers(), int(call.high)
        size = self._library.basis_blur_bytes
        size.restype = ctypes.c_int64
        channels = (1 if clean is None else 2) * observed.shape[1]
        shape = (observed.shape[0], channels, *observed.shape[2:])
        given = [
            None if t is None else Guarded(4 * t.numel(), t)
            for t in (*inputs, observed, mask, clean)
        ]
        out, workspace = Guarded(4 * torch.Size(shape).numel()), Guarded(size(numbers, high))
        memory = [g if g is None else g.address() for g in (*given, out, workspace)]
        strides = [0, 0]
        if mask is not None:
            strides = [mask.stride(i) if mask.shape[i] > 1 else 0 for i in (0, 1)]
        a, level = sensor or (1.0, 1.0)
        self._library.rl_ratios(
            numbers, high, (ctypes.c_double * 3)(a, level, eps), int(sensor is not None),
            (ctypes.c_int64 * 2)(*strides), *memory,
        )  # fmt: skip
        report = self._library.report().decode()
        assert not report, f"the ratios of {call}: {report}"
        out.check(f"the ratios of {call}")
        workspace.check(f"the workspace of the ratios of {call}")
        return out.inside.clone().view(torch.float32).reshape(shape)


class Packed(NamedTuple):
    """The operands that a launcher packed, in float64: one of each for every listed basis."""

    kernels: Tensor
    mixing: Tensor
    pixel_scale: Tensor  # what the coefficients were multiplied with, one number for each pixel


def unpack(call: Call, workspace: Tensor) -> Packed:
    """Read packed operands back, by the layout that csrc/basis_blur/cuda/layout.h describes."""
    basis, kernel_height, kernel_width = call.kernels[1:]
    height, width = call.mixing[-2:]
    listed = (3 if call.high else 1) * basis
    steps = 1 if listed <= 16 else 2
    groups, strips = -(-listed // (16 * steps)), -(-width // 64)
    products = -(-(kernel_width + 3) // 8)
    taken = 0

    def take(dtype: torch.dtype, *shape: int) -> Tensor:
        nonlocal taken
        size = torch.Size(shape).numel() * torch.empty(0, dtype=dtype).element_size()
        piece = workspace[taken : taken + size]
        taken += -(-size // 256) * 256
        return piece.clone().view(dtype).double().reshape(shape)

    row = 32 * steps * 4 * 8
    mixing = take(torch.float16, call.mixing[0], groups, height, strips, row)
    pixel_scale = take(torch.float32, call.mixing[0], 1, height, strips * 64)
    kernels = take(torch.float16, call.kernels[0], groups, kernel_height, products, 32, 4 * steps)
    kernel_scale = take(torch.float32, call.kernels[0], 1, 1, 1)

    own = mixing.new_zeros(call.mixing[0], groups, 16 * steps, height, strips, 64)
    for pair in range(32):
        for step in range(steps):
            for t in range(4):
                unit = (pair * steps + step) ^ (pair // 4 & 1)
                for half in range(8):
                    pixel, base = half // 2 % 2, half // 4 * 2 + half % 2
                    own[:, :, 4 * (t * steps + step) + base, :, :, 2 * pair + pixel] = mixing[
                        ..., (unit * 4 + t) * 8 + half
                    ]
    taps = kernels.new_zeros(call.kernels[0], groups, 16 * steps, kernel_height, 8 * products)
    for j in range(products):
        for g in range(8):
            owner, slot = g // 2, 2 * j + g % 2
            values = kernels[:, :, :, j, 4 * g : 4 * g + 4].flatten(-2).movedim(-1, 2)
            if slot < 2 * products - 1 or owner == 3:
                taps[..., owner * (2 * products - 1) + slot] = values
            else:
                assert not values.any(), "a slot that two threads share is not zero"
    assert not taps[..., kernel_width:].any(), "there are taps beyond the kernel"
    own, taps = own.flatten(1, 2).flatten(-2) * pixel_scale, taps.flatten(1, 2) * kernel_scale
    assert not own[:, listed:].any(), "there are coefficients beyond the basis"
    assert not own[..., width:].any(), "there are coefficients beyond the image"
    taps, own = taps[:, :listed, :, :kernel_width], own[:, :listed, :, :width]
    return Packed(taps, own, 1 / pixel_scale[..., :width])
