# SPDX-License-Identifier: BSD-3-Clause
"""Weights on disk: safetensors that say what network they are for, and published pickled files.

A file of ours holds a network's tensors under their state_dict names, and the metadata `format`
("blurmodels"), `version` ("1"), `model`, `architecture` and `extra`; the last two are JSON objects.
Safetensors without these metadata, and state dicts written by `torch.save`, are read too.
"""

import argparse
import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from blurops.files import replacing

FORMAT, VERSION = "blurmodels", "1"

# Keys under which training programs put the state dict.
_WRAPPERS = ("state_dict", "params", "g_ema")
# Names listed in an error before the rest is counted.
_LISTED = 5


class Checkpoint(NamedTuple):
    """What a weights file holds.

    Attributes:
        tensors: by state_dict name, on the CPU.
        model: which network they are for, or None where the file does not say.
        architecture: the arguments that build it, or None where the file does not say.
        extra: whatever else was recorded.
    """

    tensors: dict[str, Tensor]
    model: str | None = None
    architecture: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    model: str,
    architecture: Mapping[str, Any],
    **extra: Any,
) -> None:
    """Writes a network's weights to a safetensors file, whole or not at all.

    Args:
        path: the file to be written.
        tensors: the state dict.
        model: which network, such as "basis_kernels.TwoHeadsNetwork".
        architecture: the arguments that build it, JSON values.
        **extra: further JSON values.

    Raises:
        TypeError: architecture or extra are no JSON values.
        OSError: the file could not be written.

    Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "w.safetensors")
        >>> save(path, {"weight": torch.ones(2)}, model="line", architecture={"size": 2}, seed=7)
        >>> load(path).architecture, load(path).extra
        ({'size': 2}, {'seed': 7})
    """
    from safetensors.torch import save as serialise

    try:
        texts = [json.dumps(dict(part), allow_nan=False) for part in (architecture, extra)]
    except (TypeError, ValueError) as error:
        raise TypeError(f"save: architecture and extra must be JSON values, got {error}") from error
    content = serialise(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={
            "format": FORMAT,
            "version": VERSION,
            "model": model,
            "architecture": texts[0],
            "extra": texts[1],
        },
    )
    with replacing(path) as file:
        file.write(content)


def load(path: str | os.PathLike[str], *, model: str | None = None) -> Checkpoint:
    """Reads a weights file: safetensors, or a state dict that `torch.save` wrote.

    Args:
        path: the file; what kind it is, its content tells, not its name.
        model: the network wanted; a file that says it is for another one is refused.

    Returns:
        The Checkpoint; model, architecture and extra are None where the file has no such metadata.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is neither kind of file, is damaged, is for another network, or is a pickle
            that wants to run code.
    """
    with open(path, "rb") as file:
        start = file.read(9)
    # Safetensors begin with the length of their header, whose first byte may be a pickle's too.
    if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        return Checkpoint(read_pickled(path))
    found = _read_safetensors(path)
    if None not in (model, found.model) and found.model != model:
        raise _refused(path, f"hold weights of {model}", f"weights of {found.model}")
    return found


