# SPDX-License-Identifier: BSD-3-Clause
"""The definition in plain torch: in float64, the truth that other backends are held to.

One tap at a time: it gathers that tap of every pixel's filters, so nothing larger than J images is
held.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from blurops._boundary import fold, pad
from blurops.ops.basis_blur.reference import working


def supports(args: tuple, options: dict) -> str | None:
    """The reference sums over the taps on every device."""
    return "it sums over the taps and has no spectra" if options["method"] == "fft" else None


def _within(index: Tensor, filters: int) -> Tensor:
    """As int64, clamped: where nobody has looked at the values, none may read beyond the bank."""
    return index.long().clamp(0, filters - 1)


def _taps(size: Sequence[int]) -> Iterator[tuple[int, int]]:
    return ((dy, dx) for dy in range(size[0]) for dx in range(size[1]))


def _radius(size: Sequence[int]) -> tuple[int, int]:
    return size[0] // 2, size[1] // 2


def _at(extended: Tensor, dy: int, dx: int, size: Sequence[int]) -> Tensor:
    """What tap (dy, dx) of every pixel reads."""
    return extended[..., dy : dy + size[0], dx : dx + size[1]]


def _coefficient(bank: Tensor, index: Tensor, weight: Tensor, dy: int, dx: int) -> Tensor:
    """``sum_j weight_j bank[index_j]`` at one tap: (N or 1, 1 or C, H, W)."""
    taps = bank[..., dy, dx]
    taps = taps.unsqueeze(1) if taps.ndim == 1 else taps  # (F, 1 or C)
    return (weight.unsqueeze(2) * taps[index].movedim(-1, 2)).sum(1)


def nu_conv(
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    weight: Tensor,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """``sum_u sum_j weight_j bank[index_j, u] image[p + u]``."""
    x, k, w = working(image), working(bank), working(weight)
    index, size = _within(index, len(k)), w.shape[-2:]
    out = x.new_zeros(len(x), x.shape[1] if k.ndim == 3 else 1, *size)
    extended = pad(x, _radius(k.shape[-2:]), boundary)
    for dy, dx in _taps(k.shape[-2:]):
        term = _coefficient(k, index, w, dy, dx) * _at(extended, dy, dx, size)
        out += term if k.ndim == 3 else term.sum(1, keepdim=True)
    return out.to(image.dtype)


def nu_conv_adjoint(
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    weight: Tensor,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """Every pixel spreads its own filter; then the border is folded back."""
    y, k, w = working(image), working(bank), working(weight)
    index, size, (kh, kw) = _within(index, len(k)), w.shape[-2:], k.shape[-2:]
    channels = y.shape[1] if k.ndim == 3 else k.shape[1]
    extended = y.new_zeros(len(y), channels, size[0] + kh - 1, size[1] + kw - 1)
    for dy, dx in _taps((kh, kw)):
        _at(extended, dy, dx, size).add_(_coefficient(k, index, w, dy, dx) * y)
    return fold(extended, _radius((kh, kw)), boundary).to(image.dtype).contiguous()


def nu_conv_grad_bank(
    grad: Tensor,
    image: Tensor,
    index: Tensor,
    weight: Tensor,
    bank_shape: Sequence[int],
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """``sum over the pixels and j with index_j = f of weight_j grad[p] image[p + u]``."""
    g, x, w = working(grad), working(image), working(weight)
    filters, (kh, kw) = bank_shape[0], bank_shape[-2:]
    own = len(bank_shape) == 4
    out = g.new_zeros(*bank_shape)
    batch = (len(g), *w.shape[1:])
    where = _within(index, filters).expand(batch).flatten()
    extended = pad(x, _radius((kh, kw)), boundary)
    for dy, dx in _taps((kh, kw)):
        product = g * _at(extended, dy, dx, g.shape[-2:])
        product = product if own else product.sum(1, keepdim=True)
        for c in range(product.shape[1]):
            term = (w * product[:, c : c + 1]).flatten()
            total = g.new_zeros(filters).index_add(0, where, term)
            out[(slice(None), c, dy, dx) if own else (slice(None), dy, dx)] = total
    return out.to(grad.dtype)


def nu_conv_grad_weight(
    grad: Tensor,
    image: Tensor,
    bank: Tensor,
    index: Tensor,
    shared: bool,
    *,
    boundary: str,
    method: str,
    precision: str,
) -> Tensor:
    """``grad`` times what each of the J filters makes of the image."""
    g, x, k = working(grad), working(image), working(bank)
    index = _within(index, len(k))
    out = g.new_zeros(len(g), *index.shape[1:])
    extended = pad(x, _radius(k.shape[-2:]), boundary)
    for dy, dx in _taps(k.shape[-2:]):
        product = g * _at(extended, dy, dx, g.shape[-2:])
        if k.ndim == 3:
            out += k[:, dy, dx][index] * product.sum(1, keepdim=True)
        else:
            out += (k[:, :, dy, dx][index].movedim(-1, 2) * product.unsqueeze(1)).sum(2)
    return (out.sum(0, keepdim=True) if shared else out).to(grad.dtype)
