# SPDX-License-Identifier: BSD-3-Clause
"""The correction `sum_i D_i r_i` of residual compensation, and its steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from blurops.operators import Operator, UniformBlur
from blurops.ops.basis_blur.op import basis_blur_adjoint, flip
from blurops.solvers.inverse_blur import ZeroPadded


class Correction:
    """`sum_i D_i r_i` of residuals r_i.

    Uniform filters with zeros beyond the border share their transforms: the sum is the transpose of
    a basis-mixed blur whose basis holds the filters, with the residuals for coefficients, applied
    to ones.

    Args:
        inverses: the D_i.
    """

    def __init__(self, inverses: Sequence[Operator]) -> None:
        self._inverses = list(inverses)
        inner = [each.operator if isinstance(each, ZeroPadded) else each for each in inverses]
        self._together = len(inner) > 1 and all(_alike(each, inner[0]) for each in inner)
        if self._together:
            self._kernels = flip(torch.cat([each.kernels for each in inner], dim=1))
            self._options = inner[0].options

    def __call__(self, residuals: Sequence[Tensor]) -> Tensor:
        """(N, C, H, W), of the sharp size."""
        pairs = list(zip(self._inverses, residuals, strict=True))
        if not self._together:
            return sum(inverse.forward(residual) for inverse, residual in pairs)
        images = [d.padded(r) if isinstance(d, ZeroPadded) else r for d, r in pairs]
        count, channels = images[0].shape[:2]
        # Coefficients are the same for every channel, so channels go into the batch.
        mixing = torch.stack(images, dim=2).flatten(0, 1)
        kernels = self._kernels
        if len(kernels) > 1:
            kernels = kernels.repeat_interleave(channels, dim=0)
        ones = mixing.new_ones(count * channels, 1, *mixing.shape[-2:])
        return basis_blur_adjoint(ones, kernels, mixing, **self._options).view(images[0].shape)


def _alike(operator: Operator, first: Operator) -> bool:
    """Whether two inverses are uniform, cut off by zeros, and of the same size and options."""
    return (
        isinstance(operator, UniformBlur)
        and operator.boundary == "zeros"
        and operator.kernels.shape == first.kernels.shape
        and operator.options == first.options
    )


class Compensation:
    """A step of :func:`.splitting.alternate` for x: a few of algorithm 2.1, unscaled residuals.

    Args:
        observed: y.
        forward: H and the analysis filters.
        inverses: the D_i, by penalty.
        data_weight: of `||y - H x||^2`.
        inner: how many.
        memory: None for steps of length 1, else as in :func:`.admm.admm_irc`.
    """

    def __init__(
        self,
        observed: Tensor,
        forward: Sequence[Operator],
        inverses: dict[float, Sequence[Operator]],
        data_weight: float,
        inner: int,
        memory: int | None,
    ) -> None:
        self._observed, self._forward = observed, forward
        self._corrections = {rho: Correction(some) for rho, some in inverses.items()}
        self._data_weight, self._inner, self._memory = data_weight, inner, memory
        self._penalty, self._kept = 0.0, []

    def __call__(
        self, image: Tensor, rests: list[Tensor], penalty: float, targets: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The next image, and what is left of its residuals."""
        correction, wanted = self._corrections[penalty], (self._observed, *targets)
        if self._memory is not None:
            return self._minimise(image, rests, penalty, correction)
        for _ in range(self._inner):
            image = image + correction(rests)
            rests = [z - k.forward(image) for k, z in zip(self._forward, wanted, strict=True)]
        return image, rests

    def _minimise(
        self, image: Tensor, rests: list[Tensor], penalty: float, correction: Correction
    ) -> tuple[Tensor, list[Tensor]]:
        """Steps of the length, along the directions, that minimise the stage's least squares."""
        weights = [self._data_weight, *[penalty / 2] * (len(rests) - 1)]
        if penalty != self._penalty:  # what was orthogonal is so no more
            self._penalty, self._kept = penalty, []

        def product(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
            terms = zip(weights, first, second, strict=True)
            return sum(w * (a * b).sum((1, 2, 3), keepdim=True) for w, a, b in terms)

        def share(first: Sequence[Tensor], second: Sequence[Tensor], size: Tensor) -> Tensor:
            # A sample that has arrived has nothing left to divide.
            return torch.where(size > 0, product(first, second) / torch.where(size > 0, size, 1), 0)

        def moved(direction: Tensor, effects: list[Tensor], size: Tensor) -> None:
            nonlocal image, rests
            length = share(rests, effects, size)
            image = image + length * direction
            rests = [r - length * each for r, each in zip(rests, effects, strict=True)]

        for kept in self._kept:  # new targets: the old directions serve again, for nothing
            moved(*kept)
        for _ in range(self._inner):
            direction = correction(rests)
            effects = [k.forward(direction) for k in self._forward]
            for before, before_effects, size in self._kept:
                along = share(effects, before_effects, size)
                direction = direction - along * before
                pairs = zip(effects, before_effects, strict=True)
                effects = [each - along * other for each, other in pairs]
            latest = direction, effects, product(effects, effects)
            moved(*latest)
            if self._memory:
                self._kept = [*self._kept, latest][-self._memory :]
        return image, rests
