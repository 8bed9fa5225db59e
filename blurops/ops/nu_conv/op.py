# SPDX-License-Identifier: BSD-3-Clause
"""The four members of NU-Conv, declared.

With ``s = sum grad * nu_conv(image, bank, index, weight)``, a form linear in grad, image, bank and
weight, every member is the derivative of ``s`` by one of them. So the gradient of each member is
made of the others, second derivatives exist, and the adjoint that autograd uses is the public one.
The index has no derivative.
"""

from collections.abc import Sequence

from torch import Tensor

from blurops._interop import array_function
from blurops._register import declare
from blurops.ops.nu_conv import shapes

_OPTIONS = (
    '*, str boundary="reflect", str method="auto", str precision="default", str? backend=None'
)
_BACKENDS = ("native", "triton", "reference")


def _form_gradients(
    grad: Tensor, image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, needs: tuple,
    options: dict,
) -> tuple:  # fmt: skip
    """Derivatives of s by image, bank, index (none) and weight."""
    return (
        _adjoint(grad, bank, index, weight, **options) if needs[0] else None,
        _grad_bank(grad, image, index, weight, bank.shape, **options) if needs[1] else None,
        None,
        _grad_weight(grad, image, bank, index, weight.shape[0] == 1, **options)
        if needs[3]
        else None,
    )


def _conv_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    return _form_gradients(grad, *inputs, needs, options)


def _adjoint_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    filtered, bank, index, weight = inputs
    rest = _form_gradients(filtered, grad, bank, index, weight, (False, *needs[1:]), options)
    return (_conv(grad, bank, index, weight, **options) if needs[0] else None, *rest[1:])


def _grad_bank_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    filtered, image, index, weight, _ = inputs
    shared = weight.shape[0] == 1
    return (
        _conv(image, grad, index, weight, **options) if needs[0] else None,
        _adjoint(filtered, grad, index, weight, **options) if needs[1] else None,
        None,
        _grad_weight(filtered, image, grad, index, shared, **options) if needs[3] else None,
        None,
    )


def _grad_weight_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    filtered, image, bank, index, _ = inputs
    return (
        _conv(image, bank, index, grad, **options) if needs[0] else None,
        _adjoint(filtered, bank, index, grad, **options) if needs[1] else None,
        _grad_bank(filtered, image, index, grad, bank.shape, **options) if needs[2] else None,
        None,
        None,
    )


_conv = declare(
    f"nu_conv(Tensor image, Tensor bank, Tensor index, Tensor weight, {_OPTIONS}) -> Tensor",
    shape=shapes.conv_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_conv_backward,
    values=shapes.conv_values,
)
_adjoint = declare(
    f"nu_conv_adjoint(Tensor image, Tensor bank, Tensor index, Tensor weight, {_OPTIONS}) "
    "-> Tensor",
    shape=shapes.adjoint_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_adjoint_backward,
    values=shapes.adjoint_values,
)
_grad_bank = declare(
    "nu_conv_grad_bank(Tensor grad, Tensor image, Tensor index, Tensor weight, "
    f"SymInt[] bank_shape, {_OPTIONS}) -> Tensor",
    shape=shapes.grad_bank_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_grad_bank_backward,
    values=shapes.grad_bank_values,
)
_grad_weight = declare(
    "nu_conv_grad_weight(Tensor grad, Tensor image, Tensor bank, Tensor index, "
    f"bool shared=False, {_OPTIONS}) -> Tensor",
    shape=shapes.grad_weight_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_grad_weight_backward,
    values=shapes.grad_weight_values,
)


