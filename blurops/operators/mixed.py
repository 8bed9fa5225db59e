# SPDX-License-Identifier: BSD-3-Clause
"""The operators that the basis-mixed family applies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops import _check
from blurops.operators.kept import KeptSums
from blurops.operators.operator import Operator
from blurops.ops.basis_blur.op import basis_blur, basis_blur_adjoint
from blurops.ops.basis_blur.shapes import blurred_size, sharp_size
from blurops.ops.rl_step import Saturation, rl_step
from blurops.ops.rl_step.op import from_blurred


class _MixedBlur(Operator):
    """Basis kernels, their mixing coefficients and the options of the family."""

    _argument = "kernels"  # what the caller knows them as

    def __init__(
        self,
        kernels: Tensor,
        *,
        boundary: str = "reflect",
        method: str = "auto",
        precision: str = "default",
        backend: str | None = None,
    ) -> None:
        name = type(self).__name__
        self._options = {
            "boundary": boundary, "method": method, "precision": precision, "backend": backend,
        }  # fmt: skip
        _check.options(name, **self._options)
        _check.tensor(name, self._argument, kernels, "(N or 1, B, Kh, Kw)")
        _check.kernel_size(name, self._argument, kernels.shape[-2:], tuple(kernels.shape))
        self.kernels = kernels
        self._sums = KeptSums()

    @abstractmethod
    def mixing_for(self, size: Sequence[int]) -> Tensor:
        """(N or 1, B, H, W) mixing coefficients for blurred images of (H, W) = ``size``."""

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
        return self.kernels.dtype

    @property
    def device(self) -> torch.device:
        return self.kernels.device

    def forward(self, x: Tensor) -> Tensor:
        """``H x``, as :func:`blurops.basis_blur`."""
        size = blurred_size(x.shape[-2:], self.kernels.shape[-2:], self.boundary)
        return basis_blur(x, self.kernels, self.mixing_for(size), **self._options)

    def adjoint(self, y: Tensor) -> Tensor:
        """``H^T y``, as :func:`blurops.basis_blur_adjoint`."""
        mixing = self.mixing_for(y.shape[-2:])
        return basis_blur_adjoint(y, self.kernels, mixing, **self._options)

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
        """One update by :func:`blurops.rl_step`, without its blur where ``blurred`` is known."""
        tensors = (estimate, observed, self.kernels, self.mixing_for(observed.shape[-2:]))
        options = {"saturation": saturation, "tv": tv, "eps": eps, **self._options}
        if blurred is not None:
            return from_blurred(blurred, *tensors, column_sums, mask, **options)
        return rl_step(*tensors, column_sums=column_sums, mask=mask, **options)

    def column_sums(self, like: Tensor) -> Tensor:
        """``H^T 1`` for blurred images of the (H, W), dtype and device of ``like``.

        The last result is kept until a kernel, a coefficient or the size changes; it is computed
        anew, with its graph, when a gradient is wanted. Do not write into it.
        """
        size = tuple(like.shape[-2:])
        mixing = self.mixing_for(size)
        key = (size, like.dtype, like.device)
        parts = (self.kernels, mixing)
        return self._sums.get(key, parts, lambda: self._sum_columns(like, mixing))

    def _sum_columns(self, like: Tensor, mixing: Tensor) -> Tensor:
        count = max(self.kernels.shape[0], mixing.shape[0])
        ones = like.new_ones(count, 1, *like.shape[-2:])
        return basis_blur_adjoint(ones, self.kernels, mixing, **self._options)


class BasisBlur(_MixedBlur):
    """The basis-mixed blur ``(H x)[p] = sum_b mixing_b[p] sum_d kernels_b[d] x[p + d]``.

    Carbajal et al., "Non-uniform Blur Kernel Estimation via Adaptive Basis Decomposition", eq. 2.

    Args:
        kernels: (N or 1, B, Kh, Kw) basis kernels, odd sides, **correlated** with the image: turn
            a point-spread function with :func:`blurops.flip` first.
        mixing: (N or 1, B, H, W) coefficients, of the blurred size.
        boundary, method, precision, backend: as in :func:`blurops.basis_blur`.

    Raises:
        TypeError: ``kernels`` or ``mixing`` is not a floating-point tensor, or the dtypes differ.
        ValueError: a shape, the boundary or another option does not fit, or the devices differ.

    Note:
        Gradients reach ``kernels`` and ``mixing``.

    Example:
        >>> import torch, blurops
        >>> kernels, mixing = torch.rand(1, 2, 3, 3), torch.rand(1, 2, 6, 7)
        >>> blur = blurops.BasisBlur(kernels, mixing)
        >>> x = torch.rand(1, 3, 6, 7)
        >>> torch.equal(blur @ x, blurops.basis_blur(x, kernels, mixing))
        True
        >>> torch.equal(blur.T @ x, blurops.basis_blur_adjoint(x, kernels, mixing))
        True
    """

    def __init__(
        self,
        kernels: Tensor,
        mixing: Tensor,
        *,
        boundary: str = "reflect",
        method: str = "auto",
        precision: str = "default",
        backend: str | None = None,
    ) -> None:
        super().__init__(
            kernels, boundary=boundary, method=method, precision=precision, backend=backend
        )
        name = "BasisBlur"
        _check.tensor(name, "mixing", mixing, "(N or 1, B, H, W)")
        _check.same_kind(name, "mixing", mixing, "kernels", kernels)
        if mixing.shape[1] != kernels.shape[1]:
            wanted = f"hold one map per basis kernel ({kernels.shape[1]})"
            raise ValueError(_check.message(name, "mixing", wanted, tuple(mixing.shape)))
        if kernels.shape[0] > 1:
            _check.batch(name, "mixing", mixing, kernels.shape[0])
        size = sharp_size(mixing.shape[-2:], kernels.shape[-2:], self.boundary)
        _check.fits(name, kernels.shape[-2:], size, self.boundary)
        self.mixing = mixing

    def mixing_for(self, size: Sequence[int]) -> Tensor:
        """The mixing coefficients; the ops check that they have the image's size."""
        return self.mixing

    def to(self, *args: Any, **options: Any) -> BasisBlur:
        """The same blur with its tensors moved or cast."""
        kernels, mixing = self.kernels.to(*args, **options), self.mixing.to(*args, **options)
        return BasisBlur(kernels, mixing, **self._options)

    def absolute(self) -> BasisBlur:
        """``sum_b |m_b| |k_b|``, the bound that the accuracy of the family is stated with."""
        return BasisBlur(self.kernels.abs(), self.mixing.abs(), **self._options)


