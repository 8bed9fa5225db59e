# SPDX-License-Identifier: BSD-3-Clause
"""A point on a manifold of faces: latent vectors and noise on spheres, and their picture."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from blurmodels.evaluation._errors import message

if TYPE_CHECKING:
    from blurmodels.kernel_space.faces.generator import FaceGenerator

NOISES = ("trainable", "fixed", "zero")
_SLOPE = 0.2


class FacePoint(nn.Module):
    """`x = (g(w, noise) + 1) / 2`, `w = LeakyReLU_0.2(latent std + mean)` (Menon et al., "PULSE").

    Latent and noise start from the standard normal distribution.

    Args:
        generator: g; its own parameters are not touched.
        gaussian: mean and std, `FaceGenerator.gaussian`.
        random: where latent and noise come from.
        noise: "trainable", "fixed", or "zero": no noise at all.
        trainable: how many maps are optimised, the coarsest.
        silent: maps that are zero.
        tile_latent: one latent vector for all layers.

    Attributes:
        latent: (1, L or 1, D).
    """

    def __init__(
        self,
        generator: "FaceGenerator",
        gaussian: tuple[Tensor, Tensor],
        random: torch.Generator,
        *,
        noise: str = "trainable",
        trainable: int = 5,
        silent: tuple[int, ...] = (17,),
        tile_latent: bool = False,
    ) -> None:
        super().__init__()
        if noise not in NOISES:
            raise ValueError(
                message("deblur_face", "noise", f"be one of {', '.join(NOISES)}", noise)
            )
        # In a tuple: a module's attribute would make the generator's parameters ours.
        self._generator = (generator,)
        layers = 1 if tile_latent else generator.layers
        self.latent = nn.Parameter(torch.randn(1, layers, generator.width, generator=random))
        self.register_buffer("mean", gaussian[0].detach().clone(), persistent=False)
        self.register_buffer("std", gaussian[1].detach().clone(), persistent=False)
        self._maps = []
        for index, shape in enumerate(generator.noise_shapes):
            drawn = torch.randn(1, 1, *shape, generator=random)
            name = f"noise{index}"
            if noise == "zero" or index in silent:
                self.register_buffer(name, torch.zeros_like(drawn), persistent=False)
            elif noise == "trainable" and index < trainable:
                self.register_parameter(name, nn.Parameter(drawn))
            else:
                self.register_buffer(name, drawn)
            self._maps.append(name)

    @property
    def generator(self) -> "FaceGenerator":
        """The generator g."""
        return self._generator[0]

    @property
    def maps(self) -> list[Tensor]:
        """The noise."""
        return [getattr(self, name) for name in self._maps]

    def vectors(self) -> Tensor:
        """W, (1, L, D)."""
        latent = self.latent.expand(-1, self.generator.layers, -1)
        return functional.leaky_relu(latent * self.std + self.mean, _SLOPE)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The picture (1, 3, M, M), about 0 to 1, and its w."""
        w = self.vectors()
        return (self.generator.synthesis(w, self.maps) + 1) / 2, w
