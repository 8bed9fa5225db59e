# SPDX-License-Identifier: BSD-3-Clause
"""Deblurring of faces on the manifold of a generator: the alternation of Tran et al."""

import math
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from blurmodels.basis_kernels.photograph import check_photograph
from blurmodels.evaluation._errors import message
from blurmodels.kernel_space import blind_state
from blurmodels.kernel_space.blind_encoded import warm_kernel
from blurmodels.kernel_space.faces.latent import FacePoint
from blurmodels.kernel_space.faces.losses import FaceLoss, squared
from blurmodels.kernel_space.faces.operators import OperatorMaker, downsample
from blurmodels.kernel_space.faces.spherical import SphericalDescent, schedule, set_rates
from blurmodels.kernel_space.faces.stylegan2 import StyleGAN2

if TYPE_CHECKING:
    from blurmodels.kernel_space.faces.generator import FaceGenerator

# Of the kernel's rate, which falls five times in a run: every 1,000 of the authors' 5,000 steps.
_DECAY, _DECAYS = 0.7, 5
_IMAGE, _KERNEL = "image", "blur"
_NAME = "deblur_face"


class Settings(NamedTuple):
    """What the authors' option files say, and what a run may change.

    Attributes:
        epochs: rounds of a block of steps on the face and one on the kernel.
        image_steps, kernel_steps: of these blocks.
        warm_up: steps of the kernel's prior towards a known latent kernel, before.
        image_rate, kernel_rate: Adam's rates; the second falls by 0.7 in each fifth of the run.
        optimiser, schedule: of the face, see `spherical`.
        loss: what is minimised.
        noise: "trainable", "fixed" or "zero".
        trainable_noise: how many maps are optimised, the coarsest.
        silent_noise: maps that are zero; there is an eighteenth in StyleGAN of 1024 only.
        tile_latent: one latent vector for all layers.
    """

    epochs: int = 25
    image_steps: int = 300
    kernel_steps: int = 200
    warm_up: int = 150
    image_rate: float = 0.2
    kernel_rate: float = 1e-4
    optimiser: str = "adam"
    schedule: str = "linear1cycledrop"
    loss: FaceLoss = FaceLoss()
    noise: str = "trainable"
    trainable_noise: int = 5
    silent_noise: tuple[int, ...] = (17,)
    tile_latent: bool = False


STYLEGAN = Settings()
STYLEGAN2 = Settings(kernel_rate=5e-4, loss=FaceLoss(norm=1e-4))


class Found(NamedTuple):
    """The best of a search so far.

    Attributes:
        image: (1, 3, M, M), the generator's picture in [0, 1].
        blurred: (1, 3, S, S), what the operator makes of it.
        kernel: of the operator; empty for bicubic downsampling.
        loss: of these.
        losses: before each step, blocks of the face and of the kernel in turns.
        errors: the L2 of these, without its weight.
        epoch: how many are done.
    """

    image: Tensor
    blurred: Tensor
    kernel: Tensor
    loss: float
    losses: list[float]
    errors: list[float]
    epoch: int


