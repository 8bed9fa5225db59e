# SPDX-License-Identifier: BSD-3-Clause
"""The operators whose pixels gather with a kernel of their own: NU-Conv and motion blur."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops import _check
from blurops.operators.kept import KeptSums
from blurops.operators.operator import Operator
from blurops.ops.basis_blur.shapes import sharp_size
from blurops.ops.motion_blur import shapes as motion
from blurops.ops.motion_blur.op import motion_blur, motion_blur_adjoint
from blurops.ops.nu_conv import shapes as conv
from blurops.ops.nu_conv.op import nu_conv, nu_conv_adjoint


class _Gather(Operator):
    """Maps, the options of an op, and the column sums of both."""

    def __init__(self, **options: Any) -> None:
        _check.options(type(self).__name__, **options)
        self._options = options
        self._sums = KeptSums()

    @abstractmethod
    def _parts(self) -> tuple[Tensor, ...]:
        """The tensors that define the operator, the first of the dtype of its images."""

    @property
    def options(self) -> dict[str, Any]:
        """``boundary``, ``method``, ``precision`` and ``backend``."""
        return dict(self._options)

    @property
    def boundary(self) -> str:
        """What lies outside the image."""
        return self._options["boundary"]

    @property
    def dtype(self) -> torch.dtype:
        return self._parts()[0].dtype

    @property
    def device(self) -> torch.device:
        return self._parts()[0].device

    def column_sums(self, like: Tensor) -> Tensor:
        """``H^T 1`` for blurred images of the (H, W), dtype and device of ``like``.

        The last result is kept until one of the operator's tensors or the size changes; it is
        computed anew, with its graph, when a gradient is wanted. Do not write into it.
        """
        size = tuple(like.shape[-2:])
        key = (size, like.dtype, like.device)

        def make() -> Tensor:
            return self.adjoint(like.new_ones(self._count(), 1, *size))

        return self._sums.get(key, self._parts(), make)

    @abstractmethod
    def _count(self) -> int:
        """1, or N where a map has a batch."""


class NUConv(_Gather):
    """Filters out of a bank: ``(H x)[p] = sum_j weight_j[p] sum_u bank[index_j[p], u] x[p + u]``.

    Eboli, Sun and Ponce, "Neural Embedding of an Iterative Deconvolution Algorithm for Motion Blur
    Estimation and Removal", eq. 17.

    Args:
        bank: (F, K, K) filters, applied to each channel alike, or (F, C, K, K), summed over the
            channels; odd sides, **correlated** with the image.
        index: (N or 1, J, H, W) int32, which filters a pixel takes, of the filtered size.
        weight: (N or 1, J, H, W) their weights.
        boundary, method, precision, backend: as in :func:`blurops.nu_conv`.

    Raises:
        TypeError: a tensor has the wrong dtype, or the dtypes differ.
        ValueError: a shape, the boundary or another option does not fit, an index lies outside the
            bank, or the devices differ.

    Note:
        Gradients reach ``bank`` and ``weight``.

    Example:
        >>> import torch, blurops
        >>> index = torch.randint(4, (1, 2, 6, 7), dtype=torch.int32)
        >>> filters = blurops.NUConv(torch.rand(4, 3, 3), index, torch.rand(1, 2, 6, 7))
        >>> x = torch.rand(1, 3, 6, 7)
        >>> torch.equal(filters @ x, blurops.nu_conv(x, filters.bank, index, filters.weight))
        True
    """

    def __init__(
        self,
        bank: Tensor,
        index: Tensor,
        weight: Tensor,
        *,
        boundary: str = "reflect",
        method: str = "auto",
        precision: str = "default",
        backend: str | None = None,
    ) -> None:
        super().__init__(boundary=boundary, method=method, precision=precision, backend=backend)
        conv.check_operator("NUConv", bank, index, weight, boundary)
        self.bank, self.index, self.weight = bank, index, weight

    def _parts(self) -> tuple[Tensor, ...]:
        return self.bank, self.index, self.weight

    def _count(self) -> int:
        return max(self.index.shape[0], self.weight.shape[0])

    def forward(self, x: Tensor) -> Tensor:
        """``H x``, as :func:`blurops.nu_conv`."""
        return nu_conv(x, self.bank, self.index, self.weight, **self._options)

    def adjoint(self, y: Tensor) -> Tensor:
        """``H^T y``, as :func:`blurops.nu_conv_adjoint`."""
        return nu_conv_adjoint(y, self.bank, self.index, self.weight, **self._options)

    def to(self, *args: Any, **options: Any) -> NUConv:
        """The same operator with its tensors moved or cast; the index stays int32."""
        bank, weight = self.bank.to(*args, **options), self.weight.to(*args, **options)
        return NUConv(bank, self.index.to(bank.device), weight, **self._options)

    def absolute(self) -> NUConv:
        """``sum_j |weight_j| |bank|``, a bound on the magnitudes of H."""
        return NUConv(self.bank.abs(), self.index, self.weight.abs(), **self._options)


class MotionBlur(_Gather):
    """Every pixel is blurred along a straight motion of its own, as :func:`blurops.motion_blur`.

    Args:
        length: (N or 1, H, W) in pixels, at least 1, of the blurred size.
        angle: (N or 1, H, W) in radians, counter-clockwise with y upwards.
        caps: ``"fspecial"`` or ``"segment"``.
        margin: for boundary ``"valid"``, by how many pixels the sharp image is larger on each side.
            Default: as far as the longest motion reaches, ``ceil((max(length) - 1) / 2)``.
        boundary, method, precision, backend: as in :func:`blurops.motion_blur`.

    Raises:
        TypeError: a tensor has the wrong dtype, or the dtypes differ.
        ValueError: a shape, a length, an angle, the boundary or another option does not fit, or the
            devices differ.

    Note:
        Gradients reach ``length`` and ``angle``.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.MotionBlur(torch.full((1, 6, 7), 3.0), torch.zeros(1, 6, 7))
        >>> bool(torch.allclose(blur @ torch.ones(1, 3, 6, 7), torch.ones(1, 3, 6, 7)))
        True
    """

    def __init__(
        self,
        length: Tensor,
        angle: Tensor,
        *,
        caps: str = "fspecial",
        margin: int | None = None,
        boundary: str = "reflect",
        method: str = "auto",
        precision: str = "default",
        backend: str | None = None,
    ) -> None:
        super().__init__(boundary=boundary, method=method, precision=precision, backend=backend)
        self.caps, self.length, self.angle = caps, length, angle
        motion.check_operator("MotionBlur", length, angle, caps)
        if boundary == "valid" and margin is None:
            margin = motion.reach(float(length.detach().max())) if length.numel() else 0
        self.margin = margin if boundary == "valid" else 0
        motion.check_fit("MotionBlur", length, angle, self._sharp_size(), boundary)

    def _parts(self) -> tuple[Tensor, ...]:
        return self.length, self.angle

    def _count(self) -> int:
        return max(self.length.shape[0], self.angle.shape[0])

    def _sharp_size(self) -> tuple[int, int]:
        window = (2 * self.margin + 1,) * 2
        return sharp_size(self.length.shape[-2:], window, self.boundary)

    def forward(self, x: Tensor) -> Tensor:
        """``H x``, as :func:`blurops.motion_blur`."""
        self._check_sharp(x.shape[-2:])
        return motion_blur(x, self.length, self.angle, caps=self.caps, **self._options)

    def _check_sharp(self, size: Sequence[int]) -> None:
        """The op takes any margin that is wide enough; the transpose knows but one."""
        wanted = self._sharp_size()
        if tuple(size) != wanted:
            text = f"have the sharp size {wanted[0]}x{wanted[1]}"
            raise ValueError(_check.message("MotionBlur", "x", text, f"{size[0]}x{size[1]}"))

    def adjoint(self, y: Tensor) -> Tensor:
        """``H^T y``, as :func:`blurops.motion_blur_adjoint`."""
        size = self._sharp_size()
        return motion_blur_adjoint(
            y, self.length, self.angle, size, caps=self.caps, **self._options
        )

    def to(self, *args: Any, **options: Any) -> MotionBlur:
        """The same blur with its tensors moved or cast."""
        length, angle = self.length.to(*args, **options), self.angle.to(*args, **options)
        margin = self.margin if self.boundary == "valid" else None
        return MotionBlur(length, angle, caps=self.caps, margin=margin, **self._options)
