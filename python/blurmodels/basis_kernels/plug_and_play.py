# SPDX-License-Identifier: BSD-3-Clause
"""The restoration of the paper's first version: hybrid steepest descent with a denoiser."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import blurops
from blurmodels.basis_kernels.denoisers import Denoiser, total_variation
from blurops import Restoration

# P1, section 4.1.1; the units are steps of 8 bits.
SIGMAS = (49 / 255, 7.65 / 255)


def plug_and_play(
    observed: Tensor,
    operator: blurops.Operator,
    *,
    denoiser: Denoiser = total_variation,
    iterations: int = 30,
    sigmas: tuple[float, float] = SIGMAS,
    step: float = 1.9,
    decay: float = 0.0,
    gamma: float = 1.0,
    stop_tol: float | None = None,
    callback: Callable[[int, Tensor, float], None] | None = None,
    progress: bool = False,
) -> Restoration:
    """Restores an image with a denoiser for its prior.

    Looks for the image of the smallest reblur loss `||H u - v||^2` among those that a Gaussian
    denoiser leaves as they are (Carbajal et al., first version, eq. 5), by hybrid steepest descent:

        z_t = D(u_t, sigma_t)
        u_(t+1) = z_t - mu_t H^T (H z_t - v),    mu_t = step / (||H||^2 (t + 1)^decay)

    with the exact adjoint, and sigma_t falling exponentially from the first of `sigmas` to the
    second. The paper gives the levels and their number, but no step size: the rule of mu_t is ours.
    Steps that do not fall restore more within 30 iterations, so that is the default.

    Args:
        observed: (N, C, H, W) blurred image, values of at least 0.
        operator: the blur, in linear light.
        denoiser: `denoiser(image, sigma)`, on values as `observed` has them; any denoiser of
            deepinv will do.
        iterations: of the descent.
        sigmas: first and last noise level.
        step: in (0, 2), in units of the inverse of the squared norm of H.
        decay: 1 makes the steps fall as 1 / t, for which hybrid steepest descent is known to
            converge with a fixed denoiser; 0 keeps them.
        gamma: linear light = value ** gamma; the descent is in linear light, the denoiser works on
            the values.
        stop_tol: stop when the reblur loss falls by less than this; None never stops.
        callback: called with iteration, image and loss after each.
        progress: show a progress bar on stderr.

    Returns:
        A Restoration: the image after one more denoising, not clamped; the iterations; and the mean
        squared errors of the reblurred z_t, in linear light.

    Raises:
        TypeError, ValueError: an argument is not as above.

    Example:
        >>> from blurops.fields import linear_motion_kernel
        >>> motion = blurops.UniformBlur(linear_motion_kernel(5.0, 0.0))
        >>> sharp = torch.zeros(1, 1, 24, 32); sharp[..., 8:16, 8:20] = 1
        >>> restored = plug_and_play(motion @ sharp, motion, iterations=40).image
        >>> bool((restored - sharp).square().mean() < (motion @ sharp - sharp).square().mean() / 2)
        True
    """
    _check(observed, iterations, sigmas, step, decay, gamma, stop_tol)
    target = observed**gamma
    scale = step / _squared_norm(operator, target)
    levels = torch.logspace(*(math.log10(sigma) for sigma in sigmas), max(2, iterations)).tolist()
    estimate, losses, done = observed, [], 0
    for done in tqdm(range(1, iterations + 1), disable=not progress, unit="it"):
        sigma = levels[done - 1] if iterations > 1 else sigmas[1]
        z = denoiser(estimate, sigma).clamp(min=0) ** gamma
        residual = operator @ z - target
        losses.append(float(residual.square().mean()))
        descended = z - scale / done**decay * (operator.T @ residual)
        estimate = descended.clamp(min=0) ** (1 / gamma)
        if callback is not None:
            callback(done, estimate, losses[-1])
        if stop_tol is not None and done > 1 and losses[-2] - losses[-1] < stop_tol:
            break
    return Restoration(denoiser(estimate, sigmas[1]), done, tuple(losses))


def _squared_norm(operator: blurops.Operator, like: Tensor) -> float:
    """||H||^2 by ten steps of the power method, with a tenth to spare."""
    generator = torch.Generator().manual_seed(0)
    start = operator.adjoint(like)
    x = torch.rand(start[:1, :1].shape, generator=generator, dtype=like.dtype).to(like.device)
    value = 1.0
    for _ in range(10):
        x = operator.T @ (operator @ (x / x.norm()))
        value = float(x.norm())
    return 1.1 * value


def _check(observed: Any, iterations: Any, sigmas: Any, *numbers: Any) -> None:
    name = "plug_and_play"
    if not isinstance(observed, Tensor) or not observed.is_floating_point() or observed.ndim != 4:
        got = tuple(observed.shape) if isinstance(observed, Tensor) else type(observed).__name__
        raise TypeError(f"{name}: observed must be a floating-point (N, C, H, W) tensor, got {got}")
    if not bool(torch.isfinite(observed).all()) or float(observed.min()) < 0:
        raise ValueError(f"{name}: observed must be finite and not negative")
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"{name}: iterations must be a positive integer, got {iterations!r}")
    if len(sigmas) != 2 or not all(sigma > 0 for sigma in sigmas):
        raise ValueError(f"{name}: sigmas must be two positive numbers, got {sigmas!r}")
    step, decay, gamma, stop_tol = numbers
    if not 0 < step < 2:
        raise ValueError(f"{name}: step must be in (0, 2), got {step!r}")
    if not 0 <= decay <= 1:
        raise ValueError(f"{name}: decay must be in [0, 1], got {decay!r}")
    if not gamma > 0:
        raise ValueError(f"{name}: gamma must be positive, got {gamma!r}")
    if stop_tol is not None and not stop_tol >= 0:
        raise ValueError(f"{name}: stop_tol must be at least 0, got {stop_tol!r}")