def _read_safetensors(path: str | os.PathLike[str]) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        # An empty file cannot be mapped, which safetensors reports as an OSError.
        wanted = "be a complete safetensors file, or a state dict as torch.save writes it"
        raise _refused(path, wanted, str(error)) from error
    if metadata.get("format") != FORMAT:
        return Checkpoint(_unwrapped(tensors))
    if metadata.get("version") != VERSION:
        raise _refused(path, f"be of version {VERSION}", metadata.get("version", "none"))
    try:
        architecture, extra = (json.loads(metadata[key]) for key in ("architecture", "extra"))
        if not (isinstance(architecture, dict) and isinstance(extra, dict)):
            raise ValueError("not an object")
        return Checkpoint(tensors, metadata["model"], architecture, extra)
    except (KeyError, ValueError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise _refused(path, "have readable metadata", got) from error


def read_pickled(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Reads a state dict that `torch.save` wrote, and runs none of the code that it may hold.

    A dict under `state_dict`, `params` or `g_ema` is unwrapped, and a `module.` before every name,
    which `DataParallel` leaves, is taken off.

    Args:
        path: the file.

    Returns:
        The tensors on the CPU, by name.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged, holds something else than tensors by name, or wants to run code.
    """
    with open(path, "rb") as file:
        content = io.BytesIO(file.read())
    wanted = "be a state dict of tensors as torch.save writes it"
    try:
        # Programs that train keep their arguments beside the weights; a namespace runs nothing.
        allowed = torch.serialization.safe_globals([argparse.Namespace])
        with warnings.catch_warnings(), allowed:
            # Of protocols that torch does not write; what it cannot read, it refuses.
            warnings.simplefilter("ignore", UserWarning)
            found = torch.load(content, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's message is a page that recommends to switch the check off.
        got = _forbidden(str(error))
        raise _refused(path, f"{wanted}, without any code", got) from error
    except (RuntimeError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _refused(path, wanted, f"a damaged file ({type(error).__name__})") from error
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise _refused(path, wanted, type(found).__name__ if found != {} else "an empty one")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _refused(path, wanted, f"{type(value).__name__} under {name!r}")
    return _unwrapped(found)


def write_pickled(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Writes a plain state dict as `torch.save` does, whole or not at all.

    Args:
        path: the file to be written.
        tensors: the state dict, in the order that the file shall have.

    Raises:
        OSError: the file could not be written.
    """
    with replacing(path) as file:
        torch.save({name: tensor.detach().cpu() for name, tensor in tensors.items()}, file)


def assign(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Gives a module these weights, exactly those that it has.

    Args:
        module: what gets them; it may be on the meta device.
        tensors: by state_dict name.
        path: where they come from, for the error.

    Raises:
        ValueError: a name is unknown, missing, or its tensor has another shape or kind; the message
            lists them all, the module is as it was.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    problems = differences(wanted, tensors)
    if problems:
        raise _refused(path, f"hold the weights of {type(module).__name__}", problems)
    # In the module's order; halves are computed in single precision, as they were meant.
    state = {name: tensors[name].float() for name in wanted}
    module.load_state_dict(state, assign=True)
    for parameter in module.parameters():
        parameter.requires_grad_()


def differences(wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> str:
    """What is wrong with a state dict, in words; empty if nothing is.

    Args:
        wanted: the shape of each tensor that there must be.
        tensors: those that there are.

    Example:
        >>> differences({"a": (2,), "b": (3,)}, {"a": torch.ones(4), "c": torch.ones(1)})
        '1 unknown (c), 1 missing (b), 1 of another shape (a (4,), not (2,))'
    """
    unknown = [name for name in tensors if name not in wanted]
    missing = [name for name in wanted if name not in tensors]
    shared = [name for name in wanted if name in tensors]
    shapes = [
        f"{name} {tuple(tensors[name].shape)}, not {wanted[name]}"
        for name in shared
        if tuple(tensors[name].shape) != wanted[name]
    ]
    kinds = [name for name in shared if not tensors[name].is_floating_point()]
    groups = (
        ("unknown", unknown), ("missing", missing), ("of another shape", shapes),
        ("not floating-point", kinds),
    )  # fmt: skip
    return ", ".join(f"{len(names)} {kind} ({_list(names)})" for kind, names in groups if names)


def _list(names: list[str]) -> str:
    rest = len(names) - _LISTED
    shown = "; ".join(names[:_LISTED])
    return shown if rest <= 0 else f"{shown}; and {rest} more"


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "module."
    if all(name.startswith(prefix) for name in tensors):
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _forbidden(text: str) -> str:
    """What a pickle wanted, from torch's message."""
    for line in text.replace("WeightsUnpickler error:", "\n").splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return f"one that was refused: {line.strip().split('. ')[0].split(' was not')[0]}"
    return "a damaged file, or one that was refused"


def _refused(path: str | os.PathLike[str], requirement: str, got: str) -> ValueError:
    return ValueError(f"load: weights '{os.fspath(path)}' must {requirement}, got {got}")
