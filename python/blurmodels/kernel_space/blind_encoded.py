# SPDX-License-Identifier: BSD-3-Clause
"""Blind deblurring with a learned family of blurs F: the schemes of Tran et al."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from blurmodels import checkpoints
from blurmodels.basis_kernels.photograph import check_photograph
from blurmodels.evaluation._errors import message
from blurmodels.kernel_space import blind_state
from blurmodels.kernel_space.blind_operators import EncodedKernel
from blurmodels.kernel_space.blind_schemes import SCHEMES, Problem, optimise, stalled
from blurmodels.kernel_space.losses_blind import AuthorsLoss, BlindLoss, PaperLoss, Perceptual
from blurmodels.kernel_space.priors import ImageDIP, KernelDIP, draw_noise, jittered

LOSSES = ("paper", "authors")
# F halves the image seven times.
MULTIPLE = 128
_SAVE_EVERY = 100

Callback = Callable[[int, int, Tensor, list[float]], Any]


class Deblurred(NamedTuple):
    """Attributes: image, (1, 3, H, W); latent, the k found; losses, before each step."""

    image: Tensor
    latent: Tensor
    losses: list[float]


def make_loss(name: str, vgg: str | os.PathLike[str] | None) -> BlindLoss:
    """The losses of the paper, or those of the authors' code.

    Args:
        name: "paper" or "authors".
        vgg: of "authors", a file of VGG19's weights, torchvision's state dict.

    Raises:
        OSError, ValueError: the name is another, or there are no such weights.
    """
    if name not in LOSSES:
        raise ValueError(
            message("deblur_encoded", "losses", f"be one of {', '.join(LOSSES)}", name)
        )
    if name == "paper":
        return PaperLoss()
    if vgg is None:
        wanted = "be a file of VGG19's weights for the authors' losses"
        raise ValueError(message("deblur_encoded", "vgg", wanted, "none"))
    return AuthorsLoss(Perceptual.from_file(vgg))


def read_latent(path: str | os.PathLike[str]) -> Tensor:
    """A latent kernel: a bare tensor as `torch.save` writes it, or the only one of a file.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds no single tensor of four axes.
    """
    with open(path, "rb") as file:
        pickled = file.read(2) in (b"PK", b"\x80\x02")
    found: Any = None
    if pickled:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged pickle may raise nearly anything
            got = f"a damaged file ({type(error).__name__})"
            raise ValueError(f"'{path}' must hold a tensor (1, D, h, w), got {got}") from error
    values = [found] if isinstance(found, Tensor) else list(checkpoints.load(path).tensors.values())
    if len(values) != 1 or values[0].ndim != 4:
        shapes = [tuple(value.shape) for value in values[:3]]
        raise ValueError(f"'{path}' must hold one tensor (1, D, h, w), got {len(values)}: {shapes}")
    return values[0].float()


def deblur_encoded(
    image: Tensor,
    apply_blur: Callable[[Tensor, Tensor], Tensor],
    *,
    scheme: str = "joint",
    losses: str = "paper",
    vgg: str | os.PathLike[str] | None = None,
    steps: int = 5000,
    inner: int = 100,
    warm_up: int = 300,
    warm_latent: Tensor | None = None,
    image_prior: nn.Module | None = None,
    kernel_prior: KernelDIP | None = None,
    seed: int = 0,
    patience: int | None = None,
    state: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> Deblurred:
    """Deblurs a photograph by the latent kernel and the image that a network F explains it with.

    Both come from deep image priors; Adam at 5e-4, times 0.7 every 1,000 steps. Before, the image's
    prior is fitted to the photograph, and the kernel's to a latent kernel where one is given, with
    the mean squared error; the optimisers keep their moments. Schemes: "joint" moves both in every
    step and is the authors' code; "alternate" is their paper's description; "algorithm1" is its
    listing, where the kernel's prior starts anew before each step of the image.

    The photograph is mirrored to a multiple of 128 pixels, at least 256, for F; what was added does
    not count in the loss and is cropped. F sees stored values, without gamma.

    Args:
        image: (1, 1 or 3, H, W) in [0, 1], sides of at least 129.
        apply_blur: F, any (x, k) -> y that torch differentiates, k (1, D, h, w).
        scheme: see above.
        losses: "paper" (`PaperLoss`) or "authors" (`AuthorsLoss`).
        vgg: of "authors", a file of VGG19's weights as torchvision names them.
        steps: in all, after the warm-up.
        inner: of "alternate" and "algorithm1", steps of the kernel in a row.
        warm_up: steps of each prior.
        warm_latent: (1, D, 2, 2) or of k's own size, the target of the kernel's warm-up; the
            authors have one for all images.
        image_prior: `ImageDIP()` by default.
        kernel_prior: `KernelDIP()` by default.
        seed: of everything random that this function makes.
        patience: stop when the mean loss of so many steps is not below that of so many before.
        state: a file in which the run is kept every 100 steps, and from which it goes on, after the
            warm-up, if it exists.
        callback: gets the steps done, all steps, the image and the losses.
        progress: show a progress bar on stderr.

    Returns:
        Deblurred; its image is that of the last step, noise included, as the authors' code gives.

    Raises:
        OSError, TypeError, ValueError: an argument is not as above.

    Example:
        >>> blur = lambda x, k: x + 0 * k.mean()
        >>> priors = dict(kernel_prior=KernelDIP(4, 8, blocks=1))
        >>> priors["image_prior"] = ImageDIP(width=4, skip=2, scales=2, non_local=None)
        >>> image = torch.rand(1, 3, 130, 140)
        >>> deblur_encoded(image, blur, steps=1, warm_up=1, **priors).image.shape
        torch.Size([1, 3, 130, 140])
    """
    _check(image, scheme, steps, inner, patience)
    loss = make_loss(losses, vgg)
    settings = {
        "image": blind_state.digest(image), "scheme": scheme, "losses": losses, "steps": steps,
        "inner": inner, "warm_up": warm_up, "seed": seed, "patience": patience,
    }  # fmt: skip
    found = None if state is None else blind_state.read(state, settings)
    problem = _problem(image, apply_blur, loss, image_prior, kernel_prior, seed)
    if found is None:
        _warm(problem, warm_up, warm_latent)
    else:
        blind_state.restore(problem, found)
    first, known = (found.extra["step"], found.extra["losses"]) if found else (0, [])
    height, width = image.shape[2:]
    with tqdm(total=steps, unit="step", initial=first, disable=not progress) as bar:

        def after(step: int, values: list[float]) -> bool:
            bar.update()
            bar.set_postfix(loss=f"{values[-1]:.4f}", refresh=False)
            if callback is not None:
                callback(step, steps, problem.sharp.detach()[..., :height, :width], values)
            stop = patience is not None and stalled(values, patience)
            if state is not None and (step % _SAVE_EVERY == 0 or step == steps or stop):
                reached = steps if stop else step
                blind_state.save(state, problem, settings=settings, step=reached, losses=values)
            return stop

        values = optimise(
            problem, scheme=scheme, steps=steps, inner=inner, first=first, losses=known, after=after
        )
    with torch.no_grad():
        if first == steps:  # what was finished before is only shown again
            problem.evaluate(1.0)
        sharp = problem.sharp.detach()[..., :height, :width].clamp(0, 1).contiguous()
        return Deblurred(sharp, problem.blur.kernel().detach().clone(), values)


def _problem(
    image: Tensor, apply_blur: Callable[[Tensor, Tensor], Tensor], loss: BlindLoss,
    image_prior: nn.Module | None, kernel_prior: KernelDIP | None, seed: int,
) -> Problem:  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image_prior = image_prior or ImageDIP()
        kernel_prior = kernel_prior or KernelDIP()
    generator = torch.Generator().manual_seed(seed)
    rgb = image.float().expand(-1, 3, -1, -1)
    whole = [max(2 * MULTIPLE, -(-side // MULTIPLE) * MULTIPLE) for side in image.shape[2:]]
    added = (0, whole[1] - image.shape[3], 0, whole[0] - image.shape[2])
    observed = functional.pad(rgb, added, mode="reflect")
    trust = functional.pad(torch.ones_like(rgb[:, :1]), added)
    size = (whole[0], whole[1])
    noise = draw_noise(getattr(image_prior, "noise_channels", 8), size, generator)
    blur = EncodedKernel(apply_blur, size, generator, prior=kernel_prior)
    return Problem(observed, image_prior, noise, blur, loss, generator, trust=trust)


def _warm(problem: Problem, steps: int, latent: Tensor | None) -> None:
    """Fits each prior alone, with the optimisers of the main run."""
    for _ in range(steps):
        made = problem.prior(jittered(problem.noise, problem.generator))
        _descend(problem.optimisers["image"], problem.trust * (made - problem.observed))
    if latent is not None:
        warm_kernel("deblur_encoded", problem.blur, problem.optimisers["blur"], steps, latent)


def warm_kernel(
    function: str, blur: EncodedKernel, optimiser: torch.optim.Optimizer, steps: int, latent: Tensor
) -> None:
    """Fits the kernel's prior to a latent kernel, by the mean squared error.

    Args:
        function: named in the error.
        blur: with a prior.
        optimiser: of its parameters.
        steps: how many.
        latent: (1, D, h, w), repeated where k has another size.

    Raises:
        ValueError: the latent kernel has other channels.
    """
    size = tuple(blur.kernel().shape)
    if latent.ndim != 4 or latent.shape[1] != size[1]:
        wanted = f"be of shape {size}, or of another size"
        raise ValueError(message(function, "warm_latent", wanted, tuple(latent.shape)))
    target = functional.interpolate(latent.to(blur.noise), size[2:], mode="nearest")
    for _ in range(steps):
        made = blur.prior(jittered(blur.noise, blur.generator))
        _descend(optimiser, made - target)


def _descend(optimiser: torch.optim.Optimizer, difference: Tensor) -> None:
    optimiser.zero_grad()
    difference.square().mean().backward()
    optimiser.step()


def _check(image: Any, scheme: Any, steps: Any, inner: Any, patience: Any) -> None:
    name = "deblur_encoded"
    check_photograph(name, image)
    if min(image.shape[2:]) <= MULTIPLE:
        wanted = f"have sides of at least {MULTIPLE + 1} pixels"
        raise ValueError(message(name, "image", wanted, f"{image.shape[3]} x {image.shape[2]}"))
    if scheme not in SCHEMES:
        raise ValueError(message(name, "scheme", f"be one of {', '.join(SCHEMES)}", scheme))
    for argument, value in (("steps", steps), ("inner", inner), ("patience", patience)):
        whole = isinstance(value, int) and value >= 1
        if not (whole or (argument == "patience" and value is None)):
            raise ValueError(message(name, argument, "be a positive integer", repr(value)))