@array_function
def nu_conv(
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    weight: Tensor,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Filter an image differently at every pixel, with filters interpolated out of a bank.

    ``out[p] = sum_j weight_j[p] * sum_u bank[index_j[p], u] * image[p + u]``: each pixel picks J
    filters and weighs them (Eboli, Sun and Ponce, "Neural Embedding of an Iterative Deconvolution
    Algorithm for Motion Blur Estimation and Removal", eq. 17). The filters are those of the
    **output** pixel.

    Args:
        image: (N, C, H, W) any real values.
        bank: (F, K, K), applied to each channel alike, or (F, C, K, K), applied to its own channel
            each and summed over the channels. Odd sides, which may differ; centre at K//2. This is
            a **correlation**: turn a point-spread function with :func:`blurops.flip` first.
        index: (N or 1, J, H, W) int32, which filters a pixel takes, of the filtered size.
        weight: (N or 1, J, H, W) their weights, any real values.
        boundary: what lies outside the image: ``"reflect"`` (needs K//2 < H and K//2 < W),
            ``"replicate"``, ``"circular"``, ``"zeros"``, or ``"valid"``, which filters only where
            the filter fits and returns (H-K+1, W-K+1).
        method: ``"direct"`` sums over the taps; ``"fft"`` transforms tiles, on the CPU and for a
            bank (F, K, K), and pays where a tile's pixels pick few filters; ``"auto"`` takes what
            is fastest. The bank's gradient always sums over the taps.
        precision: as in :func:`blurops.basis_blur`.
        backend: ``"native"``, ``"triton"``, ``"reference"``, or ``None`` for the first that can
            serve the call.

    Returns:
        (N, C, H, W), or (N, 1, H, W) for a bank (F, C, K, K), fresh and contiguous, of the inputs'
        dtype. float16 and bfloat16 are accumulated in float32.

    Raises:
        TypeError: an argument is not a tensor of its dtype, or the dtypes differ. ValueError: a
        shape or an option is not one of those above, an index lies outside the bank, or the devices
        differ. NotImplementedError: the backend asked for cannot run this call.

    Note:
        Differentiable to any order in image, bank and weight. No pixel's filter is ever stored.
        On a GPU an index outside the bank is clamped instead of waiting for the device;
        :func:`blurops.testing.checked` makes it raise.

    Example:
        >>> import torch, blurops
        >>> image = torch.arange(5.0).reshape(1, 1, 1, 5)
        >>> bank = torch.tensor([[[1.0, 0, 0]], [[0, 0, 1.0]]])  # look left, look right
        >>> index = torch.tensor([0, 0, 0, 1, 1], dtype=torch.int32).reshape(1, 1, 1, 5)
        >>> blurops.nu_conv(image, bank, index, torch.ones(1, 1, 1, 5), boundary="zeros")
        tensor([[[[0., 0., 1., 4., 0.]]]])
    """
    return _conv(
        image, bank, index, weight,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def nu_conv_adjoint(
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    weight: Tensor,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Apply the exact transpose of :func:`nu_conv`: every pixel spreads its own filter.

    ``out[q] = sum_p sum_{u : p + u lands on q} sum_j weight_j[p] bank[index_j[p], u] image[p]``.
    Each term has the filter of the pixel that **contributes** it, and every border is folded back
    exactly as the boundary read it.

    Args:
        image: (N, C, H, W) what to apply the transpose to, of the filtered size; C is 1 for a bank
            (F, C, K, K).
        bank, index, weight: those of the filtering itself; the filters are not turned by the
            caller.
        boundary, method, precision, backend: as in :func:`nu_conv`.

    Returns:
        (N, C, H, W); for ``boundary="valid"`` the size (H+K-1, W+K-1).

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`nu_conv`.

    Example:
        >>> import torch, blurops
        >>> bank, weight = torch.rand(4, 3, 3), torch.rand(1, 2, 5, 6)
        >>> index = torch.randint(4, (1, 2, 5, 6), dtype=torch.int32)
        >>> x, y = torch.rand(2, 1, 1, 5, 6)
        >>> left = (blurops.nu_conv(x, bank, index, weight) * y).sum()
        >>> right = (x * blurops.nu_conv_adjoint(y, bank, index, weight)).sum()
        >>> bool(torch.isclose(left, right))
        True
    """
    return _adjoint(
        image, bank, index, weight,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def nu_conv_grad_bank(
    grad: Tensor,
    image: Tensor,
    index: Tensor,
    weight: Tensor,
    bank_shape: Sequence[int],
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Derivative of ``sum(grad * nu_conv(image, bank, index, weight))`` by the bank.

    ``g[f, u] = sum over (p, j) with index_j[p] = f of weight_j[p] sum_c grad_c[p] image_c[p + u]``;
    without the sum over c for a bank (F, C, K, K).

    Args:
        grad: gradient of the filtered image, of its shape.
        image: (N, C, H, W) the image that was filtered.
        index: (N or 1, J, H, W) int32.
        weight: (N or 1, J, H, W).
        bank_shape: (F, K, K) or (F, C, K, K).
        boundary, method, precision, backend: as in :func:`nu_conv`.

    Returns:
        The bank's shape; zero for filters that no pixel takes.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`nu_conv`.

    Example:
        >>> import torch, blurops
        >>> one = torch.ones(1, 1, 4, 4)
        >>> index = torch.zeros(1, 1, 4, 4, dtype=torch.int32)
        >>> blurops.nu_conv_grad_bank(one, one, index, one, (2, 1, 1)).flatten()
        tensor([16.,  0.])
    """
    return _grad_bank(
        grad, image, index, weight, bank_shape,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def nu_conv_grad_weight(
    grad: Tensor,
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    shared: bool = False,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Derivative of ``sum(grad * nu_conv(image, bank, index, weight))`` by the weights.

    ``g_j[p] = sum_c grad_c[p] * sum_u bank[index_j[p], u] * image_c[p + u]``.

    Args:
        grad: gradient of the filtered image, of its shape.
        image: (N, C, H, W) the image that was filtered.
        bank: (F, K, K) or (F, C, K, K).
        index: (N or 1, J, H, W) int32.
        shared: sum over the batch, for weights that were shared by it.
        boundary, method, precision, backend: as in :func:`nu_conv`.

    Returns:
        (N, J, H, W), or (1, J, H, W) when shared; of the filtered size.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`nu_conv`.

    Example:
        >>> import torch, blurops
        >>> one = torch.ones(2, 3, 4, 4)
        >>> index = torch.zeros(1, 4, 4, 4, dtype=torch.int32)
        >>> blurops.nu_conv_grad_weight(one, one, torch.ones(2, 3, 3), index).shape
        torch.Size([2, 4, 4, 4])
    """
    return _grad_weight(
        grad, image, bank, index, shared,
        boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip
