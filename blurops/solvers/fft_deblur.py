# SPDX-License-Identifier: BSD-3-Clause
"""Deconvolution of a uniform blur in the Fourier domain: the fast baseline."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from blurops import _check
from blurops._check import message
from blurops.operators import UniformBlur
from blurops.ops.basis_blur.op import flip
from blurops.solvers import problem
from blurops.solvers import splitting as engine
from blurops.solvers.problem import Callback, Deconvolution

BORDERS = ("taper", "none")
PRIORS = ("sparse", "laplacian")

# How often the outer band is blurred into its opposite side; more passes change little.
_PASSES = 4


def fft_deblur(
    observed: Tensor,
    operator: UniformBlur,
    *,
    borders: str = "taper",
    prior: str = "sparse",
    weight: float = engine.WEIGHT,
    penalty: float | Sequence[float] = engine.PENALTY,
    norm: int = 1,
    data_weight: float = 0.5,
    stages: int = 10,
    rate: float = 1.0,
    splitting: str = "admm",
    analysis: Tensor | Sequence[Tensor] | None = None,
    tol: float = 0.0,
    callback: Callback | None = None,
    progress: bool = False,
) -> Deconvolution:
    """Restore a uniformly blurred image in the Fourier domain.

    The problem of :func:`admm_irc` on a periodic image, where the step for x is a division of
    spectra, `(data_weight conj(H) Y + penalty / 2 sum_i conj(K_i) T_i) / (data_weight |H|^2 +
    penalty / 2 sum_i |K_i|^2)` (Eboli et al., table 1: "FFT" and "FFT nopad"). With the prior
    `"laplacian"`, `conj(H) Y / (|H|^2 + weight |L|^2)`, L the discrete Laplacian, in one step (as
    MATLAB's `deconvreg` with a given multiplier; the paper's figure 1).

    Args:
        observed: (N, C, H, W) y, finite.
        operator: the blur; of its boundary nothing is used.
        borders: `"taper"`: y is extended by the kernel's side, replicated, and its outer band
            blurred until it meets the opposite side smoothly; the result is cropped. `"none"`: y is
            taken for periodic.
        prior: `"sparse"`: differences with the norm l. `"laplacian"`: see above.
        weight, penalty, norm, data_weight, stages, rate, splitting, analysis, tol: as in
            :func:`admm_irc`.
        callback: called as `callback(stage, image, residual)`, with the periodic image.
        progress: show a progress bar on stderr.

    Returns:
        :class:`Deconvolution`. Residuals are those of the periodic problem.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.full((1, 5), 0.2), boundary="circular")
        >>> sharp = torch.rand(1, 1, 16, 24)
        >>> result = blurops.fft_deblur(blur @ sharp, blur, borders="none", weight=1e-7)
        >>> bool(torch.allclose(result.image, sharp, atol=0.25))
        True
    """
    name = "fft_deblur"
    problem.check_problem(name, observed, operator)
    problem.check_numbers(name, callback)
    _check.choice(name, "borders", borders, BORDERS)
    _check.choice(name, "prior", prior, PRIORS)
    if not isinstance(operator, UniformBlur):
        got = type(operator).__name__
        raise TypeError(message(name, "operator", "be a UniformBlur", got))
    chosen = engine.choose(
        name, weight=weight, penalty=penalty, norm=norm, data_weight=data_weight,
        stages=stages if prior == "sparse" else 0, rate=rate, splitting=splitting, tol=tol,
    )  # fmt: skip
    kernel = operator.kernels
    band = kernel.shape[-2:] if borders == "taper" else (0, 0)
    extended = tapered(observed, kernel) if borders == "taper" else observed
    blur = UniformBlur(kernel, boundary="circular")
    spectra = _Spectra(extended, blur)
    if prior == "laplacian":
        result = _smooth(spectra, extended, blur, chosen.weight, callback, progress)
    else:
        analysis = engine.default_analysis(analysis, operator)
        filters = problem.analysis_operators(name, analysis, blur)
        result = engine.alternate(
            "FFT", extended, blur, filters, chosen, _Division(spectra, filters, chosen), extended,
            callback, progress,
        )  # fmt: skip
    height, width = observed.shape[-2:]
    image = result.image[..., band[0] : band[0] + height, band[1] : band[1] + width]
    return result._replace(image=image.contiguous())


def tapered(image: Tensor, kernel: Tensor) -> Tensor:
    """An image extended by the kernel's side, whose border meets the opposite one smoothly.

    The extension is replicated; then the outer band is mixed several times with its periodic blur,
    the more the farther out.

    Args:
        image: (N, C, H, W).
        kernel: (N or 1, 1, Kh, Kw).

    Returns:
        (N, C, H + 2 Kh, W + 2 Kw).
    """
    down, right = kernel.shape[-2:]
    extended = F.pad(image, (right, right, down, down), mode="replicate")
    blur = UniformBlur(kernel / kernel.sum((2, 3), keepdim=True), boundary="circular")
    ramps = []
    for side, band in zip(extended.shape[-2:], (down, right), strict=True):
        position = torch.arange(side, dtype=image.dtype, device=image.device)
        inwards = torch.minimum(position, side - 1 - position)
        ramps.append((inwards / band).clamp(max=1))
    keep = ramps[0][:, None] * ramps[1][None, :]
    for _ in range(_PASSES):
        extended = keep * extended + (1 - keep) * blur.forward(extended)
    return extended


def transfer(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """The spectrum that a periodic correlation with a kernel multiplies by.

    Args:
        kernel: (N or 1, 1, Kh, Kw), no larger than the image.
        size: (H, W).
    """
    height, width = kernel.shape[-2:]
    placed = F.pad(flip(kernel), (0, size[1] - width, 0, size[0] - height))
    return torch.fft.rfft2(placed.roll((-(height // 2), -(width // 2)), (2, 3)))


class _Spectra:
    """The observation and the blur on the frequencies of a periodic image."""

    def __init__(self, observed: Tensor, blur: UniformBlur) -> None:
        self.size = observed.shape[-2:]
        if any(k > n for k, n in zip(blur.kernels.shape[-2:], self.size, strict=True)):
            got = "x".join(map(str, blur.kernels.shape[-2:]))
            wanted = f"have a kernel no larger than the image {tuple(self.size)}"
            raise ValueError(message("fft_deblur", "operator", wanted, got))
        self.blur = transfer(blur.kernels, self.size)
        self.data = self.blur.conj() * torch.fft.rfft2(observed)
        self.power = self.blur.abs().square()

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        """The image of a quotient, 0 where nothing is known."""
        return torch.fft.irfft2(torch.where(below > 0, above / below, 0), s=self.size)


class _Division:
    """The step for x."""

    def __init__(
        self, spectra: _Spectra, filters: Sequence[UniformBlur], chosen: engine.Splitting
    ) -> None:
        self._spectra, self._share = spectra, chosen.data_weight
        self._filters = [transfer(each.kernels, spectra.size) for each in filters]

    def __call__(
        self, image: Tensor, rests: list[Tensor], penalty: float, targets: list[Tensor]
    ) -> tuple[Tensor, None]:
        above = self._share * self._spectra.data
        below = self._share * self._spectra.power
        for each, target in zip(self._filters, targets, strict=True):
            above = above + penalty / 2 * each.conj() * torch.fft.rfft2(target)
            below = below + penalty / 2 * each.abs().square()
        return self._spectra.divide(above, below), None


def _smooth(
    spectra: _Spectra,
    observed: Tensor,
    blur: UniformBlur,
    weight: float,
    callback: Callback | None,
    progress: bool,
) -> Deconvolution:
    """The Laplacian prior, in one division."""
    laplacian = observed.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])[None, None]
    penalties = transfer(laplacian, spectra.size).abs().square()
    scale = problem.norm(observed) or 1.0

    def left(image: Tensor) -> float:
        return problem.norm(observed - blur.forward(image)) / scale

    track = problem.Track("FFT", observed, left(observed), 1, False, callback, progress)
    image = spectra.divide(spectra.data, spectra.power + weight * penalties)
    track.add(image, left(image))
    return track.result()
