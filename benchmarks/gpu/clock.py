# SPDX-License-Identifier: BSD-3-Clause
"""Times of calls on a device: what its kernels take, and what a caller waits."""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.contenders.base import wait

_WARM_UPS = 3
_SECONDS = 0.3  # for one kind of time of one call
_MOST = 200


def _median(once: Callable[[], float]) -> float:
    times, began = [], time.perf_counter()
    while len(times) < 3 or (len(times) < _MOST and time.perf_counter() - began < _SECONDS):
        times.append(once())
    return statistics.median(times)


def call_seconds(call: Callable[[], object], device: torch.device) -> float:
    """The median of what a caller waits, from an idle device to an idle device."""

    def once() -> float:
        wait()
        start = time.perf_counter()
        call()
        wait()
        return time.perf_counter() - start

    for _ in range(_WARM_UPS):
        call()
    return _median(once)


def kernel_seconds(call: Callable[[], object], device: torch.device) -> float | None:
    """The median of what the device works on one call, without what the host takes to queue it.

    The call is captured as a CUDA graph and replayed, for which torch's allocator hands out memory
    of its own. None where it cannot be captured (it waits for the device), and without a device.
    """
    if device.type != "cuda":
        return None
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(device)
    try:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                call()
        torch.cuda.current_stream(device).wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream):
            call()
    except Exception:  # torch has no one type for what may go wrong; the row then has no such time
        wait()
        return None
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def once() -> float:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    for _ in range(_WARM_UPS):
        graph.replay()
    return _median(once)
