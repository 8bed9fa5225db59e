# SPDX-License-Identifier: BSD-3-Clause
"""What may stand between a generated face and the photograph.

Each maker takes the photograph's side and a stream of random numbers, and returns a module:
`forward(sharp)` degrades (1, 3, S, S), `kernel()` is what the loss takes the norm of, and
`groups(rate)` are the parameters. Those of `blind_operators` are of the same kind.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import blurops
from blurmodels.evaluation._errors import message
from blurmodels.kernel_space.blind_operators import EncodedKernel
from blurmodels.kernel_space.priors import NOISE, KernelDIP

OperatorMaker = Callable[[int, torch.Generator], nn.Module]

# Of Keys' cubic, and its taps per pixel of the result.
_SHARPNESS, _TAPS = -0.5, 4
# The kernel's prior of SelfDeblur: numbers of noise, and of the hidden layer.
_NOISE, _HIDDEN = 200, 1000
# F's latent kernel has at least 2 x 2 places, as the kernel's prior needs.
_LEAST_ENCODED = 256


class DIPKernel(nn.Module):
    """One convolution kernel that a small network makes out of noise; the blur keeps the size.

    After Ren, Zhang, Wang, Hu, Zuo, "Neural Blind Deconvolution Using Deep Priors", CVPR 2020: a
    hidden layer of 1,000 numbers and a softmax over the taps.

    Args:
        side: K, odd.
        generator: of the noise.
    """

    def __init__(self, side: int, generator: torch.Generator) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("noise", NOISE * torch.rand(1, _NOISE, generator=generator))
        self.network = nn.Sequential(
            nn.Linear(_NOISE, _HIDDEN), nn.ReLU6(), nn.Linear(_HIDDEN, side**2)
        )
        self._k: Tensor | None = None

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Parameters and their learning rates."""
        return [{"params": list(self.network.parameters()), "lr": rate}]

    def kernel(self) -> Tensor:
        """(1, 1, K, K), not negative and of unit sum: that of the last `forward`, or a new one."""
        return self._made() if self._k is None else self._k

    def _made(self) -> Tensor:
        return self.network(self.noise).softmax(1).view(1, 1, self.side, self.side)

    def forward(self, sharp: Tensor) -> Tensor:
        """(1, C, H, W) to the same."""
        self._k = self._made()
        mixing = sharp.new_ones(1, 1, *sharp.shape[2:])
        return blurops.basis_blur(sharp, self._k, mixing, boundary="reflect")


class _Nothing(nn.Module):
    """The image as it is, without parameters; what made it smaller is the only degradation."""

    def groups(self, rate: float) -> list[dict[str, Any]]:
        return []

    def kernel(self) -> Tensor:
        return torch.zeros(0)

    def forward(self, sharp: Tensor) -> Tensor:
        return sharp


def encoded(
    apply_blur: Callable[[Tensor, Tensor], Tensor], prior: Callable[[], KernelDIP] = KernelDIP
) -> OperatorMaker:
    """F with a latent kernel under a deep image prior, as Tran et al.

    Args:
        apply_blur: F, any (x, k) -> y that torch differentiates.
        prior: makes the prior of k.
    """

    def make(side: int, generator: torch.Generator) -> nn.Module:
        if side < _LEAST_ENCODED:
            wanted = f"have a side of at least {_LEAST_ENCODED} for the encoded blur"
            raise ValueError(message("deblur_face", "image", wanted, f"{side} x {side}"))
        return EncodedKernel(apply_blur, (side, side), generator, prior=prior())

    return make


def uniform(kernel_size: int = 31) -> OperatorMaker:
    """One convolution kernel under a deep prior, `DIPKernel`.

    Args:
        kernel_size: K, odd, less than twice the photograph's side.
    """
    if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(
            message("uniform", "kernel_size", "be odd and positive", repr(kernel_size))
        )

    def make(side: int, generator: torch.Generator) -> nn.Module:
        if kernel_size // 2 >= side:
            wanted = f"be less than twice the image's side of {side}"
            raise ValueError(message("uniform", "kernel_size", wanted, kernel_size))
        return DIPKernel(kernel_size, generator)

    return make


def bicubic() -> OperatorMaker:
    """Bicubic downsampling alone: super-resolution, as PULSE.

    The generator's pictures are made as small as the photograph before any operator; this one adds
    nothing.
    """
    return lambda side, generator: _Nothing()


def downsample(image: Tensor, factor: int) -> Tensor:
    """Makes an image smaller by bicubic interpolation as the authors code it.

    Keys' cubic with a = -0.5, stretched by the factor f: 4 f taps of unit sum along each axis,
    borders mirrored about the outermost pixel, every f-th result.

    Args:
        image: (N, C, H, W), sides multiples of the factor and more than 1.5 times it.
        factor: f, at least 1, at which the image stays as it is.

    Returns:
        (N, C, H/f, W/f).

    Example:
        >>> ramp = torch.arange(24.0).expand(1, 1, 24, 24)
        >>> downsample(ramp, 4)[0, 0, 2, 2:4]  # the means of pixels 8 to 11 and 12 to 15
        tensor([ 9.5000, 13.5000])
    """
    if factor == 1:
        return image
    at = (torch.arange(_TAPS * factor, dtype=torch.float64) + 0.5) / factor - _TAPS / 2
    taps = _cubic(at.abs())
    taps = (taps / taps.sum()).to(image)
    before = (_TAPS - 1) * factor // 2
    after = (_TAPS - 1) * factor - before
    planes = image.flatten(0, 1)[:, None]
    padded = functional.pad(planes, (0, 0, before, after), mode="reflect")
    planes = functional.conv2d(padded, taps[None, None, :, None], stride=(factor, 1))
    padded = functional.pad(planes, (before, after, 0, 0), mode="reflect")
    planes = functional.conv2d(padded, taps[None, None, None], stride=(1, factor))
    return planes[:, 0].unflatten(0, image.shape[:2])


def _cubic(x: Tensor) -> Tensor:
    a = _SHARPNESS
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
