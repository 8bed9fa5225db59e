# SPDX-License-Identifier: BSD-3-Clause
"""What a device can do at most, measured, and what a call needs of it at least."""

import functools
from typing import NamedTuple

import torch

from benchmarks.cases import ITERATIONS, Case
from benchmarks.gpu.clock import call_seconds, kernel_seconds

_COPIED = 1 << 30  # bytes: beyond any cache
_SIDE = 8192  # of the matrices
_SMALL = 64  # the same without a device, where a rate says nothing


class Rates(NamedTuple):
    """Measured ceilings: bytes read and written, float32 operations, and half ones of matrices."""

    bytes: float
    multiply_adds: float
    tensor: float


@functools.cache
def rates(device: torch.device) -> Rates:
    """By a copy, and by products of random matrices in float32 (TF32 off) and in bfloat16."""
    real = device.type == "cuda"

    def seconds(call) -> float:
        return kernel_seconds(call, device) or call_seconds(call, device)

    count = (_COPIED if real else 1 << 20) // 4
    source = torch.rand(count, device=device)
    target = torch.empty_like(source)
    copied = 8 * count / seconds(lambda: target.copy_(source))
    side, found = _SIDE if real else _SMALL, []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.rand(side, side, device=device).to(dtype) - 0.5 for _ in range(2))
        out = torch.empty_like(a)
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        found.append(2 * side**3 / seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out)))
        torch.backends.cuda.matmul.allow_tf32 = before
    return Rates(copied, *found)


def least_seconds(case: Case, member: str, at: Rates) -> float:
    """The time below which kernel synthesis cannot come on a device of these rates.

    Per pixel and tap, 2 B operations of the tensor cores make the pixel's own tap, and 2 C of
    float32 apply it; image, mixing and result cross the memory once. The largest of the three
    times counts. The gradients repeat them for three more members (forward, adjoint, and the two
    further gradients, each with the same counts).
    """
    pixels, taps = case.size**2, case.kernel**2
    members = 4 if member == "gradients" else 1
    if member.startswith("rl"):
        members = ITERATIONS * (2 if member == "rl" else 3)
    return members * max(
        2 * case.basis * taps * pixels / at.tensor,
        2 * case.channels * taps * pixels / at.multiply_adds,
        4 * (2 * case.channels + case.basis) * pixels / at.bytes,
    )
