# SPDX-License-Identifier: BSD-3-Clause
"""Richardson-Lucy restoration: the public function and its checks."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from blurops import _check
from blurops.operators import BasisBlur, Operator
from blurops.operators.operator import check_operator
from blurops.ops.rl_step import Saturation, buffers
from blurops.ops.rl_step.op import TV_LIMIT, check_numbers
from blurops.solvers import replay
from blurops.solvers.authors import SOBEL8_TV_LIMIT
from blurops.solvers.settings import Settings, resolve
from blurops.solvers.update import Iteration

_NAME = "richardson_lucy"


class Restoration(NamedTuple):
    """What a solver returns.

    Attributes:
        image: (N, C, H, W) the restored image, in the values given, not clamped.
        iterations: the updates it took.
        losses: the reblur loss of the first estimate and after each update, when ``stop_tol`` or
            ``callback`` asked for it; empty otherwise.
    """

    image: Tensor
    iterations: int
    losses: tuple[float, ...]


def richardson_lucy(
    observed: Tensor,
    operator: Operator,
    *,
    iterations: int | None = None,
    saturation: Saturation | None = None,
    tv: float | None = None,
    gamma: float = 1.0,
    preset: str | None = None,
    initial: Tensor | None = None,
    mask: Tensor | None = None,
    stop_tol: float | None = None,
    callback: Callable[[int, Tensor, float], None] | None = None,
    progress: bool = False,
    variant: str | None = None,
    adjoint: str | None = None,
    normalise: bool | None = None,
    combine: str | None = None,
    tv_form: str | None = None,
    loss_form: str | None = None,
    eps: float = 1e-6,
) -> Restoration:
    """Restore a blurred image whose blur is known, by Richardson-Lucy iterations.

    ``U <- U * H^T(V / (H U)) / H^T 1`` in linear light (Carbajal et al., "Non-uniform Blur Kernel
    Estimation via Adaptive Basis Decomposition", eq. 9, with the division by the column sums that
    their derivation has and drops); with a :class:`Saturation`, the two-set update of eqs. 11-13.
    :func:`blurops.rl_step` has every term. ``tv`` adds total variation (eq. 14).

    Arguments left ``None`` are filled by the preset, or else by the default stated here; explicit
    ones win.

    Args:
        observed: (N, C, H, W) the blurred image, finite and non-negative, normally in [0, 1].
        operator: the blur, a :class:`BasisBlur`, :class:`UniformBlur` or other ``Operator``.
        iterations: the most updates to make. Default 30.
        saturation: the sensor's ceiling; default none. Its threshold is compared with image values
            (before gamma is undone), as in the authors' code.
        tv: weight of total variation. Default 0. In [0, 0.25) and in linear light for ``tv_form``
            "forward"; in [0, 0.06) and in image values for "sobel8".
        gamma: linear light is ``values ** gamma``. The default 1.0 means the values are linear;
            photographs are near 2.2. No preset sets it.
        preset: ``"carbajal2021"``, ``"carbajal2021-paper"`` or ``None``; see below.
        initial: (N, C, H, W) first estimate, in image values, of the sharp size. Default: the
            observation, its border replicated outwards for boundary "valid".
        mask: (N or 1, 1 or C, H, W) trust in each observed pixel, in [0, 1]; 0 ignores it.
        stop_tol: stop when the reblur loss falls by no more than this in one update. Default:
            never; ``-math.inf`` never stops whatever the preset. One decision for the whole batch.
        callback: called as ``callback(iteration, image, loss)`` after each update, with the new
            image in image values, detached, and its reblur loss.
        progress: show a progress bar on stderr.
        variant: ``"basic"`` (eq. 9), ``"function"`` (one set, with the sensor's response),
            ``"masked"`` (observations from the threshold on are ignored), ``"combined"`` (two
            sets). Default: "combined" with a saturation, else "basic". The last three take
            ``Saturation()`` when none is given.
        adjoint: ``"exact"`` (default), or ``"authors"``, the code's ``sum_b M_b K_b^T``.
        normalise: divide by the adjoint of ones. Default True.
        combine: split and sum the two sets in ``"linear"`` light (default) or in ``"pixel"``
            values, with the authors' zero-padded mean and dilation.
        tv_form: ``"forward"`` differences (default) or the authors' ``"sobel8"``.
        loss_form: the reblur loss compares the observation with the sensor's ``"response"`` to the
            reblurred estimate (default), or with that estimate ``"clamped"`` half above the level.
        eps: added to the divisor of the ratio.

    Returns:
        :class:`Restoration`. The image is in the values given and may exceed 1; float16 and
        bfloat16 are computed in float32.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: a value is out of its range (negative or NaN observation, a mask outside [0, 1],
            an unknown preset, ...), or shapes do not fit.

    Note:
        ``preset="carbajal2021"`` is the update of the authors' command line, to round-off: adjoint
        "authors" (mixing after the turned kernels, reflect border, columns not normalised); variant
        "combined" with ``Saturation(dilate=False)``, so that z is the soft z0; combine "pixel" (the
        estimate is thresholded, split and summed in image values; the 3x3 mean counts zeros outside
        the image and falls to 6/9 and 4/9 at its border); tv 1e-3 by "sobel8" (Sobel twice, which
        is 8 times the divergence, zeros outside, slope 1e-9 where flat, on the previous estimate);
        stop_tol 1e-6, in the combined variant only, on a loss that leaves the response out and
        clamps at 1.5. It needs a BasisBlur with boundary "reflect".
        ``preset="carbajal2021-paper"`` is eqs. 9-14 read literally: exact adjoint, not normalised,
        threshold 0.99, binary z, the sets smoothed and not eroded, linear sum, tv 8e-3 (the paper
        gives no number), stopped when the loss with the response stops falling.
        The result is differentiable by unrolling. On CUDA an iteration is captured as a graph and
        replayed, unless a callback, a stop rule or the progress bar looks at each.
        Finite non-negative input up to 1e6 never gives NaN or infinity: light is capped at 1e18.

    Example:
        >>> import torch, blurops
        >>> blur = blurops.UniformBlur(torch.full((5, 5), 1 / 25))
        >>> sharp = torch.zeros(1, 1, 16, 16)
        >>> sharp[..., 8, 8] = 1.0
        >>> restored = blurops.richardson_lucy(blur @ sharp, blur, iterations=50).image
        >>> bool(restored[0, 0, 8, 8] > 5 * (blur @ sharp)[0, 0, 8, 8])
        True
    """
    check_operator(_NAME, operator)
    settings = resolve(
        _NAME, preset, iterations=iterations, saturation=saturation, tv=tv, stop_tol=stop_tol,
        variant=variant, adjoint=adjoint, normalise=normalise, combine=combine, tv_form=tv_form,
        loss_form=loss_form,
    )  # fmt: skip
    _check_settings(settings, gamma, eps, callback)
    _check_fits_operator(settings, preset, operator)
    _check_image("observed", observed)
    _check_kinds(observed, operator, initial=initial, mask=mask)
    dtype = observed.dtype
    if dtype in (torch.float16, torch.bfloat16):
        observed, operator = observed.float(), operator.to(torch.float32)
        initial = None if initial is None else initial.float()
        mask = None if mask is None else mask.float()
    sums = operator.column_sums(observed)
    if not bool(torch.isfinite(sums).all()):
        got = "NaN or infinity in its column sums"
        raise ValueError(_check.message(_NAME, "operator", "hold finite numbers", got))
    _check_initial(initial, observed, sums)
    _check_mask(mask, observed)
    iteration = Iteration(observed, operator, sums, settings, mask, gamma, eps)
    state, done, losses = _run(iteration, iteration.start(initial), settings, callback, progress)
    image = iteration.image(state)
    if image.dtype != dtype:
        image = image.clamp(max=torch.finfo(dtype).max).to(dtype)
    return Restoration(image, done, losses)


def _run(
    iteration: Iteration,
    state: Tensor,
    settings: Settings,
    callback: Callable[[int, Tensor, float], None] | None,
    progress: bool,
) -> tuple[Tensor, int, tuple[float, ...]]:
    """Iterate; follow the loss, at the price of one more blur in all, only if somebody asks."""
    tracked = settings.stop_tol is not None or callback is not None
    count, watched = settings.iterations, tracked or progress
    if replay.serves(state, count, watched=watched, fixed=iteration.fixed):
        return replay.iterate(iteration.step, state, count, replay.captured), count, ()
    blurred = iteration.blur(state) if tracked else None
    losses = [iteration.loss(blurred)] if tracked else []
    done = 0
    bar = tqdm(total=settings.iterations, disable=not progress, desc="Richardson-Lucy")
    with bar, buffers.kept():
        while done < settings.iterations:
            state = iteration.step(state, blurred)
            done += 1
            bar.update()
            if not tracked:
                continue
            blurred = iteration.blur(state)
            losses.append(iteration.loss(blurred))
            if callback is not None:
                callback(done, iteration.image(state).detach(), losses[-1])
            if settings.stop_tol is not None and losses[-2] - losses[-1] <= settings.stop_tol:
                break
    return state, done, tuple(losses)


def _check_settings(settings: Settings, gamma: float, eps: float, callback: object) -> None:
    count = settings.iterations
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(_check.message(_NAME, "iterations", "be an int", type(count).__name__))
    if count < 0:
        raise ValueError(_check.message(_NAME, "iterations", "be at least 0", count))
    if settings.saturation is not None and not isinstance(settings.saturation, Saturation):
        got = type(settings.saturation).__name__
        raise TypeError(_check.message(_NAME, "saturation", "be a blurops.Saturation", got))
    limit = TV_LIMIT if settings.tv_form == "forward" else SOBEL8_TV_LIMIT
    check_numbers(_NAME, settings.tv, eps, limit)
    if not 0 < gamma < math.inf:
        raise ValueError(_check.message(_NAME, "gamma", "be positive and finite", gamma))
    if settings.stop_tol is not None and math.isnan(settings.stop_tol):
        raise ValueError(_check.message(_NAME, "stop_tol", "be a number", settings.stop_tol))
    if callback is not None and not callable(callback):
        raise TypeError(_check.message(_NAME, "callback", "be callable", type(callback).__name__))


def _check_fits_operator(settings: Settings, preset: str | None, operator: Operator) -> None:
    """The authors' parts need the kernels themselves, and an image of the blurred size."""
    if preset == "carbajal2021":
        wanted = "be a BasisBlur with boundary 'reflect' for preset 'carbajal2021'"
        ok = isinstance(operator, BasisBlur) and operator.boundary == "reflect"
    elif settings.adjoint == "authors":
        wanted = "be a BasisBlur with a boundary other than 'valid' for adjoint 'authors'"
        ok = isinstance(operator, BasisBlur) and operator.boundary != "valid"
    elif settings.combine == "pixel" and settings.saturation and settings.saturation.dilate:
        wanted = "be a BasisBlur for combine 'pixel' with dilation"
        ok = isinstance(operator, BasisBlur)
    else:
        return
    if not ok:
        got = type(operator).__name__
        boundary = getattr(operator, "boundary", None)
        if boundary is not None:
            got = f"{got} with boundary {boundary!r}"
        raise ValueError(_check.message(_NAME, "operator", wanted, got))


def _check_image(argument: str, image: Any) -> None:
    _check.tensor(_NAME, argument, image, "(N, C, H, W)")
    if image.shape[-2] < 1 or image.shape[-1] < 1:
        got = tuple(image.shape)
        raise ValueError(_check.message(_NAME, argument, "have at least one pixel", got))
    _check.finite(_NAME, argument, image)
    if bool((image < 0).any()):
        got = f"a minimum of {float(image.min()):g}"
        raise ValueError(_check.message(_NAME, argument, "be non-negative", got))


def _check_kinds(observed: Tensor, operator: Operator, **images: Any) -> None:
    layouts = {"initial": "(N, C, H, W)", "mask": "(N or 1, 1 or C, H, W)"}
    for argument, image in images.items():
        if image is not None:
            _check.tensor(_NAME, argument, image, layouts[argument])
            _check.same_kind(_NAME, argument, image, "observed", observed)
    if operator.dtype != observed.dtype:
        wanted = f"have the dtype of observed ({_check.dtype_name(observed.dtype)})"
        got = _check.dtype_name(operator.dtype)
        raise TypeError(_check.message(_NAME, "operator", wanted, got))


def _check_initial(initial: Any, observed: Tensor, sums: Tensor) -> None:
    if initial is None:
        return
    _check_image("initial", initial)
    wanted = (*observed.shape[:2], *sums.shape[-2:])
    if tuple(initial.shape) != wanted:
        got = tuple(initial.shape)
        raise ValueError(_check.message(_NAME, "initial", f"be {wanted}", got))


def _check_mask(mask: Any, observed: Tensor) -> None:
    if mask is None:
        return
    count, channels = observed.shape[:2]
    fits = mask.shape[0] in (1, count) and mask.shape[1] in (1, channels)
    if not fits or mask.shape[-2:] != observed.shape[-2:]:
        size = ", ".join(map(str, observed.shape[-2:]))
        wanted = f"be ({count} or 1, {channels} or 1, {size})"
        raise ValueError(_check.message(_NAME, "mask", wanted, tuple(mask.shape)))
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        low, high = float(mask.min()), float(mask.max())
        raise ValueError(
            _check.message(_NAME, "mask", "be in [0, 1]", f"values from {low:g} to {high:g}")
        )
