# SPDX-License-Identifier: BSD-3-Clause
"""Runs the CUDA launchers of NU-Conv and motion blur under the host emulation.

It stands in for what lies between the Python half of an op and a GPU, so that a call goes the whole
way that one with CUDA tensors goes.
"""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from blurops import _native
from blurops.ops import gather_cuda
from blurops.ops.motion_blur import native as motion_native
from tests.emulation.library import SCHEDULES, Guarded, Schedule, build

# The fields of the structs in nu_conv.h and motion_blur.h, in their order.
FIELDS = {
    "NuConv": (
        "dtype", "boundary", "count", "channels", "filters", "picked", "height", "width",
        "out_height", "out_width", "kernel_height", "kernel_width", "anchor_y", "anchor_x", "own",
        "index_batched", "weight_batched",
        # Of the CPU's tiles, which no GPU looks at.
        "tile_height", "tile_width", "parts_down", "parts_across", "budget",
    ),
    "MotionBlur": (
        "dtype", "boundary", "count", "channels", "height", "width", "out_height", "out_width",
        "margin_y", "margin_x", "reach", "segment", "length_batched", "angle_batched",
    ),
}  # fmt: skip


class GatherEmulator:
    """The built library, and what a test may choose of the GPU it stands for."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(build(0, 0, "gather_driver.cpp")))
        self._library.report.restype = ctypes.c_char_p
        self.schedule: Schedule = SCHEDULES[0]
        self.launches: list[str] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """From now on, the native backend launches here."""
        patch.setattr(_native, "missing_reason", lambda: None)
        patch.setattr(_native, "fill", self._fill)
        patch.setattr(_native, "ask", self._ask)
        patch.setattr(_native, "call_on_stream", self._call)
        patch.setitem(gather_cuda.LAUNCH, "cpu", gather_cuda.launch_cuda)
        patch.setattr(motion_native, "_reach", self._reach)

    @staticmethod
    def _reach(length: Tensor, room: int | None, derivative: bool) -> int:
        return min(motion_native.FARTHEST, motion_native.FARTHEST if room is None else room)

    @staticmethod
    def _fill(struct: str, **fields: Any) -> SimpleNamespace:
        assert tuple(fields) == FIELDS[struct]
        numbers = [int(value) for value in fields.values()]
        return SimpleNamespace(numbers=(ctypes.c_int64 * len(numbers))(*numbers))

    def _ask(self, function: str, problem: SimpleNamespace, high: bool = False) -> int:
        size = getattr(self._library, function.replace("_cuda", ""))
        size.restype = ctypes.c_int64
        return size(problem.numbers, int(high))

    def _call(
        self, launcher: str, device: torch.device, problem: SimpleNamespace, *rest: Any
    ) -> None:
        high = bool(rest[0]) if isinstance(rest[0], bool) else False
        *inputs, out, workspace = (t for t in rest if isinstance(t, Tensor))
        name = launcher.replace("_cuda", "")
        self.launches.append(name)
        self._library.emulate(int(self.schedule.late), self.schedule.order)
        given = [Guarded(t.numel() * t.element_size(), t) for t in inputs]
        before = [g.inside.clone() for g in given]
        result = Guarded(out.numel() * out.element_size())
        room = Guarded(workspace.numel())
        memory = [g.address() for g in (*given, result, room)]
        getattr(self._library, name)(
            problem.numbers, int(high), (ctypes.c_void_p * len(memory))(*memory)
        )
        report = self._library.report().decode()
        assert not report, f"{launcher} {list(problem.numbers)} {self.schedule}: {report}"
        result.check(f"the result of {launcher}")
        room.check(f"the workspace of {launcher}")
        for g, old in zip(given, before, strict=True):
            assert torch.equal(g.inside, old), f"an input was written by {launcher}"
        out.copy_(result.inside.clone().view(out.dtype).reshape(out.shape))
