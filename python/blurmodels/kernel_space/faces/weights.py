# SPDX-License-Identifier: BSD-3-Clause
"""The generators' weights: from our files and from those of the authors, and back to the latter."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurmodels import checkpoints
from blurmodels.evaluation._errors import message
from blurmodels.kernel_space.faces.generator import FaceGenerator
from blurmodels.kernel_space.faces.stylegan import MAPPING, SYNTHESIS, StyleGAN
from blurmodels.kernel_space.faces.stylegan2 import StyleGAN2
from blurops.files import check_output, replacing

_Paths = Sequence[str | os.PathLike[str]]

_CLASSES: dict[str, type[FaceGenerator]] = {cls.name: cls for cls in (StyleGAN, StyleGAN2)}
# How the names in a file begin that says nothing else about itself.
_PARTS = {
    StyleGAN: {"dense": f"{MAPPING}.", "torgb.": f"{SYNTHESIS}.", "blocks.": f"{SYNTHESIS}."}
    | {f"{MAPPING}.": "", f"{SYNTHESIS}.": ""},
    StyleGAN2: dict.fromkeys(("style.", "convs.", "to_rgbs.", "to_rgb1."), ""),
}


class _Found(NamedTuple):
    """What files hold together, under the names of a generator's state dict."""

    kind: type[FaceGenerator]
    tensors: dict[str, Tensor]
    architecture: dict[str, Any] | None


def from_pretrained(*paths: str | os.PathLike[str]) -> FaceGenerator:
    """The generator whose weights these files hold, in evaluation mode; the files say which.

    Args:
        *paths: one file that `save_pretrained` wrote; or the authors' files, as `torch.save` writes
            them (read with ``weights_only=True``, so that they run no code) or the same tensors as
            safetensors: stylegan_mapping.pt and stylegan_synthesis.pt, in any order, for StyleGAN;
            stylegan2.pt for StyleGAN2. The last is read as the authors do it: names that are not of
            the generator are left out, and fixed tensors that are missing are those of a new one.

    Returns:
        The generator on the CPU; its sizes are the files'.

    Raises:
        OSError: a file cannot be opened.
        ValueError: the files hold no such weights; the message lists the tensors that are unknown,
            missing or of another shape.
    """
    return read_generator(FaceGenerator, paths)


def read_generator(cls: type[FaceGenerator], paths: _Paths) -> Any:
    """As `from_pretrained`, for a generator of this class.

    Raises:
        OSError, ValueError: as there, or the weights are for another generator.
    """
    label = "', '".join(os.fspath(path) for path in paths)
    found = _gathered(paths, label)
    if not issubclass(found.kind, cls):
        wanted = f"hold weights of {cls.__name__}"
        raise _refused(label, wanted, f"weights of {found.kind.__name__}")
    try:
        architecture = found.architecture or found.kind.inferred(found.tensors)
        network = found.kind.described(architecture)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _refused(label, "describe a generator", str(error)) from error
    tensors = found.tensors
    if found.kind is StyleGAN2:
        tensors = _completed(network, tensors)
    checkpoints.assign(network, tensors, label)
    return network.eval()


def export_published(generator: FaceGenerator, *paths: str | os.PathLike[str]) -> None:
    """Writes weights as the authors' programs read them, each file whole or not at all.

    Args:
        generator: whose weights.
        *paths: of StyleGAN two, for the mapping and the synthesis network; of StyleGAN2 one. What
            `from_pretrained` reads back is the same bit for bit.

    Raises:
        OSError: a file could not be written.
        ValueError: these are not so many paths.
    """
    contents: list[dict[str, Any]]
    if isinstance(generator, StyleGAN):
        parts = (generator.mapping_network, generator.synthesis_network)
        contents = [_detached(part.state_dict()) for part in parts]
    else:
        contents = [{"g_ema": _detached(generator.state_dict())}]
    if len(paths) != len(contents):
        wanted = f"be {len(contents)} for {type(generator).__name__}"
        raise ValueError(message("export_published", "paths", wanted, len(paths)))
    for path in paths:
        check_output(path)
    for path, content in zip(paths, contents, strict=True):
        with replacing(path) as file:
            torch.save(content, file)


def _gathered(paths: _Paths, label: str) -> _Found:
    """All files' tensors under the names of one state dict."""
    tensors: dict[str, Tensor] = {}
    kinds: set[type[FaceGenerator]] = set()
    architecture = None
    for path in paths:
        checkpoint = checkpoints.load(path)
        if checkpoint.model is None:
            kind, renamed = _recognised(checkpoint.tensors, path)
        elif checkpoint.model in _CLASSES:
            kind, renamed = _CLASSES[checkpoint.model], checkpoint.tensors
            architecture = checkpoint.architecture
        else:
            wanted = f"hold weights of {' or '.join(_CLASSES)}"
            raise _refused(os.fspath(path), wanted, f"weights of {checkpoint.model}")
        if tensors.keys() & renamed.keys():
            raise _refused(label, "hold each network once", "one of them twice")
        tensors |= renamed
        kinds.add(kind)
    if len(kinds) != 1:
        got = " and ".join(sorted(kind.__name__ for kind in kinds)) or "no file"
        raise _refused(label, "hold weights of one generator", got)
    kind = kinds.pop()
    for part in (MAPPING, SYNTHESIS) if kind is StyleGAN else ():
        if not any(name.startswith(part) for name in tensors):
            wanted = "be StyleGAN's two files, of its mapping and its synthesis network"
            raise _refused(label, wanted, f"nothing of the {part.replace('_', ' ')}")
    return _Found(kind, tensors, architecture)


def _recognised(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str]
) -> tuple[type[FaceGenerator], dict[str, Tensor]]:
    """Which generator the names are of, and the tensors as its state dict calls them."""
    for kind, parts in _PARTS.items():
        for start, prefix in parts.items():
            if any(name.startswith(start) for name in tensors):
                return kind, {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    names = "; ".join(list(tensors)[:3])
    wanted = "hold weights of StyleGAN or StyleGAN2"
    raise _refused(os.fspath(path), wanted, f"{len(tensors)} tensors ({names}, ...)")


def _completed(network: FaceGenerator, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `load_state_dict` with ``strict=False`` would give, unless something learned is missing.

    Then everything is as it was, for an error that names it all.
    """
    wanted = network.state_dict()
    learned = dict(network.named_parameters())
    if not learned.keys() <= tensors.keys():
        return dict(tensors)
    own = {name: tensor for name, tensor in tensors.items() if name in wanted}
    if own.keys() == wanted.keys():
        return own
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = type(network)(**network.architecture).state_dict()
    return {name: own.get(name, fresh[name]) for name in wanted}


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def _refused(label: str, requirement: str, got: str) -> ValueError:
    return ValueError(f"from_pretrained: '{label}' must {requirement}, got {got}")
