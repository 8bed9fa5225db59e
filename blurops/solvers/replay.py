# SPDX-License-Identifier: BSD-3-Clause
"""A loop whose every step is the same work on a device: captured once, then replayed.

What a step asks of the host, some dozens of Python and driver calls, is then done once for a solve;
each further iteration is one launch of a CUDA graph. Nothing here waits for the device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]
# Steps that are called before the capture: what they compile and allocate must be there by then.
WARM_UPS = 1
# Replays that pay for a capture.
_FEWEST = 3


def serves(state: Tensor, count: int, *, watched: bool, fixed: bool) -> bool:
    """Whether a loop of ``count`` steps from ``state`` may be replayed.

    Args:
        state: the first estimate.
        count: the number of steps.
        watched: whether somebody looks at each step: a callback, a stop rule, a progress bar.
        fixed: whether a step is known to do the same work each time and to ask the host nothing.
    """
    if watched or not fixed or count < WARM_UPS + _FEWEST or not state.is_cuda:
        return False
    return not torch.cuda.is_current_stream_capturing()


def iterate(step: Step, state: Tensor, count: int, capture: Callable) -> Tensor:
    """``step`` applied ``count`` times to ``state``.

    Args:
        step: returns a new tensor, shaped as its argument.
        state: the first argument; it is not written.
        count: at least ``WARM_UPS``.
        capture: as :func:`captured`.
    """
    for _ in range(WARM_UPS):
        state = step(state)
    if state.requires_grad:  # a graph of another kind is wanted
        for _ in range(count - WARM_UPS):
            state = step(state)
        return state
    held = state.clone()

    def once() -> None:
        held.copy_(step(held))

    replay = capture(once, state.device)
    for _ in range(count - WARM_UPS):
        replay()
    return held


def captured(call: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """``call`` as a CUDA graph, which is not run yet; what is returned runs it.

    torch.cuda.graph() would wait for the device and collect garbage first, which takes longer than
    a solve.
    """
    graph = torch.cuda.CUDAGraph()
    side, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            call()
        finally:
            graph.capture_end()
    current.wait_stream(side)
    return graph.replay
