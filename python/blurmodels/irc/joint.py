# SPDX-License-Identifier: BSD-3-Clause
"""The blind pipeline: an estimator of motion and IRC-Net, learned together."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, Self

from torch import Tensor, nn

from blurmodels.irc.irc_net import IRCNet
from blurmodels.irc.motion_net import MotionNet
from blurmodels.pretrained import Pretrained

# Estimators that weights files may name: what the class calls itself there, and the class.
ESTIMATORS: dict[str, Callable[..., nn.Module]] = {MotionNet.name: MotionNet}


class BlindDeblurrer(Pretrained, nn.Module):
    """Estimates the straight motion of each pixel and takes it away.

    An estimator's motions pick and weight four inverse filters each, and IRC-Net restores once with
    the mixed filters, or four times (Eboli, Sun and Ponce, "Neural Embedding of an Iterative
    Deconvolution Algorithm for Motion Blur Estimation and Removal", sections 3.3 and 4.3). Both
    are trained by sharp images (`DeblurTask`): no motion needs to be known.

    Args:
        estimator: takes images (N, 3, H, W) to lengths in pixels and angles in radians,
            counter-clockwise with y upwards, (N, H, W) each.
        network: the IRC-Net.
        combine: of the network.
        through_blur: whether gradients reach the motion through H too, exactly, and not only
            through the weights of interpolation, as in the paper.

    Note:
        Lengths are clamped to what the bank has, from 1 to `max_length`; beyond, they get no
        gradient.

    Example:
        >>> import torch
        >>> class Still(nn.Module):
        ...     def forward(self, image):
        ...         return 2 + 0 * image[:, 0], 0 * image[:, 0]
        >>> pipeline = BlindDeblurrer(Still(), IRCNet(1, 1, max_length=3, size=7))
        >>> pipeline(torch.rand(1, 3, 16, 20)).shape
        torch.Size([1, 3, 16, 20])
    """

    name = "irc.BlindDeblurrer"

    def __init__(
        self,
        estimator: nn.Module,
        network: IRCNet,
        *,
        combine: str = "filters",
        through_blur: bool = True,
    ) -> None:
        super().__init__()
        self.estimator, self.network = estimator, network
        self.combine, self.through_blur = combine, through_blur

    @property
    def architecture(self) -> dict[str, Any]:
        """What builds it again, of what describes itself."""
        return {
            "network": self.network.architecture,
            "estimator": getattr(self.estimator, "architecture", {}),
            "estimator_name": getattr(self.estimator, "name", type(self.estimator).__name__),
            "combine": self.combine,
            "through_blur": self.through_blur,
        }

    def motion(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Lengths from 1 to the bank's longest, and angles, (N, H, W) each.

        Args:
            observed: (N, C, H, W); gray images are shown to the estimator in three equal channels.

        Raises:
            ValueError: what the estimator gives is no such motion.
        """
        shown = observed.expand(-1, 3, -1, -1) if observed.shape[1] == 1 else observed
        length, angle = self.estimator(shown)
        wanted = (observed.shape[0], *observed.shape[2:])
        for name, found in (("lengths", length), ("angles", angle)):
            if tuple(found.shape) != wanted:
                raise ValueError(
                    f"BlindDeblurrer: estimator must give {name} {wanted}, got {tuple(found.shape)}"
                )
        return length.clamp(1, self.network.max_length), angle

    def forward(
        self, observed: Tensor, *, with_motion: bool = False
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """The restored image, (N, C, H, W), not clamped.

        Args:
            observed: (N, C, H, W) linear light.
            with_motion: also return the lengths and angles it was restored by, as of `motion`.

        Raises:
            TypeError, ValueError: as `IRCNet` and `motion`.
        """
        motion = self.motion(observed)
        restored = self.restored(observed, *motion)
        return (restored, *motion) if with_motion else restored

    def restored(self, observed: Tensor, length: Tensor, angle: Tensor) -> Tensor:
        """As `forward`, of motions that `motion` gave."""
        through = None if self.through_blur else (length.detach(), angle.detach())
        return self.network(observed, length, angle, combine=self.combine, blur_motion=through)

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], estimator: nn.Module | None = None
    ) -> Self:
        """The pipeline of a weights file, in evaluation mode.

        Args:
            path: a file that `save_pretrained` wrote.
            estimator: an estimator as that which was saved; its weights are replaced. Default: the
                file says which, if it is one of `ESTIMATORS`.

        Returns:
            The pipeline on the CPU.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it holds no weights of this pipeline, or of an unknown estimator.
        """
        return cls._read(path, functools.partial(cls._built, estimator=estimator))

    @classmethod
    def _built(cls, architecture: Mapping[str, Any], estimator: nn.Module | None) -> Self:
        parts = dict(architecture)
        kind, options = parts.pop("estimator_name"), parts.pop("estimator")
        if estimator is None:
            if kind not in ESTIMATORS:
                known = ", ".join(sorted(ESTIMATORS)) or "none"
                raise ValueError(f"its estimator is {kind!r}, of those known ({known}) none")
            estimator = ESTIMATORS[kind](**options)
        return cls(estimator, IRCNet.described(parts.pop("network")), **parts)