class UniformBlur(_MixedBlur):
    """The same kernel at every pixel: ``(H x)[p] = sum_d kernel[d] x[p + d]``.

    Args:
        kernel: (Kh, Kw), or (N or 1, 1, Kh, Kw) for one kernel per sample; odd sides,
            **correlated** with the image: turn a point-spread function with
            :func:`blurops.flip` first.
        boundary, method, precision, backend: as in :func:`blurops.basis_blur`.

    Raises:
        TypeError: ``kernel`` is not a floating-point tensor.
        ValueError: its shape, the boundary or another option does not fit.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.full((3, 3), 1 / 9))
        >>> bool(torch.allclose(blur @ torch.ones(1, 1, 4, 5), torch.ones(1, 1, 4, 5)))
        True
    """

    _argument = "kernel"

    def __init__(
        self,
        kernel: Tensor,
        *,
        boundary: str = "reflect",
        method: str = "auto",
        precision: str = "default",
        backend: str | None = None,
    ) -> None:
        if isinstance(kernel, Tensor) and kernel.ndim == 2:
            kernel = kernel[None, None]
        if isinstance(kernel, Tensor) and (kernel.ndim != 4 or kernel.shape[1] != 1):
            wanted = "be (Kh, Kw) or (N or 1, 1, Kh, Kw)"
            raise ValueError(_check.message("UniformBlur", "kernel", wanted, tuple(kernel.shape)))
        super().__init__(
            kernel, boundary=boundary, method=method, precision=precision, backend=backend
        )
        self._ones: Tensor | None = None

    def mixing_for(self, size: Sequence[int]) -> Tensor:
        """Ones, (1, 1, H, W), made once for a size."""
        ones = self._ones
        if ones is None or ones.shape[-2:] != tuple(size):
            # Ones made in inference mode could not enter a graph later.
            with torch.inference_mode(False):
                ones = torch.ones(1, 1, *size, dtype=self.dtype, device=self.device)
            self._ones = ones
        return ones

    def to(self, *args: Any, **options: Any) -> UniformBlur:
        """The same blur with its kernel moved or cast."""
        return UniformBlur(self.kernels.to(*args, **options), **self._options)

    def absolute(self) -> UniformBlur:
        """The blur by ``|kernel|``."""
        return UniformBlur(self.kernels.abs(), **self._options)
