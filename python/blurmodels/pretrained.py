# SPDX-License-Identifier: BSD-3-Clause
"""Networks that come from weights files and go to them."""

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from blurmodels import checkpoints


class Pretrained:
    """What a network (an `nn.Module` too) gets that says how it is built.

    Attributes:
        name: what weights files call it, such as "irc.MotionNet".
        architecture: the arguments that build it, JSON values.
    """

    name: ClassVar[str]
    architecture: dict[str, Any]

    @classmethod
    def described(cls, architecture: Mapping[str, Any]) -> Self:
        """The network of such arguments, to be given weights; nothing is allocated for its own."""
        with torch.device("meta"):
            return cls(**architecture)

    @classmethod
    def inferred(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The arguments that published tensors show; None: files must say them."""
        return None

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str]) -> Self:
        """The network of a weights file, in evaluation mode.

        Args:
            path: a safetensors file that `save_pretrained` wrote. Networks with published weights
                take safetensors without our metadata too, and the authors' state dict as
                `torch.save` writes it (read with ``weights_only=True``, so that it runs no code).

        Returns:
            The network on the CPU; its sizes are the file's.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it holds no weights of this network; the message lists the tensors that are
                unknown, missing or of another shape.
        """
        return cls._read(path, cls.described)

    @classmethod
    def _read(
        cls, path: str | os.PathLike[str], build: Callable[[Mapping[str, Any]], Self]
    ) -> Self:
        found = checkpoints.load(path, model=cls.name)
        architecture, name = found.architecture or cls.inferred(found.tensors), os.fspath(path)
        if architecture is None:
            raise ValueError(
                f"from_pretrained: '{name}' must say what network it is for, as"
                f" {cls.__name__}.save_pretrained does, got tensors alone"
            )
        try:
            network = build(architecture)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"from_pretrained: '{name}' must describe a network: {error}"
            ) from error
        checkpoints.assign(network, found.tensors, path)
        return network.eval()

    def save_pretrained(self, path: str | os.PathLike[str], **extra: Any) -> None:
        """Writes weights and architecture to a safetensors file, whole or not at all.

        Args:
            path: the file to be written.
            **extra: JSON values to be kept beside them, such as how the network was trained.

        Raises:
            TypeError: an extra value, or the architecture, is no JSON value.
            OSError: the file could not be written.
        """
        checkpoints.save(
            path, self.state_dict(), model=self.name, architecture=self.architecture, **extra
        )
