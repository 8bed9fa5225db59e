# SPDX-License-Identifier: BSD-3-Clause
"""What the solvers ask of a blur, and the public test of its adjoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops.ops.rl_step import Saturation, formula
from blurops.testing import dot_gap


class Operator(ABC):
    """A linear map H from sharp (N, C, H, W) images to blurred ones, and its transpose.

    A new blur needs ``forward``, ``adjoint`` and ``to``; every solver then accepts it.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``H x``."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """``H^T y``, the exact transpose of ``forward``."""

    @abstractmethod
    def to(self, *args: Any, **options: Any) -> Operator:
        """The same operator with its tensors moved or cast, as ``Tensor.to`` does."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the images it takes."""
        return torch.float32

    @property
    def device(self) -> torch.device:
        """The device of the images it takes."""
        return torch.device("cpu")

    @property
    def T(self) -> Operator:
        """The transpose, as an operator."""
        return _Transpose(self)

    def __matmul__(self, x: Tensor) -> Tensor:
        """``operator @ x`` is ``operator.forward(x)``."""
        return self.forward(x)

    def absolute(self) -> Operator:
        """``|H|``, entry by entry, or a bound on it. By default H itself: right for light."""
        return self

    def column_sums(self, like: Tensor) -> Tensor:
        """``H^T 1`` for blurred images of the (H, W), dtype and device of ``like``.

        Returns (N or 1, 1, H, W), of the sharp size.
        """
        return self.adjoint(torch.ones_like(like[:, :1]))

    def rl_step(
        self,
        estimate: Tensor,
        observed: Tensor,
        *,
        column_sums: Tensor | None = None,
        mask: Tensor | None = None,
        saturation: Saturation | None = None,
        tv: float = 0.0,
        eps: float = 1e-6,
        blurred: Tensor | None = None,
    ) -> Tensor:
        """One Richardson-Lucy update with this blur; arguments as :func:`blurops.rl_step`.

        ``blurred`` is ``forward(estimate)``, when it is known.
        """
        blurred = self.forward(estimate) if blurred is None else blurred
        sums = self.column_sums(observed) if column_sums is None else column_sums
        return formula.update(
            estimate, observed, blurred, self.forward, self.adjoint, sums,
            mask=mask, saturation=saturation, tv=tv, eps=eps,
        )  # fmt: skip


class _Transpose(Operator):
    """An operator with its two directions exchanged."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self._operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._operator.forward(y)

    def to(self, *args: Any, **options: Any) -> Operator:
        return _Transpose(self._operator.to(*args, **options))

    @property
    def dtype(self) -> torch.dtype:
        return self._operator.dtype

    @property
    def device(self) -> torch.device:
        return self._operator.device

    @property
    def T(self) -> Operator:
        return self._operator

    def absolute(self) -> Operator:
        return _Transpose(self._operator.absolute())


def check_adjoint(operator: Operator, shape: Sequence[int], *, seed: int = 0) -> float:
    """Measure how far an operator's adjoint is from its transpose.

    ``|<H x, y> - <x, H^T y>| / <|H| |x|, |y|>`` for random x and y, accumulated in float64: about
    the machine epsilon of the operator's dtype when the adjoint is right.

    Args:
        operator: any :class:`Operator`.
        shape: (N, C, H, W) of x, the sharp image.
        seed: of the random images.

    Returns:
        The relative gap.

    Raises:
        TypeError: ``operator`` is not an :class:`Operator`.

    Example:
        >>> import torch, blurops
        >>> operator = blurops.UniformBlur(torch.rand(5, 3, dtype=torch.float64))
        >>> blurops.check_adjoint(operator, (1, 3, 8, 9)) < 1e-12
        True
    """
    check_operator("check_adjoint", operator)
    generator = torch.Generator().manual_seed(seed)

    def random(size: Sequence[int]) -> Tensor:
        image = torch.randn(tuple(size), generator=generator, dtype=torch.float64)
        return image.to(device=operator.device, dtype=operator.dtype)

    magnitude = operator.absolute()
    with torch.no_grad():
        x = random(shape)
        y = random(operator.forward(x).shape)
        return dot_gap(
            operator.forward, operator.adjoint, lambda z: magnitude.forward(z).abs(), x, y
        )


def check_operator(function: str, operator: object) -> None:
    """Raise unless ``operator`` follows the protocol."""
    if not isinstance(operator, Operator):
        raise TypeError(
            f"{function}: operator must be a blurops Operator (BasisBlur, UniformBlur, ...), "
            f"got {type(operator).__name__}"
        )
