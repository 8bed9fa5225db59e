# SPDX-License-Identifier: BSD-3-Clause
"""The steps of `estimate_blind`: a latent image, kernels and mixing coefficients, each in its turn.

All with boundary "valid": the latent image is K - 1 pixels larger than the photograph, and nothing
is assumed about what lies beyond the photograph's edge.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

import blurops

# Weights of the splitting, from twice the prior's by doublings to this.
_LAST_PENALTY = 20.0
_LATENT_ITERATIONS = 6
_KERNEL_ITERATIONS = 30
# Of the gradients' energy: keeps kernels small where the latent image has no edges.
_RIDGE = 0.005
# Taps below this part of the largest are noise.
_FAINT = 0.05
_CELL = 16  # pixels
_MIXING_STEPS, _MIXING_RATE, _MIXING_SMOOTHNESS = 40, 0.1, 0.02


def differences(x: Tensor) -> Tensor:
    """(1, 2, H, W) forward differences of (1, 1, H, W) to the right and down, 0 at the end."""
    right = functional.pad(x[..., 1:] - x[..., :-1], (0, 1))
    down = functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    return torch.cat([right, down], dim=1)


def differences_adjoint(y: Tensor) -> Tensor:
    """The transpose of `differences`."""
    right, down = y[:, :1, :, :-1], y[:, 1:, :-1]
    return (
        functional.pad(right, (1, 0)) - functional.pad(right, (0, 1))
        + functional.pad(down, (0, 0, 1, 0)) - functional.pad(down, (0, 0, 0, 1))
    )  # fmt: skip


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], right: Tensor, start: Tensor, count: int, tolerance: float
) -> Tensor:
    """Solves `apply(x) = right`, for a symmetric positive `apply`, in at most so many steps."""
    x, residual = start, right - apply(start)
    direction, square = residual, residual.square().sum()
    limit = tolerance**2 * right.square().sum()
    for _ in range(count):
        if square <= limit:
            break
        image = apply(direction)
        length = square / (direction * image).sum()
        x, residual = x + length * direction, residual - length * image
        before, square = square, residual.square().sum()
        direction = residual + square / before * direction
    return x


def latent_step(
    observed: Tensor, kernels: Tensor, mixing: Tensor, trust: Tensor, weight: float
) -> Tensor:
    """The sharp image with few edges that explains the observed one.

    Minimises `sum trust (H u - v)^2 + weight ||grad u||_0` by half-quadratic splitting, as Xu,
    Zheng and Jia, "Unnatural L0 sparse representation for natural image deblurring": differences
    are kept where their square exceeds weight / penalty, and the penalty grows.

    Args:
        observed: v, (1, 1, H, W), linear light.
        kernels, mixing: of H.
        trust: (1, 1, H, W), 0 where v is saturated, else 1.
        weight: of an edge.

    Returns:
        (1, 1, H + K - 1, W + K - 1).
    """
    radius = kernels.shape[-1] // 2
    image = functional.pad(observed, (radius,) * 4, mode="replicate")

    def forward(x: Tensor) -> Tensor:
        return blurops.basis_blur(x, kernels, mixing, boundary="valid")

    def adjoint(y: Tensor) -> Tensor:
        return blurops.basis_blur_adjoint(trust * y, kernels, mixing, boundary="valid")

    data, penalty = adjoint(observed), 2 * weight
    while penalty < _LAST_PENALTY:
        edges = differences(image)
        edges = edges * (edges.square().sum(1, keepdim=True) >= weight / penalty)

        def normal(x: Tensor, penalty: float = penalty) -> Tensor:
            return adjoint(forward(x)) + penalty * differences_adjoint(differences(x))

        right = data + penalty * differences_adjoint(edges)
        image = conjugate_gradients(normal, right, image, _LATENT_ITERATIONS, 1e-3)
        penalty *= 2
    return image


def trusted_differences(trust: Tensor) -> Tensor:
    """(1, 2, H, W): 1 where both pixels of a difference are trusted and lie inside."""
    right = functional.pad(trust[..., 1:] * trust[..., :-1], (0, 1))
    down = functional.pad(trust[..., 1:, :] * trust[..., :-1, :], (0, 0, 0, 1))
    return torch.cat([right, down], dim=1)


def kernel_step(
    latent: Tensor,
    observed: Tensor,
    kernels: Tensor,
    mixing: Tensor,
    trust: Tensor,
    neighbours: Tensor | None = None,
) -> Tensor:
    """The kernels that turn the latent image's differences into the observed ones.

    Minimises `sum trust (sum_b m_b (k_b * grad u) - grad v)^2`, with a ridge and, between the
    kernels of neighbouring places, `sum (k_a - k_b)^2`; both are weighed by the mean energy of the
    differences that a kernel sees. Then negative and faint taps go, sums become 1, and the kernels
    are centred together: a shift of all is a shift of the latent image.

    Args:
        latent: u, from `latent_step`.
        observed, mixing, trust: as `latent_step` takes them.
        kernels: where to start, (1, B, K, K).
        neighbours: (B, B), the weighed Laplacian of the kernels' graph.

    Returns:
        (1, B, K, K).
    """
    gradient, target = differences(latent), differences(observed)
    seen = trusted_differences(trust)
    size, count = kernels.shape[2:], kernels.shape[1]
    energy = gradient.square().sum() / count

    def adjoint(y: Tensor) -> Tensor:
        return blurops.basis_blur_grad_kernels(
            seen * y, gradient, mixing, tuple(size), boundary="valid", shared=True
        )

    def normal(k: Tensor) -> Tensor:
        result = adjoint(blurops.basis_blur(gradient, k, mixing, boundary="valid"))
        result = result + _RIDGE * energy * k
        if neighbours is not None:
            result = result + energy * torch.einsum("ab,nbij->naij", neighbours, k)
        return result

    solved = conjugate_gradients(normal, adjoint(target), kernels, _KERNEL_ITERATIONS, 1e-4)
    return centred(cleaned(solved))


def cleaned(kernels: Tensor) -> Tensor:
    """Without negative and faint taps, with unit sums; where nothing is left, no blur."""
    kept = kernels.clamp(min=0)
    kept = torch.where(kept < _FAINT * kept.amax((2, 3), keepdim=True), 0.0, kept)
    sums = kept.sum((2, 3), keepdim=True)
    return torch.where(sums > 0, kept / sums.clamp(min=1e-12), identity(kernels))


def identity(like: Tensor) -> Tensor:
    """Kernels that change nothing."""
    result = torch.zeros_like(like)
    result[..., like.shape[-2] // 2, like.shape[-1] // 2] = 1
    return result


def centred(kernels: Tensor) -> Tensor:
    """All kernels moved by whole pixels alike, so that the centroid of their sum is the centre.

    What is pushed over the edge is lost, and the sums are made 1 again.
    """
    total = kernels.sum((0, 1))
    total = total / total.sum()
    shifts = []
    for axis, side in enumerate(total.shape):
        places = torch.arange(side, dtype=total.dtype) - side // 2
        shifts.append(-round(float((total.sum(1 - axis) * places).sum())))
    down, right = shifts
    padded = functional.pad(kernels, (right, -right, down, -down))
    sums = padded.sum((2, 3), keepdim=True)
    return torch.where(sums > 0, padded / sums.clamp(min=1e-12), identity(kernels))


def mixing_step(
    latent: Tensor, observed: Tensor, kernels: Tensor, mixing: Tensor, trust: Tensor
) -> Tensor:
    """Mixing coefficients that explain the observed differences better, smooth and convex.

    A softmax over B of logits on cells of 16 pixels, interpolated; 40 steps of Adam on the loss of
    `kernel_step`, relative to the energy of the observed differences, and the mean squared
    difference between the logits of neighbouring cells.

    Args:
        latent, observed, kernels, trust: as `kernel_step` takes them.
        mixing: where to start, (1, B, H, W).

    Returns:
        (1, B, H, W).
    """
    gradient, target = differences(latent), differences(observed)
    seen = trusted_differences(trust)
    energy = (seen * target.square()).sum().clamp(min=1e-12)
    size = mixing.shape[2:]
    cells = [max(2, round(side / _CELL)) for side in size]
    start = functional.interpolate(mixing, cells, mode="bilinear", antialias=True)
    logits = (start + 1e-2).log().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=_MIXING_RATE)

    def mixed() -> Tensor:
        return functional.interpolate(logits, size, mode="bilinear").softmax(1)

    for _ in range(_MIXING_STEPS):
        blurred = blurops.basis_blur(gradient, kernels, mixed(), boundary="valid")
        misfit = (seen * (blurred - target).square()).sum() / energy
        rough = sum(torch.diff(logits, dim=axis).square().mean() for axis in (2, 3))
        optimiser.zero_grad()
        (misfit + _MIXING_SMOOTHNESS * rough).backward()
        optimiser.step()
    return mixed().detach()
