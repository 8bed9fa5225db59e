# SPDX-License-Identifier: BSD-3-Clause
"""F and G: a family of blur operators as a network, and the network that says which one it was."""

import itertools
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels import checkpoints
from blurmodels.pretrained import Pretrained

MULTIPLE = 128  # what both sides of F's images must be multiples of

_FRONT_BLOCKS, _BACK_BLOCKS, _KERNEL_BLOCKS = 10, 20, 4
_SLOPE, _SLOPE_DOWN = 0.1, 0.2


class _Residual(nn.Module):
    """Two convolutions and the identity; nothing after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        for layer in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data *= 0.1
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(functional.relu(self.conv1(x)))


class _ReflectedResidual(nn.Module):
    """The same without biases, with reflected borders."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.Identity(),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class _KernelExtractor(nn.Module):
    """What G does after the shared features: no biases; a normalisation's place stays empty."""

    def __init__(self, width: int, kernel_dim: int, vae: bool) -> None:
        super().__init__()
        last = kernel_dim * (2 if vae else 1)
        widths = (width, 2 * width, 4 * width, kernel_dim, last, last)
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3), nn.Conv2d(2 * width, width, 7, bias=False), nn.Identity(),
            nn.ReLU(),
        ]  # fmt: skip
        for inputs, outputs in itertools.pairwise(widths):
            down = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            layers += [down, nn.Identity(), nn.ReLU()]
        self.model = nn.Sequential(*layers, *(_ReflectedResidual(last) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Level(nn.Module):
    """One level of F's U-Net: half the size, what lies below, twice the size."""

    def __init__(self, width: int, inner: int, below: "_Level | None", outermost: bool) -> None:
        super().__init__()
        down = nn.Conv2d(width, inner, 4, stride=2, padding=1, bias=False)
        # The slope's unit and the convolution, as the published names count them.
        self.down = nn.Sequential(*([] if outermost else [nn.LeakyReLU(_SLOPE_DOWN)]), down)
        if below is not None:
            self.submodule = below
        up = nn.ConvTranspose2d(2 * inner, width, 4, stride=2, padding=1, bias=outermost)
        self.up = nn.Sequential(nn.ReLU(), up, *([nn.Tanh()] if outermost else []))
        self.outermost = outermost

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        inner = self.down(x)
        below = getattr(self, "submodule", None)
        both = torch.cat([inner, k], dim=1) if below is None else below(inner, k)
        up = self.up(both)
        # The authors' skip is the activated one; the ReLU above it makes both the same.
        return up if self.outermost else torch.cat([up, x], dim=1)


class _Adapter(nn.Module):
    def __init__(self, width: int, detail: int, kernel_dim: int) -> None:
        super().__init__()
        widths = (width, detail, 2 * width, 4 * width, kernel_dim, kernel_dim)
        level = None
        for depth in reversed(range(5)):
            level = _Level(widths[depth], widths[depth + 1], level, outermost=depth == 0)
        self.model = level

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        return self.model(x, k)


def _features(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.LeakyReLU(_SLOPE),
        *(_Residual(width) for _ in range(_FRONT_BLOCKS)),
    )


def _reconstruction(width: int) -> nn.Sequential:
    layers: list[nn.Module] = [_Residual(width) for _ in range(_BACK_BLOCKS)]
    for _ in range(2):
        wider = nn.Conv2d(width, 4 * width, 3, padding=1)
        layers += [wider, nn.PixelShuffle(2), nn.LeakyReLU(_SLOPE)]
    last = (nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(_SLOPE))
    return nn.Sequential(*layers, *last, nn.Conv2d(width, 3, 3, padding=1))


class KernelWizard(Pretrained, nn.Module):
    """F applies a blur that a latent k describes; G finds the k between two photographs.

    y = F(x, k) and k = G(x, y) (Tran et al., section 3), in the form of the authors' code: one
    extractor of features that F and G share, a U-Net into whose deepest level k enters, and a
    residual on top, `F(x, k) = x + recon_trunk(adapter(feature_extractor(x), k))`. A ReLU acts on
    k there, so that F(x, k) = F(x, max(k, 0)): negative entries do nothing. k is (N, kernel_dim, h,
    w), one column for each 128 x 128 pixels, and no convolution kernel. Layers and their names are
    those of the published weights: 159 tensors, 49,205,187 numbers, or 115,265,475 with `vae`.

    Images of any size are reflected at their right and lower ends up to multiples of 128, and
    results are cropped: what is within the networks' reach of those ends then depends on what was
    reflected, and k describes the larger image. G needs sides of at least 129 pixels.

    Args:
        width: channels of the finest level, 64 in the paper; others are multiples of it.
        kernel_dim: channels of k and of the deepest levels, 512 in the paper.
        vae: G gives mean and deviation of k, as for sampling (the authors' "use_vae").
        detail: channels of the U-Net's finest level, `width` as published. All that F adds to an
            image passes through so many numbers for each 8 x 8 pixels, which have 64 values a
            channel: narrow networks need more.

    Raises:
        ValueError: a width is not a positive integer.

    Example:
        >>> network = KernelWizard(width=2, kernel_dim=4)
        >>> sharp, blurry = torch.rand(2, 1, 3, 200, 300)
        >>> k = network.extract_kernel(sharp, blurry)
        >>> tuple(k.shape), tuple(network.apply_blur(sharp, k).shape)
        ((1, 4, 2, 3), (1, 3, 200, 300))
    """

    name = "kernel_space.KernelWizard"

    def __init__(
        self,
        width: int = 64,
        kernel_dim: int = 512,
        *,
        vae: bool = False,
        detail: int | None = None,
    ) -> None:
        super().__init__()
        detail = width if detail is None else detail
        for name, value in (("width", width), ("kernel_dim", kernel_dim), ("detail", detail)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"KernelWizard: {name} must be a positive integer, got {value!r}")
        self.architecture = {"width": width, "kernel_dim": kernel_dim, "vae": bool(vae)}
        if detail != width:
            self.architecture["detail"] = detail
        self.feature_extractor = _features(width)
        self.kernel_extractor = _KernelExtractor(width, kernel_dim, vae)
        self.adapter = _Adapter(width, detail, kernel_dim)
        self.recon_trunk = _reconstruction(width)

    def forward(
        self, sharp: Tensor, blurry: Tensor, k: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """F(x, G(x, y)) as training needs it, with a drawn k if there is a deviation.

        Args:
            sharp, blurry: (N, 3, H, W) in [0, 1].
            k: what F takes in place of G's, of its shape or one that broadcasts to it.

        Returns:
            What F makes of the sharp images, (N, 3, H, W); the mean of k; its deviation, or None.
        """
        features = self._features_of(sharp, blurry)
        mean, sigma = self._encoded(*features)
        if k is not None:
            k = k.expand_as(mean)
        else:
            k = mean if sigma is None else mean + sigma * torch.randn_like(mean)
        # What F needs of the sharp image, G has computed.
        return self._blurred(sharp, features[0], k), mean, sigma

    def encode(self, sharp: Tensor, blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and deviation of the k between two images; without `vae` the latter is None.

        The deviation is the network's output as it is, and may be negative.

        Args:
            sharp, blurry: (N, 3, H, W) in [0, 1], of the same size, sides at least 129.

        Raises:
            TypeError, ValueError: they are not as above.
        """
        return self._encoded(*self._features_of(sharp, blurry))

    def _features_of(self, sharp: Tensor, blurry: Tensor) -> list[Tensor]:
        for name, image in (("sharp", sharp), ("blurry", blurry)):
            _check_image("extract_kernel", name, image)
        if sharp.shape != blurry.shape:
            raise ValueError(
                f"extract_kernel: blurry must have the shape of sharp, {tuple(sharp.shape)},"
                f" got {tuple(blurry.shape)}"
            )
        size = [max(2, columns) for columns in _columns(sharp)]
        both = [_padded("extract_kernel", image, size) for image in (sharp, blurry)]
        return [self.feature_extractor(x) for x in both]

    def _encoded(self, *features: Tensor) -> tuple[Tensor, Tensor | None]:
        k = self.kernel_extractor(torch.cat(features, dim=1))
        mean, *sigma = k.split(self.architecture["kernel_dim"], dim=1)
        return mean, sigma[0] if sigma else None

    def extract_kernel(self, sharp: Tensor, blurry: Tensor) -> Tensor:
        """G: the latent k of the blur between two images, its mean where there is a deviation.

        Args:
            sharp, blurry: (N, 3, H, W) in [0, 1], of the same size, sides at least 129.

        Returns:
            (N, kernel_dim, h, w), h = ceil(H / 128), w likewise; both signs.

        Raises:
            TypeError, ValueError: they are not as above.
        """
        return self.encode(sharp, blurry)[0]

    def apply_blur(self, sharp: Tensor, k: Tensor) -> Tensor:
        """F: the blur that k describes, applied to an image.

        Args:
            sharp: (N, 3, H, W) in [0, 1].
            k: (N or 1, kernel_dim, h, w), h = ceil(H / 128), w likewise; `resize_kernel` brings one
                of another size there.

        Returns:
            (N, 3, H, W), not clamped.

        Raises:
            TypeError, ValueError: they are not as above, or a side of the image is too small to be
                reflected to 128 h, 128 w: it must be more than half of that.
        """
        _check_image("apply_blur", "sharp", sharp)
        height, width = sharp.shape[2:]
        wanted = list(_columns(sharp))
        dim = self.architecture["kernel_dim"]
        if k.ndim != 4 or k.shape[1] != dim or k.shape[0] not in (1, sharp.shape[0]):
            raise ValueError(
                f"apply_blur: k must be (N or 1, {dim}, h, w) for {sharp.shape[0]} images,"
                f" got {tuple(k.shape)}"
            )
        if list(k.shape[2:]) != wanted:
            raise ValueError(
                f"apply_blur: k must have {wanted[0]} x {wanted[1]} columns for images of"
                f" {width} x {height} pixels, got {k.shape[2]} x {k.shape[3]};"
                " resize_kernel changes that"
            )
        x = _padded("apply_blur", sharp, k.shape[2:])
        return self._blurred(sharp, self.feature_extractor(x), k)

    def _blurred(self, sharp: Tensor, features: Tensor, k: Tensor) -> Tensor:
        height, width = sharp.shape[2:]
        adapted = self.adapter(features, k.expand(len(sharp), -1, -1, -1))
        return sharp + self.recon_trunk(adapted)[:, :, :height, :width]

    @classmethod
    def inferred(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that a state dict shows; whatever is missing is taken as published."""

        def rows(name: str, usual: int) -> int:
            tensor = tensors.get(name)
            return usual if tensor is None or tensor.ndim == 0 else max(1, tensor.shape[0])

        dim = rows("kernel_extractor.model.10.weight", 512)
        width = rows("feature_extractor.0.weight", 64)
        return {
            "width": width,
            "kernel_dim": dim,
            "vae": rows("kernel_extractor.model.13.weight", dim) == 2 * dim,
            "detail": rows("adapter.model.down.0.weight", width),
        }

    def export_published(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights as the authors' programs read them, whole or not at all.

        Args:
            path: the file to be written; `from_pretrained` reads it back bit for bit.

        Raises:
            OSError: the file could not be written.
        """
        checkpoints.write_pickled(path, self.state_dict())


def resize_kernel(k: Tensor, size: tuple[int, int]) -> Tensor:
    """A latent k for images of another size: interpolated over the picture's extent.

    The authors have one size of images only and no such step. Where the blur is the same all over
    the picture, so should k be, and this keeps it.

    Args:
        k: (N, kernel_dim, h, w).
        size: (H, W) of the images that it is for.

    Returns:
        (N, kernel_dim, ceil(H / 128), ceil(W / 128)), by bilinear interpolation.

    Example:
        >>> tuple(resize_kernel(torch.zeros(1, 4, 2, 2), (720, 1280)).shape)
        (1, 4, 6, 10)
    """
    wanted = [-(-side // MULTIPLE) for side in size]
    return functional.interpolate(k, wanted, mode="bilinear", align_corners=False)


def _columns(image: Tensor) -> tuple[int, int]:
    """How many columns k has for images of that size."""
    return -(-image.shape[2] // MULTIPLE), -(-image.shape[3] // MULTIPLE)


def _padded(function: str, image: Tensor, size: Any) -> Tensor:
    """The image reflected at its right and lower ends to 128 times (h, w)."""
    down, right = (MULTIPLE * n - side for n, side in zip(size, image.shape[2:], strict=True))
    if down == 0 and right == 0:
        return image
    if down >= image.shape[2] or right >= image.shape[3]:
        least = [MULTIPLE * n // 2 + 1 for n in size]
        raise ValueError(
            f"{function}: images must have at least {least[1]} x {least[0]} pixels to be reflected"
            f" to {MULTIPLE * size[1]} x {MULTIPLE * size[0]},"
            f" got {image.shape[3]} x {image.shape[2]}"
        )
    return functional.pad(image, (0, right, 0, down), mode="reflect")


def _check_image(function: str, name: str, image: Any) -> None:
    if not isinstance(image, Tensor) or not image.is_floating_point():
        got = str(image.dtype) if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"{function}: {name} must be a floating-point tensor, got {got}")
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"{function}: {name} must be (N, 3, H, W), got {tuple(image.shape)}")
