# SPDX-License-Identifier: BSD-3-Clause
"""Motion-Net: the straight motion of every pixel, regressed from one blurred image.

Eboli, Sun and Ponce, section 3.1: the segmentation network of Chen et al., "DeepLab: Semantic Image
Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs" (TPAMI
2018), whose last layer gives two numbers at each pixel, with instance normalisation. Which backbone
it has, at what stride its maps are, and how angles are coded, the paper does not say.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from blurmodels.irc import motion_front
from blurmodels.pretrained import Pretrained

OUTPUTS = ("doubled", "polar")
FRONTS = ("pixels", "differences")
NORMALISATIONS = ("instance", "layer")
STRIDES = (4, 8, 16, 32)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

# Pixels of motion, and radians, that the last layer's 1 stands for.
_PIXELS, _RADIANS = 10.0, 1.0
# Chen et al.: of the four parallel convolutions where maps are at a stride of 8.
_RATES = (6, 12, 18, 24)


def doubled(length: Tensor, angle: Tensor) -> Tensor:
    """Motions as vectors that turn twice as fast, `(length - 1) (cos 2 angle, sin 2 angle)`.

    An angle and its opposite are one motion, and one vector; no motion is 0. So nothing jumps.

    Args:
        length: (N, H, W) pixels, at least 1.
        angle: (N, H, W) radians.

    Returns:
        (N, 2, H, W) pixels.
    """
    extent = length - 1
    return torch.stack([extent * torch.cos(2 * angle), extent * torch.sin(2 * angle)], dim=1)


def from_doubled(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Length and angle, the latter in [0, pi), of what `doubled` gives.

    Args:
        vectors: (N, 2, H, W) pixels.

    Returns:
        `(length, angle)`, (N, H, W) each. Where there is no motion the angle is 0, and so are the
        gradients of both.

    Example:
        >>> length, angle = torch.full((1, 1, 1), 9.0), torch.full((1, 1, 1), 3.0)
        >>> [round(float(each), 3) for each in from_doubled(doubled(length, angle))]
        [9.0, 3.0]
    """
    x, y = vectors.unbind(1)
    still = (x == 0) & (y == 0)
    # Neither the root nor the angle has a derivative at 0.
    x = torch.where(still, torch.ones_like(x), x)
    y = torch.where(still, torch.zeros_like(y), y)
    extent = torch.where(still, torch.zeros_like(x), torch.hypot(x, y))
    return 1 + extent, _half_turn(torch.atan2(y, x) / 2)


def _half_turn(angle: Tensor) -> Tensor:
    """Modulo pi; a hair below 0 would round to pi itself."""
    angle = torch.remainder(angle, math.pi)
    return torch.where(angle >= math.pi, torch.zeros_like(angle), angle)


