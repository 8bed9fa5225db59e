# SPDX-License-Identifier: BSD-3-Clause
"""A blind deblurring on disk, so that it goes on where it was, bit for bit."""

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from blurmodels import checkpoints

_MODEL = "blind deblurring in a kernel space"
_GENERATOR = "generator"
# Settings that came later, as they were before.
_FIRST = {"precision": "float32"}
# What Adam, Adamax and descent with momentum keep of each parameter.
_OF_OPTIMISERS = ("step", "exp_avg", "exp_avg_sq", "exp_inf", "momentum_buffer")


class Kept(Protocol):
    """What is kept: a `Problem`, or another search with such parts; noise may be None."""

    prior: nn.Module
    blur: nn.Module
    noise: Tensor | None
    generator: torch.Generator
    optimisers: dict[str, torch.optim.Optimizer]


def digest(*tensors: Tensor) -> str:
    """Tells images, or weights, apart."""
    found = hashlib.sha256()
    for tensor in tensors:
        # NumPy has no bfloat16.
        plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        found.update(plain.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def save(path: str | os.PathLike[str], problem: Kept, **record: Any) -> None:
    """Writes networks, noise, optimisers and random numbers, whole or not at all.

    Args:
        path: a safetensors file.
        problem: what is kept.
        **record: JSON values.
    """
    tensors = {f"prior.{name}": value for name, value in problem.prior.state_dict().items()}
    tensors |= {f"blur.{name}": value for name, value in problem.blur.state_dict().items()}
    tensors |= {_GENERATOR: problem.generator.get_state()}
    if problem.noise is not None:
        tensors["noise"] = problem.noise
    rates = {}
    for kind, optimiser in problem.optimisers.items():
        state = optimiser.state_dict()
        rates[kind] = [group["lr"] for group in state["param_groups"]]
        for number, values in state["state"].items():
            tensors |= {f"{kind}.{number}.{name}": value for name, value in values.items()}
    checkpoints.save(path, tensors, model=_MODEL, architecture={}, rates=rates, **record)


def read(path: str | os.PathLike[str], settings: dict[str, Any]) -> checkpoints.Checkpoint | None:
    """The state in a file, or None where there is no file.

    Raises:
        ValueError: it is of another image or of other settings, or no state at all.
    """
    if not Path(path).exists():
        return None
    found = checkpoints.load(path, model=_MODEL)
    kept = (found.extra or {}).get("settings")
    if kept is None:
        raise ValueError(f"'{path}' must hold a {_MODEL}, got other tensors")
    for name, value in settings.items():
        if kept.get(name, _FIRST.get(name)) != value:
            raise ValueError(
                f"'{path}' must be of the same image and settings, got {name} {kept.get(name)!r}"
                f" there and {value!r} here"
            )
    return found


def restore(problem: Kept, found: checkpoints.Checkpoint) -> None:
    """Gives a problem of the same kind and size the state of a file."""
    parts: dict[str, dict[str, Tensor]] = {"prior": {}, "blur": {}, "image": {}}
    optimisers: dict[str, dict[int, dict[str, Tensor]]] = {"image": {}, "blur": {}}
    for name, tensor in found.tensors.items():
        kind, _, rest = name.partition(".")
        number, _, key = rest.partition(".")
        if kind in optimisers and number.isdigit() and key in _OF_OPTIMISERS:
            optimisers[kind].setdefault(int(number), {})[key] = tensor
        elif kind in parts:
            parts[kind][rest] = tensor
    problem.prior.load_state_dict(parts["prior"])
    problem.blur.load_state_dict(parts["blur"])
    problem.noise = found.tensors.get("noise")
    problem.generator.set_state(found.tensors[_GENERATOR])
    for kind, optimiser in problem.optimisers.items():
        groups = optimiser.state_dict()["param_groups"]
        for group, rate in zip(groups, found.extra["rates"][kind], strict=True):
            group["lr"] = rate
        optimiser.load_state_dict({"state": optimisers[kind], "param_groups": groups})
