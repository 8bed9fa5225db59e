# SPDX-License-Identifier: BSD-3-Clause
"""LPIPS, the learned perceptual distance of two images, version 0.1.

R. Zhang, P. Isola, A. Efros, E. Shechtman, O. Wang, "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", CVPR 2018, eq. 1, and the settings of its public weights.
"""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from blurmodels import checkpoints


class _Backbone(NamedTuple):
    """A classifier's features, numbered as torchvision's `features` are.

    Attributes:
        convolutions: number, inputs, outputs, side, stride, padding; a ReLU follows each.
        pools: numbers of the max pooling layers, and their side; the stride is 2.
        taps: numbers of the ReLUs that are compared.
    """

    convolutions: tuple[tuple[int, int, int, int, int, int], ...]
    pools: tuple[int, ...]
    pool_side: int
    taps: tuple[int, ...]


def _vgg(*plan: tuple[int, int, int]) -> tuple[tuple[int, int, int, int, int, int], ...]:
    return tuple((number, inputs, outputs, 3, 1, 1) for number, inputs, outputs in plan)


BACKBONES = {
    "AlexNet": _Backbone(
        (
            (0, 3, 64, 11, 4, 2),
            (3, 64, 192, 5, 1, 2),
            (6, 192, 384, 3, 1, 1),
            (8, 384, 256, 3, 1, 1),
            (10, 256, 256, 3, 1, 1),
        ),
        (2, 5),
        3,
        (1, 4, 7, 9, 11),
    ),
    "VGG16": _Backbone(
        _vgg(
            (0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256),
            (14, 256, 256), (17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512),
            (26, 512, 512), (28, 512, 512),
        ),
        (4, 9, 16, 23),
        2,
        (3, 8, 15, 22, 29),
    ),
}  # fmt: skip

# Mean and deviation of ImageNet for values in [-1, 1], rounded as the public weights have them.
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_LEAST_SIDE = 64


class LPIPS:
    """The distance; 0 for equal images, near 1 for unlike ones.

    `d(x, y) = sum_l mean_p sum_c w_lc (f_lc(x)[p] - f_lc(y)[p])^2`, where f_l are the features of a
    layer, divided by their norm over the channels at each pixel, and w_l >= 0 is learned.

    Args:
        paths: the files that hold the weights together: torchvision's AlexNet or VGG16 trained on
            ImageNet (`features.0.weight`, ...) and the linear layers of LPIPS
            (`lin0.model.1.weight`, ...), or the state dict of the whole (`net.slice1.0.weight`,
            ...). Which backbone they are for is seen from them.

    Raises:
        OSError: a file cannot be opened.
        ValueError: the weights are of neither backbone, incomplete, or of other shapes.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        tensors: dict[str, Tensor] = {}
        for path in paths:
            tensors |= _known(checkpoints.load(path).tensors)
        first = tensors.get("features.0.weight")
        self.name = "AlexNet" if first is not None and first.shape[-1] == 11 else "VGG16"
        self.backbone = BACKBONES[self.name]
        problems = checkpoints.differences(_shapes(self.backbone), tensors)
        if problems:
            listed = " and ".join(f"'{os.fspath(path)}'" for path in paths) or "no file"
            raise ValueError(
                f"LPIPS: {listed} must hold the features of {self.name} and the linear layers,"
                f" got {problems}"
            )
        self.tensors = {name: tensor.float() for name, tensor in tensors.items()}

    @torch.no_grad()
    def __call__(self, image: Tensor, truth: Tensor) -> float:
        """The distance of two images.

        Args:
            image: (1, C, H, W) in [0, 1], C = 1 (gray) or 3 (RGB), sides of at least 64.
            truth: of the same shape.

        Raises:
            ValueError: the images are of another kind.
        """
        for name, each in (("image", image), ("truth", truth)):
            small = each.ndim == 4 and min(each.shape[2:]) < _LEAST_SIDE
            if each.ndim != 4 or len(each) != 1 or each.shape[1] not in (1, 3) or small:
                wanted = f"be (1, 1 or 3, H, W), sides of at least {_LEAST_SIDE}"
                raise ValueError(f"LPIPS: {name} must {wanted}, got {tuple(each.shape)}")
        if image.shape != truth.shape:
            raise ValueError(
                f"LPIPS: truth must have the shape of image, {tuple(image.shape)},"
                f" got {tuple(truth.shape)}"
            )
        pairs = zip(self._features(image), self._features(truth), strict=True)
        distance = 0.0
        for layer, (first, second) in enumerate(pairs):
            weights = self.tensors[f"lin{layer}.model.1.weight"]
            squares = (_unit(first) - _unit(second)).square()
            distance += float(functional.conv2d(squares, weights).mean())
        return distance

    def _features(self, image: Tensor) -> list[Tensor]:
        x = 2 * image.float().expand(-1, 3, -1, -1) - 1
        x = (x - x.new_tensor(_SHIFT)[:, None, None]) / x.new_tensor(_SCALE)[:, None, None]
        found = []
        for number, _, _, _, stride, padding in self.backbone.convolutions:
            if number - 1 in self.backbone.pools:
                x = functional.max_pool2d(x, self.backbone.pool_side, 2)
            weight, bias = (self.tensors[f"features.{number}.{part}"] for part in _PARTS)
            x = functional.conv2d(x, weight, bias, stride, padding).relu()
            if number + 1 in self.backbone.taps:
                found.append(x)
        return found


_PARTS = ("weight", "bias")


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + _EPSILON)


def _known(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The features and the linear layers under one set of names; the rest is left out."""
    found = {}
    for name, tensor in tensors.items():
        plain = re.sub(r"^net\.slice\d+\.", "features.", name)
        if re.fullmatch(r"features\.\d+\.(weight|bias)|lin\d\.model\.1\.weight", plain):
            found[plain] = tensor
    return found


def _shapes(backbone: _Backbone) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, inputs, outputs, side, _, _ in backbone.convolutions:
        shapes[f"features.{number}.weight"] = (outputs, inputs, side, side)
        shapes[f"features.{number}.bias"] = (outputs,)
        if number + 1 in backbone.taps:
            layer = backbone.taps.index(number + 1)
            shapes[f"lin{layer}.model.1.weight"] = (1, outputs, 1, 1)
    return shapes
