# SPDX-License-Identifier: BSD-3-Clause
"""The tensors of a case, the same for every contender, and the truth they are checked against."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

import blurops
from benchmarks.cases import ITERATIONS, Case
from blurops.testing import accuracy

GAMMA = 2.2
SATURATION = blurops.Saturation(dilate=False)  # what the authors' command line runs
AUTHORS_TV = 1e-3
TV = 8 * AUTHORS_TV  # the authors' divergence is 8 times the true one

_SEAM = 9  # pixels over which two segments blend
# Richardson-Lucy is compared after this many iterations: rounding grows with each.
CHECKED_ITERATIONS = 2
_SOLVER_TOLERANCE = 1e-4
# Above this many pixels the truth is computed in float32, whose FFT errs by 2e-7.
_DOUBLE_UP_TO = 1024 * 1024


@dataclass(frozen=True)
class Inputs:
    """Read-only tensors of one case."""

    case: Case
    image: Tensor  # (1, C, H, W)
    kernels: Tensor  # (1, B, K, K), positive, each with sum 1
    mixing: Tensor  # (1, B, H, W), non-negative, sum over B is 1
    grad: Tensor  # (1, C, H, W), of the blurred image; also what the adjoint is applied to
    iterations: int = ITERATIONS  # of Richardson-Lucy

    def observed(self) -> Tensor:
        """(1, C, H, W) a blurred photograph with saturated highlights, in image values."""
        light = 2.0 * self.image**4
        blurred = blurops.basis_blur(light, self.kernels, self.mixing)
        return blurops.saturate(blurred).clamp(0, 1) ** (1 / GAMMA)


def segments(basis: int, size: int, seed: int = 0) -> Tensor:
    """(1, basis, size, size) one segment per basis, exactly 0 or 1 but for seams of 9 pixels."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(basis, 2, generator=generator) * size
    axis = torch.arange(size, dtype=torch.float32)
    near = (axis[:, None] - centres[:, 0, None, None]) ** 2
    near = near + (axis[None, :] - centres[:, 1, None, None]) ** 2  # (B, H, W)
    inside = F.one_hot(near.argmin(0), basis).permute(2, 0, 1).to(torch.float32)
    padded = F.pad(inside[None], (_SEAM // 2,) * 4, mode="replicate")
    # Sums of zeros and ones are exact, so that 0 and 1 stay what they are.
    rows = sum(padded[..., i : i + size, :] for i in range(_SEAM))
    return sum(rows[..., i : i + size] for i in range(_SEAM)) / _SEAM**2


def make_inputs(case: Case) -> Inputs:
    """The tensors of a case, from fixed seeds."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) + 1e-3

    image = random(1, case.channels, case.size, case.size)
    kernels = random(1, case.basis, case.kernel, case.kernel)
    kernels /= kernels.sum((-2, -1), keepdim=True)
    if case.field == "segments":
        mixing = segments(case.basis, case.size)
    else:
        mixing = random(1, case.basis, case.size, case.size)
        mixing /= mixing.sum(1, keepdim=True)
    return Inputs(case, image, kernels, mixing, random(*image.shape) - 0.5)


def truth(inputs: Inputs, member: str, algorithm: str = "exact") -> list[Tensor]:
    """What a member returns, by the reference backend.

    ``algorithm`` is "exact", or "authors" for what the code of Carbajal et al. computes in its
    place: the pseudo-adjoint ``sum_b M_b K_b^T``, and the solver built on it.
    """
    options = {"backend": "reference", "method": "fft"}
    tensors = (inputs.image, inputs.kernels, inputs.mixing, inputs.grad)
    if inputs.image[0, 0].numel() <= _DOUBLE_UP_TO:
        tensors = tuple(t.double() for t in tensors)
    image, kernels, mixing, grad = tensors
    if member == "forward":
        return [blurops.basis_blur(image, kernels, mixing, **options)]
    if member == "adjoint":
        if algorithm == "authors":
            return [blurops.basis_blur(grad, blurops.flip(kernels), mixing, **options)]
        return [blurops.basis_blur_adjoint(grad, kernels, mixing, **options)]
    if member == "gradients":
        size = tuple(kernels.shape[-2:])
        return [
            blurops.basis_blur(image, kernels, mixing, **options),
            blurops.basis_blur_adjoint(grad, kernels, mixing, **options),
            blurops.basis_blur_grad_kernels(grad, image, mixing, size, **options),
            blurops.basis_blur_grad_mixing(grad, image, kernels, **options),
        ]
    operator = blurops.BasisBlur(inputs.kernels, inputs.mixing, **options)
    choices = solver_choices(member, algorithm)
    observed = inputs.observed()
    return [
        blurops.richardson_lucy(observed, operator, iterations=CHECKED_ITERATIONS, **choices).image
    ]


def solver_choices(member: str, algorithm: str = "exact") -> dict:
    """The arguments of ``richardson_lucy`` that make the two algorithms do the same work."""
    if algorithm == "authors":
        variant = "combined" if member == "rl-saturated" else "basic"
        never = -float("inf") if variant == "combined" else None
        return {
            "preset": "carbajal2021", "variant": variant, "stop_tol": never, "tv": AUTHORS_TV,
            "gamma": GAMMA,
        }  # fmt: skip
    saturation = SATURATION if member == "rl-saturated" else None
    return {"saturation": saturation, "tv": TV, "gamma": GAMMA}


def tolerance(case: Case, member: str) -> float:
    """The relative error up to which a result counts as the same."""
    if member.startswith("rl"):
        return _SOLVER_TOLERANCE
    terms = case.size**2 if member == "gradients" else case.basis * case.kernel**2
    return accuracy(torch.float32, terms).relative
