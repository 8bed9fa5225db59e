# SPDX-License-Identifier: BSD-3-Clause
"""Shape rules of NU-Conv, and its check of values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from blurops import _check
from blurops.ops.basis_blur.shapes import blurred_size, sharp_size

_BANK = "(F, K, K) or (F, C, K, K)"
_INDEX, _WEIGHT = "(N or 1, J, H, W)", "(N or 1, J, H, W)"


def _check_bank_shape(op: str, argument: str, shape: Sequence[int]) -> None:
    shape = tuple(shape)
    if len(shape) not in (3, 4):
        raise ValueError(_check.message(op, argument, f"be {_BANK}", shape))
    if any(side < 1 or side % 2 == 0 for side in shape[-2:]):
        raise ValueError(_check.message(op, argument, "have odd sides K", shape))
    if shape[0] < 1:
        raise ValueError(_check.message(op, argument, "hold at least one filter", shape))


def _check_bank(op: str, bank: Tensor, image: Tensor, first: str) -> None:
    layout = "(F, C, K, K)" if isinstance(bank, Tensor) and bank.ndim == 4 else "(F, K, K)"
    if isinstance(bank, Tensor) and bank.ndim not in (3, 4):
        raise ValueError(_check.message(op, "bank", f"be {_BANK}", tuple(bank.shape)))
    _check.tensor(op, "bank", bank, layout)
    _check.same_kind(op, "bank", bank, first, image)
    _check_bank_shape(op, "bank", bank.shape)


def _check_channels(op: str, argument: str, bank: Sequence[int], image: Tensor) -> None:
    """A bank with channels of its own sums over those of the image."""
    if len(bank) == 4 and bank[1] != image.shape[1]:
        wanted = f"have as many channels as image ({image.shape[1]}) when it is (F, C, K, K)"
        raise ValueError(_check.message(op, argument, wanted, tuple(bank)))


def _check_index(op: str, index: Tensor, like: Tensor, first: str, size: Sequence[int]) -> None:
    if not isinstance(index, Tensor):
        got = type(index).__name__
        raise TypeError(_check.message(op, "index", f"be a tensor of shape {_INDEX}", got))
    if index.dtype != torch.int32:
        got = _check.dtype_name(index.dtype)
        raise TypeError(_check.message(op, "index", "have dtype int32", got))
    if index.ndim != 4 or index.shape[1] < 1:
        wanted = f"be {_INDEX} with J at least 1"
        raise ValueError(_check.message(op, "index", wanted, tuple(index.shape)))
    if index.device != like.device:
        wanted = f"be on the device of {first} ({like.device})"
        raise ValueError(_check.message(op, "index", wanted, index.device))
    _check.batch(op, "index", index, like.shape[0])
    if tuple(index.shape[-2:]) != tuple(size):
        wanted = f"have the filtered size {size[0]}x{size[1]}"
        raise ValueError(_check.message(op, "index", wanted, tuple(index.shape)))


def _check_weight(op: str, weight: Tensor, index: Tensor, like: Tensor, first: str) -> None:
    _check.tensor(op, "weight", weight, _WEIGHT)
    _check.same_kind(op, "weight", weight, first, like)
    _check.batch(op, "weight", weight, like.shape[0])
    wanted = tuple(index.shape[1:])
    if tuple(weight.shape[1:]) != wanted:
        text = "x".join(map(str, wanted))
        raise ValueError(
            _check.message(
                op, "weight", f"have the index's J x H x W ({text})", tuple(weight.shape)
            )
        )


def filtered_channels(bank: Sequence[int], channels: int) -> int:
    """Channels of the filtered image of one with ``channels``."""
    return channels if len(bank) == 3 else 1


def _check_gradient(op: str, grad: Tensor, image: Tensor, bank: Sequence[int], size: tuple) -> None:
    _check.image(op, "grad", grad)
    _check.same_kind(op, "image", image, "grad", grad)
    wanted = (image.shape[0], filtered_channels(bank, image.shape[1]), *size)
    if tuple(grad.shape) != wanted:
        requirement = f"have the filtered image's shape {wanted}"
        raise ValueError(_check.message(op, "grad", requirement, tuple(grad.shape)))


def conv_shape(image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, **options: str) -> tuple:
    """Of ``nu_conv``."""
    op = "nu_conv"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check_bank(op, bank, image, "image")
    _check_channels(op, "bank", bank.shape, image)
    _check.fits(op, bank.shape[-2:], image.shape[-2:], options["boundary"], "bank")
    size = blurred_size(image.shape[-2:], bank.shape[-2:], options["boundary"])
    _check_index(op, index, image, "image", size)
    _check_weight(op, weight, index, image, "image")
    return (image.shape[0], filtered_channels(bank.shape, image.shape[1]), *size)


def adjoint_shape(
    image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, **options: str
) -> tuple:
    """Of ``nu_conv_adjoint``."""
    op = "nu_conv_adjoint"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check_bank(op, bank, image, "image")
    if bank.ndim == 4 and image.shape[1] != 1:
        wanted = "have one channel, as what a bank (F, C, K, K) makes"
        raise ValueError(_check.message(op, "image", wanted, tuple(image.shape)))
    size = sharp_size(image.shape[-2:], bank.shape[-2:], options["boundary"])
    _check.fits(op, bank.shape[-2:], size, options["boundary"], "bank")
    _check_index(op, index, image, "image", image.shape[-2:])
    _check_weight(op, weight, index, image, "image")
    return (image.shape[0], image.shape[1] if bank.ndim == 3 else bank.shape[1], *size)


def grad_bank_shape(
    grad: Tensor,
    image: Tensor,
    index: Tensor,
    weight: Tensor,
    bank_shape: Sequence[int],
    **options: str,
) -> tuple:
    """Of ``nu_conv_grad_bank``."""
    op = "nu_conv_grad_bank"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check_bank_shape(op, "bank_shape", bank_shape)
    _check_channels(op, "bank_shape", bank_shape, image)
    _check.fits(op, bank_shape[-2:], image.shape[-2:], options["boundary"], "bank_shape")
    size = blurred_size(image.shape[-2:], bank_shape[-2:], options["boundary"])
    _check_gradient(op, grad, image, bank_shape, size)
    _check_index(op, index, grad, "grad", size)
    _check_weight(op, weight, index, grad, "grad")
    return tuple(bank_shape)


def grad_weight_shape(
    grad: Tensor, image: Tensor, bank: Tensor, index: Tensor, shared: bool, **options: str
) -> tuple:
    """Of ``nu_conv_grad_weight``."""
    op = "nu_conv_grad_weight"
    _check.options(op, **options)
    _check.image(op, "image", image)
    _check_bank(op, bank, image, "image")
    _check_channels(op, "bank", bank.shape, image)
    _check.fits(op, bank.shape[-2:], image.shape[-2:], options["boundary"], "bank")
    size = blurred_size(image.shape[-2:], bank.shape[-2:], options["boundary"])
    _check_gradient(op, grad, image, bank.shape, size)
    _check_index(op, index, grad, "grad", size)
    return (1 if shared else image.shape[0], *index.shape[1:])


def check_range(op: str, index: Tensor, filters: int) -> None:
    """Raise when an index lies outside a bank of so many filters."""
    if index.numel() == 0:
        return
    smallest, largest = (int(v) for v in torch.aminmax(index))
    if smallest < 0 or largest >= filters:
        got = smallest if smallest < 0 else largest
        wanted = f"lie in [0, {filters}), the filters of the bank"
        raise ValueError(_check.message(op, "index", wanted, got))


def conv_values(image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, **options: str) -> None:
    """Raise when an index lies outside the bank."""
    check_range("nu_conv", index, bank.shape[0])


def adjoint_values(
    image: Tensor, bank: Tensor, index: Tensor, weight: Tensor, **options: str
) -> None:
    """Raise when an index lies outside the bank."""
    check_range("nu_conv_adjoint", index, bank.shape[0])


def grad_bank_values(
    grad: Tensor,
    image: Tensor,
    index: Tensor,
    weight: Tensor,
    bank_shape: Sequence[int],
    **options: str,
) -> None:
    """Raise when an index lies outside the bank."""
    check_range("nu_conv_grad_bank", index, bank_shape[0])


def grad_weight_values(
    grad: Tensor, image: Tensor, bank: Tensor, index: Tensor, shared: bool, **options: str
) -> None:
    """Raise when an index lies outside the bank."""
    check_range("nu_conv_grad_weight", index, bank.shape[0])


def check_operator(op: str, bank: Tensor, index: Tensor, weight: Tensor, boundary: str) -> None:
    """Raise unless the tensors of an operator fit each other and the boundary."""
    _check_bank(op, bank, bank, "bank")
    if not isinstance(index, Tensor) or index.ndim != 4:
        got = tuple(index.shape) if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(_check.message(op, "index", f"be a tensor of shape {_INDEX}", got))
    size = index.shape[-2:]
    _check_index(op, index, bank.new_empty(index.shape[0], 0), "bank", size)
    _check.tensor(op, "weight", weight, _WEIGHT)
    count = weight.shape[0] if index.shape[0] == 1 else index.shape[0]
    _check_weight(op, weight, index, bank.new_empty(count, 0), "bank")
    _check.fits(op, bank.shape[-2:], sharp_size(size, bank.shape[-2:], boundary), boundary, "bank")
    if _check.sees_values(index):
        check_range(op, index, bank.shape[0])
