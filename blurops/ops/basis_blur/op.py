# SPDX-License-Identifier: BSD-3-Clause
"""The four members of the basis-mixed family, declared.

With ``s = sum grad * blur(image, kernels, mixing)``, a form linear in each of its four arguments,
every member is the derivative of ``s`` by one of them. So the gradient of each member is made of
the others, second derivatives exist, and the adjoint that autograd uses is the public one. Where no
second derivative is wanted, the native backend computes several of these gradients together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blurops._interop import array_function
from blurops._register import LIBRARY, declare
from blurops.ops.basis_blur import native, shapes

_OPTIONS = (
    '*, str boundary="reflect", str method="auto", str precision="default", str? backend=None'
)
_BACKENDS = ("native", "triton", "reference")


def _kernels_gradient(
    grad: Tensor, image: Tensor, mixing: Tensor, like: Tensor, options: dict
) -> Tensor:
    """Gradient in the shape of ``like``: summed over the batch where it was broadcast."""
    return _grad_kernels(grad, image, mixing, like.shape[-2:], like.shape[0] == 1, **options)


def _mixing_gradient(
    grad: Tensor, image: Tensor, kernels: Tensor, like: Tensor, options: dict
) -> Tensor:
    return _grad_mixing(grad, image, kernels, like.shape[0] == 1, **options)


def _form_gradients(
    grad: Tensor, image: Tensor, kernels: Tensor, mixing: Tensor, needs: tuple, options: dict
) -> tuple:
    """Derivatives of s by image, kernels and mixing: fused where several are wanted but no more."""
    if sum(needs) > 1 and not torch.is_grad_enabled() and _can_fuse(grad, options):
        options = {name: value for name, value in options.items() if name != "backend"}
        found = _blur_backward_op(grad, image, kernels, mixing, list(needs), **options)
        return tuple(g if needed else None for g, needed in zip(found, needs, strict=True))
    return (
        _adjoint(grad, kernels, mixing, **options) if needs[0] else None,
        _kernels_gradient(grad, image, mixing, kernels, options) if needs[1] else None,
        _mixing_gradient(grad, image, kernels, mixing, options) if needs[2] else None,
    )


def _can_fuse(tensor: Tensor, options: dict) -> bool:
    """Only the CPU has kernels that share one sweep."""
    if tensor.device.type != "cpu" or options["backend"] not in (None, "native"):
        return False
    return native.supports((tensor,), options) is None


def _blur_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    return _form_gradients(grad, *inputs, needs, options)


def _adjoint_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    blurred, kernels, mixing = inputs
    field = _form_gradients(blurred, grad, kernels, mixing, (False, *needs[1:]), options)
    return (_blur(grad, kernels, mixing, **options) if needs[0] else None, *field[1:])


def _grad_kernels_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    blurred, image, mixing, _, _ = inputs
    return (
        _blur(image, grad, mixing, **options) if needs[0] else None,
        _adjoint(blurred, grad, mixing, **options) if needs[1] else None,
        _mixing_gradient(blurred, image, grad, mixing, options) if needs[2] else None,
        None,
        None,
    )


def _grad_mixing_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    blurred, image, kernels, _ = inputs
    return (
        _blur(image, kernels, grad, **options) if needs[0] else None,
        _adjoint(blurred, kernels, grad, **options) if needs[1] else None,
        _kernels_gradient(blurred, image, grad, kernels, options) if needs[2] else None,
        None,
    )


_blur = declare(
    f"basis_blur(Tensor image, Tensor kernels, Tensor mixing, {_OPTIONS}) -> Tensor",
    shape=shapes.blur_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_blur_backward,
)
_adjoint = declare(
    f"basis_blur_adjoint(Tensor image, Tensor kernels, Tensor mixing, {_OPTIONS}) -> Tensor",
    shape=shapes.adjoint_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_adjoint_backward,
)
_grad_kernels = declare(
    "basis_blur_grad_kernels(Tensor grad, Tensor image, Tensor mixing, SymInt[] kernel_size, "
    f"bool shared=False, {_OPTIONS}) -> Tensor",
    shape=shapes.grad_kernels_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_grad_kernels_backward,
)
_grad_mixing = declare(
    "basis_blur_grad_mixing(Tensor grad, Tensor image, Tensor kernels, "
    f"bool shared=False, {_OPTIONS}) -> Tensor",
    shape=shapes.grad_mixing_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_grad_mixing_backward,
)

# Only ever called by _form_gradients, with what the members' shape rules have checked.
LIBRARY.define(
    "basis_blur_backward(Tensor grad, Tensor image, Tensor kernels, Tensor mixing, bool[] needs, "
    '*, str boundary="reflect", str method="auto", str precision="default") -> Tensor[]'
)
_blur_backward_op = torch.ops.blurops.basis_blur_backward.default


def _run_backward(
    *args: Any, boundary: str = "reflect", method: str = "auto", precision: str = "default"
) -> list[Tensor]:
    return native.basis_blur_backward(*args, boundary=boundary, method=method, precision=precision)


def _fake_backward(
    grad: Tensor, image: Tensor, kernels: Tensor, mixing: Tensor, needs: list, **options: str
) -> list[Tensor]:
    return [
        like.new_empty(like.shape if needed else 0)
        for like, needed in zip((image, kernels, mixing), needs, strict=True)
    ]


LIBRARY.impl("basis_blur_backward", _run_backward, "CPU")
torch.library.register_fake("blurops::basis_blur_backward", _fake_backward, lib=LIBRARY)


@array_function
def basis_blur(
    image: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Blur an image differently at every pixel: correlate it with basis kernels, then mix.

    ``(H x)[p] = sum_b mixing_b[p] * sum_d kernels_b[d] * image[p + d]``, the same for every channel
    (Carbajal et al., "Non-uniform Blur Kernel Estimation via Adaptive Basis Decomposition", eq. 2).
    The row of ``H`` at a pixel is that pixel's own kernel, ``sum_b mixing_b[p] kernels_b``.

    Args:
        image: (N, C, H, W) any real values, normally linear light.
        kernels: (N or 1, B, Kh, Kw) basis kernels, odd sides, centre at (Kh//2, Kw//2). This is a
            **correlation**: a point-spread function is turned with :func:`blurops.flip` first.
        mixing: (N or 1, B, H, W) coefficients, one map per kernel, of the blurred size.
        boundary: what lies outside the image: ``"reflect"`` (edge pixel not repeated; needs Kh//2 <
            H and Kw//2 < W), ``"replicate"``, ``"circular"``, ``"zeros"``, or ``"valid"``, which
            blurs only where the kernel fits and returns (H-Kh+1, W-Kw+1).
        method: ``"direct"`` sums over the taps; ``"fft"`` multiplies spectra, in the native backend
            those of small tiles; ``"auto"`` takes what a measured model says is faster.
        precision: ignored on the CPU, where float32 is always float32. On NVIDIA GPUs ``"default"``
            rounds kernels, mixing and what their gradients multiply with them to 11 bits, as TF32
            convolutions do, for errors near 1e-4; ``"high"`` keeps 22 of them and meets the
            tolerance of float32.
        backend: ``"native"``, ``"triton"``, ``"reference"``, or ``None`` for the first that can
            serve the call.

    Returns:
        (N, C, H, W) blurred image, fresh and contiguous, of the inputs' dtype. float16 and bfloat16
        are accumulated in float32.

    Raises:
        TypeError: an argument is not a floating-point tensor, or the dtypes differ. ValueError: a
        shape, a boundary or another option is not one of those above, or the devices differ.
        NotImplementedError: the backend asked for cannot run this call; the message says why.

    Note:
        Differentiable to any order in image, kernels and mixing. NaN propagates, by spectra over
        the whole tile that holds it. No tensor of size B*C*H*W is made by the native and Triton
        backends, and their results repeat bit for bit whatever the thread count. Zeros around all
        kernels are trimmed, and bases whose mixing is zero all over a tile are skipped by the
        native backend, without changing the result; :func:`prune` makes such zeros where little is
        lost.

    Example:
        >>> import torch, blurops
        >>> image = torch.zeros(1, 1, 3, 3)
        >>> image[0, 0, 1, 1] = 1.0
        >>> kernels = torch.arange(9.0).reshape(1, 1, 3, 3)
        >>> blurops.basis_blur(image, kernels, torch.ones(1, 1, 3, 3), boundary="zeros")[0, 0]
        tensor([[8., 7., 6.],
                [5., 4., 3.],
                [2., 1., 0.]])
    """
    return _blur(
        image, kernels, mixing,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def basis_blur_adjoint(
    image: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Apply the exact transpose of :func:`basis_blur`: mix, then correlate with the turned kernels.

    ``(H^T y)[q] = sum_p sum_{d : p + d lands on q} sum_b mixing_b[p] kernels_b[d] * image[p]``
    (Carbajal et al., eq. 10). Every border is folded back exactly as the boundary read it, so ``<H
    x, y> = <x, H^T y>`` to rounding.

    Args:
        image: (N, C, H, W) what to apply the transpose to, of the blurred size.
        kernels: (N or 1, B, Kh, Kw) the kernels of the blur itself; they are not turned by the
            caller.
        mixing: (N or 1, B, H, W) the mixing coefficients of the blur itself.
        boundary, method, precision, backend: as in :func:`basis_blur`.

    Returns:
        (N, C, H, W); for ``boundary="valid"`` the sharp size (H+Kh-1, W+Kw-1).

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`basis_blur`.

    Note:
        Columns of H do not sum to one even when its rows do: ``H^T 1`` is 1 only where mixing is
        constant.

    Example:
        >>> import torch, blurops
        >>> kernels, mixing = torch.rand(1, 2, 3, 3), torch.rand(1, 2, 5, 4)
        >>> x, y = torch.rand(1, 1, 5, 4), torch.rand(1, 1, 5, 4)
        >>> left = (blurops.basis_blur(x, kernels, mixing) * y).sum()
        >>> right = (x * blurops.basis_blur_adjoint(y, kernels, mixing)).sum()
        >>> bool(torch.isclose(left, right))
        True
    """
    return _adjoint(
        image, kernels, mixing,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def basis_blur_grad_kernels(
    grad: Tensor,
    image: Tensor,
    mixing: Tensor,
    kernel_size: Sequence[int],
    shared: bool = False,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Derivative of ``sum(grad * basis_blur(image, kernels, mixing))`` by the kernels.

    ``g_b[d] = sum_p sum_c mixing_b[p] * grad_c[p] * image_c[p + d]``. The form is linear in the
    kernels, so their values are not needed.

    Args:
        grad: (N, C, H, W) gradient of the blurred image.
        image: (N, C, H, W) sharp image.
        mixing: (N or 1, B, H, W) mixing coefficients, of the blurred size.
        kernel_size: (Kh, Kw), both odd.
        shared: sum over the batch, for kernels that were shared by it.
        boundary, method, precision, backend: as in :func:`basis_blur`.

    Returns:
        (N, B, Kh, Kw), or (1, B, Kh, Kw) when shared.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`basis_blur`.

    Example:
        >>> import torch, blurops
        >>> one = torch.ones(2, 3, 8, 8)
        >>> blurops.basis_blur_grad_kernels(one, one, one[:1, :1], (3, 5), shared=True).shape
        torch.Size([1, 1, 3, 5])
    """
    return _grad_kernels(
        grad, image, mixing, kernel_size, shared,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def basis_blur_grad_mixing(
    grad: Tensor,
    image: Tensor,
    kernels: Tensor,
    shared: bool = False,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Derivative of ``sum(grad * basis_blur(image, kernels, mixing))`` by the mixing coefficients.

    ``g_b[p] = sum_c grad_c[p] * sum_d kernels_b[d] * image_c[p + d]``.

    Args:
        grad: (N, C, H, W) gradient of the blurred image.
        image: (N, C, H, W) sharp image.
        kernels: (N or 1, B, Kh, Kw) basis kernels.
        shared: sum over the batch, for mixing that was shared by it.
        boundary, method, precision, backend: as in :func:`basis_blur`.

    Returns:
        (N, B, H, W), or (1, B, H, W) when shared; of the blurred size.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`basis_blur`.

    Example:
        >>> import torch, blurops
        >>> one = torch.ones(2, 3, 8, 8)
        >>> blurops.basis_blur_grad_mixing(one, one, torch.ones(1, 4, 3, 3), shared=True).shape
        torch.Size([1, 4, 8, 8])
    """
    return _grad_mixing(
        grad, image, kernels, shared,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


def flip(kernels: Tensor) -> Tensor:
    """Turn kernels by 180 degrees: point-spread functions become correlation kernels, and back.

    Args:
        kernels: (..., Kh, Kw).

    Returns:
        (..., Kh, Kw), a fresh tensor.

    Example:
        >>> import torch, blurops
        >>> blurops.flip(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 2., 1.]])
    """
    return torch.flip(kernels, (-2, -1))