def deblur_face(
    image: Tensor,
    generator: "FaceGenerator",
    operator: OperatorMaker,
    *,
    gaussian: tuple[Tensor, Tensor] | None = None,
    settings: Settings | None = None,
    warm_latent: Tensor | None = None,
    seed: int = 0,
    state: str | os.PathLike[str] | None = None,
    callback: Callable[[Found], Any] | None = None,
    progress: bool = False,
) -> Found:
    """Finds the face on a generator's manifold that an operator makes into the photograph.

    Section 3.3 of Tran et al., "Explore Image Deblurring via Encoded Blur Kernel Space", as coded:
    with x = (g(w, noise) + 1) / 2 of `FacePoint`,

        100 L2(A(x), y) + 0.1 GEOCROSS(w) + c ||k||

    is minimised by turns over the latent vectors and the noise on their spheres
    (`SphericalDescent`), and over what makes the operator's kernel k. Where the generator's picture
    is larger than the photograph, bicubic interpolation makes it smaller before the operator A.
    After each block of steps the picture, its blurred twin and the kernel are kept if the loss is
    the least so far.

    Args:
        image: (1, 1 or 3, S, S) in [0, 1], values as stored; S divides the generator's size M.
        generator: g, on the device where all is computed.
        operator: `operators.encoded(F)`, `operators.uniform()`, `operators.bicubic()`, or another
            maker of a module like theirs.
        gaussian: mean and std of `FaceGenerator.gaussian`; computed if need be, of a million
            samples.
        settings: `STYLEGAN` or `STYLEGAN2` by default, as the generator is.
        warm_latent: (1, D, h, w), towards which the prior of an encoded kernel is warmed up; the
            authors have one for all photographs. Without it there is no warm-up.
        seed: of everything random that this function makes.
        state: a file in which the run is kept after each block, and from which it goes on if it
            exists, to the same result bit for bit; it is left there at the end.
        callback: gets what was found, after each epoch.
        progress: show a progress bar on stderr.

    Returns:
        Found, the best of all.

    Raises:
        OSError, TypeError, ValueError: an argument is not as above, or the state is of another run.
        RuntimeError: the loss is not finite any more.

    Note:
        A block on the kernel runs the generator once; what it makes does not change there. A state
        has the size of three times the kernel's prior, 420 MB for `KernelDIP()`.

    Example:
        >>> from blurmodels.kernel_space.faces import operators
        >>> generator = StyleGAN2(16, 8, [4, 4, 4])
        >>> options = {"settings": STYLEGAN2._replace(epochs=1, image_steps=2)}
        >>> options["gaussian"] = generator.gaussian(100)
        >>> small = torch.rand(1, 3, 4, 4)
        >>> found = deblur_face(small, generator, operators.bicubic(), **options)
        >>> found.image.shape, len(found.losses)
        (torch.Size([1, 3, 16, 16]), 2)
    """
    settings = settings or settings_of(generator)
    check_face(image, generator)
    _check_settings(settings)
    search = _Search(image, generator, operator, gaussian, settings, seed, progress)
    if warm_latent is not None and getattr(search.blur, "prior", None) is None:
        wanted = "be None for an operator without a latent kernel"
        raise ValueError(message(_NAME, "warm_latent", wanted, tuple(warm_latent.shape)))
    record = search.record(image, seed)
    kept = None if state is None else blind_state.read(state, record)
    begin, losses, errors = 0, [], []
    if kept is not None:
        blind_state.restore(search, kept)
        begin, losses, errors = (kept.extra[name] for name in ("block", "losses", "errors"))
    elif warm_latent is not None:
        optimiser = search.optimisers[_KERNEL]
        warm_kernel(_NAME, search.blur, optimiser, settings.warm_up, warm_latent)
    total = settings.epochs * (settings.image_steps + settings.kernel_steps)
    with tqdm(total=total, unit="step", initial=len(losses), disable=not progress) as bar:
        for block in range(begin, 2 * settings.epochs):
            epoch, turn = divmod(block, 2)
            for loss, error in search.block((_IMAGE, _KERNEL)[turn], epoch):
                losses.append(loss)
                errors.append(error)
                bar.update()
                bar.set_postfix(loss=f"{loss:.4f}", best=f"{search.best.least:.4f}", refresh=False)
            if state is not None:
                blind_state.save(
                    state, search, settings=record, block=block + 1, losses=losses, errors=errors
                )
            if callback is not None and turn == 1:
                callback(search.best.found(losses, errors, epoch + 1))
    return search.best.found(losses, errors, settings.epochs)


def settings_of(generator: "FaceGenerator") -> Settings:
    """The authors' settings for a generator."""
    return STYLEGAN2 if isinstance(generator, StyleGAN2) else STYLEGAN


class _Best(nn.Module):
    """The least loss so far, and what it was the loss of; buffers, so that a state has them."""

    def __init__(self, *like: Tensor) -> None:
        super().__init__()
        for name, each in zip(("image", "blurred", "kernel"), like, strict=True):
            self.register_buffer(name, torch.zeros_like(each))
        self.register_buffer("loss", torch.full((), math.inf))

    @property
    def least(self) -> float:
        return float(self.loss)

    def offer(self, loss: Tensor, image: Tensor, blurred: Tensor, kernel: Tensor) -> None:
        """Keeps them if the loss is less."""
        if float(loss) < self.least:
            for own, new in zip(
                (self.loss, self.image, self.blurred, self.kernel),
                (loss, image, blurred, kernel),
                strict=True,
            ):
                own.copy_(new)

    def found(self, losses: list[float], errors: list[float], epoch: int) -> Found:
        image, blurred, kernel = self.image.clamp(0, 1), self.blurred.clamp(0, 1), self.kernel
        return Found(image, blurred, kernel.clone(), self.least, list(losses), list(errors), epoch)