class _Unit(nn.Sequential):
    """Convolution and normalisation, of each channel alone or of all together."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int,
        normalisation: str,
        *,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        padding = dilation * (side // 2)
        super().__init__(
            nn.Conv2d(inputs, outputs, side, stride, padding, dilation, bias=False),
            nn.InstanceNorm2d(outputs, affine=True)
            if normalisation == "instance"
            else nn.GroupNorm(1, outputs),
        )


class _Block(nn.Module):
    """A residual block of He et al. (CVPR 2016): two 3 x 3, or 1 x 1, 3 x 3 and 1 x 1."""

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        normalisation: str,
        *,
        stride: int,
        dilation: int,
        narrow: bool,
    ) -> None:
        super().__init__()
        norm, middle = normalisation, {"stride": stride, "dilation": dilation}
        if narrow:
            units = [_Unit(inputs, width, 1, norm), _Unit(width, width, 3, norm, **middle)]
            units.append(_Unit(width, outputs, 1, norm))
        else:
            units = [_Unit(inputs, width, 3, norm, **middle)]
            units.append(_Unit(width, outputs, 3, norm, dilation=dilation))
        self.units = nn.ModuleList(units)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _Unit(inputs, outputs, 1, norm, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for unit in self.units[:-1]:
            found = functional.relu(unit(found))
        return functional.relu(self.units[-1](found) + self.shortcut(x))


class _Pyramid(nn.Module):
    """Convolutions of several dilations side by side, and the mean over the image.

    Without normalisation, as in Chen et al.: behind one, a motion that is the same all over an
    image could not be told from another.
    """

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(inputs, outputs, 1)])
        self.branches.extend(
            nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate) for rate in rates
        )
        self.whole = nn.Conv2d(inputs, outputs, 1)
        self.joined = nn.Conv2d((len(rates) + 2) * outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [functional.relu(branch(x)) for branch in self.branches]
        mean = functional.relu(self.whole(x.mean((2, 3), keepdim=True)))
        parts.append(mean.expand(-1, -1, *x.shape[2:]))
        return functional.relu(self.joined(torch.cat(parts, dim=1)))


class MotionNet(Pretrained, nn.Module):
    """Regresses length and angle of the straight motion at each pixel of a blurred image.

    A residual network (He et al., CVPR 2016) whose later stages are dilated instead of strided, a
    pyramid of dilated convolutions and image mean (Chen et al.), two numbers at each place,
    enlarged bilinearly. It is normalised within each image, so that one alone makes a batch.

    An image of any size is continued to the right and below, by its nearest pixels, to multiples of
    the output stride and at least two of them; the result is cut back.

    Args:
        depth: of the backbone: 18, 34 (plain blocks), 50 or 101 (with bottlenecks).
        width: channels of the first stage, 64 in He et al.; all other widths follow it.
        output_stride: 4, 8, 16 or 32 pixels from one place of the last maps to the next.
        output: `"doubled"`, the vector `(length - 1) (cos 2 angle, sin 2 angle)`, which has no jump
            anywhere; or `"polar"`, length and angle as the paper names them.
        normalisation: `"instance"`, each channel by its own mean and deviation over the image, as
            the paper has it; or `"layer"`, all channels of an image by theirs together, which keeps
            how the energies of channels compare, and with it the direction of a blur.
        front: what the stages are shown: `"pixels"` through a strided convolution and a maximum, as
            in He et al.; or `"differences"`, the fixed maps of `motion_front.Differences` through a
            1 x 1 convolution, from which a narrow network learns in minutes.
        blocks: of the four stages, instead of those of `depth`.
        recompute: in training, keep only what goes into each block for the backward, and compute
            the rest again. It may be changed at any time, and is not part of what files say.

    Raises:
        ValueError: an argument is none of these.

    Example:
        >>> network = MotionNet(18, width=4)
        >>> length, angle = network(torch.rand(1, 3, 37, 50))
        >>> tuple(length.shape), bool((length >= 1).all()), bool((angle < 3.15).all())
        ((1, 37, 50), True, True)
    """

    name = "irc.MotionNet"

    def __init__(
        self,
        depth: int = 101,
        *,
        width: int = 64,
        output_stride: int = 8,
        output: str = "doubled",
        normalisation: str = "instance",
        front: str = "pixels",
        blocks: Sequence[int] | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        _check_architecture(depth, width, output_stride, output, normalisation, blocks, front)
        self.architecture = {
            "depth": depth,
            "width": width,
            "output_stride": output_stride,
            "output": output,
            "normalisation": normalisation,
            "blocks": list(BLOCKS[depth] if blocks is None else blocks),
            "front": front,
        }
        self.recompute = recompute
        narrow = depth >= 50
        growth = 4 if narrow else 1
        if front == "pixels":
            self.front = None
            self.stem = _Unit(3, width, 7, normalisation, stride=2)
        else:
            self.front = motion_front.Differences()
            # Without normalisation, as the maps do not change with contrast.
            self.stem = nn.Conv2d(self.front.channels, width, 1)
        inputs, stride, dilation = width, motion_front.STRIDE, 1
        self.stages = nn.ModuleList()
        for level, count in enumerate(self.architecture["blocks"]):
            step = 2 if level > 0 else 1
            if stride * step > output_stride:
                step, dilation = 1, dilation * step
            stride *= step
            inside, outputs = width * 2**level, growth * width * 2**level
            stage = nn.Sequential()
            for number in range(count):
                stage.append(
                    _Block(
                        inputs, inside, outputs, normalisation, narrow=narrow,
                        stride=step if number == 0 else 1, dilation=dilation,
                    )
                )  # fmt: skip
                inputs = outputs
            self.stages.append(stage)
        rates = [max(1, rate * 8 // output_stride) for rate in _RATES]
        self.pyramid = _Pyramid(inputs, 4 * width, rates)
        self.last = nn.Conv2d(4 * width, 2, 1)
        self._initialise()

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        # At first the network sees differences: brightness would drown them, and tells nothing.
        if self.front is None:
            with torch.no_grad():
                weight = self.stem[0].weight
                weight -= weight.mean((2, 3), keepdim=True)
        # At first nothing moves, nearly.
        nn.init.normal_(self.last.weight, std=1e-2)

    def forward(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """The motion at each pixel.

        Args:
            observed: (N, 3, H, W), or (N, 1, H, W) for gray, values in [0, 1] as it was trained on.

        Returns:
            `(length, angle)`, (N, H, W) each: pixels, at least 1, which is no motion; radians in
            [0, pi), counter-clockwise with y upwards, as `blurops.motion_blur` takes them.

        Raises:
            TypeError, ValueError: observed is not as above.
        """
        numbers = self.numbers(observed)
        if self.architecture["output"] == "doubled":
            return from_doubled(numbers)
        return 1 + functional.softplus(numbers[:, 0]), _half_turn(numbers[:, 1])

    def numbers(self, observed: Tensor) -> Tensor:
        """What is regressed, (N, 2, H, W): doubled vectors, or a length's logit and an angle."""
        _check_input(observed)
        height, width = observed.shape[2:]
        stride = self.architecture["output_stride"]
        least = max(2, 0 if self.front is None else math.ceil(self.front.least / stride))
        down, right = (max(least, math.ceil(n / stride)) * stride - n for n in (height, width))
        x = functional.pad(observed.expand(-1, 3, -1, -1), (0, right, 0, down), mode="replicate")
        size = x.shape[2:]
        x = self._shown(x)
        for block in itertools.chain(*self.stages):
            x = self._passed(block, x)
        x = self.last(self._passed(self.pyramid, x))
        # Half types would round a motion of 30 pixels to a quarter of a pixel.
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        x = functional.interpolate(x, size, mode="bilinear")[:, :, :height, :width]
        second = _PIXELS if self.architecture["output"] == "doubled" else _RADIANS
        return torch.stack([_PIXELS * x[:, 0], second * x[:, 1]], dim=1)

    def _passed(self, part: nn.Module, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(part, x, use_reentrant=False)
        return part(x)

    def _shown(self, x: Tensor) -> Tensor:
        """What the stages see of an image, at a stride of 4."""
        if self.front is not None:
            return functional.relu(self.stem(self.front(x)))
        x = functional.relu(self.stem(2 * x - 1))
        return functional.max_pool2d(x, 3, stride=2, padding=1)


def _check_architecture(
    depth: Any, width: Any, stride: Any, output: Any, normalisation: Any, blocks: Any, front: Any
) -> None:
    for name, value, choices in (
        ("depth", depth, tuple(BLOCKS)), ("output_stride", stride, STRIDES),
        ("output", output, OUTPUTS), ("normalisation", normalisation, NORMALISATIONS),
        ("front", front, FRONTS),
    ):  # fmt: skip
        if value not in choices:
            listed = ", ".join(map(str, choices))
            raise ValueError(f"MotionNet: {name} must be one of {listed}, got {value!r}")
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"MotionNet: width must be a positive integer, got {width!r}")
    if blocks is not None and (
        len(blocks) != 4 or not all(isinstance(n, int) and n >= 1 for n in blocks)
    ):
        raise ValueError(f"MotionNet: blocks must be four positive integers, got {blocks!r}")


def _check_input(observed: Any) -> None:
    if not isinstance(observed, Tensor) or not observed.is_floating_point():
        got = str(observed.dtype) if isinstance(observed, Tensor) else type(observed).__name__
        raise TypeError(f"MotionNet: observed must be a floating-point tensor, got {got}")
    if observed.ndim != 4 or observed.shape[1] not in (1, 3) or min(observed.shape[2:]) < 1:
        raise ValueError(
            "MotionNet: observed must be (N, 3, H, W) or (N, 1, H, W) with at least one pixel,"
            f" got {tuple(observed.shape)}"
        )
