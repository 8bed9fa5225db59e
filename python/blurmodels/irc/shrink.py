# SPDX-License-Identifier: BSD-3-Clause
"""Learned thresholding: piecewise linear curves through control points, and soft thresholds."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

KNOTS = 101


class _Curve(torch.autograd.Function):
    """A curve through control points with equal steps, of slope 1 beyond the first and the last."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, curve: Tensor, step: float) -> Tensor:
        # A position and its share of a cell need more digits than half types have.
        wide = values.to(torch.promote_types(values.dtype, curve.dtype))
        last = len(curve) - 1
        position = wide / step + last / 2
        cell = position.floor().clamp(0, last - 1)
        share = position - cell
        low = cell.long()
        left, right = curve[low], curve[low + 1]
        found = torch.where(
            share < 0, left + share * step,
            torch.where(share > 1, right + (share - 1) * step, left + share * (right - left)),
        )  # fmt: skip
        ctx.save_for_backward(values, curve)
        ctx.step = step
        return found.to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, curve = ctx.saved_tensors
        last = len(curve) - 1
        position = values.to(curve.dtype) / ctx.step + last / 2
        low = position.floor().clamp(0, last - 1).long()
        share = position - low
        by_values = by_curve = None
        if ctx.needs_input_grad[0]:
            slope = (curve[low + 1] - curve[low]) / ctx.step
            inside = (share >= 0) & (share <= 1)
            by_values = (grad * torch.where(inside, slope, 1)).to(values.dtype)
        if ctx.needs_input_grad[1]:
            share = share.clamp(0, 1).double()
            wide, low = grad.double(), low.flatten()
            parts = torch.stack([(1 - share) * wide, share * wide]).flatten(1)
            both = [torch.bincount(low + i, weights=parts[i], minlength=len(curve)) for i in (0, 1)]
            by_curve = sum(both).to(curve.dtype)
        return by_values, by_curve, None


def shrink_curve(values: Tensor, curve: Tensor, step: float) -> Tensor:
    """Bend values by a piecewise linear curve.

    The curve goes through `curve[k]` at `(k - (K - 1) / 2) step`, k = 0, ..., K - 1; beyond the
    first and the last of these points it goes on with slope 1 (Eboli et al., section 3.2, after
    Yang et al., "Deep ADMM-Net for compressive sensing MRI").

    Args:
        values: any shape.
        curve: (K,) ordinates, K at least 2.
        step: between control points, above 0.

    Returns:
        The shape and dtype of `values`.

    Raises:
        ValueError: the curve or the step do not fit.

    Note:
        Once differentiable in values and curve; sums over pixels run in float64. At a control point
        the derivative is that of the cell above.

    Example:
        >>> shrink_curve(torch.tensor([-3.0, -0.5, 0.5, 4.0]), torch.tensor([-1.0, 0, 0.0]), 1.0)
        tensor([-3.0000, -0.5000,  0.0000,  3.0000])
    """
    if curve.ndim != 1 or len(curve) < 2:
        raise ValueError(
            f"shrink_curve: curve must be (K,) with K of at least 2, got {tuple(curve.shape)}"
        )
    if not step > 0:
        raise ValueError(f"shrink_curve: step must be positive, got {step}")
    return _Curve.apply(values, curve, float(step))


class ShrinkCurves(nn.Module):
    """One curve per stage and analysis filter, soft thresholding at first.

    Args:
        stages, filters: how many.
        threshold: of the soft thresholding, above 0.
        step: between control points. Default: the threshold, so that the first curves are soft
            thresholding exactly. The authors' later code has 10/255, with which values below that
            are only scaled at first.
    """

    def __init__(
        self, stages: int, filters: int, threshold: float, step: float | None = None
    ) -> None:
        super().__init__()
        self.step = float(threshold if step is None else step)
        places = self.step * (torch.arange(KNOTS, dtype=torch.float64) - KNOTS // 2)
        curve = torch.nn.functional.softshrink(places, float(threshold))
        self.curve = nn.Parameter(curve.float().repeat(stages, filters, 1))

    def forward(self, values: Tensor, stage: int, number: int) -> Tensor:
        """Shrunk values of one analysis filter in one stage."""
        return shrink_curve(values, self.curve[stage, number], self.step)


class SoftThresholds(nn.Module):
    """One threshold per stage and analysis filter, `sign(v) max(|v| - |t|, 0)`.

    Args:
        stages, filters: how many.
        threshold: t at first.
    """

    def __init__(self, stages: int, filters: int, threshold: float) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.full((stages, filters), float(threshold)))

    def forward(self, values: Tensor, stage: int, number: int) -> Tensor:
        """Shrunk values of one analysis filter in one stage."""
        limit = self.threshold[stage, number].abs().to(values.dtype)
        return values.sign() * torch.relu(values.abs() - limit)