class _Search:
    """A search on its way; its attributes are what `blind_state` keeps."""

    noise = None

    def __init__(
        self, image: Tensor, generator: "FaceGenerator", operator: OperatorMaker,
        gaussian: tuple[Tensor, Tensor] | None, settings: Settings, seed: int, progress: bool,
    ) -> None:  # fmt: skip
        like = next(generator.parameters())
        self.settings = settings
        self.observed = image.to(like).expand(-1, 3, -1, -1)
        self.shrink = generator.size // image.shape[2]
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.blur = operator(image.shape[2], self.generator).to(like)
        self.point = FacePoint(
            generator, gaussian or generator.gaussian(progress=progress), self.generator,
            noise=settings.noise, trainable=settings.trainable_noise,
            silent=settings.silent_noise, tile_latent=settings.tile_latent,
        ).to(like)  # fmt: skip
        self.descent = SphericalDescent(
            list(self.point.parameters()), settings.optimiser, settings.image_rate
        )
        self.optimisers = {_IMAGE: self.descent.optimiser}
        groups = self.blur.groups(settings.kernel_rate)
        if groups:
            self.optimisers[_KERNEL] = torch.optim.Adam(groups, lr=settings.kernel_rate)
        self.rates = {
            kind: [group["lr"] for group in each.param_groups]
            for kind, each in self.optimisers.items()
        }
        size = generator.size
        with torch.no_grad():
            picture = self.observed.new_zeros(1, 3, size, size)
            self.best = _Best(picture, self.observed, self.blur.kernel()).to(like.device)
        self.prior = nn.ModuleDict({"point": self.point, "best": self.best})

    def record(self, image: Tensor, seed: int) -> dict[str, Any]:
        """What a state must agree in, JSON values."""
        own = self.settings._asdict() | {"loss": list(self.settings.loss)}
        own["silent_noise"] = list(self.settings.silent_noise)
        gaussian = torch.stack([self.point.mean, self.point.std])
        return own | {
            "seed": seed, "image": blind_state.digest(image), "operator": type(self.blur).__name__,
            "generator": blind_state.digest(*self.point.generator.parameters()),
            "gaussian": blind_state.digest(gaussian),
        }  # fmt: skip

    def block(self, kind: str, epoch: int) -> Iterator[tuple[float, float]]:
        """Steps on the face or the kernel; loss and L2 before each. The best is kept at the end."""
        settings, optimiser = self.settings, self.optimisers.get(kind)
        if optimiser is None:
            return
        self.blur.requires_grad_(kind == _KERNEL)
        moved = [each for group in optimiser.param_groups for each in group["params"]]
        # The kernel's steps leave the face as it is.
        made = self.made() if kind == _KERNEL else None
        count = settings.image_steps if kind == _IMAGE else settings.kernel_steps
        for step in range(epoch * count, (epoch + 1) * count):
            set_rates(optimiser, self.rates[kind], self.factor(kind, step))
            optimiser.zero_grad()
            loss, _, blurred, _ = self.evaluate(made)
            loss.backward(inputs=moved)
            (self.descent if kind == _IMAGE else optimiser).step()
            value = float(loss.detach())
            if not math.isfinite(value):
                raise RuntimeError(message(_NAME, "the loss", "stay finite", value))
            yield value, float(squared(blurred.detach(), self.observed))
        with torch.no_grad():
            self.best.offer(*self.evaluate(made))

    def factor(self, kind: str, step: int) -> float:
        """Of the learning rate."""
        settings = self.settings
        if kind == _IMAGE:
            return schedule(settings.schedule, step, settings.epochs * settings.image_steps)
        return _DECAY ** (step * _DECAYS // (settings.epochs * settings.kernel_steps))

    @torch.no_grad()
    def made(self) -> tuple[Tensor, Tensor, Tensor]:
        """The face, the same in the photograph's size, and its w."""
        return self._make()

    def _make(self) -> tuple[Tensor, Tensor, Tensor]:
        picture, w = self.point()
        return picture, downsample(picture, self.shrink), w

    def evaluate(
        self, made: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Loss, picture, its blurred twin, and kernel."""
        picture, small, w = made or self._make()
        blurred = self.blur(small)
        kernel = self.blur.kernel()
        return self.settings.loss(blurred, self.observed, w, kernel), picture, blurred, kernel


def check_face(image: Any, generator: "FaceGenerator") -> None:
    """Raises where an image is none that the generator's pictures can be compared with."""
    check_photograph(_NAME, image)
    height, width = image.shape[2:]
    if height != width or height < 2 or generator.size % height:
        wanted = f"be square, with a side that divides the generator's {generator.size} pixels"
        raise ValueError(message(_NAME, "image", wanted, f"{width} x {height}"))


def _check_settings(settings: Settings) -> None:
    least = {"epochs": 1, "image_steps": 1, "kernel_steps": 0, "warm_up": 0, "trainable_noise": 0}
    for name, low in least.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or value < low:
            wanted = f"be a whole number, at least {low}"
            raise ValueError(message(_NAME, f"settings.{name}", wanted, repr(value)))
    for name in ("image_rate", "kernel_rate"):
        value = getattr(settings, name)
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            raise ValueError(message(_NAME, f"settings.{name}", "be positive", repr(value)))
    schedule(settings.schedule, 0, 1)
