# SPDX-License-Identifier: BSD-3-Clause
"""What a contender is, and how a baseline tunes itself."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.inputs import Inputs

Call = Callable[[], list[Tensor]]
Prepare = Callable[[Inputs], Call]

# Larger images are not tuned for: the first candidate, which suits large ones, is taken.
_TUNED_UP_TO = 1024


@dataclass(frozen=True)
class Contender:
    """One way to compute the members.

    Attributes:
        name: as the tables print it.
        about: one sentence: what it does, and what is left out of the timed part.
        members: member -> a function that prepares what may be reused (never timed), and returns
            what is timed. Results: [blurred]; [image]; [blurred, and the gradients to image,
            kernels, mixing]; [restored].
        kind: "ours", "tuned" (whole-image or tiled FFT made as fast as we can), "usual" (what one
            finds in the wild) or "peer" (somebody's package or algorithm).
        algorithm: "authors" where another operator or solver than ours is computed.
        growth: what its time is proportional to, "fft" or "direct" arithmetic.
        planes: how many arrays of C H W float32 it needs at its peak, at least.
        reference_only: left out everywhere but in the reference case.
        sampled_iterations: Richardson-Lucy is timed for so many, and multiplied; every iteration
            does the same work.
    """

    name: str
    about: str
    members: Mapping[str, Prepare]
    kind: str = "tuned"
    algorithm: str = "exact"
    growth: str = "fft"
    planes: Callable[[Case], float] = lambda case: 4.0
    reference_only: bool = False
    sampled_iterations: int | None = None


def good_length(length: int) -> int:
    """The smallest even number from ``length`` on without prime factors beyond 11.

    11 because 1056, for K = 33 at 1024 pixels, is faster than 1080.
    """
    while not _smooth(length):
        length += 1
    return length


def _smooth(number: int) -> bool:
    if number % 2:
        return False
    for factor in (2, 3, 5, 7, 11):
        while number % factor == 0:
            number //= factor
    return number == 1


def wait() -> None:
    """Until the device, where one is in use, has done what was asked of it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def fastest(size: int, candidates: Sequence[Callable[[], Call]]) -> Call:
    """The candidate whose second call is the shortest; the first one for large images.

    What needs more than twice the least time in its first call gets no second one.
    """
    if len(candidates) == 1 or size > _TUNED_UP_TO:
        return candidates[0]()
    best, least = None, float("inf")
    for candidate in candidates:
        call = candidate()
        if _seconds(call) > 2 * least:
            continue
        taken = _seconds(call)
        if taken < least:
            best, least = call, taken
    return best


def _seconds(call: Call) -> float:
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start
