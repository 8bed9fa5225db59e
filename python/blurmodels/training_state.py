# SPDX-License-Identifier: BSD-3-Clause
"""What a training needs to go on, on disk, and the processes that share it."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blurmodels import checkpoints

_NETWORK, _OPTIMISER, _GENERATOR = "network.", "optimiser.", "generator."


class Distributed:
    """One process of a training, alone or one of several.

    Attributes:
        rank, count: which of how many.
        device: where it computes.
    """

    def __init__(self, rank: int, count: int, device: torch.device) -> None:
        self.rank, self.count, self.device = rank, count, device

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """Its part of a batch: equal parts, so that the mean of means is the mean."""
        return slice(self.rank, None, self.count)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, with gradients averaged over the processes."""
        if self.count == 1:
            return network
        return nn.parallel.DistributedDataParallel(network)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The mean over the processes of scalars."""
        stacked = torch.stack([value.double() for value in values.values()])
        if self.count > 1:
            torch.distributed.all_reduce(stacked)
            stacked /= self.count
        return dict(zip(values, stacked.tolist(), strict=True))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()

    def generators(self) -> list[Tensor]:
        """States of torch's global generators."""
        states = [torch.get_rng_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        return states

    def gather_generators(self) -> list[list[Tensor]]:
        """The states of all processes' generators, for each process."""
        own = self.generators()
        if self.count == 1:
            return [own]
        every: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(every, own)
        return every

    def set_generators(self, states: list[Tensor]) -> None:
        """Goes back to those states."""
        torch.set_rng_state(states[0])
        if self.device.type == "cuda" and len(states) > 1:
            torch.cuda.set_rng_state(states[1], self.device)


@contextlib.contextmanager
def distributed(device: torch.device | str) -> Iterator[Distributed]:
    """Joins the processes that ``torchrun`` has started, if it has."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        text = f"train: device must be one that torch can use here, got '{device}'"
        raise ValueError(text) from error
    if count == 1 or not torch.distributed.is_available():
        yield Distributed(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Distributed(torch.distributed.get_rank(), count, device)
    finally:
        torch.distributed.destroy_process_group()


def save_state(
    path: Path,
    task: Any,
    optimiser: torch.optim.Optimizer,
    scaler: Any,
    generators: list[list[Tensor]],
    record: Mapping[str, Any],
) -> None:
    """Writes a checkpoint, whole or not at all: a kill leaves the one before.

    Args:
        path: a safetensors file.
        task: its network and name.
        optimiser, scaler: their states.
        generators: states of each process's generators.
        record: the step and the settings, JSON values.
    """
    tensors = {_NETWORK + name: value for name, value in task.network.state_dict().items()}
    for number, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"{_OPTIMISER}{number}.{name}"] = value
    for rank, states in enumerate(generators):
        for number, state in enumerate(states):
            tensors[f"{_GENERATOR}{rank}.{number}"] = state
    checkpoints.save(
        path, tensors, model=f"training of {task.name}",
        architecture=getattr(task.network, "architecture", {}),
        scaler=scaler.state_dict(), **record,
    )  # fmt: skip


def load_state(
    found: checkpoints.Checkpoint,
    path: Path,
    task: Any,
    optimiser: torch.optim.Optimizer,
    scaler: Any,
    place: Distributed,
) -> None:
    """Gives everything the state of a checkpoint.

    Raises:
        ValueError: it is of another network, or of another number of processes.
    """
    groups: dict[str, dict[str, Tensor]] = {_NETWORK: {}, _OPTIMISER: {}, _GENERATOR: {}}
    for name, tensor in found.tensors.items():
        prefix, _, rest = name.partition(".")
        groups.get(prefix + ".", {})[rest] = tensor
    wanted = {name: tuple(t.shape) for name, t in task.network.state_dict().items()}
    problems = checkpoints.differences(wanted, groups[_NETWORK])
    if problems:
        raise ValueError(f"train: '{path}' must hold this network's training, got {problems}")
    ranks = {name.partition(".")[0] for name in groups[_GENERATOR]}
    if len(ranks) != place.count:
        raise ValueError(
            f"train: the number of processes must be that of '{path}', {len(ranks)},"
            f" got {place.count}"
        )
    task.network.load_state_dict(groups[_NETWORK])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups[_OPTIMISER].items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    if scaler.is_enabled():
        scaler.load_state_dict(found.extra["scaler"])
    own = {k: v for k, v in groups[_GENERATOR].items() if k.startswith(f"{place.rank}.")}
    place.set_generators([own[name] for name in sorted(own)])
