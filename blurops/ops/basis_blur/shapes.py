# SPDX-License-Identifier: BSD-3-Clause
"""Shape rules of the family: each checks its arguments and returns the shape of the result."""

from collections.abc import Sequence

from torch import Tensor

from blurops import _check

_KERNELS, _MIXING = "(N or 1, B, Kh, Kw)", "(N or 1, B, H, W)"


def _size(tensor: Tensor) -> tuple[int, int]:
    return tensor.shape[-2], tensor.shape[-1]


def blurred_size(size: Sequence[int], kernel_size: Sequence[int], boundary: str) -> tuple[int, int]:
    """(H, W) of the blurred image of a sharp one."""
    if boundary != "valid":
        return size[0], size[1]
    return size[0] - kernel_size[0] + 1, size[1] - kernel_size[1] + 1


def sharp_size(size: Sequence[int], kernel_size: Sequence[int], boundary: str) -> tuple[int, int]:
    """(H, W) of the sharp image that a blurred one came from."""
    if boundary != "valid":
        return size[0], size[1]
    return size[0] + kernel_size[0] - 1, size[1] + kernel_size[1] - 1


def _check_kernels(op: str, kernels: Tensor, image: Tensor, first: str) -> None:
    _check.tensor(op, "kernels", kernels, _KERNELS)
    _check.same_kind(op, "kernels", kernels, first, image)
    _check.kernel_size(op, "kernels", _size(kernels), tuple(kernels.shape))
    _check.batch(op, "kernels", kernels, image.shape[0])
    if kernels.shape[1] < 1:
        raise ValueError(
            _check.message(op, "kernels", "hold at least one basis kernel", tuple(kernels.shape))
        )


def _check_mixing(
    op: str, mixing: Tensor, image: Tensor, first: str, size: Sequence[int], basis: int | None
) -> None:
    _check.tensor(op, "mixing", mixing, _MIXING)
    _check.same_kind(op, "mixing", mixing, first, image)
    _check.batch(op, "mixing", mixing, image.shape[0])
    if _size(mixing) != tuple(size):
        raise ValueError(
            _check.message(
                op, "mixing", f"have the blurred size {size[0]}x{size[1]}", tuple(mixing.shape)
            )
        )
    if mixing.shape[1] < 1 or (basis is not None and mixing.shape[1] != basis):
        wanted = "at least one map" if basis is None else f"one map per basis kernel ({basis})"
        raise ValueError(_check.message(op, "mixing", f"hold {wanted}", tuple(mixing.shape)))


def blur_shape(image: Tensor, kernels: Tensor, mixing: Tensor, **options: str) -> tuple:
    """Of ``basis_blur``."""
    op = "basis_blur"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check_kernels(op, kernels, image, "image")
    _check.fits(op, _size(kernels), _size(image), options["boundary"])
    size = blurred_size(_size(image), _size(kernels), options["boundary"])
    _check_mixing(op, mixing, image, "image", size, kernels.shape[1])
    return (*image.shape[:2], *size)


def adjoint_shape(image: Tensor, kernels: Tensor, mixing: Tensor, **options: str) -> tuple:
    """Of ``basis_blur_adjoint``."""
    op = "basis_blur_adjoint"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check_kernels(op, kernels, image, "image")
    size = sharp_size(_size(image), _size(kernels), options["boundary"])
    _check.fits(op, _size(kernels), size, options["boundary"])
    _check_mixing(op, mixing, image, "image", _size(image), kernels.shape[1])
    return (*image.shape[:2], *size)


def grad_kernels_shape(
    grad: Tensor,
    image: Tensor,
    mixing: Tensor,
    kernel_size: Sequence[int],
    shared: bool,
    **options: str,
) -> tuple:
    """Of ``basis_blur_grad_kernels``."""
    op = "basis_blur_grad_kernels"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check.kernel_size(op, "kernel_size", kernel_size, tuple(kernel_size))
    _check.fits(op, kernel_size, _size(image), options["boundary"])
    size = blurred_size(_size(image), kernel_size, options["boundary"])
    _check.gradient(op, grad, image, size)
    _check_mixing(op, mixing, grad, "grad", size, None)
    return (1 if shared else image.shape[0], mixing.shape[1], *kernel_size)


def grad_mixing_shape(
    grad: Tensor, image: Tensor, kernels: Tensor, shared: bool, **options: str
) -> tuple:
    """Of ``basis_blur_grad_mixing``."""
    op = "basis_blur_grad_mixing"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check_kernels(op, kernels, image, "image")
    _check.fits(op, _size(kernels), _size(image), options["boundary"])
    size = blurred_size(_size(image), _size(kernels), options["boundary"])
    _check.gradient(op, grad, image, size)
    return (1 if shared else image.shape[0], kernels.shape[1], *size)
