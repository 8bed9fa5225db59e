# SPDX-License-Identifier: BSD-3-Clause
"""How far estimated kernels are from the true ones at every pixel, without the field of them.

The estimate and the truth at a pixel are both mixtures, so their difference is one too: of the
estimated kernels and, with the sign turned, the true ones. Its coefficients M (C, P) and its
kernels F (C, T), C = B + J, P pixels and T = K K taps, are all there is; the (P, T) field of
differences `M^T F` exists for a few pixels at a time only.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NORMS = ("l2", "l2-norm", "l1")

# Bytes of a chunk of the field of differences: what the second cache of a core holds.
_CHUNK = 1 << 20
# Pixels whose coefficients are in float64 at a time.
_PIXELS = 4096
# Under the root of the literal p = 2, whose slope at 0 is infinite.
_UNDER_ROOT = 1e-12


def kernel_loss(
    kernels: Tensor,
    mixing: Tensor,
    true_kernels: Tensor,
    true_mixing: Tensor,
    weights: Tensor,
    *,
    norm: str = "l2",
) -> Tensor:
    """The kernel loss, `sum_i w_i || sum_b m^b_i k^b - k_i ||`, averaged over the batch.

    Carbajal et al., eq. 6 (first version: eq. 4). The true kernel of pixel i is a mixture too,
    `k_i = sum_j n^j_i g^j`. The paper's code takes the squared norm for p = 2.

    "l2" and "l2-norm" never see a tap twice: with the Gram matrix `G = F F^T` of all kernels, true
    ones negated, the squared norm at a pixel is `m^T G m`. The products are summed in float64 and
    clamped at 0, because near the optimum they cancel. "l1" has no such form: it makes the
    differences for some thousand bytes of pixels, sums their magnitudes, multiplies their signs
    back into the gradients, and forgets them.

    Args:
        kernels: (N, B, K, K) estimated basis kernels.
        mixing: (N, B, H, W) estimated coefficients.
        true_kernels: (N, J, K, K), of the same dtype and device.
        true_mixing: (N, J, H, W).
        weights: (N, 1, H, W), see `segment_weights`.
        norm: "l2", the sum of squares; "l1", the sum of magnitudes; "l2-norm", the root of the sum
            of squares + 1e-12.

    Returns:
        A scalar of the dtype of `kernels`.

    Raises:
        TypeError, ValueError: a tensor does not fit `kernels`, or there is no such norm.

    Note:
        Differentiable once, in `kernels` and `mixing` alone. Beyond the gradients it needs some
        megabytes, whatever the size of the image.

    Example:
        >>> kernels = torch.rand(1, 2, 3, 3)
        >>> mixing = torch.rand(1, 2, 4, 5)
        >>> weights = torch.ones(1, 1, 4, 5)
        >>> truth = (kernels[:, :1], torch.ones(1, 1, 4, 5))
        >>> dense = torch.einsum("nbhw,nbkl->nklhw", mixing, kernels)
        >>> dense = (dense - truth[0][:, 0, :, :, None, None]).abs().sum()
        >>> torch.allclose(kernel_loss(kernels, mixing, *truth, weights, norm="l1"), dense)
        True
    """
    _check(kernels, mixing, true_kernels, true_mixing, weights, norm)
    return _KernelLoss.apply(kernels, mixing, true_kernels, true_mixing, weights, norm)


class _KernelLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernels: Tensor,
        mixing: Tensor,
        true_kernels: Tensor,
        true_mixing: Tensor,
        weights: Tensor,
        norm: str,
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad[:2])
        sums = _magnitudes if norm == "l1" else _squares
        count = kernels.shape[0]
        total = 0.0
        # The loss is a number, its gradient needs no more than this to be known but a factor. So
        # both come of one sweep, and no difference is computed twice.
        gradients = tuple(torch.empty_like(t) if wanted else None for t in (kernels, mixing))
        for n in range(count):
            bases = torch.cat([kernels[n].flatten(1), true_kernels[n].flatten(1).neg()])
            maps = (mixing[n].flatten(1), true_mixing[n].flatten(1))
            into = tuple(g[n].flatten(1) for g in gradients) if wanted else None
            total += sums(bases, maps, weights[n].flatten(), norm, into)
        ctx.save_for_backward(*(g for g in gradients if g is not None))
        ctx.count = count
        return kernels.new_tensor(total / count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        of_kernels, of_mixing = ctx.saved_tensors
        factor = grad / ctx.count
        return of_kernels * factor, of_mixing * factor, None, None, None, None


def _squares(
    bases: Tensor, maps: tuple[Tensor, Tensor], weights: Tensor, norm: str, into: Any
) -> float:
    """The sum over an image by the Gram matrix; gradients go into `into`, (B, T) and (B, P)."""
    basis = maps[0].shape[0]
    bases = bases.double()
    gram = bases @ bases.T
    # sum_i c_i m_i m_i^T: all that the gradient by the kernels needs to know of the maps.
    moments = torch.zeros_like(gram[:basis])
    total = 0.0
    for start in range(0, weights.numel(), _PIXELS):
        part = slice(start, start + _PIXELS)
        own = torch.cat([m[:, part] for m in maps]).double()  # (C, p)
        weight = weights[part].double()
        product = gram @ own
        squared = (product * own).sum(0).clamp_(min=0)
        if norm == "l2":
            total += float(weight @ squared)
        else:
            root = squared.add_(_UNDER_ROOT).sqrt_()
            total += float(weight @ root)
            weight = weight / (2 * root)
        if into is not None:
            into[1][:, part] = product[:basis].mul_(2 * weight)
            moments.addmm_(own[:basis] * weight, own.T)
    if into is not None:
        into[0].copy_(2 * moments @ bases)
    return total


def _magnitudes(
    bases: Tensor, maps: tuple[Tensor, Tensor], weights: Tensor, norm: str, into: Any
) -> float:
    """The sum over an image, some pixels at a time; gradients go into `into`."""
    basis, taps = maps[0].shape[0], bases.shape[1]
    rows = max(1, _CHUNK // (taps * bases.element_size()))
    field = bases.new_empty(min(rows, weights.numel()), taps)
    own_bases = bases[:basis].T.contiguous()
    moments = torch.zeros_like(bases[:basis]) if into is not None else None
    total = 0.0
    for start in range(0, weights.numel(), rows):
        part = slice(start, start + rows)
        own = torch.cat([m[:, part] for m in maps])  # (C, p)
        weight = weights[part]
        differences = torch.mm(own.T, bases, out=field[: own.shape[1]])
        sums = torch.linalg.vector_norm(differences, ord=1, dim=1)
        total += float(weight.double() @ sums.double())
        if into is not None:
            signs = differences.sign_()
            into[1][:, part] = (signs @ own_bases).T.mul_(weight)
            moments.addmm_(own[:basis] * weight, signs)
    if into is not None:
        into[0].copy_(moments)
    return total


def _check(
    kernels: Any, mixing: Any, true_kernels: Any, true_mixing: Any, weights: Any, norm: str
) -> None:
    if norm not in NORMS:
        raise ValueError(f"kernel_loss: norm must be one of {', '.join(NORMS)}, got {norm!r}")
    for name, value in (
        ("kernels", kernels), ("mixing", mixing), ("true_kernels", true_kernels),
        ("true_mixing", true_mixing), ("weights", weights),
    ):  # fmt: skip
        if not isinstance(value, Tensor) or value.dtype not in (torch.float32, torch.float64):
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(
                f"kernel_loss: {name} must be a tensor of float32 or float64, got {got}"
            )
        if value.ndim != 4:
            raise ValueError(f"kernel_loss: {name} must have four axes, got {tuple(value.shape)}")
        if (value.dtype, value.device) != (kernels.dtype, kernels.device):
            raise TypeError(
                f"kernel_loss: {name} must be of the kind of kernels, {kernels.dtype} on"
                f" {kernels.device}, got {value.dtype} on {value.device}"
            )
    count, basis, *size = kernels.shape
    pixels, true_basis = mixing.shape[2:], true_kernels.shape[1]
    for name, value, wanted in (
        ("mixing", mixing, (count, basis, *pixels)),
        ("true_kernels", true_kernels, (count, true_basis, *size)),
        ("true_mixing", true_mixing, (count, true_basis, *pixels)),
        ("weights", weights, (count, 1, *pixels)),
    ):
        if tuple(value.shape) != wanted:
            raise ValueError(f"kernel_loss: {name} must be {wanted}, got {tuple(value.shape)}")
