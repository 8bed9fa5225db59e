# SPDX-License-Identifier: BSD-3-Clause
"""The network that predicts basis kernels and mixing coefficients from one blurred image."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels.pretrained import Pretrained

MIN_SIDE = 32  # five halvings leave one pixel

UPSAMPLINGS = ("transposed", "bilinear")
_LEVELS = 5
# Blocks of the kernel decoder: from one pixel to 32 x 32, or to 64 x 64; the last layers add one.
_KERNEL_BLOCKS = {33: 5, 65: 6}


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.LeakyReLU(),
        _convolution(outputs, outputs),
        nn.LeakyReLU(),
    )


class _Down(nn.Module):
    """Two convolutions; their output is the skip, and its maxima over 2 x 2 go down."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.double_conv = _double_convolution(inputs, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.double_conv(x)
        return functional.max_pool2d(skip, 2), skip


class _Up(nn.Module):
    """Twice the size, two convolutions, and one more with the skip, if any, in front."""

    def __init__(self, inputs: int, skip: int, outputs: int, upsampling: str) -> None:
        super().__init__()
        if upsampling == "transposed":
            self.up = nn.ConvTranspose2d(inputs, inputs, 2, stride=2)
        else:
            # Half-pixel centres: a pixel's value depends on its neighbours and not on the image's
            # size, without which tiles could not be put together.
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.double_conv = _double_convolution(inputs, outputs)
        self.feat = nn.Sequential(_convolution(skip + outputs, outputs), nn.LeakyReLU())

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.double_conv(self.up(x))
        if skip is not None:
            x = torch.cat([skip, _pad_to(x, skip.shape[2:])], dim=1)
        return self.feat(x)


def _pad_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """Zeros around x up to (H, W); of an odd number, the larger half lies below and right."""
    down, right = size[0] - x.shape[2], size[1] - x.shape[3]
    if down == 0 and right == 0:
        return x
    return functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))


