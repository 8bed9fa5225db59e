# SPDX-License-Identifier: BSD-3-Clause
"""What the two generators of faces have in common: the interface that a search on them needs."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from torch import Tensor, nn

from blurmodels.evaluation._errors import message
from blurmodels.kernel_space.faces.gaussian import SAMPLES, fit_gaussian
from blurmodels.pretrained import Pretrained


class FaceGenerator(Pretrained, nn.Module):
    """A picture out of one latent vector for each layer, and maps of noise.

    `x = g(w, noise)`, `w = f(z)` with normal z: the synthesis network g and the mapping network f
    of Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial
    Networks", CVPR 2019. A search on the manifold of g has a vector of its own for each layer, as
    Menon, Damian, Hu, Ravi, Rudin, "PULSE", CVPR 2020.

    Attributes:
        size: side of the pictures in pixels, a power of two.
        width: numbers of one latent vector.
        layers: latent vectors of one picture, 2 log2(size) - 2.
        channels: of the feature maps of side 4, 8, ..., size.
    """

    # The name of the module that maps z to w.
    mapping_part: ClassVar[str]

    def __init__(
        self, size: int, width: int, channels: Sequence[int] | None, published: int
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not isinstance(size, int) or size < 8 or size & (size - 1):
            raise ValueError(message(name, "size", "be a power of two, at least 8", repr(size)))
        levels = int(math.log2(size)) - 1
        if channels is None:
            # Of 512 / 2^n where that would be too much memory; both papers do so.
            channels = [min(512, published // 2 ** (level + 2)) for level in range(levels)]
        self.channels = list(channels)
        if len(self.channels) != levels:
            wanted = f"have {levels} numbers, for the sides 4 to {size}"
            raise ValueError(message(name, "channels", wanted, str(self.channels)))
        for argument, value in (("width", width), *(("channels", n) for n in self.channels)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(message(name, argument, "be positive integers", repr(value)))
        self.size, self.width, self.layers = size, width, 2 * levels
        self.architecture = {"size": size, "width": width, "channels": self.channels}

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """(h, w) of each map of noise that `synthesis` takes, in order."""
        raise NotImplementedError

    def mapping(self, z: Tensor) -> Tensor:
        """f: the latent vector w of a normal z.

        Args:
            z: (N, width).

        Returns:
            (N, width).

        Raises:
            ValueError: z has another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.width:
            raise ValueError(message("mapping", "z", f"be (N, {self.width})", tuple(z.shape)))
        return getattr(self, self.mapping_part)(z)

    def synthesis(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """g: the picture of these latent vectors.

        Args:
            w: (N, layers, width), from the coarsest layer to the finest.
            noise: (N or 1, 1, h, w) for each of `noise_shapes`.

        Returns:
            (N, 3, size, size), about -1 to 1, not clamped.

        Raises:
            ValueError: an argument has another shape.
        """
        if w.ndim != 3 or w.shape[1:] != (self.layers, self.width):
            wanted = f"be (N, {self.layers}, {self.width})"
            raise ValueError(message("synthesis", "w", wanted, tuple(w.shape)))
        shapes = self.noise_shapes
        if len(noise) != len(shapes):
            raise ValueError(message("synthesis", "noise", f"be {len(shapes)} maps", len(noise)))
        for i, (shape, given) in enumerate(zip(shapes, noise, strict=True)):
            if given.shape not in ((1, 1, *shape), (len(w), 1, *shape)):
                wanted = f"be (N or 1, 1, {shape[0]}, {shape[1]}) for {len(w)} pictures"
                raise ValueError(message("synthesis", f"noise[{i}]", wanted, tuple(given.shape)))
        return self._synthesise(w, noise)

    def forward(self, z: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """The pictures of z, (N, width): `synthesis` with the same w in every layer."""
        return self.synthesis(self.mapping(z)[:, None].expand(-1, self.layers, -1), noise)

    def gaussian(
        self,
        samples: int = SAMPLES,
        seed: int = 0,
        *,
        cache: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Mean and deviation of LeakyReLU_5(w), which is about normal where w is not.

        PULSE's map of a normal latent into w, `w = LeakyReLU_0.2(latent std + mean)`, needs them:
        LeakyReLU_5 is the inverse of LeakyReLU_0.2, which ends the mapping network.

        Args:
            samples: how many z to draw, at least 2.
            seed: of the draw.
            cache: a file in which the result is kept, and from which it comes if it exists; one
                that the authors' programs wrote will do. A fit that was stopped goes on from there.
            progress: show a progress bar on stderr.

        Returns:
            Two tensors (width), where the weights are.

        Raises:
            OSError, ValueError: the file cannot be read or written, or is of another network.
        """
        return fit_gaussian(self, samples, seed, cache=cache, progress=progress)

    def mapping_state(self) -> Mapping[str, Tensor]:
        """The mapping network's part of the state dict."""
        return getattr(self, self.mapping_part).state_dict()

    @classmethod
    def from_pretrained(cls, *paths: str | os.PathLike[str]) -> Self:
        """See `blurmodels.kernel_space.faces.weights.from_pretrained`; another kind is refused."""
        from blurmodels.kernel_space.faces.weights import read_generator

        return read_generator(cls, paths)

    def _synthesise(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError
