# SPDX-License-Identifier: BSD-3-Clause
"""One Richardson-Lucy iteration, for every combination of :class:`.settings.Settings`.

The estimate is kept in the domain its update works in: linear light, or image values when the sets
or the TV term live there. Names follow the paper: u and v are image values, U and V linear light.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from blurops.operators import BasisBlur, Operator, UniformBlur
from blurops.ops.basis_blur.op import flip
from blurops.ops.rl_step import Saturation, formula
from blurops.ops.saturate.reference import saturate
from blurops.solvers import authors
from blurops.solvers.settings import Settings

# A pixel that no data hold can grow without end. Up to this light, no product or square that an
# update forms leaves the range of float32.
LARGEST = 1e18


def power(image: Tensor, exponent: float) -> Tensor:
    """``image ** exponent`` for image >= 0, with gradient 0 at 0 where it would be infinite."""
    if exponent == 1:
        return image
    positive = image > 0
    return torch.where(positive, torch.where(positive, image, 1) ** exponent, 0)


class Iteration:
    """The update of one restoration: what its steps share is prepared once.

    Args:
        observed: (N, C, H, W) v, in image values.
        operator: the blur.
        sums: (N or 1, 1, H, W) ``H^T 1``, of the sharp size.
        settings: every choice, made.
        mask: (N or 1, 1 or C, H, W) the caller's trust in each observed pixel, or ``None``.
        gamma: linear light is ``values ** gamma``.
        eps: added to the divisor of the ratio.
    """

    def __init__(
        self,
        observed: Tensor,
        operator: Operator,
        sums: Tensor,
        settings: Settings,
        mask: Tensor | None,
        gamma: float,
        eps: float,
    ) -> None:
        self._values, self._light = observed, power(observed, gamma).clamp(max=LARGEST)
        self._operator, self._settings, self._mask = operator, settings, mask
        self._gamma, self._eps = gamma, eps
        self._size = sums.shape[-2:]
        self._saturation = _response_of(settings, gamma)
        self._trust = _trust_of(settings, mask, observed)
        self._transpose = _transpose_of(settings, operator)
        if not settings.normalise:
            sums = torch.ones_like(sums)
        elif settings.adjoint == "authors":
            sums = self._transpose(torch.ones_like(observed[:, :1]))
        self._sums = sums
        two_sets = settings.variant == "combined" and settings.saturation.threshold < math.inf
        self._splits_values = two_sets and settings.combine == "pixel"
        self._sobel = settings.tv > 0 and settings.tv_form == "sobel8"
        self._in_values = self._splits_values or self._sobel

    @property
    def fixed(self) -> bool:
        """Whether every step is one call of the registered op, which asks the host for nothing."""
        exact = self._settings.adjoint == "exact" and not self._in_values
        return exact and isinstance(self._operator, BasisBlur | UniformBlur)

    def start(self, initial: Tensor | None) -> Tensor:
        """The first estimate: the one given, or the observation grown to the sharp size."""
        if initial is None:
            height, width = self._values.shape[-2:]
            ry, rx = (self._size[0] - height) // 2, (self._size[1] - width) // 2
            initial = F.pad(self._values, (rx, rx, ry, ry), mode="replicate")
        return self._limit(initial if self._in_values else power(initial, self._gamma))

    def image(self, state: Tensor) -> Tensor:
        """The estimate in image values."""
        return state if self._in_values else power(state, 1 / self._gamma)

    def blur(self, state: Tensor) -> Tensor:
        """``W = H U``, in linear light."""
        return self._operator.forward(self._to_light(state))

    def step(self, state: Tensor, blurred: Tensor | None = None) -> Tensor:
        """The next estimate; ``blurred`` is :meth:`blur` of this one, when it is known."""
        updated = (self._step_values if self._in_values else self._step_light)(state, blurred)
        return self._limit(updated, in_place=not updated.requires_grad)

    def loss(self, blurred: Tensor) -> float:
        """Mean squared difference to the observation, in image values, weighted by the mask."""
        light = blurred.detach().clamp(min=0)
        if self._saturation is not None and self._settings.loss_form == "clamped":
            light = light.clamp(max=self._saturation.level + 0.5)
        elif self._saturation is not None:
            light = saturate(light, self._saturation.a, self._saturation.level).clamp(min=0)
        # In float64, where the square of the largest light has room.
        error = (power(light.double(), 1 / self._gamma) - self._values.detach().double()) ** 2
        if self._mask is None:
            return float(error.mean())
        weight = self._mask.detach().double()
        return float((error * weight).mean() / weight.mean().clamp(min=1e-300))

    def _to_light(self, state: Tensor) -> Tensor:
        return power(state, self._gamma) if self._in_values else state

    def _limit(self, state: Tensor, in_place: bool = False) -> Tensor:
        largest = LARGEST ** (1 / self._gamma) if self._in_values else LARGEST
        return state.clamp_(max=largest) if in_place else state.clamp(max=largest)

    def _step_light(self, light: Tensor, blurred: Tensor | None) -> Tensor:
        options = {
            "mask": self._trust, "saturation": self._saturation,
            "tv": self._settings.tv, "eps": self._eps,
        }  # fmt: skip
        if self._settings.adjoint == "exact":
            return self._operator.rl_step(
                light, self._light, column_sums=self._sums, blurred=blurred, **options
            )
        blurred = self._operator.forward(light) if blurred is None else blurred
        return formula.update(
            light, self._light, blurred, self._operator.forward, self._transpose, self._sums,
            **options,
        )  # fmt: skip

    def _step_values(self, values: Tensor, blurred: Tensor | None) -> Tensor:
        light = self._to_light(values)
        blurred = self._operator.forward(light) if blurred is None else blurred
        if self._splits_values:
            updated = self._split_values(values, blurred)
        else:
            factor = formula.multiplier(
                light, self._light, blurred, self._operator.forward, self._transpose, self._sums,
                mask=self._trust, saturation=self._saturation, eps=self._eps,
            )  # fmt: skip
            updated = power(light * factor, 1 / self._gamma)
        if self._sobel:
            return updated / authors.sobel8_divisor(values, self._settings.tv)
        if self._settings.tv:
            return updated / power(formula.tv_divisor(light, self._settings.tv), 1 / self._gamma)
        return updated

    def _split_values(self, values: Tensor, blurred: Tensor) -> Tensor:
        """Both sets updated apart, split and summed in image values as the authors' code does."""
        saturation = self._settings.saturation
        with torch.no_grad():
            reliable = formula.reliable_set(values, saturation, count_outside=True)
            clean = reliable
            if saturation.dilate:
                clean = authors.undamaged(reliable, self._operator.kernels)
            clean = formula.central(clean, self._values.shape[-2:])
        response, weight = formula.data_terms(blurred, self._trust, self._saturation)
        for_reliable, for_bright = formula.two_corrections(
            formula.ratio(self._light, response, weight * clean, self._eps),
            formula.ratio(self._light, response, weight, self._eps),
            self._transpose,
            self._sums,
        )
        part = reliable * values

        def updated(part: Tensor, factor: Tensor) -> Tensor:
            return power(power(part, self._gamma) * factor, 1 / self._gamma)

        return updated(part, for_reliable) + updated(values - part, for_bright)


def _response_of(settings: Settings, gamma: float) -> Saturation | None:
    """The response an update models, its threshold in linear light."""
    if settings.variant in ("basic", "masked"):
        return None
    if settings.variant == "function":
        return replace(settings.saturation, threshold=math.inf)
    return replace(settings.saturation, threshold=settings.saturation.threshold**gamma)


def _trust_of(settings: Settings, mask: Tensor | None, observed: Tensor) -> Tensor | None:
    """The mask, without the bright observations when the variant leaves them out."""
    if settings.variant != "masked":
        return mask
    dark = (observed < settings.saturation.threshold).to(observed.dtype)
    return dark if mask is None else dark * mask


def _transpose_of(settings: Settings, operator: Operator) -> Callable[[Tensor], Tensor]:
    """``H^T``, or the authors' ``sum_b M_b K_b^T``: blurred by the turned kernels, then mixed."""
    if settings.adjoint == "exact":
        return operator.adjoint
    turned = BasisBlur(flip(operator.kernels), operator.mixing, **operator.options)
    return turned.forward
