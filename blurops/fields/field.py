# SPDX-License-Identifier: BSD-3-Clause
"""The blur field: basis kernels, mixing coefficients and what is known about them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurops import _check
from blurops._check import message


class BlurField(NamedTuple):
    """A non-uniform blur, `(H u)[p] = sum_b mixing_b[p] sum_d kernels_b[d] u[p + d]`.

    Carbajal et al., eq. 2, in blurops' conventions: kernels are correlated with the image, and
    mixing comes after blurring.

    Attributes:
        kernels: (1, B, Kh, Kw) basis kernels; the generators make them non-negative with unit sum.
        mixing: (1, B, H, W) coefficients, H and W those of the blurred image; the generators make
            them non-negative with sum 1 over B.
        meta: always `boundary` (str), `gamma` (float) and `orientation` ("correlation"); further
            entries say how the field was made, such as `generator` and `seed`.

    Example:
        >>> field = BlurField(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 4, 6), field_meta())
        >>> field.boundary, field.meta["gamma"]
        ('reflect', 1.0)
    """

    kernels: Tensor
    mixing: Tensor
    meta: dict[str, Any]

    @property
    def boundary(self) -> str:
        """The boundary that the field was made for."""
        return self.meta["boundary"]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the blurred image."""
        return tuple(self.mixing.shape[2:])

    @property
    def kernel_size(self) -> int:
        """The longer side of the kernels."""
        return max(self.kernels.shape[2:])

    def to(self, *args: Any, **kwargs: Any) -> "BlurField":
        """The field with both tensors moved or converted as `torch.Tensor.to` does."""
        return BlurField(
            self.kernels.to(*args, **kwargs), self.mixing.to(*args, **kwargs), self.meta
        )

    def kernels_at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The mixed kernel of each pixel, `sum_b mixing_b[p] kernels_b`.

        Args:
            rows, columns: (P,) integer pixel indices.

        Returns:
            (P, Kh, Kw), dtype and device of the field.
        """
        weights = self.mixing[0, :, rows, columns]  # (B, P)
        return torch.einsum("bp,bhw->phw", weights, self.kernels[0])


def field_meta(boundary: str = "reflect", gamma: float = 1.0, **extra: Any) -> dict[str, Any]:
    """The `meta` of a BlurField: boundary, gamma, orientation, then `extra`."""
    return {"boundary": boundary, "gamma": gamma, "orientation": "correlation", **extra}


def check_field(function: str, kernels: Any, mixing: Any) -> None:
    """Raises unless kernels are (1, B, Kh, Kw) with odd sides and mixing is (1, B, H, W), alike."""
    _check.tensor(function, "kernels", kernels, "(1, B, Kh, Kw)")
    _check.tensor(function, "mixing", mixing, "(1, B, H, W)")
    _check.same_kind(function, "mixing", mixing, "kernels", kernels)
    _check.batch(function, "kernels", kernels, 1)
    _check.kernel_size(function, "kernels", kernels.shape[2:], tuple(kernels.shape))
    if kernels.shape[1] == 0:
        raise ValueError(
            message(function, "kernels", "hold at least one kernel", tuple(kernels.shape))
        )
    _check.batch(function, "mixing", mixing, 1)
    if mixing.shape[1] != kernels.shape[1]:
        raise ValueError(
            message(function, "mixing", f"be (1, {kernels.shape[1]}, H, W)", tuple(mixing.shape))
        )
    if mixing.numel() == 0:
        raise ValueError(
            message(function, "mixing", "hold at least one pixel", tuple(mixing.shape))
        )