class TwoHeadsNetwork(Pretrained, nn.Module):
    """Predicts the basis kernels of an image's blur, and how each pixel mixes them.

    One encoder and two decoders (Carbajal et al., figure 2 and appendix): a U-Net gives the mixing
    coefficients, a softmax over B at each pixel; the means of the encoder's maps give the kernels,
    a softmax over the K x K entries of each. Layers, their names and their order are those of the
    published weights: with the defaults 118 tensors, 79,829,298 numbers.

    Args:
        basis_size: B; the paper has 15, 25 and 40.
        kernel_size: K, 33 or 65.
        width: channels of the first level, 64 in the paper; all other widths follow it.
        upsampling: "transposed" as the published weights need it, or "bilinear" as the paper draws.

    Raises:
        ValueError: an argument is of another kind.

    Example:
        >>> network = TwoHeadsNetwork(basis_size=3, width=4)
        >>> kernels, mixing = network(torch.rand(1, 3, 40, 48) - 0.5)
        >>> tuple(kernels.shape), tuple(mixing.shape)
        ((1, 3, 33, 33), (1, 3, 40, 48))
        >>> bool((kernels.sum((2, 3)) - 1).abs().max() < 1e-5)
        True
    """

    name = "basis_kernels.TwoHeadsNetwork"

    def __init__(
        self,
        basis_size: int = 25,
        kernel_size: int = 33,
        *,
        width: int = 64,
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        _check_architecture(basis_size, kernel_size, width, upsampling)
        self.architecture = {
            "basis_size": basis_size,
            "kernel_size": kernel_size,
            "width": width,
            "upsampling": upsampling,
        }
        w1, w2, w4, w8, w16 = (width * factor for factor in (1, 2, 4, 8, 16))
        self.inc_rgb = nn.Sequential(_convolution(3, w1), nn.LeakyReLU())
        self.inc_gray = nn.Sequential(_convolution(1, w1), nn.LeakyReLU())
        for level, pair in enumerate(((w1, w1), (w1, w2), (w2, w4), (w4, w8), (w8, w16)), start=1):
            self.add_module(f"down{level}", _Down(*pair))
        self.feat = nn.Sequential(_convolution(w16, w16), nn.LeakyReLU())
        for level, widths in enumerate(
            ((w16, w16, w8), (w8, w8, w4), (w4, w4, w2), (w2, w2, w1), (w1, w1, w1)), start=1
        ):
            self.add_module(f"up{level}", _Up(*widths, upsampling))
        self.masks_end = nn.Sequential(
            *_double_convolution(w1, w1), _convolution(w1, basis_size), nn.Softmax(dim=1)
        )
        blocks = (
            (w16, w16, w8), (w8, w8, w4), (w4, w4, w4), (w4, w2, w2), (w2, w1, w1), (w1, 0, w1)
        )  # fmt: skip
        for level in range(_KERNEL_BLOCKS[kernel_size]):
            self.add_module(f"kernel_up{level + 1}", _Up(*blocks[level], upsampling))
        self.kernels_end = nn.Sequential(
            nn.Conv2d(w1, w1, 2, padding=1),
            nn.LeakyReLU(),
            _convolution(w1, w1),
            nn.LeakyReLU(),
            _convolution(w1, basis_size),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The kernels and the mixing coefficients of a batch.

        Args:
            x: (N, 3, H, W) or (N, 1, H, W), `image ** gamma - 0.5`, both sides at least 32; see
                `blurmodels.basis_kernels.estimate_field` for images as they come.

        Returns:
            kernels (N, B, K, K) in correlation orientation, non-negative with unit sum, and mixing
            (N, B, H, W), non-negative with sum 1 over B.

        Raises:
            TypeError, ValueError: x is not as above.
        """
        skips, features = self.encode(x)
        means = [_mean(part) for part in (*skips, features)]
        return self.decode_kernels(means), self.decode_mixing(skips, features)

    def encode(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The five skips, finest first, and the features below them."""
        _check_input(x)
        x = (self.inc_rgb if x.shape[1] == 3 else self.inc_gray)(x)
        skips = []
        for level in range(1, _LEVELS + 1):
            x, skip = self.get_submodule(f"down{level}")(x)
            skips.append(skip)
        return skips, self.feat(x)

    def decode_mixing(self, skips: Sequence[Tensor], features: Tensor) -> Tensor:
        """The (N, B, H, W) mixing coefficients of what `encode` gave."""
        x = features
        for level, skip in enumerate(reversed(skips), start=1):
            x = self.get_submodule(f"up{level}")(x, skip)
        # A softmax in half precision would not sum to 1.
        return self.masks_end[:-1](x).float().softmax(1) if _is_half(x) else self.masks_end(x)

    def decode_kernels(self, means: Sequence[Tensor]) -> Tensor:
        """The (N, B, K, K) kernels of the mean of each skip and of the features, (N, C) each."""
        *skips, features = means
        x = features[:, :, None, None]
        for level in range(1, _KERNEL_BLOCKS[self.architecture["kernel_size"]] + 1):
            side = 2**level
            skip = None
            if level <= _LEVELS:
                pooled = skips[_LEVELS - level][:, :, None, None]
                skip = pooled.expand(-1, -1, side, side)
            x = self.get_submodule(f"kernel_up{level}")(x, skip)
        x = self.kernels_end(x)
        x = x.float() if _is_half(x) else x
        return x.flatten(2).softmax(2).unflatten(2, x.shape[2:])

    @classmethod
    def inferred(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that a state dict shows; whatever is missing is taken as published."""

        def rows(name: str, usual: int) -> int:
            tensor = tensors.get(name)
            return usual if tensor is None or tensor.ndim == 0 else tensor.shape[0]

        return {
            "basis_size": max(1, rows("masks_end.4.weight", 25)),
            "kernel_size": 65 if any(name.startswith("kernel_up6.") for name in tensors) else 33,
            "width": max(1, rows("inc_rgb.0.weight", 64)),
            "upsampling": "transposed"
            if not tensors or any(".up." in name for name in tensors)
            else "bilinear",
        }


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3))


def _is_half(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)


def _check_architecture(basis_size: Any, kernel_size: Any, width: Any, upsampling: Any) -> None:
    for name, value in (("basis_size", basis_size), ("width", width)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"TwoHeadsNetwork: {name} must be a positive integer, got {value!r}")
    if kernel_size not in _KERNEL_BLOCKS:
        raise ValueError(f"TwoHeadsNetwork: kernel_size must be 33 or 65, got {kernel_size!r}")
    if upsampling not in UPSAMPLINGS:
        choices = ", ".join(UPSAMPLINGS)
        raise ValueError(
            f"TwoHeadsNetwork: upsampling must be one of {choices}, got {upsampling!r}"
        )


def _check_input(x: Any) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"TwoHeadsNetwork: x must be a floating-point tensor, got {got}")
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(
            f"TwoHeadsNetwork: x must be (N, 3, H, W) or (N, 1, H, W), got {tuple(x.shape)}"
        )
    if min(x.shape[2:]) < MIN_SIDE:
        raise ValueError(
            f"TwoHeadsNetwork: x must have sides of at least {MIN_SIDE} pixels,"
            f" got {x.shape[3]} x {x.shape[2]}"
        )
